"""TFLite files: by LiteRT (`ai_edge_litert`) and by its frozen predecessor (`tflite_runtime`), one interpreter API.

Part of the device agent: Python 3.8.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Type

from edgeconv.records import Execution
from edgeconv.runtimes.base import DEFAULTS, Array, complete_options, not_installed, refused

__all__ = ["LiteRt", "TfliteRuntime"]

_XNNPACK, _BUILT_IN = "XNNPACK", "built-in kernels"
_LATEST = "experimental_default_delegate_latest_features"
_DELEGATE = "DELEGATE"


class LiteRt:
    """`Runtime` for `.tflite` files."""

    name = "litert"
    _package = "ai-edge-litert"
    _module = "ai_edge_litert.interpreter"

    def version(self) -> str:
        """Installed version."""
        from importlib import metadata

        self._import()
        try:
            return metadata.version(self._package)
        except metadata.PackageNotFoundError:  # unpacked by hand, without its metadata
            return "unknown"

    def options(self) -> Dict[str, List[str]]:
        """Whether the default delegate XNNPACK is used and, where this version can, its experimental features."""
        found = {"xnnpack": ["on", "off"]}
        if _LATEST in inspect.signature(self._import().Interpreter.__init__).parameters:
            found["xnnpack-latest"] = ["off", "on"]
        return found

    def failures(self) -> Tuple[Type[Exception], ...]:
        """The interpreter raises Python's own."""
        return (ValueError, RuntimeError)

    def load(self, path: Path, threads: int, options: Mapping[str, str] = DEFAULTS) -> _Session:
        """An interpreter with or without its default delegate, tensors allocated."""
        module, chosen = self._import(), complete_options(self, options)
        settings: Dict[str, Any] = {"model_path": str(path), "num_threads": threads}
        if chosen["xnnpack"] == "off":
            settings["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if chosen.get("xnnpack-latest") == "on":
            settings[_LATEST] = True
        try:
            interpreter = module.Interpreter(**settings)
            interpreter.allocate_tensors()
        except self.failures() as error:
            raise refused(self.name, path, error) from error
        delegated = chosen["xnnpack"] == "on" and self._delegates(interpreter)
        return _Session(interpreter, threads, _XNNPACK if delegated else _BUILT_IN)

    def _delegates(self, interpreter: Any) -> bool:
        """Whether the default delegate is for models like this one."""
        return True

    def _import(self) -> Any:
        try:
            return importlib.import_module(self._module)
        except ImportError as error:
            raise not_installed(self.name, self._package, error) from error


class TfliteRuntime(LiteRt):
    """The same for Pythons that LiteRT has no wheel for; 2.14.0 was its last release and needs numpy below 2."""

    name = "tflite_runtime"
    _package = "tflite-runtime"
    _module = "tflite_runtime.interpreter"

    def _delegates(self, interpreter: Any) -> bool:
        """Its XNNPACK leaves int8 models to the built-in kernels."""
        return all(tensor["dtype"].__name__.startswith("float") for tensor in interpreter.get_input_details())


class _Session:
    def __init__(self, interpreter: Any, threads: int, asked: str) -> None:
        self._interpreter, self._threads, self._asked = interpreter, threads, asked
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
        nodes = self._nodes()
        found = {"provider": "unknown", "threads": str(self._threads)}
        if nodes is not None:
            partitions = sum(node["op_name"] == _DELEGATE for node in nodes)
            found["provider"] = _XNNPACK if partitions else _BUILT_IN
            found["delegate partitions"] = str(partitions)
        return found

    def execution(self, inputs: List[Array]) -> Execution:
        """Operators by what runs them: those that a delegate replaced stay in the interpreter's list of nodes."""
        nodes = self._nodes()
        if nodes is None:
            return Execution(self._asked, "unknown")
        operators = [node for node in nodes if node["op_name"] != _DELEGATE]
        taken = _replaced(operators, [node for node in nodes if node["op_name"] == _DELEGATE])
        counts = {_XNNPACK: len(taken), _BUILT_IN: len(operators) - len(taken)}
        ran = {name: count for name, count in sorted(counts.items(), key=lambda item: -item[1]) if count}
        share = counts[self._asked] / len(operators) if operators else None
        return Execution(self._asked, ", ".join(ran), ran, share)

    def kernels(self, inputs: List[Array]) -> None:
        """Kernels follow from the types in the file; the interpreter does not know the operators' names."""

    def _nodes(self) -> Optional[List[Dict[str, Any]]]:
        listed = getattr(self._interpreter, "_get_ops_details", None)  # private, present since TensorFlow 2.5
        return None if listed is None else list(listed())


def _replaced(operators: Sequence[Mapping[str, Any]], delegates: Sequence[Mapping[str, Any]]) -> Set[int]:
    """Indices of the operators between the inputs and the outputs of a delegate's node."""
    makers = {int(tensor): node for node in operators for tensor in node["outputs"]}
    found: Set[int] = set()
    for delegate in delegates:
        known = {int(tensor) for tensor in delegate["inputs"]}
        wanted = [int(tensor) for tensor in delegate["outputs"]]
        while wanted:
            tensor = wanted.pop()
            maker = makers.get(tensor)
            if tensor in known or maker is None:
                continue
            known.add(tensor)
            found.add(int(maker["index"]))
            wanted.extend(int(source) for source in maker["inputs"] if source >= 0)
    return found
