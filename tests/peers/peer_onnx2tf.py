"""onnx2tf, full integer: int8 input and output.  Run as ``peer_onnx2tf.py MATERIAL OUTPUT.tflite``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def main(material: Path, output: Path) -> None:
    images = np.load(material / "calibration.npy")[:, 0]
    with tempfile.TemporaryDirectory() as temporary:
        calibration = Path(temporary) / "calibration.npy"
        np.save(calibration, np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
        folder = Path(temporary) / "tf"
        command = [Path(sys.executable).with_name("onnx2tf"), "-i", material / "plain.onnx", "-o", folder, "-n"]
        command += ["-oiqt", "-iqd", "int8", "-oqd", "int8"]
        command += ["-cind", "input", calibration, "[[[[0.0]]]]", "[[[[1.0]]]]"]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)  # it has said why
        (made,) = folder.glob("*_full_integer_quant.tflite")
        shutil.copyfile(made, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
