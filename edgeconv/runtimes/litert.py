"""TFLite files: by LiteRT (`ai_edge_litert`) and by its frozen predecessor (`tflite_runtime`), one interpreter API.

Part of the device agent: Python 3.8.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type

from edgeconv.runtimes.base import Array, not_installed, refused

__all__ = ["LiteRt", "TfliteRuntime"]


class LiteRt:
    """`Runtime` for `.tflite` files."""

    name = "litert"
    _package = "ai-edge-litert"
    _module = "ai_edge_litert.interpreter"

    def version(self) -> str:
        """Installed version."""
        from importlib import metadata

        self._interpreter()
        try:
            return metadata.version(self._package)
        except metadata.PackageNotFoundError:  # unpacked by hand, without its metadata
            return "unknown"

    def failures(self) -> Tuple[Type[Exception], ...]:
        """The interpreter raises Python's own."""
        return (ValueError, RuntimeError)

    def load(self, path: Path, threads: int) -> _Session:
        """An interpreter with its default delegate, tensors allocated."""
        interpreter_class = self._interpreter()
        try:
            interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        except self.failures() as error:
            raise refused(self.name, path, error) from error
        return _Session(interpreter, threads)

    def _interpreter(self) -> Any:
        try:
            return importlib.import_module(self._module).Interpreter
        except ImportError as error:
            raise not_installed(self.name, self._package, error) from error


class TfliteRuntime(LiteRt):
    """The same for Pythons that LiteRT has no wheel for; 2.14.0 was its last release and needs numpy below 2."""

    name = "tflite_runtime"
    _package = "tflite-runtime"
    _module = "tflite_runtime.interpreter"


class _Session:
    def __init__(self, interpreter: Any, threads: int) -> None:
        self._interpreter = interpreter
        self._threads = threads
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self.input_names: List[str] = [tensor["name"] for tensor in inputs]
        self.output_names: List[str] = [tensor["name"] for tensor in outputs]
        self._inputs: List[int] = [tensor["index"] for tensor in inputs]
        self._outputs: List[int] = [tensor["index"] for tensor in outputs]

    def run(self, inputs: List[Array]) -> List[Array]:
        """`set_tensor` copies in, `get_tensor` copies out."""
        interpreter = self._interpreter
        for index, array in zip(self._inputs, inputs):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]

    def evidence(self) -> Dict[str, str]:
        """Whether the default delegate, XNNPACK, took operators; the interpreter lists one node a partition."""
        found = {"provider": "unknown", "threads": str(self._threads)}
        list_operators = getattr(self._interpreter, "_get_ops_details", None)  # private, present since TensorFlow 2.5
        if list_operators is not None:
            partitions = sum(operator["op_name"] == "DELEGATE" for operator in list_operators())
            found["provider"] = "XNNPACK" if partitions else "built-in kernels"
            found["delegate partitions"] = str(partitions)
        return found
