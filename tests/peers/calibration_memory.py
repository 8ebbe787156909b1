"""Peak memory of an export that calibrates with few and with many images; run as ``calibration_memory.py COUNT``."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from results import CalibrationMemory
from torch import nn

from edgeconv import ExportOptions, build_bundle

__all__ = ["COUNTS", "measure_calibration_memory"]

COUNTS = (10, 1000)
_SIZE_PX = 512
_SHAPE = f"1x1x{_SIZE_PX}x{_SIZE_PX}"


def measure_calibration_memory() -> CalibrationMemory:
    """Each count in a fresh process."""
    return CalibrationMemory(_SIZE_PX, {str(count): _peak_bytes(count) for count in COUNTS})


def network() -> nn.Module:
    """Small, so that a thousand images are soon through."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


def images() -> Iterator[Any]:
    """Noise of another brightness in every image, made when it is asked for."""
    rng = np.random.default_rng(0)
    for _ in range(max(COUNTS)):
        brightest = int(rng.integers(100, 256))
        yield rng.integers(brightest, size=(1, 1, _SIZE_PX, _SIZE_PX), dtype=np.uint8)


def _peak_bytes(count: int) -> int | None:
    child = subprocess.run([sys.executable, __file__, str(count)], capture_output=True, text=True, check=False)
    return int(child.stdout) if child.returncode == 0 else None


def _export(count: int) -> int:
    """Of this process; the converters run in processes of their own."""
    with tempfile.TemporaryDirectory() as temporary:
        build_bundle(
            ExportOptions(
                model=f"{__file__}:network",
                input_shapes=(_SHAPE,),
                calibration=f"{__file__}:images",
                calibration_count=count,
                golden_count=1,
                runtimes=("onnxruntime",),
                output=Path(temporary),
            )
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(_export(int(sys.argv[1])))
