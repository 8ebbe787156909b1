"""A Python of our own for devices that have none: Android, small embedded systems, systems whose Python is too old.

A pack is a folder of glibc, CPython and wheels that is started by its own loader, so it needs nothing of the system
but a Linux kernel for arm64 and a POSIX shell. It is cut from Debian's packages without running an arm64 instruction.
"""

from __future__ import annotations

from edgeconv.devices.pack.build import PACK_GLIBC, PACK_PYTHON, build_pack, cached_pack

__all__ = ["PACK_GLIBC", "PACK_PYTHON", "build_pack", "cached_pack"]
