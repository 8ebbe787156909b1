"""ONNX Runtime's static quantisation.  Run as ``peer_ort.py MATERIAL OUTPUT.onnx [per-channel] [percentile] [uint8]``.

Left alone it quantises weights per tensor, activations to int8 by their minimum and maximum, and writes Q/DQ nodes.
Percentiles are its own 99.999, of ranges that need not be symmetric; it holds every activation of every image while it
counts, so they are taken from some of the images only.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.runtimes.onnxruntime import import_onnxruntime

import_onnxruntime()

from onnxruntime.quantization import (  # noqa: E402
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: E402

_PERCENTILE_IMAGES = 6


class _Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"input": image}


def main(material: Path, output: Path, *options: str) -> None:
    chosen: dict[str, Any] = {"per_channel": True} if "per-channel" in options else {}
    if "uint8" in options:
        chosen["activation_type"] = QuantType.QUInt8
    images = np.load(material / "calibration.npy")
    if "percentile" in options:
        images = images[:_PERCENTILE_IMAGES]
        chosen["calibrate_method"] = CalibrationMethod.Percentile
        chosen["extra_options"] = {"CalibTensorRangeSymmetric": False}
    with tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared.onnx"
        quant_pre_process(material / "plain.onnx", prepared)
        quantize_static(prepared, output, _Images(images), **chosen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
