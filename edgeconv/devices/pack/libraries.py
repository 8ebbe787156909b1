"""The shared libraries that programs and modules of a pack ask the loader for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeconv.errors import DeviceError

__all__ = ["needed_libraries"]

_ELF = b"\x7fELF"


def needed_libraries(roots: Iterable[Path], directories: Sequence[Path]) -> dict[str, Path]:
    """The libraries that the ELF files `roots`, and those libraries, need: name to file in one of `directories`.

    Libraries that lie among the roots themselves (a wheel's own) are left out.

    Raises:
        DeviceError: one is in none of the directories.
    """
    waiting = [path for path in roots if _is_elf(path)]
    own = {path.name for path in waiting}
    found: dict[str, Path] = {}
    while waiting:
        path = waiting.pop()
        for name in _needed(path):
            if name in own or name in found:
                continue
            library = next((d / name for d in directories if (d / name).is_file()), None)
            if library is None:
                raise DeviceError(f"{path.name} needs {name}, which is not among the libraries of the pack's system.")
            found[name] = library
            waiting.append(library)
    return found


def _is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_ELF)) == _ELF


def _needed(path: Path) -> list[str]:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        return [
            str(tag.needed)  # type: ignore[attr-defined]  # set by the library for this kind of tag
            for section in ELFFile(stream).iter_sections()
            if isinstance(section, DynamicSection)
            for tag in section.iter_tags("DT_NEEDED")
        ]
