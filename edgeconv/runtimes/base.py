"""The one Protocol that every runtime implements.  Part of the device agent: Python 3.8, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Protocol, Tuple, Type

from edgeconv.errors import RuntimeUnavailableError

if TYPE_CHECKING:  # devices have numpy without numpy.typing; annotations are never evaluated
    import numpy.typing as npt

    Array = npt.NDArray[Any]
else:
    Array = Any

__all__ = ["Array", "Runtime", "Session", "not_installed", "refused"]


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
        """What the runtime says of itself: `provider` (what really ran), `threads`, precision hint, …"""
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

    def load(self, path: Path, threads: int) -> Session:
        """Load a model file for inference with `threads` threads.

        Raises:
            RuntimeUnavailableError: not installed, or the runtime refuses the file, or would not run it as asked.
        """
        ...

    def failures(self) -> Tuple[Type[Exception], ...]:
        """What `Session.run` raises when the runtime fails.  Imports the runtime."""
        ...


def not_installed(runtime: str, package: str, error: ImportError) -> RuntimeUnavailableError:
    """The error for a runtime that cannot be imported here."""
    return RuntimeUnavailableError(
        f"{runtime} cannot be imported here: {error}.", f"Install it on this machine: python3 -m pip install {package}"
    )


def refused(runtime: str, path: Path, error: Exception) -> RuntimeUnavailableError:
    """The error for a model file that a runtime does not load, in the last line of its own words."""
    words = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return RuntimeUnavailableError(f"{runtime} does not load {path.name}: {words[-1]}")
