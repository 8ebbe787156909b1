"""What a wheel must fit: a machine, a Python and the system libraries, as a profile states them."""

from __future__ import annotations

import bisect
import dataclasses
import re

from edgeconv.devices.profile import DeviceProfile
from edgeconv.errors import ExportError
from edgeconv.export.wheels.elf import LibraryNeeds, Version, format_version, parse_version

__all__ = ["WheelPlatform", "profile_platform"]

# What libstdc++ the distributions ship beside a glibc: the newest GLIBCXX symbols, by the first glibc that has them.
_GLIBCXX_BESIDE_GLIBC: list[tuple[Version, Version]] = [
    ((2, 17), (3, 4, 19)),  # CentOS 7
    ((2, 24), (3, 4, 22)),  # Debian 9
    ((2, 27), (3, 4, 25)),  # Ubuntu 18.04, Debian 10
    ((2, 31), (3, 4, 28)),  # Ubuntu 20.04, Debian 11
    ((2, 34), (3, 4, 29)),  # RHEL 9
    ((2, 35), (3, 4, 30)),  # Ubuntu 22.04, Debian 12
    ((2, 39), (3, 4, 33)),  # Ubuntu 24.04, Debian 13
]
_OLDEST_TAG, _NEWEST_TAG = 5, 60  # manylinux_2_5 … manylinux_2_60
_ALIASES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclasses.dataclass(frozen=True)
class WheelPlatform:
    """`name` is the device's, for messages; `python` is like "3.11", `machine` like "aarch64"."""

    name: str
    machine: str
    python: str
    glibc: Version

    @property
    def glibcxx(self) -> Version:
        """The newest symbols of the libstdc++ that is found beside this glibc; () for one older than all known."""
        index = bisect.bisect_right(_GLIBCXX_BESIDE_GLIBC, self.glibc, key=lambda row: row[0])
        return _GLIBCXX_BESIDE_GLIBC[index - 1][1] if index else ()

    @property
    def interpreter(self) -> str:
        """Its tag: "cp311"."""
        return "cp" + self.python.replace(".", "")

    @property
    def tags(self) -> list[str]:
        """Platform tags in order of preference; tags newer than the glibc come last, for tags can overstate it."""
        own = min(self.glibc[1], _NEWEST_TAG)
        order = [*range(own, _OLDEST_TAG - 1, -1), *range(own + 1, _NEWEST_TAG + 1)]
        return [
            f"{tag}_{self.machine}"
            for minor in order
            for tag in (f"manylinux_2_{minor}", _ALIASES.get(minor))
            if tag is not None
        ]

    def misfit(self, needs: LibraryNeeds) -> str | None:
        """What a wheel needs that this platform has not, in words; None when it fits."""
        foreign = needs.machines - {self.machine}
        if foreign:
            return f"is compiled for {', '.join(sorted(foreign))}"
        if needs.glibc > self.glibc:
            return f"needs glibc {format_version(needs.glibc)}"
        if needs.glibcxx > self.glibcxx:
            return f"needs libstdc++ with GLIBCXX_{format_version(needs.glibcxx)}"
        return None

    def __str__(self) -> str:
        return f"{self.name} ({self.machine}, Python {self.python}, glibc {format_version(self.glibc)})"


def profile_platform(profile: DeviceProfile) -> WheelPlatform:
    """The platform of a profile whose system has a Python of its own.

    Raises:
        ExportError: the profile does not say what glibc its system has.
    """
    if not re.fullmatch(r"2\.[0-9]+", profile.glibc):
        raise ExportError(
            f"{profile.name} names no glibc ({profile.glibc or 'none'}), so no wheels can be chosen for it.",
            'Wheels are for Linux with glibc; in a profile of your own write glibc = "2.36" (see `ldd --version`).',
        )
    return WheelPlatform(profile.name, profile.machine, profile.python, parse_version(profile.glibc))
