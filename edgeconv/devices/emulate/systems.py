"""The two systems that a board can run: how their images are made, where they listen, and what they say first."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path

from edgeconv.devices.emulate.android import build_android, greets_adb
from edgeconv.devices.emulate.cache import Progress
from edgeconv.devices.emulate.debian import build_debian, greets_ssh
from edgeconv.devices.emulate.kernel import Kernel, build_kernel
from edgeconv.devices.emulate.tree import SUITE, arm64_tree

__all__ = ["SYSTEMS", "Image", "System", "board_image"]


@dataclasses.dataclass(frozen=True)
class Image:
    """What QEMU boots, in folders of the cache; `directory` also holds what a login needs."""

    directory: Path
    kernel: Kernel

    @property
    def disk(self) -> Path:
        """The root file system."""
        return self.directory / "disk.img"


@dataclasses.dataclass(frozen=True)
class System:
    """A kind of guest. `greets` says whether who answers a fresh connection is the guest's own server."""

    build: Callable[[Path, Progress, bool], Path]
    greets: Callable[[socket.socket], bool]
    guest_port: int


SYSTEMS = {
    "android": System(build_android, greets_adb, 5555),
    "debian": System(build_debian, greets_ssh, 22),
}


def board_image(
    system: str, *, suite: str = SUITE, progress: Progress = lambda stage: None, rebuild: bool = False
) -> Image:
    """The image of a system, built when it is not in the cache: 20 to 60 s, most of it for the download.

    Raises:
        DeviceError: a tool is missing or failed, or the packages cannot be fetched.
    """
    tree = arm64_tree(suite, progress=progress, rebuild=rebuild)
    kernel = build_kernel(tree, rebuild=rebuild)
    return Image(SYSTEMS[system].build(tree, progress, rebuild), kernel)
