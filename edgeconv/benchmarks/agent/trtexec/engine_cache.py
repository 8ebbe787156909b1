"""Engines that were built, kept: building takes minutes.  Part of the device agent: Python 3.8, standard library only.

An engine belongs to one model, one TensorRT, one GPU and the flags it was built with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import List, Optional, Tuple

from edgeconv.errors import UsageError
from edgeconv.schema import SchemaError, from_dict, to_json

__all__ = ["EngineCache", "EngineFacts", "default_folder", "same_gpu"]

_BOARD = "proc/device-tree/model"
_DRIVER = "proc/driver/nvidia/version"


@dataclasses.dataclass(frozen=True)
class EngineFacts:
    """What an engine was built of and for; `board` tells machines apart before the GPU has been asked."""

    model_sha256: str
    tensorrt: str
    flags: List[str]
    board: str
    gpu: str
    compute_capability: str
    build_seconds: float


def default_folder() -> Path:
    """In the cache folder of the user, beside what bundles were sent."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeconv" / "engines"


class EngineCache:
    """Engines with their facts beside them, by content."""

    def __init__(self, folder: Path, root: Path = Path("/")) -> None:
        self._folder = folder
        self.board = "; ".join(word for word in (_words(root / _BOARD), _words(root / _DRIVER)) if word)

    def path(self, model_sha256: str, tensorrt: str, flags: List[str]) -> Path:
        """Where the engine is, or is to be moved once it is built (see `keep`).

        Raises:
            UsageError: the folder cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self._folder} cannot be made: {error}.", "Set XDG_CACHE_HOME to a folder of yours."
            ) from error
        key = json.dumps([model_sha256, tensorrt, flags, self.board]).encode()
        return self._folder / f"{hashlib.sha256(key).hexdigest()[:32]}.engine"

    def find(self, path: Path) -> Optional[EngineFacts]:
        """The facts of an engine that is there whole, else None."""
        try:
            facts = from_dict(EngineFacts, json.loads(_facts(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, SchemaError):
            return None
        return facts if path.is_file() and path.stat().st_size else None

    def keep(self, built: Path, path: Path, facts: EngineFacts) -> None:
        """Move a built engine to its place; its facts come last, so that what has facts is whole.

        Raises:
            UsageError: no space.
        """
        self.drop(path)
        try:
            os.replace(str(built), str(path))
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(to_json(facts), encoding="utf-8")
            os.replace(str(temporary), str(_facts(path)))
        except OSError as error:
            raise UsageError(f"The engine cannot be kept in {self._folder}: {error}.", "Make some space.") from error

    def drop(self, path: Path) -> None:
        """Forget an engine."""
        for old in (_facts(path), path):
            with contextlib.suppress(FileNotFoundError):
                old.unlink()

    def scratch(self, path: Path) -> Path:
        """Where to build: in the same folder, so that it can be moved into place."""
        return path.with_suffix(f".building-{os.getpid()}")


def same_gpu(facts: EngineFacts, device: Tuple[str, str]) -> bool:
    """Whether an engine was built for the GPU of `device` (name, compute capability); what is not told fits."""
    return all(
        not told or not known or told == known for told, known in zip(device, (facts.gpu, facts.compute_capability))
    )


def _facts(path: Path) -> Path:
    return path.with_suffix(".json")


def _words(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8", errors="replace").replace("\0", " ").split())
    except OSError:
        return ""
