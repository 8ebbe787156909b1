"""How files and commands get to a target and back, one small file a way behind one Protocol."""

from __future__ import annotations

from collections.abc import Callable

from edgeconv.devices.transports.adb import open_adb
from edgeconv.devices.transports.base import Completed, PushProgress, TargetSystem, Transport
from edgeconv.devices.transports.local import open_local
from edgeconv.devices.transports.ssh import open_ssh
from edgeconv.errors import DeviceError

__all__ = ["Completed", "PushProgress", "TargetSystem", "Transport", "open_transport"]


def _open_emulated(rest: str) -> Transport:
    from edgeconv.devices.emulate.transport import open_emulated  # it is made of these transports

    return open_emulated(rest)


# A new kind of target is one class and one line here.
_SCHEMES: dict[str, Callable[[str], Transport]] = {
    "local": open_local,
    "ssh": open_ssh,
    "adb": open_adb,
    "emulated": _open_emulated,
}


def open_transport(target: str) -> Transport:
    """Reach a target.

    Raises:
        DeviceError: the scheme is unknown, or the target cannot be reached.
    """
    scheme, colon, rest = target.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise DeviceError(
            f"{target!r} is no target.",
            "Write local: (this machine), ssh://[user@]host[:port], adb:SERIAL, or emulated:pi5.",
        )
    return _SCHEMES[scheme](rest)
