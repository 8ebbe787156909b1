"""What every converter is given for one model, into a directory: run as ``material.py MODEL OUTPUT DIRECTORY``.

- `plain.onnx`: the float graph as torch.onnx and onnxsim make it, before any rewrite of ours;
- `model.pt2`: the same torch module with its weights;
- `calibration.npy`: the calibration images, float32, normalised, samples × 1 × C × H × W;
- `images.npy`, `golden.npz`: the same images and eight held-out ones with targets, raw, as `edgeconv export` takes them
  for a model that has no task of the package;
- `evaluation.npz`: held-out images, normalised (`input`), PyTorch's outputs (`torch`), targets (`target`), the task
  metric's name (`metric`) and PyTorch's value of it (`value`); and all but the name once more for images of another
  contrast, brightness and noise (`shifted_…`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxsim
import torch
from subjects import find_subject

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.manifest import Port
from edgeconv.models.loading import load_model
from edgeconv.parity.metrics import get_metric
from edgeconv.training.tasks.base import sample_rng

_CALIBRATION_IMAGES = 16  # as many as the export takes of a built-in task
_GOLDEN_IMAGES = 8
_OPSET = 18
_CONTRAST, _BRIGHTNESS, _NOISE = 0.75, 0.15, 0.04  # of full scale
_SHIFT = 501  # key of the noise's generator


def main(name: str, output: Path, directory: Path) -> None:
    subject = find_subject(name)
    task, module = subject.task, load_model(subject.spec, subject.weights(output)).module
    if module is None:
        sys.exit(f"{name} is no torch module.")
    port = Port("input", list(task.input_shape), "uint8", "NCHW", task.normalisation)
    raw = task.calibration(_CALIBRATION_IMAGES)
    images, targets = task.evaluation(subject.evaluation_images)
    np.save(directory / "images.npy", raw[:, None])
    count = _GOLDEN_IMAGES
    np.savez(directory / "golden.npz", input=images[:count, None], target=targets[:count, None])
    calibration = np.stack([normalise(image[None], port) for image in raw])
    np.save(directory / "calibration.npy", calibration)
    pictures = task.metric == "psnr"  # the target is a picture too and shifts with the input
    shifted_targets = _CONTRAST * targets + _BRIGHTNESS if pictures else targets
    answers = _answers(module, port, images, targets[:, None], task.metric)
    shifted = _answers(module, port, _shifted(images), shifted_targets[:, None], task.metric)
    answers.update((f"shifted_{key}", value) for key, value in shifted.items())
    np.savez(directory / "evaluation.npz", metric=np.array(task.metric), **answers)  # type: ignore[arg-type]  # arrays by name
    _save_model(module, torch.from_numpy(calibration[0]), directory, name)


def _answers(module: torch.nn.Module, port: Port, images: Any, targets: Any, metric: str) -> dict[str, np.ndarray]:
    inputs = np.stack([normalise(image[None], port) for image in images])
    with torch.inference_mode():
        outputs = np.stack([module(torch.from_numpy(sample)).numpy() for sample in inputs])
    value = np.array(get_metric(metric)(outputs, targets))
    return {"input": inputs, "torch": outputs, "target": targets, "value": value}


def _shifted(images: Any) -> Any:
    noise = [sample_rng(_SHIFT, k).standard_normal(image.shape, np.float32) for k, image in enumerate(images)]
    light = _CONTRAST * images / 255 + _BRIGHTNESS + _NOISE * np.stack(noise)
    return np.clip(np.rint(255 * light), 0, 255).astype(np.uint8)


def _save_model(module: torch.nn.Module, example: torch.Tensor, directory: Path, name: str) -> None:
    torch.export.save(torch.export.export(module, (example,)), directory / "model.pt2")
    path = directory / "plain.onnx"
    torch.onnx.export(
        module,
        (example,),
        path,
        dynamo=True,
        opset_version=_OPSET,
        external_data=False,
        verbose=False,
        input_names=["input"],
        output_names=["output"],
    )
    simplified, same = onnxsim.simplify(onnx.load(path))
    if not same:
        sys.exit(f"onnxsim changed {name}.")
    onnx.save(simplified, path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
