"""The one Protocol that every runtime implements.  Part of the device agent: Python 3.8, no torch."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Protocol, Tuple, Type

from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.records import Execution
from edgeconv.runtimes.kernels import Kernels

if TYPE_CHECKING:  # devices have numpy without numpy.typing; annotations are never evaluated
    import numpy.typing as npt

    Array = npt.NDArray[Any]
else:
    Array = Any

__all__ = ["DEFAULTS", "Array", "Runtime", "Session", "complete_options", "not_installed", "refused"]

DEFAULTS: Mapping[str, str] = {}  # no option asked for


class Session(Protocol):
    """A loaded model.  Arrays go in and come out in the artefact's own order, layout and dtype."""

    input_names: List[str]
    output_names: List[str]

    def run(self, inputs: List[Array]) -> List[Array]:
        """One inference, complete when it returns.

        This is what is timed, so every runtime does the same work: it takes contiguous arrays of the caller,
        computes, and returns arrays that belong to the caller and that no later inference overwrites.
        """
        ...

    def evidence(self) -> Dict[str, str]:
        """What the runtime says of itself: `provider`, `threads`, precision hint, …"""
        ...

    def execution(self, inputs: List[Array]) -> Execution:
        """What was asked for and what really runs, operator by operator where the runtime tells.

        It may load the model again and run it once, with tracing: not for a process that is still being timed.
        """
        ...

    def kernels(self, inputs: List[Array]) -> Optional[Kernels]:
        """Which operators of an int8 artefact integers are computed with, as its own optimiser left them.

        None where the runtime does not tell. It may run the model as `execution` does.
        """
        ...


class Runtime(Protocol):
    """A runtime that may or may not be installed."""

    name: str

    def version(self) -> str:
        """Installed version.  Imports the runtime.

        Raises:
            RuntimeUnavailableError: not installed, with the command that would install it.
        """
        ...

    def options(self) -> Dict[str, List[str]]:
        """What can be set here, by name: the allowed values, the default first.  Imports the runtime.

        Raises:
            RuntimeUnavailableError: not installed.
        """
        ...

    def load(self, path: Path, threads: int, options: Mapping[str, str] = DEFAULTS) -> Session:
        """Load a model file for inference with `threads` threads.

        Raises:
            UsageError: there is no such option or value here.
            RuntimeUnavailableError: not installed, or the runtime refuses the file, or would not run it as asked.
        """
        ...

    def failures(self) -> Tuple[Type[Exception], ...]:
        """What `Session.run` raises when the runtime fails.  Imports the runtime."""
        ...


def complete_options(runtime: Runtime, asked: Mapping[str, str]) -> Dict[str, str]:
    """Every option of `runtime` with the value asked for or its default.

    Raises:
        UsageError: there is no such option or value here.
    """
    allowed = runtime.options()
    for name, value in asked.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(allowed)}."
            raise UsageError(f"{runtime.name} has no option called {name!r}.", hint)
        if value not in allowed[name]:
            raise UsageError(
                f"{runtime.name} cannot have {name}={value} here.", f"Possible here: {', '.join(allowed[name])}."
            )
    return {name: asked.get(name, values[0]) for name, values in allowed.items()}


def not_installed(runtime: str, package: str, error: ImportError) -> RuntimeUnavailableError:
    """The error for a runtime that cannot be imported here."""
    return RuntimeUnavailableError(
        f"{runtime} cannot be imported here: {error}.", f"Install it on this machine: python3 -m pip install {package}"
    )


def refused(runtime: str, path: Path, error: Exception) -> RuntimeUnavailableError:
    """The error for a model file that a runtime does not load, in the last line of its own words."""
    words = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return RuntimeUnavailableError(f"{runtime} does not load {path.name}: {words[-1]}")
