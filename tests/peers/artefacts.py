"""An artefact of any converter, opened by our own runtimes and fed from NCHW float arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.benchmarks.agent.feeds import dequantise, quantise
from edgeconv.manifest import TensorSpec
from edgeconv.runtimes import get_runtime

__all__ = ["Artefact"]

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_FLOAT = TensorSpec("", "", [], "NCHW", "float32")


class Artefact:
    """A loaded model file with one input and one output; `port_type` says what goes in and comes out.

    Only a TFLite file has another layout or an integer port; that it has is read from the file, because only our own
    artefacts have a manifest.
    """

    def __init__(self, runtime: str, path: Path) -> None:
        self._session = get_runtime(runtime).load(path, threads=1)
        self._input, self._output = _tflite_ports(path) if path.suffix == ".tflite" else (_FLOAT, _FLOAT)
        self.run = self._session.run
        self.port_type = f"{self._input.dtype} {self._input.layout}"

    def feed(self, image: Any) -> list[Any]:
        """What `run` takes for a float NCHW image; made once, outside of what is timed."""
        array = image.transpose(_TO_NHWC) if self._input.layout == "NHWC" else image
        return [np.ascontiguousarray(array if self._input.scale is None else quantise(array, self._input))]

    def infer(self, image: Any) -> Any:
        """The output for a float NCHW image, as float NCHW."""
        (array,) = self.run(self.feed(image))
        array = array if self._output.scale is None else dequantise(array, self._output)
        return array.transpose(_TO_NCHW) if self._output.layout == "NHWC" else array


def _tflite_ports(path: Path) -> tuple[TensorSpec, TensorSpec]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    return _spec(given), _spec(taken)


def _spec(details: dict[str, Any]) -> TensorSpec:
    shape = [int(size) for size in details["shape"]]
    # Images are larger than their number of channels.
    layout = "NHWC" if len(shape) == 4 and shape[-1] < shape[1] else "NCHW"
    scales, zeros = details["quantization_parameters"]["scales"], details["quantization_parameters"]["zero_points"]
    integer = np.issubdtype(details["dtype"], np.integer)
    scale, zero = (float(scales[0]), int(zeros[0])) if integer else (None, None)
    return TensorSpec("", details["name"], shape, layout, np.dtype(details["dtype"]).name, scale, zero)
