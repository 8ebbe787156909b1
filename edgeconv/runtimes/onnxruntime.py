"""ONNX Runtime on the CPU.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type

from edgeconv.errors import RuntimeUnavailableError
from edgeconv.runtimes.base import Array, not_installed, refused

__all__ = ["OnnxRuntime", "import_onnxruntime"]

_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3  # its warnings would come between the agent's own lines


def import_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off.

    The official builds since 1.29 send by default; the variable counts only when set before the library loads.

    Raises:
        RuntimeUnavailableError: not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise not_installed("onnxruntime", "onnxruntime", error) from error
    return onnxruntime


class OnnxRuntime:
    """`Runtime` for `.onnx` files."""

    name = "onnxruntime"

    def version(self) -> str:
        """Installed version."""
        return str(import_onnxruntime().__version__)

    def failures(self) -> Tuple[Type[Exception], ...]:
        """Its exceptions; they have no base in common but Exception."""
        import_onnxruntime()
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        own = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
        return (*own, ValueError, RuntimeError)

    def load(self, path: Path, threads: int) -> _Session:
        """A session on the CPU provider with every graph optimisation."""
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            session = ort.InferenceSession(str(path), sess_options=options, providers=[_PROVIDER])
        except self.failures() as error:
            raise refused(self.name, path, error) from error
        ran = session.get_providers()
        if ran != [_PROVIDER]:
            raise RuntimeUnavailableError(f"onnxruntime was asked for {_PROVIDER} and took {', '.join(ran)}.")
        return _Session(session)


class _Session:
    def __init__(self, session: Any) -> None:
        self._session = session
        self.input_names: List[str] = [port.name for port in session.get_inputs()]
        self.output_names: List[str] = [port.name for port in session.get_outputs()]
        self._run = session.run

    def run(self, inputs: List[Array]) -> List[Array]:
        """It reads the caller's arrays in place and returns new ones."""
        feeds = dict(zip(self.input_names, inputs))
        outputs: List[Array] = self._run(self.output_names, feeds)
        return outputs

    def evidence(self) -> Dict[str, str]:
        """Provider asked for and provider that the session holds."""
        options = self._session.get_session_options()
        return {
            "provider": ", ".join(self._session.get_providers()),
            "provider asked": _PROVIDER,
            "threads": str(options.intra_op_num_threads),
            "graph optimisation": options.graph_optimization_level.name,
        }
