"""What a test asserts parity of, as a bundle: one on disk, or one made in this session from a model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.bundles import Bundle, load_bundle, open_bundle
from edgeconv.errors import UsageError
from edgeconv.files import sha256_file
from edgeconv.parity.goldens import Golden
from edgeconv.parity.samples import Sample, module_samples, tensor_array

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from edgeconv.export.options import ExportOptions

__all__ = ["BundleCache"]

_CODE = (".py", ".pt2", ".onnx", ".pt", ".pth", ".safetensors", ".npz", ".npy")


class BundleCache:
    """Exports each model once: the same computation, weights, options and golden file give the same bundle.

    Args:
        directory: where bundles are made; the caller removes it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Path] = {}

    @contextlib.contextmanager
    def open(
        self, model: object, inputs: object, options: Mapping[str, Any], name: str = "", golden: Golden | None = None
    ) -> Iterator[Bundle]:
        """The bundle of `model`; see `ParityAssertion` for what that can be.

        Args:
            model: what it is a bundle of.
            inputs: of a module.
            options: of the export.
            name: of the golden file; what is exported for one name is not exported again.
            golden: the golden file, whose inputs become the golden cases where they fit the model and the user's data.

        Raises:
            EdgeconvError: the bundle is damaged, or the model cannot be exported.
            UsageError: `model` is nothing that can be exported, or options do not go with it.
        """
        path = _bundle_path(model)
        if path is not None or isinstance(model, Bundle):
            if options or inputs is not None:
                extra = ", ".join(options) or "inputs"
                raise UsageError(f"A bundle is judged as it is; {extra} has no meaning for it.", "Leave it out.")
            if isinstance(model, Bundle):
                yield load_bundle(model.directory)
            elif path is not None:
                with open_bundle(path) as bundle:
                    yield bundle
            return
        yield load_bundle(self._exported(model, inputs, dict(options), name, golden))

    def _exported(
        self, model: object, inputs: object, options: dict[str, Any], name: str, golden: Golden | None
    ) -> Path:
        from edgeconv.export.options import ExportOptions
        from edgeconv.export.pipeline import build_bundle
        from edgeconv.parity.export_options import read_options

        options, traced = read_options(options), None
        if not isinstance(model, str):
            traced = _traced(_module(model), inputs)
        elif inputs is not None:
            raise UsageError("inputs go with a torch.nn.Module.", "For a model by name give calibration=…")
        key = _key(model if traced is None else traced.identity, options, name)
        if key not in self._made:
            directory = self._directory / key
            directory.mkdir(exist_ok=True)
            if traced is not None:
                options.setdefault("calibration", str(directory / "samples.npz"))
            spec = str(model) if traced is None else traced.save(directory)
            export = ExportOptions(**{**options, "model": spec, "output": directory})
            if golden is not None and _fits(golden, export):
                np.savez(directory / "golden.npz", allow_pickle=False, **golden.samples)
                export = dataclasses.replace(
                    export,
                    evaluation=str(directory / "golden.npz"),
                    golden_count=golden.cases,
                    metric=export.metric or _task_metric(model),
                )
            self._made[key] = Path(build_bundle(export).bundles[0].path)
        return self._made[key]


def _fits(golden: Golden, options: ExportOptions) -> bool:
    """Whether the model takes a golden file's inputs, and they are what the user's own data are.

    That is images or floats, and with targets where those have some.  Where it is not so the export goes without them,
    and the comparison with the golden file tells what differs.
    """
    from edgeconv.export.data import TARGET_KEY
    from edgeconv.export.subject import load_subject

    subject = load_subject(dataclasses.replace(options, golden_count=1))
    if {name: array.shape[1:] for name, array in golden.inputs.items()} != subject.shapes:
        return False
    own = subject.calibration.take(1) if subject.calibration is not None else []
    own += subject.golden if own or options.evaluation is not None else []  # else they were made up
    same_kind = all(
        (sample[name].dtype == np.uint8) == (array.dtype == np.uint8)
        for sample in own
        for name, array in golden.inputs.items()
    )
    return same_kind and (TARGET_KEY in golden.samples or not any(TARGET_KEY in sample for sample in own))


@dataclasses.dataclass(frozen=True)
class _Traced:
    """A module as it computes now, and its samples."""

    name: str
    program: ExportedProgram
    samples: list[Sample]

    @property
    def identity(self) -> list[Any]:
        """What another module shares only if it computes the same; plain attributes show in the traced code alone."""
        code = "".join(getattr(part, "code", "") for part in self.program.graph_module.modules())
        tensors = {**self.program.state_dict, **self.program.constants}
        values = {name: tensor_array(value) for name, value in tensors.items()}
        return [self.name, hashlib.sha256(code.encode()).hexdigest(), values, self.samples]

    def save(self, directory: Path) -> str:
        """Write the program, and all samples as calibration data."""
        import torch

        arrays = {name: np.stack([sample[name] for sample in self.samples]) for name in self.samples[0]}
        np.savez(directory / "samples.npz", allow_pickle=False, **arrays)
        path = directory / f"{self.name}.pt2"
        torch.export.save(self.program, path)
        return str(path)


def _traced(module: nn.Module, inputs: object) -> _Traced:
    import torch

    from edgeconv.export.trace import trace

    samples = module_samples(module, inputs)
    first = {name: torch.from_numpy(array.astype(np.float32)) for name, array in samples[0].items()}
    return _Traced(type(module).__name__, trace(module, first), samples)


def _task_metric(model: object) -> str | None:
    """The metric of a built-in task, which an export drops where it is given other data."""
    from edgeconv.training.tasks import get_task, task_names

    return get_task(model).metric if isinstance(model, str) and model in task_names() else None


def _bundle_path(model: object) -> Path | None:
    """The path of a bundle, None for the name of a model."""
    if not isinstance(model, str | Path):
        return None
    path = Path(model)
    if isinstance(model, Path) or path.is_dir() or path.suffix == ".zip":
        return path
    return None


def _key(*parts: Any) -> str:
    """A hash over names, options, arrays, and the contents of the files that they name."""
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()[:24]


def _feed(digest: Any, part: Any) -> None:
    if isinstance(part, np.ndarray):
        digest.update(f"{part.dtype}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, Mapping):
        for name in sorted(part):
            digest.update(str(name).encode())
            _feed(digest, part[name])
    elif isinstance(part, list | tuple):
        for item in part:
            _feed(digest, item)
    else:
        digest.update(f"|{part}".encode())
        file = Path(str(part).rpartition(":")[0] or str(part)) if part is not None else None
        if file is not None and file.suffix in _CODE and file.is_file():
            digest.update(sha256_file(file).encode())


def _module(model: object) -> nn.Module:
    from torch import nn

    if not isinstance(model, nn.Module):
        raise UsageError(
            f"Parity of {type(model).__name__} means nothing.",
            "Give a bundle's path, a model's name, file.py:factory, a .pt2 or .onnx file, or a torch.nn.Module.",
        )
    return model


def model_name(model: object) -> str:
    """What the golden file of a model is called where the test gives no name."""
    if isinstance(model, Bundle):
        return model.manifest.model.name
    path = _bundle_path(model)
    if path is not None:
        return ""  # a bundle says it itself
    if isinstance(model, str):
        return model.rpartition(":")[2] if ":" in model else Path(model).stem
    return type(model).__name__


def as_names(what: str, value: object) -> list[str] | None:
    """One name or several as a list; None is all.

    Raises:
        UsageError: it is neither, or an empty list.
    """
    if value is None:
        return None
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence | Set) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what} is {value!r}, expected a name or several.", "Leave it out for all that there are.")
    return names
