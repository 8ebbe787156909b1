"""From a model's name and the user's data to a compressed `.pt2` file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from edgeconv.compression.compress import CompressionReport, compress
from edgeconv.errors import UsageError
from edgeconv.export.data import input_ports, open_source
from edgeconv.export.golden import normalised
from edgeconv.export.onnx import forward_parameters, parse_input_shapes
from edgeconv.files import atomic_write_bytes, check_writable
from edgeconv.models.loading import LoadedModel, load_model

__all__ = ["compress_model"]


def compress_model(
    model: str,
    weights: Path | None,
    input_shape: str | None,
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
    if path.exists() and not force:
        raise UsageError(f"{path} exists already.", "Use --force to replace it, or name another with -o.")
    check_writable(path)
    samples = _samples(loaded, input_shape, calibration, calibration_count)
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
        torch.export.save(torch.export.export(compressed.eval(), samples[0]), file)
        atomic_write_bytes(path, file.read_bytes())
    return path, report


def _samples(
    loaded: LoadedModel, input_shape: str | None, calibration: str | None, count: int
) -> list[tuple[Tensor, ...]]:
    if loaded.module is None:
        raise UsageError(f"{loaded.source} is no module.")
    names = list(forward_parameters(loaded.module))
    shapes = {} if loaded.task is None else {names[0]: tuple(loaded.task.input_shape)}
    shapes = {**shapes, **parse_input_shapes((input_shape,) if input_shape else (), names)}
    missing = [name for name in names if name not in shapes]
    if missing:
        raise UsageError(f"The shape of input {missing[0]!r} is not known.", "Give it: --input-shape 1x3x224x224.")
    if calibration is not None:
        raw = open_source(calibration, shapes).take(count)
    elif loaded.task is not None:
        raw = [{names[0]: image[None]} for image in loaded.task.calibration(count)]
    else:
        generator = torch.Generator().manual_seed(0)
        return [tuple(torch.randn(shapes[name], generator=generator) for name in names)]
    ports = input_ports(raw, shapes, None, None)
    return [tuple(torch.from_numpy(normalised(s, ports)[name]) for name in names) for s in raw]
