"""TensorRT through `trtexec`, which JetPack installs: no Python of TensorRT is needed.

Part of the device agent: Python 3.8, numpy.
"""

from __future__ import annotations

from edgeconv.benchmarks.agent.trtexec.measure import measure_tensorrt

__all__ = ["measure_tensorrt"]
