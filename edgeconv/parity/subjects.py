"""What a test asserts parity of, as a bundle: one on disk, or one made in this session from a model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.bundles import Bundle, load_bundle, open_bundle
from edgeconv.errors import UsageError
from edgeconv.files import sha256_file
from edgeconv.parity.goldens import Golden

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BundleCache"]

_CODE = (".py", ".pt2", ".onnx", ".pt", ".pth", ".safetensors", ".npz", ".npy")


class BundleCache:
    """Exports each model once: the same model, options and golden file give the same bundle.

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
            golden: the golden file, whose inputs become the golden cases.

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

        known = {field.name for field in dataclasses.fields(ExportOptions)} - {"model", "output", "force", "pack"}
        unknown = sorted(set(options) - known)
        if unknown:
            raise UsageError(f"No export option is called {unknown[0]!r}.", f"There are: {', '.join(sorted(known))}.")
        if isinstance(model, str):
            if inputs is not None:
                raise UsageError("inputs go with a torch.nn.Module.", "For a model by name give calibration=…")
            key = _key(model, options, name)
        else:
            key = _key(_state(model), options, name, _samples(inputs))
        if key not in self._made:
            directory = self._directory / key
            directory.mkdir(exist_ok=True)
            if golden is not None:
                np.savez(directory / "golden.npz", allow_pickle=False, **golden.samples)
                options = {**options, "evaluation": str(directory / "golden.npz")}
                options["golden_count"] = len(next(iter(golden.samples.values())))
                options.setdefault("metric", _task_metric(model))
            if isinstance(options.get("weights"), str):
                options["weights"] = Path(options["weights"])
            spec = model if isinstance(model, str) else _saved(model, inputs, directory, options)
            built = build_bundle(ExportOptions(**{**options, "model": spec, "output": directory}))
            self._made[key] = Path(built.bundles[0].path)
        return self._made[key]


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


def _state(model: object) -> dict[str, Any]:
    module = _module(model)
    return {
        "": f"{type(module).__module__}.{type(module).__qualname__} {module}",
        **{name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()},
    }


def _samples(inputs: object) -> list[Any]:
    """One sample or several, each an array, a tuple of arrays or a dictionary of them."""
    if inputs is None:
        raise UsageError(
            "A torch.nn.Module needs inputs to be traced and calibrated with.",
            "Give inputs=: a tensor, a tuple or dictionary of tensors, batch included, or a list of such samples.",
        )
    samples = inputs if isinstance(inputs, list) else [inputs]
    if not samples:
        raise UsageError("inputs is an empty list.", "Give at least one sample.")
    return [_arrays(sample) for sample in samples]


def _arrays(sample: Any) -> Any:
    if isinstance(sample, Mapping):
        return {str(name): np.asarray(value) for name, value in sample.items()}
    return tuple(np.asarray(value) for value in (sample if isinstance(sample, tuple) else (sample,)))


def _saved(model: object, inputs: object, directory: Path, options: dict[str, Any]) -> str:
    """Trace a module with its first sample and save it, with all samples as calibration data."""
    import torch

    from edgeconv.export.onnx import forward_parameters
    from edgeconv.export.trace import trace

    module = _module(model)
    names = list(forward_parameters(module))
    samples = [
        sample if isinstance(sample, Mapping) else dict(zip(names, sample, strict=False)) for sample in _samples(inputs)
    ]
    given = sorted(samples[0])
    if given != sorted(names):
        raise UsageError(f"{type(module).__name__} takes {', '.join(names)}; inputs has {', '.join(given) or 'none'}.")
    arrays = {name: np.stack([sample[name] for sample in samples]) for name in names}
    np.savez(directory / "samples.npz", allow_pickle=False, **arrays)
    program = trace(module, {name: torch.from_numpy(np.ascontiguousarray(arrays[name][0])) for name in names})
    path = directory / f"{type(module).__name__}.pt2"
    torch.export.save(program, path)
    options.setdefault("calibration", str(directory / "samples.npz"))
    return str(path)


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


def as_names(value: str | Sequence[str] | None) -> list[str] | None:
    """One name or several as a list."""
    return [value] if isinstance(value, str) else list(value) if value is not None else None
