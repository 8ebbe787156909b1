"""From a model's name and the user's data to a compressed `.pt2` file."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgeconv.compression.compress import CompressionReport, compress
from edgeconv.errors import UsageError
from edgeconv.export.data import input_ports
from edgeconv.export.golden import normalised
from edgeconv.export.onnx import forward_parameters
from edgeconv.export.subject import calibration_source, known_shapes
from edgeconv.export.trace import trace
from edgeconv.files import atomic_write_bytes, check_writable, refuse_existing_file
from edgeconv.models.loading import LoadedModel, load_model

__all__ = ["compress_model"]

_NOISE_SAMPLES = 2  # one to fit to and one to judge by


def compress_model(
    model: str,
    weights: Path | None,
    input_shapes: Sequence[str],
    calibration: str | None,
    calibration_count: int,
    *,
    energy: float | None,
    budget: float | None,
    multiple: int,
    finetune_steps: int,
    output: Path | None,
    force: bool,
    progress: Callable[[str], None] = lambda stage: None,
) -> tuple[Path, CompressionReport]:
    """Compress the model that `model` names and write it; see `compress` for the options.

    Raises:
        EdgeconvError: the model, its data or the options cannot be used; nothing is written then.
    """
    loaded = load_model(model, weights)
    if loaded.module is None:
        raise UsageError(
            f"{model} is a traced graph; its convolutions can no longer be replaced.",
            "Give the model as file.py:factory or package.module:factory, with --weights.",
        )
    path = output or Path(f"{loaded.name}-sfconv.pt2")
    if path.suffix != ".pt2":
        raise UsageError(f"The output {path} must end in .pt2.")
    refuse_existing_file(path, force)
    check_writable(path)
    names = _positional(loaded.module)
    samples = _samples(loaded, names, input_shapes, calibration, calibration_count)
    progress("trace")
    trace(loaded.module, _named(names, samples[0]))  # tells what is wrong with the model before any work
    compressed, report = compress(
        loaded.module,
        samples,
        energy=energy,
        budget=budget,
        data_aware=calibration is not None or loaded.task is not None,
        multiple=multiple,
        finetune_steps=finetune_steps,
        progress=progress,
    )
    progress("write")
    with tempfile.TemporaryDirectory(prefix="edgeconv-compress-") as temporary:
        file = Path(temporary) / "model.pt2"
        torch.export.save(trace(compressed, _named(names, samples[0])), file)
        atomic_write_bytes(path, file.read_bytes())
    return path, report


def _positional(module: torch.nn.Module) -> list[str]:
    """The names of the inputs, which are given in their order."""
    names = list(forward_parameters(module))
    parameters = inspect.signature(module.forward).parameters
    if by_name := [name for name in names if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY]:
        raise UsageError(
            f"{type(module).__name__}.forward takes {by_name[0]!r} by keyword only.",
            "Take the * out of its parameters.",
        )
    return names


def _samples(
    loaded: LoadedModel, names: Sequence[str], input_shapes: Sequence[str], calibration: str | None, count: int
) -> list[tuple[Tensor, ...]]:
    shapes = known_shapes(loaded, names, input_shapes)
    source = calibration_source(loaded, shapes, calibration, count)
    if source is None:
        generator = torch.Generator().manual_seed(0)
        return [tuple(torch.randn(shapes[name], generator=generator) for name in names) for _ in range(_NOISE_SAMPLES)]
    raw = source.take(count)
    ports = input_ports(raw, shapes, None, None)
    return [tuple(torch.from_numpy(normalised(s, ports)[name]) for name in names) for s in raw]


def _named(names: Sequence[str], sample: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return dict(zip(names, sample, strict=True))
