"""`emulated:BOARD`: a guest as a target, over real OpenSSH or the real adb."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.emulate.cache import Progress
from edgeconv.devices.emulate.guest import HOST, Guest
from edgeconv.devices.emulate.login import ssh_login
from edgeconv.devices.emulate.running import find_running, temporary_guest
from edgeconv.devices.emulate.systems import board_image
from edgeconv.devices.emulate.tools import require_tools
from edgeconv.devices.transports.adb import AdbTransport
from edgeconv.devices.transports.base import Transport
from edgeconv.devices.transports.ssh import SshTransport

__all__ = ["open_emulated", "open_guest"]

# The user's own configuration is for the user's own hosts; our key and the image's host key are all that counts here.
_SSH_OPTIONS = ("-F", "none", "-o", "StrictHostKeyChecking=yes")


class _GuestOverSsh(SshTransport):
    """A Debian guest. What `owned` holds ends with the connection."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.owned = guest, contextlib.ExitStack()
        login, where = ssh_login(guest), f"emulated:{guest.board.name}"
        super().__init__(HOST, guest.port, login.user, login.identity, login.known_hosts, _SSH_OPTIONS, where)

    def close(self) -> None:
        """Disconnect, then end the guest if it was booted for this."""
        with self.owned:
            super().close()


class _GuestOverAdb(AdbTransport):
    """An Android-like guest. What `owned` holds ends with the connection."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.owned = guest, contextlib.ExitStack()
        super().__init__(f"{HOST}:{guest.port}")

    def close(self) -> None:
        """Disconnect, then end the guest if it was booted for this."""
        with self.owned:
            super().close()


_WAYS: dict[str, Callable[[Guest], _GuestOverSsh | _GuestOverAdb]] = {
    "android": _GuestOverAdb,
    "debian": _GuestOverSsh,
}


def open_emulated(rest: str, *, progress: Progress = lambda stage: None) -> Transport:
    """``emulated:BOARD``: the one that `edgeconv devices emulate` started, else one that is booted for this and ends
    with it; its image is built when it is not in the cache.

    Raises:
        DeviceError: no such board, a tool is missing, or the guest does not boot.
    """
    board = find_board(rest)
    with contextlib.ExitStack() as stack:
        guest = find_running(board)
        if guest is None:
            require_tools("qemu-system-aarch64")
            image = board_image(board.system, progress=progress)
            guest = stack.enter_context(temporary_guest(board, image, progress=progress))
        transport = _WAYS[board.system](guest)
        transport.owned = stack.pop_all()
    return transport


def open_guest(guest: Guest) -> Transport:
    """A connection to a guest that somebody else ends."""
    return _WAYS[guest.board.system](guest)
