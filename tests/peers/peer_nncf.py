"""NNCF's post-training quantisation.  Run as ``peer_nncf.py MATERIAL OUTPUT.xml|OUTPUT.onnx [PRESET]``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.modules["openvino_telemetry"] = None  # importing openvino and nncf would each send an event otherwise

import nncf  # noqa: E402
import onnx  # noqa: E402
import openvino  # noqa: E402


def main(material: Path, output: Path, preset: str | None = None) -> None:
    images = list(np.load(material / "calibration.npy"))
    source = material / "plain.onnx"
    chosen = None if preset is None else nncf.QuantizationPreset(preset)
    if output.suffix == ".onnx":
        dataset = nncf.Dataset(images, lambda image: {"input": image})
        onnx.save(nncf.quantize(onnx.load(source), dataset, preset=chosen), output)
    else:
        model = openvino.convert_model(source)
        openvino.save_model(nncf.quantize(model, nncf.Dataset(images), preset=chosen), output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
