"""One small file a runtime, behind one Protocol.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import difflib
from typing import Dict, List

from edgeconv.errors import UsageError
from edgeconv.runtimes.base import Runtime, Session
from edgeconv.runtimes.litert import LiteRt, TfliteRuntime
from edgeconv.runtimes.onnxruntime import OnnxRuntime
from edgeconv.runtimes.openvino import OpenVino

__all__ = ["Runtime", "Session", "get_runtime", "runtime_names"]

# A new runtime is one file and one line here.
_RUNTIMES: Dict[str, Runtime] = {
    runtime.name: runtime for runtime in (LiteRt(), OnnxRuntime(), OpenVino(), TfliteRuntime())
}


def runtime_names() -> List[str]:
    """The runtimes that edgeconv knows, installed or not."""
    return list(_RUNTIMES)


def get_runtime(name: str) -> Runtime:
    """The runtime called `name`; nothing is imported before it is used.

    Raises:
        UsageError: no such runtime; near names are suggested.
    """
    try:
        return _RUNTIMES[name]
    except KeyError:
        near = difflib.get_close_matches(name, _RUNTIMES, n=2, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(_RUNTIMES)}."
        raise UsageError(f"No runtime is called {name!r}.", hint) from None
