"""The user's own pip as a child process, so that their indexes, proxies and certificates apply."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from edgeconv.child import child_command
from edgeconv.errors import ExportError
from edgeconv.export.wheels.platform import WheelPlatform

__all__ = ["Candidate", "download_wheels", "resolve_versions"]

_TIMEOUT_SECONDS = 1200.0  # a hundred megabytes at one megabit a second
_QUIET = ("--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2")
_NO_VERSION = ("No matching distribution found", "ResolutionImpossible")
_OUT_OF_REACH = (
    "Retrying (Retry(",
    "NewConnectionError",
    "Max retries exceeded",
    "Could not fetch URL",
    "HTTP error",
)
_NO_REPORT = "no such option: --report"
_ERROR_LINES = 4


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A wheel that pip would install; `requires` are its requirements as its metadata have them."""

    name: str  # normalised: lower case, hyphens
    version: str
    filename: str
    sha256: str
    requires: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def resolve_versions(
    platform: WheelPlatform, requirements: Iterable[str], limits: Iterable[str]
) -> list[Candidate] | None:
    """What pip would install on `platform`, newest first, dependencies included; None when no set of versions fits.

    Args:
        limits: constraints ("ai-edge-litert<2.3.0") that hold for whatever is installed.

    Raises:
        ExportError: there is no pip, it is too old, or the registry is out of reach.
    """
    with tempfile.TemporaryDirectory(prefix="edgeconv-pip-") as temporary:
        constraints, report = Path(temporary, "constraints.txt"), Path(temporary, "report.json")
        constraints.write_text("".join(f"{limit}\n" for limit in limits), encoding="utf-8")
        command = ["install", "--dry-run", "--ignore-installed", "--target", str(Path(temporary, "none"))]
        command += ["--report", str(report), "--constraint", str(constraints), *_selection(platform), *requirements]
        done = _pip(command)
        if done.returncode == 0:
            document = json.loads(report.read_text(encoding="utf-8"))
            return [_candidate(item) for item in document["install"]]
    if any(words in done.stderr for words in _NO_VERSION) and not _is_out_of_reach(done.stderr):
        return None
    raise _failure(done.stderr)


def download_wheels(platform: WheelPlatform, candidates: Sequence[Candidate], directory: Path) -> None:
    """Fetch exactly these wheels, by their hashes, into `directory`.

    Raises:
        ExportError: there is no pip, the registry is out of reach, or it serves other bytes than it announced.
    """
    locked = directory / "requirements.txt"
    lines = [f"{c.name}=={c.version} --hash=sha256:{c.sha256}\n" for c in candidates]
    locked.write_text("".join(lines), encoding="utf-8")
    command = ["download", "--no-deps", "--require-hashes", "--dest", str(directory), "--requirement", str(locked)]
    done = _pip([*command, *_selection(platform)])
    locked.unlink()
    if done.returncode:
        raise _failure(done.stderr)


def _selection(platform: WheelPlatform) -> list[str]:
    tags = [part for tag in platform.tags for part in ("--platform", tag)]
    return ["--only-binary", ":all:", "--implementation", "cp", "--python-version", platform.python, *tags]


def _pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("pip") is None:
        raise ExportError(
            f"Wheels are fetched by pip, and {sys.executable} has none.", "Install it: python -m ensurepip"
        )
    try:
        return subprocess.run(
            child_command("pip", arguments[0], *_QUIET, *arguments[1:]),
            env={**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"pip did not end within {_TIMEOUT_SECONDS:.0f} s.", "Is the network slow? Try again."
        ) from None


def _candidate(item: Any) -> Candidate:
    """One entry of `install` in pip's installation report, version 1."""
    metadata, source = item["metadata"], item["download_info"]
    return Candidate(
        metadata["name"].lower().replace("_", "-").replace(".", "-"),
        metadata["version"],
        unquote(PurePosixPath(urlsplit(source["url"]).path).name),
        source["archive_info"]["hashes"]["sha256"],
        tuple(metadata.get("requires_dist", ())),
    )


def _is_out_of_reach(words: str) -> bool:
    return any(sign in words for sign in _OUT_OF_REACH)


def _failure(words: str) -> ExportError:
    if _NO_REPORT in words:
        return ExportError("pip is older than 22.2, which --with-wheels needs.", "Update it: pip install -U pip")
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if _is_out_of_reach(words):
        first = next(line for line in lines if _is_out_of_reach(line))
        return ExportError(
            f"pip cannot reach the package registry: {first}",
            "Check the network and pip's settings (pip config list), or export without --with-wheels.",
        )
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    return ExportError(f"pip failed: {' '.join(errors[:_ERROR_LINES]) or 'it said nothing'}")
