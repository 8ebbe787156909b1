"""Which wheels a device gets: the newest that its system can load, and only those that are imported there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgeconv.errors import ExportError
from edgeconv.export.wheels.cache import WheelCache
from edgeconv.export.wheels.closure import needed_at_import
from edgeconv.export.wheels.elf import LibraryNeeds
from edgeconv.export.wheels.pip import Candidate, download_wheels, resolve_versions
from edgeconv.export.wheels.platform import WheelPlatform
from edgeconv.wording import listed

__all__ = ["Wheel", "resolve_wheels"]

_MOST_ATTEMPTS = 40  # each steps at least one package back by a version
_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A wheel that fits: where it lies in the cache, and what it needs of the system."""

    name: str
    version: str
    sha256: str
    path: Path
    needs: LibraryNeeds


def resolve_wheels(
    platform: WheelPlatform, requirements: Iterable[str], progress: Callable[[str], None] = lambda stage: None
) -> list[Wheel]:
    """The newest wheels that meet pip's `requirements` and that `platform` can load, sorted by name.

    A version whose libraries need more than the platform has is passed over for the next older one, whatever its tag
    says.

    Raises:
        ExportError: nothing fits, with what the wheels need; or the registry is out of reach.
    """
    cache = WheelCache()
    asked = list(dict.fromkeys(requirements))
    limits: list[str] = []
    refused: list[str] = []
    for name, version, needs in cache.seen(platform):
        if reason := platform.misfit(needs):
            limits.append(f"{name}!={version}")
            refused += [f"{name} {version} {reason}"] if name in _names(asked) else []
    for _ in range(_MOST_ATTEMPTS):
        progress(f"wheels for {platform.name}: looking for versions")
        candidates = resolve_versions(platform, asked, limits)
        if candidates is None:
            break
        needed, missing = needed_at_import(candidates, asked, platform)
        if missing:  # pip reads markers as if for its own Python
            asked += missing
            continue
        misfits = _misfits(platform, needed, cache) or _fetch(platform, needed, cache, progress)
        if not misfits:
            return _found(needed, cache)
        for candidate, reason in misfits:
            cache.drop(candidate)
            limits.append(f"{candidate.name}<{candidate.version}")
            refused.append(f"{candidate} {reason}")
    raise _nothing_fits(platform, asked, refused)


def _names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def _misfits(
    platform: WheelPlatform, candidates: Sequence[Candidate], cache: WheelCache
) -> list[tuple[Candidate, str]]:
    """Those that are known not to fit, and why."""
    found = []
    for candidate in candidates:
        needs = cache.needs(candidate)
        reason = platform.misfit(needs) if needs else None
        if reason:
            found.append((candidate, reason))
    return found


def _fetch(
    platform: WheelPlatform, candidates: Sequence[Candidate], cache: WheelCache, progress: Callable[[str], None]
) -> list[tuple[Candidate, str]]:
    """Bring what is not there yet into the cache, and look into it."""
    absent = [c for c in candidates if cache.needs(c) is None or cache.find(c) is None]
    if absent:
        progress(f"wheels for {platform.name}: fetching {', '.join(map(str, absent))}")
        with cache.staging() as directory:
            download_wheels(platform, absent, directory)
            for candidate in absent:
                cache.add(candidate, directory / candidate.filename)
    return _misfits(platform, candidates, cache)


def _found(candidates: Sequence[Candidate], cache: WheelCache) -> list[Wheel]:
    wheels = []
    for candidate in sorted(candidates, key=lambda c: c.name):
        path, needs = cache.find(candidate), cache.needs(candidate)
        if path is None or needs is None:
            raise ExportError(f"The cached wheel {candidate.filename} was removed meanwhile.", "Export again.")
        wheels.append(Wheel(candidate.name, candidate.version, candidate.sha256, path, needs))
    return wheels


def _nothing_fits(platform: WheelPlatform, asked: Sequence[str], refused: Sequence[str]) -> ExportError:
    reasons = f": {listed(refused, _SHOWN, '; ')}" if refused else ""
    return ExportError(
        f"No wheels of {', '.join(asked)} fit {platform}{reasons}.",
        "Export for other runtimes only (--runtime), correct the profile, or update the device's system.",
    )
