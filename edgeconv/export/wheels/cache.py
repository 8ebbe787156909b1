"""Wheels that were fetched before, and what their libraries need, by the wheel's hash."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import parse_wheel_filename

from edgeconv.errors import ExportError
from edgeconv.export.wheels.elf import LibraryNeeds, format_version, parse_version, read_needs
from edgeconv.export.wheels.pip import Candidate
from edgeconv.export.wheels.platform import WheelPlatform
from edgeconv.files import atomic_write_bytes, cache_directory, sha256_file

__all__ = ["WheelCache"]

_NEEDS = "needs.json"


class WheelCache:
    """`wheels/SHA256/FILE.whl` and `wheels/SHA256/needs.json` in the user's cache."""

    def __init__(self) -> None:
        self._root = cache_directory("wheels")

    def find(self, candidate: Candidate) -> Path | None:
        """The wheel, when it is there unchanged."""
        path = self._directory(candidate) / candidate.filename
        return path if path.is_file() and sha256_file(path) == candidate.sha256 else None

    def needs(self, candidate: Candidate) -> LibraryNeeds | None:
        """What its libraries need, when it was looked into before."""
        seen = _read(self._directory(candidate) / _NEEDS)
        return seen[1] if seen else None

    def seen(self, platform: WheelPlatform) -> list[tuple[str, str, LibraryNeeds]]:
        """Name, version and needs of every wheel for the platform's machine and Python that was ever looked into."""
        found: list[tuple[str, str, LibraryNeeds]] = []
        for path in sorted(self._root.glob(f"*/{_NEEDS}")):
            seen = _read(path)
            if seen is None:
                continue
            name, version, _, tags = parse_wheel_filename(seen[0])
            if any(tag.platform in platform.tags and tag.interpreter == platform.interpreter for tag in tags):
                found.append((name, str(version), seen[1]))
        return found

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty directory to download into, on the same file system."""
        with tempfile.TemporaryDirectory(prefix=".download-", dir=self._root) as directory:
            yield Path(directory)

    def add(self, candidate: Candidate, wheel: Path) -> None:
        """Look into a downloaded wheel and move it in.

        Raises:
            ExportError: it is not the wheel that was announced, or is damaged.
        """
        if not wheel.is_file() or sha256_file(wheel) != candidate.sha256:
            raise ExportError(f"The registry does not serve the {wheel.name} that it announced.", "Export again later.")
        needs = read_needs(wheel)
        facts = {
            "filename": candidate.filename,
            "glibc": format_version(needs.glibc),
            "glibcxx": format_version(needs.glibcxx),
            "machines": sorted(needs.machines),
        }
        atomic_write_bytes(self._directory(candidate) / _NEEDS, json.dumps(facts).encode())
        os.replace(wheel, self._directory(candidate) / candidate.filename)

    def drop(self, candidate: Candidate) -> None:
        """Give the room of a wheel back; what it needs stays known."""
        (self._directory(candidate) / candidate.filename).unlink(missing_ok=True)

    def _directory(self, candidate: Candidate) -> Path:
        return self._root / candidate.sha256


def _read(path: Path) -> tuple[str, LibraryNeeds] | None:
    """The wheel's file name and its needs; None for a file that is missing or damaged: the wheel is fetched again."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        parse_wheel_filename(known["filename"])
        glibc, glibcxx = parse_version(known["glibc"]), parse_version(known["glibcxx"])
        return known["filename"], LibraryNeeds(glibc, glibcxx, frozenset(known["machines"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
