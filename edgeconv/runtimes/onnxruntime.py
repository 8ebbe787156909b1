"""ONNX Runtime.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import collections
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from edgeconv.errors import RuntimeUnavailableError
from edgeconv.records import Execution
from edgeconv.runtimes.base import DEFAULTS, Array, complete_options, not_installed, refused
from edgeconv.runtimes.kernels import Kernels

__all__ = ["OnnxRuntime", "import_onnxruntime", "kernels_of"]

_CPU = "CPUExecutionProvider"
_PROVIDERS = {
    "cpu": _CPU,
    "xnnpack": "XnnpackExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_OPTIMISATIONS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
_SPINNING = {"on": "1", "off": "0"}  # waiting threads turn in a loop: quicker, at the price of power
_SPINNING_KEY = "session.intra_op.allow_spinning"
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
_LAYOUT = ("Transpose", "ReorderInput", "ReorderOutput")
_NO_COMPUTATION = (*_QUANTISERS, *_LAYOUT, "Reshape")
_INTEGERS = ("int8", "uint8")
_KERNEL = "_kernel_time"  # ends the name of the event that is a kernel's run; others mark a node's begin and end
# What optimisers add to the name of the node that a kernel was made of.
_ADDED = re.compile(r"(_token_\d+|_nchwc|/duplicated|_quant)*$")
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

    def options(self) -> Dict[str, List[str]]:
        """Providers that this build has, graph optimisation level, and whether waiting threads spin."""
        available = import_onnxruntime().get_available_providers()
        return {
            "provider": [name for name, provider in _PROVIDERS.items() if provider in available],
            "optimisation": list(_OPTIMISATIONS),
            "spinning": list(_SPINNING),
        }

    def failures(self) -> Tuple[Type[Exception], ...]:
        """Its exceptions; they have no base in common but Exception."""
        import_onnxruntime()
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        own = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
        return (*own, ValueError, RuntimeError)

    def load(self, path: Path, threads: int, options: Mapping[str, str] = DEFAULTS) -> _Session:
        """A session on one provider, with the CPU's behind it for what that one does not take."""
        return _Session(self, path, threads, complete_options(self, options))

    def open(self, path: Path, threads: int, options: Mapping[str, str], trace: str = "") -> Any:
        """onnxruntime's own session; with `trace`, a profile goes to a file of that prefix."""
        ort = import_onnxruntime()
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _ERRORS_ONLY
        settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _OPTIMISATIONS[options["optimisation"]])
        settings.add_session_config_entry(_SPINNING_KEY, _SPINNING[options["spinning"]])
        if trace:
            settings.enable_profiling = True
            settings.profile_file_prefix = trace
        asked = _PROVIDERS[options["provider"]]
        # What TensorRT does not take is the other GPU provider's; the rest is the CPU's.
        behind = {"cpu": [], "tensorrt": [_PROVIDERS["cuda"], _CPU]}.get(options["provider"], [_CPU])
        # XNNPACK has threads of its own, whose number it is told apart.
        own = {"intra_op_num_threads": str(threads)} if options["provider"] == "xnnpack" else {}
        try:
            session = ort.InferenceSession(str(path), sess_options=settings, providers=[(asked, own), *behind])
        except self.failures() as error:
            raise refused(self.name, path, error) from error
        took = session.get_providers()
        if took[0] != asked:  # the library of a provider may be there and what it needs may not
            raise RuntimeUnavailableError(f"onnxruntime was asked for {asked} and took {', '.join(took)}.")
        return session


class _Session:
    def __init__(self, runtime: OnnxRuntime, path: Path, threads: int, options: Mapping[str, str]) -> None:
        self._runtime, self._path, self._threads, self._options = runtime, path, threads, options
        self._session = runtime.open(path, threads, options)
        self.input_names: List[str] = [port.name for port in self._session.get_inputs()]
        self.output_names: List[str] = [port.name for port in self._session.get_outputs()]
        self._run = self._session.run
        self._traced: Optional[List[Dict[str, Any]]] = None

    def run(self, inputs: List[Array]) -> List[Array]:
        """It reads the caller's arrays in place and returns new ones."""
        feeds = dict(zip(self.input_names, inputs))
        outputs: List[Array] = self._run(self.output_names, feeds)
        return outputs

    def evidence(self) -> Dict[str, str]:
        """Provider asked for and provider that the session holds."""
        settings = self._session.get_session_options()
        return {
            "provider": ", ".join(self._session.get_providers()),
            "provider asked": _PROVIDERS[self._options["provider"]],
            "threads": str(settings.intra_op_num_threads),
            "graph optimisation": settings.graph_optimization_level.name,
            "spinning": self._options["spinning"],
        }

    def execution(self, inputs: List[Array]) -> Execution:
        """Kernels by the provider that ran them, from the profile of one inference of a second session."""
        asked = _PROVIDERS[self._options["provider"]]
        ran = collections.Counter(_provider(event) for event in self._events(inputs) if event.get("cat") == "Node")
        ran.pop("", None)  # marks of a node's begin and end
        total = sum(ran.values())
        return Execution(
            requested=asked,
            used=", ".join(provider for provider, _ in ran.most_common()),
            operators=dict(ran.most_common()),
            share=ran[asked] / total if total else None,
            threads=self._session.get_session_options().intra_op_num_threads,
        )

    def kernels(self, inputs: List[Array]) -> Optional[Kernels]:
        """From the same profile."""
        return kernels_of(self._events(inputs))

    def _events(self, inputs: List[Array]) -> List[Dict[str, Any]]:
        if self._traced is None:
            with tempfile.TemporaryDirectory() as folder:
                traced = self._runtime.open(self._path, self._threads, self._options, str(Path(folder) / "trace"))
                traced.run(self.output_names, dict(zip(self.input_names, inputs)))
                self._traced = json.loads(Path(traced.end_profiling()).read_text(encoding="utf-8"))
        return self._traced


def kernels_of(events: Sequence[Mapping[str, Any]]) -> Optional[Kernels]:
    """What a profile tells: the kernels that ran, and the types of what they read.

    None where it names all kernels by their kind, as those of versions before 1.20 do: whose they are cannot be told.
    Later ones do so with a few that optimisers join of several nodes, such as SkipLayerNormalization.
    """
    runs = [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_KERNEL)]
    kernels = [(_ADDED.sub("", event["name"][: -len(_KERNEL)]), event["args"]) for event in runs]
    computing = [(name, args) for name, args in kernels if args["op_name"] not in _NO_COMPUTATION]
    if computing and all(name == args["op_name"] for name, args in computing):
        return None
    integer = {name for name, args in computing if _reads_integers(args["input_type_shape"])}
    return Kernels(
        integer=frozenset(integer),
        floating=tuple(dict.fromkeys(name for name, _ in computing if name not in integer)),
        quantisers=tuple(name for name, args in kernels if args["op_name"] in _QUANTISERS),
        layout_changes=sum(args["op_name"] in _LAYOUT for _, args in kernels),
    )


def _reads_integers(inputs: Sequence[Mapping[str, Any]]) -> bool:
    return any(kind in _INTEGERS for types in inputs for kind in types)


def _provider(event: Mapping[str, Any]) -> str:
    return str(event.get("args", {}).get("provider", ""))
