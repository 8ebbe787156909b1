"""OpenVINO on the CPU.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type

from edgeconv.errors import RuntimeUnavailableError
from edgeconv.runtimes.base import Array, not_installed, refused

__all__ = ["OpenVino", "import_openvino"]

_TELEMETRY = "openvino_telemetry"
_PRECISION = "INFERENCE_PRECISION_HINT"
_NO_COMPUTATION = ("", "Const", "Input", "Output", "Reshape")
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

    def version(self) -> str:
        """Installed version, without the build's hash."""
        return str(import_openvino().get_version()).split("-", 1)[0]

    def failures(self) -> Tuple[Type[Exception], ...]:
        """Its exceptions are Python's own."""
        return (ValueError, RuntimeError, TypeError)

    def load(self, path: Path, threads: int) -> _Session:
        """A model compiled for low latency, computing floats in f32: left alone it takes bf16 or f16 where it can."""
        openvino = import_openvino()
        asked = {"PERFORMANCE_HINT": "LATENCY", _PRECISION: "f32", "INFERENCE_NUM_THREADS": threads}
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", asked)
            took = _text(compiled.get_property(_PRECISION))
            session = _Session(compiled)
        except self.failures() as error:
            raise refused(self.name, path, error) from error
        if took != "f32":
            raise RuntimeUnavailableError(f"openvino was asked to compute floats in f32 and took {took}.")
        return session


class _Session:
    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
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
        found = {"provider": ", ".join(map(str, devices)), "precision hint asked": "f32"}
        supported = self._compiled.get_property("SUPPORTED_PROPERTIES")
        for label, name in _PROPERTIES.items():
            if name in supported:
                found[label] = _text(self._compiled.get_property(name))
        kinds = collections.Counter(_kind(node) for node in self._compiled.get_runtime_model().get_ordered_ops())
        found["nodes"] = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common() if kind)
        return found


def _kind(node: Any) -> str:
    """Layer and kernel of a node, such as "Convolution brgconv_avx512_I8"; empty for what computes nothing.

    The kernel's name ends in the precision that it computes in; `runtimePrecision` is that of the narrowest tensor, so
    it says f16 of an f32 kernel that reads f16 weights.
    """
    info = node.get_rt_info()
    layer, kernel = (info[key].astype(str) if key in info else "" for key in ("layerType", "primitiveType"))
    return "" if layer in _NO_COMPUTATION else f"{layer} {kernel}"


def _text(value: Any) -> str:
    return str(value.get_type_name()) if hasattr(value, "get_type_name") else str(value)
