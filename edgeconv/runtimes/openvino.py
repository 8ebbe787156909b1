"""OpenVINO on the CPU.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import collections
import platform
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Set, Tuple, Type

from edgeconv.errors import RuntimeUnavailableError
from edgeconv.records import Execution
from edgeconv.runtimes.base import DEFAULTS, Array, complete_options, not_installed, refused
from edgeconv.runtimes.kernels import ROW, Kernels

__all__ = ["OpenVino", "import_openvino"]

_TELEMETRY = "openvino_telemetry"
_PRECISION = "INFERENCE_PRECISION_HINT"
# What floats can be computed in, by the capability that a device names.
_FLOATS = {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}
_HINTS = {"latency": "LATENCY", "throughput": "THROUGHPUT"}
_NO_COMPUTATION = ("", "Const", "Input", "Output", "Reshape")
_LAYOUT = ("Reorder", "Transpose")
_QUANTISER = re.compile(r"(Quantize|Dequantize)Linear(_\d+)?$")  # it adds numbers to copies
_BIAS = "/WithoutBiases"  # what it adds to the name of a convolution with a bias
_INTEGER = ("i8", "u8")
_PROPERTIES = {
    "precision hint": _PRECISION,
    "performance hint": "PERFORMANCE_HINT",
    "threads": "INFERENCE_NUM_THREADS",
    "streams": "NUM_STREAMS",
    "cpu pinning": "ENABLE_CPU_PINNING",
}


def import_openvino() -> Any:
    """Import openvino with its telemetry off.

    A mere ``import openvino`` sends an event, unless the user has declined by a file in the home directory: consent is
    presumed.  It falls back to a stub of its own where the telemetry package cannot be imported; so that is what it
    finds, for the length of this import.

    Raises:
        RuntimeUnavailableError: not installed.
    """
    hidden = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise not_installed("openvino", "openvino", error) from error
    finally:
        if hidden:
            del sys.modules[_TELEMETRY]
    return openvino


class OpenVino:
    """`Runtime` for OpenVINO IR (`.xml` with its `.bin`)."""

    name = "openvino"

    def __init__(self) -> None:
        self._core: Any = None

    def version(self) -> str:
        """Installed version, without the build's hash."""
        return str(import_openvino().get_version()).split("-", 1)[0]

    def failures(self) -> Tuple[Type[Exception], ...]:
        """Its exceptions are Python's own."""
        return (ValueError, RuntimeError, TypeError)

    def options(self) -> Dict[str, List[str]]:
        """Performance hint, what floats are computed in where the CPU can, number of streams."""
        capabilities = self._device().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return {
            "hint": list(_HINTS),
            "precision": [name for name, capability in _FLOATS.items() if capability in capabilities],
            "streams": ["auto", "1"],
        }

    def load(self, path: Path, threads: int, options: Mapping[str, str] = DEFAULTS) -> _Session:
        """A model compiled for low latency, computing floats in f32: left alone it takes bf16 or f16 where it can."""
        chosen = complete_options(self, options)
        asked = {
            "PERFORMANCE_HINT": _HINTS[chosen["hint"]],
            _PRECISION: chosen["precision"],
            "INFERENCE_NUM_THREADS": threads,
        }
        if chosen["streams"] != "auto":
            asked["NUM_STREAMS"] = chosen["streams"]
        try:
            compiled = self._device().compile_model(str(path), "CPU", asked)
            took = _text(compiled.get_property(_PRECISION))
            session = _Session(compiled, chosen["precision"])
        except self.failures() as error:
            raise refused(self.name, path, error) from error
        if took != chosen["precision"]:
            raise RuntimeUnavailableError(
                f"openvino was asked to compute floats in {chosen['precision']} and took {took}."
            )
        return session

    def _device(self) -> Any:
        """OpenVINO's core, made once: with it the CPU plugin is loaded."""
        if self._core is None:
            self._core = import_openvino().Core()
        return self._core


class _Session:
    def __init__(self, compiled: Any, precision: str) -> None:
        self._compiled, self._precision = compiled, precision
        self._request = compiled.create_infer_request()
        self.input_names: List[str] = [port.get_any_name() for port in compiled.inputs]
        self.output_names: List[str] = [port.get_any_name() for port in compiled.outputs]
        # Views of the request's own tensors; they stay in place because every shape is static.
        self._inputs = [self._request.get_input_tensor(i).data for i in range(len(compiled.inputs))]
        self._outputs = [self._request.get_output_tensor(i).data for i in range(len(compiled.outputs))]
        self._infer = self._request.infer

    def run(self, inputs: List[Array]) -> List[Array]:
        """Copied in, computed, copied out; `infer` by itself would copy through a dictionary, more slowly."""
        for view, array in zip(self._inputs, inputs):
            view[...] = array
        self._infer(share_outputs=True)
        return [view.copy() for view in self._outputs]

    def evidence(self) -> Dict[str, str]:
        """Device and hints as the compiled model reads them back, and how many nodes of a kind ran on which kernel."""
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        found = {"provider": ", ".join(map(str, devices)), "precision hint asked": self._precision}
        supported = self._compiled.get_property("SUPPORTED_PROPERTIES")
        for label, name in _PROPERTIES.items():
            if name in supported:
                found[label] = _text(self._compiled.get_property(name))
        kinds = collections.Counter(" ".join(kind) for kind in self._kinds())
        found["nodes"] = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        return found

    def execution(self, inputs: List[Array]) -> Execution:
        """Nodes by the precision that their kernel computes in, as the compiled model tells."""
        devices = ", ".join(map(str, self._compiled.get_property("EXECUTION_DEVICES")))
        took = _text(self._compiled.get_property(_PRECISION))
        ran = collections.Counter(kernel.rsplit("_", 1)[-1].lower() for _, kernel in self._kinds())
        total = sum(ran.values())
        other = sum(count for name, count in ran.items() if name in _FLOATS and name != self._precision)
        return Execution(
            requested=f"CPU {self._precision}",
            used=f"{devices} {took}",
            operators=dict(ran.most_common()),
            share=1 - other / total if total else None,
            precision=took,
            threads=int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
        )

    def kernels(self, inputs: List[Array]) -> Kernels:
        """The kernel of each node of the compiled model's own graph, and the operators that it was fused from."""
        integer: Set[str] = set()
        floating: Dict[str, None] = {}
        quantisers: List[str] = []
        layout = 0
        for node in self._nodes():
            layer, kernel = _kind(node)
            if layer in _LAYOUT:
                layout += _kind(node.input_value(0).get_node())[0] != "Const"
                continue
            names = [_operator(name) for name in _told(node, "originalLayersNames").split(",")]
            operators = [name for name in names if not _QUANTISER.search(name)]
            if not operators:
                quantisers.append(names[0])
            elif kernel.lower().endswith(_INTEGER):
                integer.update(operators)
            else:
                floating.update(dict.fromkeys(operators))
        return Kernels(frozenset(integer), tuple(floating), tuple(quantisers), layout, platform.machine())

    def _kinds(self) -> List[Tuple[str, str]]:
        return [_kind(node) for node in self._nodes()]

    def _nodes(self) -> List[Any]:
        nodes = self._compiled.get_runtime_model().get_ordered_ops()
        return [node for node in nodes if _kind(node)[0] not in _NO_COMPUTATION]


def _kind(node: Any) -> Tuple[str, str]:
    """Layer and kernel of a node, such as ("Convolution", "brgconv_avx512_I8").

    The kernel's name ends in the precision that it computes in; `runtimePrecision` is that of the narrowest tensor, so
    it says f16 of an f32 kernel that reads f16 weights.
    """
    return _told(node, "layerType"), _told(node, "primitiveType")


def _told(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _operator(layer: str) -> str:
    """The ONNX node behind a name of OpenVINO's."""
    return (layer[: -len(_BIAS)] if layer.endswith(_BIAS) else layer).split(ROW)[0]


def _text(value: Any) -> str:
    return str(value.get_type_name()) if hasattr(value, "get_type_name") else str(value)
