"""What the shared libraries of a wheel need of the system they are loaded on, read from their symbol versions.

The platform tag of a wheel says what its builder meant, the symbols say what the loader will ask for: wheels of
ai-edge-litert 2.1.2 and later are tagged glibc 2.27 and need 2.34; those of openvino are tagged 2.35 and need 2.34.
"""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edgeconv.errors import ExportError

__all__ = ["LibraryNeeds", "Version", "format_version", "parse_version", "read_needs"]

Version = tuple[int, ...]

_NONE: Version = ()
_SHARED_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?$")
_VERSIONED = re.compile(r"(GLIBC|GLIBCXX)_([0-9]+(?:\.[0-9]+)+)$")
_RELR = "GLIBC_ABI_DT_RELR"  # packed relocations: a loader before 2.36 refuses the file
_RELR_SINCE = (2, 36)
_LIBSTDCXX = "libstdc++"
_MACHINES = {"AArch64": "aarch64", "x64": "x86_64", "ARM": "armv7l", "x86": "i686"}


@dataclasses.dataclass(frozen=True)
class LibraryNeeds:
    """The newest symbol versions asked for by any shared library of a wheel, and what they are compiled for.

    `glibc` is a version of glibc (2, 28), `glibcxx` one of libstdc++'s GLIBCXX symbols (3, 4, 30); () where none is
    asked for. `machines` are names as `uname -m` has them.
    """

    glibc: Version
    glibcxx: Version
    machines: frozenset[str]


def parse_version(text: str) -> Version:
    """(2, 28) for "2.28", () for ""."""
    return tuple(int(part) for part in text.split(".") if part)


def format_version(version: Version) -> str:
    """ "2.28" for (2, 28)."""
    return ".".join(map(str, version))


def read_needs(wheel: Path) -> LibraryNeeds:
    """Look into every shared library of a wheel.

    A libstdc++ that the wheel brings along is used instead of the system's, so its versions are no need.

    Raises:
        ExportError: the file is no wheel, or a library in it cannot be read.
    """
    glibc, glibcxx, machines = _NONE, _NONE, set[str]()
    own_libstdcxx = False
    for name, data in _libraries(wheel):
        own_libstdcxx = own_libstdcxx or _LIBSTDCXX in name
        machine, versions = _read_library(wheel, name, data)
        machines.add(machine)
        for version in versions:
            if version == _RELR:
                glibc = max(glibc, _RELR_SINCE)
            elif match := _VERSIONED.match(version):
                number = parse_version(match[2])
                if match[1] == "GLIBC":
                    glibc = max(glibc, number)
                else:
                    glibcxx = max(glibcxx, number)
    return LibraryNeeds(glibc, _NONE if own_libstdcxx else glibcxx, frozenset(machines))


def _libraries(wheel: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if _SHARED_LIBRARY.search(name):
                    yield name, archive.read(name)
    except (zipfile.BadZipFile, OSError) as error:
        raise ExportError(f"{wheel.name} is no wheel: {error}.", "Export again, it is fetched anew.") from error


def _read_library(wheel: Path, name: str, data: bytes) -> tuple[str, set[str]]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    try:
        library = ELFFile(io.BytesIO(data))
        machine = library.get_machine_arch()
        versions = {
            auxiliary.name
            for section in library.iter_sections()
            if isinstance(section, GNUVerNeedSection)
            for _, auxiliaries in section.iter_versions()
            for auxiliary in auxiliaries
        }
    except ELFError as error:
        raise ExportError(f"{wheel.name}: {name} is no shared library: {error}.") from error
    return _MACHINES.get(machine, machine), versions
