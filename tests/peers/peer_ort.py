"""ONNX Runtime's static quantisation.  Run as ``peer_ort.py MATERIAL OUTPUT.onnx [per-channel] [uint8]``.

Left alone it quantises weights per tensor, activations to int8 by their minimum and maximum, and writes Q/DQ nodes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from edgeconv.runtimes.onnxruntime import import_onnxruntime

import_onnxruntime()

from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static  # noqa: E402
from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: E402


class _Images(CalibrationDataReader):
    def __init__(self, path: Path) -> None:
        self._images = iter(np.load(path))

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"input": image}


def main(material: Path, output: Path, *options: str) -> None:
    chosen = {"per_channel": True} if "per-channel" in options else {}
    if "uint8" in options:
        chosen["activation_type"] = QuantType.QUInt8
    with tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared.onnx"
        quant_pre_process(material / "plain.onnx", prepared)
        quantize_static(prepared, output, _Images(material / "calibration.npy"), **chosen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
