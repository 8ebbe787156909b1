"""A model by what the user calls it: a name, a factory in code, or a file."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgeconv.errors import CheckpointError, ModelError, UsageError
from edgeconv.files import sha256_file
from edgeconv.models.checkpoint import check_finite, load_weights
from edgeconv.models.factory import call_factory
from edgeconv.models.registry import build_model, model_names

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from edgeconv.training.tasks import Task

__all__ = ["LoadedModel", "load_model"]


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model that can be exported; exactly one of `module`, `exported_program` and `onnx_path` is there.

    name: short, for file names.
    source: what it was made from, for people.
    module: in evaluation mode, on the CPU.
    weights_sha256: of the file that the weights came from; None where the factory made them.
    task: the built-in task whose data belong to the model.
    """

    name: str
    source: str
    module: nn.Module | None = None
    exported_program: ExportedProgram | None = None
    onnx_path: Path | None = None
    weights_sha256: str | None = None
    task: Task | None = None


def load_model(spec: str, weights: Path | None = None) -> LoadedModel:
    """Load the model that `spec` names.

    It is one of: `file.py:factory` or `package.module:factory`, the name of a built-in task (with its trained weights)
    or network, the path of a `.pt2` file (of `torch.export.save`) or of an `.onnx` file (read later, by the export).

    Args:
        spec: see above.
        weights: a `.safetensors`, `.pt` or `.pth` file; without it the factory's or the task's own.

    Raises:
        UsageError: `spec` names nothing (the near names are suggested), or has no room for `weights`.
        ModelError: the model cannot be built or read.
        CheckpointError: the weights do not fit or are not finite.
    """
    from edgeconv.training.tasks import task_names

    read_file = _FILES.get(Path(spec).suffix)
    if read_file is not None:
        return read_file(Path(spec), weights)
    if ":" in spec:
        return _built(spec.rpartition(":")[2], _source(spec, weights), call_factory(spec), weights)
    if spec in task_names():
        return _task(spec, weights)
    if spec in model_names():
        return _built(spec, _source(f"built-in network {spec}", weights), build_model(spec), weights)
    raise _unknown(spec, [*task_names(), *model_names()])


def _built(name: str, source: str, module: nn.Module, weights: Path | None, task: Task | None = None) -> LoadedModel:
    module = _ready(module, source).cpu().eval()
    if weights is None:
        check_finite(module.named_parameters(), module.named_buffers(), source)
        return LoadedModel(name, source, module, task=task)
    load_weights(module, weights)
    return LoadedModel(name, source, module, weights_sha256=sha256_file(weights), task=task)


def _ready(module: nn.Module, source: str) -> nn.Module:
    """The module itself without what runs it on several devices or compiles it."""
    while isinstance(inner := getattr(module, _WRAPPERS.get(type(module).__name__, ""), None), nn.Module):
        module = inner
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(value, (nn.UninitializedParameter, nn.UninitializedBuffer)):
            raise ModelError(
                f"{source} has lazy modules: the shape of {name!r} is not known yet.",
                "Run the model once on an example in the factory.",
            )
        if value.is_meta:
            raise ModelError(f"{source} has no values: {name!r} is on the meta device.", "Build it on the CPU.")
    return module


def _task(name: str, weights: Path | None) -> LoadedModel:
    from edgeconv.training.tasks import get_task

    task = get_task(name)
    if weights is None and not task.checkpoint_path.is_file():
        raise CheckpointError(
            f"The trained weights of the task {name!r} are not there: {task.checkpoint_path}.",
            f"Train them with `edgeconv train {name}`, or give others with --weights.",
        )
    module = task.build_model(*task.input_shape[2:])
    return _built(name, _source(f"built-in task {name}", weights), module, weights or task.checkpoint_path, task)


def _source(what: str, weights: Path | None) -> str:
    return what if weights is None else f"{what} with the weights {weights}"


def _exported_program(path: Path, weights: Path | None) -> LoadedModel:
    _check_file(path, weights)
    # For a file that is cut off or something else altogether, torch's readers raise what they stumble over.
    try:
        with _quiet(logging.getLogger("torch.export")):
            program = torch.export.load(path)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path} is no exported program that this torch ({torch.__version__}) can read: {reason}",
            "Save it by torch.export.save, with the same version of torch.",
        ) from error
    check_finite(program.named_parameters(), program.named_buffers(), str(path))
    return LoadedModel(path.stem, str(path), exported_program=program, weights_sha256=sha256_file(path))


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _onnx(path: Path, weights: Path | None) -> LoadedModel:
    _check_file(path, weights)
    return LoadedModel(path.stem, str(path), onnx_path=path, weights_sha256=sha256_file(path))


def _check_file(path: Path, weights: Path | None) -> None:
    if weights is not None:
        raise UsageError(f"{path} has its weights in it; --weights {weights} cannot be used with it.", "Leave it out.")
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.", "Check the path.")


def _unknown(spec: str, names: list[str]) -> UsageError:
    near = difflib.get_close_matches(spec, names, n=3)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif Path(spec).suffix == ".py":
        hint = f"Name the factory in it: {spec}:factory."
    elif Path(spec).suffix in (".pt", ".pth", ".safetensors"):
        hint = f"Weights need their model: net.py:factory --weights {spec}."
    else:
        hint = f"Built in are {', '.join(names)}; yours is file.py:factory, package.module:factory, a .pt2 or an .onnx."
    return UsageError(f"There is no model named {spec!r}.", hint)


_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
_FILES: dict[str, Callable[[Path, Path | None], LoadedModel]] = {".onnx": _onnx, ".pt2": _exported_program}
