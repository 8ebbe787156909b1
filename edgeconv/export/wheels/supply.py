"""What a device is given so that it can run the bundle's agent: wheels for its own Python, or a Python of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgeconv.benchmarks.agent.install import LockedWheel, WheelLock
from edgeconv.bundles import LOCK_PATH, PACK_PATH, WHEELS_PATH
from edgeconv.devices.pack import PACK_GLIBC, PACK_PYTHON, cached_pack
from edgeconv.devices.profile import DeviceProfile
from edgeconv.errors import UsageError
from edgeconv.export.bundle import Supply
from edgeconv.export.wheels.elf import format_version, parse_version
from edgeconv.export.wheels.platform import WheelPlatform, profile_platform
from edgeconv.export.wheels.resolve import Wheel, resolve_wheels

__all__ = ["make_supply"]


_OLDEST_PYTHON = (3, 8)  # the agent's
_OLDEST_GLIBC = (2, 17)  # of any wheel for it


def make_supply(
    profile: DeviceProfile, runtimes: Iterable[str], progress: Callable[[str], None] = lambda stage: None
) -> Supply:
    """The files that `--with-wheels` adds to a bundle: hash-locked wheels, or one pack where there is no Python.

    Runtimes that the profile names no requirements for (TensorRT) come with the device's system.

    Raises:
        UsageError: no runtime of the bundle comes as a wheel.
        ExportError: no wheels fit, or the registry is out of reach.
        DeviceError: a pack is needed and its parts cannot be had.
    """
    requirements = [text for runtime in runtimes for text in profile.requirements.get(runtime, [])]
    if not requirements:
        raise UsageError(
            f"{profile.name}: none of {', '.join(runtimes)} comes as a wheel.",
            "Export without --with-wheels; in a profile of your own, [requirements] says what pip is asked for.",
        )
    if parse_version(profile.python) >= _OLDEST_PYTHON:
        platform = profile_platform(profile)
        return _wheel_files(platform, resolve_wheels(platform, requirements, progress))
    platform = WheelPlatform(profile.name, profile.machine, PACK_PYTHON, parse_version(PACK_GLIBC))
    wheels = resolve_wheels(platform, requirements, progress)
    progress(f"pack for {profile.name}")
    return {PACK_PATH: cached_pack(profile.machine, [wheel.path for wheel in wheels], progress)}


def _wheel_files(platform: WheelPlatform, wheels: Iterable[Wheel]) -> Supply:
    found = list(wheels)
    needed = max([_OLDEST_GLIBC, *(wheel.needs.glibc for wheel in found)])
    locked = [LockedWheel(wheel.name, wheel.version, wheel.sha256, wheel.path.name) for wheel in found]
    lock = WheelLock(platform.machine, platform.python, format_version(needed), locked)
    return {
        LOCK_PATH: lock.text().encode(),
        **{f"{WHEELS_PATH}/{wheel.path.name}": wheel.path for wheel in found},
    }
