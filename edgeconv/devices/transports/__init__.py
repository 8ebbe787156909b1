"""How files and commands get to a target and back, one small file a way behind one Protocol."""

from __future__ import annotations

from collections.abc import Callable

from edgeconv.devices.transports.base import Completed, Transport
from edgeconv.devices.transports.local import open_local
from edgeconv.errors import DeviceError

__all__ = ["Completed", "Transport", "open_transport"]

# A new kind of target is one class and one line here.
_SCHEMES: dict[str, Callable[[str], Transport]] = {"local": open_local}


def open_transport(target: str) -> Transport:
    """Reach a target.

    Raises:
        DeviceError: the scheme is unknown, or the target cannot be reached.
    """
    scheme, colon, rest = target.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise DeviceError(
            f"{target!r} is no target that this version can reach.",
            "Use local: for this machine. ssh:, adb: and emulated: come with a later version; until then copy the "
            "bundle to the device and run its agent.pyz there.",
        )
    return _SCHEMES[scheme](rest)
