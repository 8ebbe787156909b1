"""What every converter is given for one model, written into a directory: run as ``material.py MODEL DIRECTORY``.

- `plain.onnx`: the float graph as torch.onnx and onnxsim make it, before any rewrite of ours;
- `model.pt2`: the same torch module with its weights;
- `calibration.npy`: the calibration images of `edgeconv export MODEL`, float32, normalised, samples × 1 × C × H × W;
- `evaluation.npz`: held-out images likewise (`input`), PyTorch's outputs (`torch`), targets (`target`), the
  task metric's name (`metric`) and PyTorch's value of it (`value`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import torch

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.manifest import Port
from edgeconv.models.loading import load_model
from edgeconv.parity.metrics import get_metric

_CALIBRATION_IMAGES = 16  # as many as the export takes of a built-in task
_EVALUATION_IMAGES = 32
_OPSET = 18


def main(model: str, directory: Path) -> None:
    loaded = load_model(model, None)
    module, task = loaded.module, loaded.task
    if module is None or task is None:
        sys.exit(f"{model} is no built-in task.")
    module.eval()
    port = Port("input", list(task.input_shape), "uint8", "NCHW", task.normalisation)
    calibration = np.stack([normalise(image[None], port) for image in task.calibration(_CALIBRATION_IMAGES)])
    images, targets = task.evaluation(_EVALUATION_IMAGES)
    evaluation = np.stack([normalise(image[None], port) for image in images])
    with torch.inference_mode():
        outputs = np.stack([module(torch.from_numpy(sample)).numpy() for sample in evaluation])
    example = (torch.from_numpy(calibration[0]),)
    targets = targets[:, None]
    value = get_metric(task.metric)(outputs, targets)
    np.save(directory / "calibration.npy", calibration)
    np.savez(
        directory / "evaluation.npz", input=evaluation, torch=outputs, target=targets, metric=task.metric, value=value
    )
    torch.export.save(torch.export.export(module, example), directory / "model.pt2")
    path = directory / "plain.onnx"
    names = {"input_names": ["input"], "output_names": ["output"]}
    torch.onnx.export(
        module, example, path, dynamo=True, opset_version=_OPSET, external_data=False, verbose=False, **names
    )
    simplified, same = onnxsim.simplify(onnx.load(path))
    if not same:
        sys.exit(f"onnxsim changed {model}.")
    onnx.save(simplified, path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
