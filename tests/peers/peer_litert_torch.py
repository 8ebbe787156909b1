"""litert-torch, then ai-edge-quantizer's static int8.  Run as ``peer_litert_torch.py MATERIAL OUTPUT.tflite``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe


def main(material: Path, output: Path) -> None:
    images = np.load(material / "calibration.npy")
    module = torch.export.load(material / "model.pt2").module()
    with tempfile.TemporaryDirectory() as temporary:
        floats = Path(temporary) / "float.tflite"
        litert_torch.convert(module, (torch.from_numpy(images[0]),)).export(str(floats))
        ((signature, ports),) = Interpreter(str(floats)).get_signature_list().items()
        (port,) = ports["inputs"]
        static = quantizer.Quantizer(str(floats), recipe.static_wi8_ai8())
        ranges = static.calibrate({signature: [{port: image} for image in images]})
        static.quantize(ranges).export_model(str(output))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
