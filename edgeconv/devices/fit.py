"""Whether a bundle can run on a target at all; asked before anything is sent."""

from __future__ import annotations

from edgeconv.devices.profile import load_profile, profile_names
from edgeconv.devices.transports import TargetSystem
from edgeconv.errors import DeviceError

__all__ = ["refuse_misfit"]

_SAME = {"arm64": "aarch64", "amd64": "x86_64"}
_NARROW_ARM = ("armv6l", "armv7l", "armv8l", "arm")
_USE_64_BIT = "No runtime here has 32-bit wheels: install the 64-bit system (Raspberry Pi OS 64-bit, Ubuntu arm64)."


def refuse_misfit(where: str, system: TargetSystem, device: str) -> None:
    """Raise where the target cannot run a bundle that was exported for `device`, a profile's name.

    A profile of the user's own is not known by its name any more, so its machine is not compared.

    Raises:
        DeviceError: the target's programs are 32-bit, or its machine is another than the bundle's.
    """
    machine = _plain(system.machine)
    if system.android_abis == "":
        raise DeviceError(
            f"{where}: this Android has no 64-bit programs (ro.product.cpu.abilist64 is empty).",
            "No runtime here has 32-bit builds; another phone is needed.",
        )
    if machine in _NARROW_ARM:
        raise DeviceError(f"{where} is {system.machine}, a 32-bit ARM system.", _USE_64_BIT)
    if system.bits == 32:
        raise DeviceError(f"{where} has a 64-bit kernel ({system.machine}) with 32-bit programs.", _USE_64_BIT)
    wanted = _plain(load_profile(device).machine) if device in profile_names() else machine
    if machine != wanted:
        fitting = [name for name in profile_names() if _plain(load_profile(name).machine) == machine]
        raise DeviceError(
            f"The bundle is for {device} ({wanted}); {where} is {system.machine}.",
            f"Export it for that device: edgeconv export MODEL --device {' or '.join(fitting) or 'FILE.toml'}.",
        )


def _plain(machine: str) -> str:
    return _SAME.get(machine, machine)
