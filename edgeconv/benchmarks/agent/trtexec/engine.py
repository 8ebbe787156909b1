"""One artefact's engine: out of the cache, or built.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Tuple

from edgeconv.benchmarks.agent.trtexec.command import build_command, build_flags
from edgeconv.benchmarks.agent.trtexec.engine_cache import EngineCache, EngineFacts
from edgeconv.benchmarks.agent.trtexec.parse import Log
from edgeconv.benchmarks.agent.trtexec.tool import run_trtexec
from edgeconv.benchmarks.agent.trtexec.version import Version
from edgeconv.manifest import Artifact

__all__ = ["BUILD_SECONDS", "device_of", "prepare_engine"]

BUILD_SECONDS = 3600.0  # a Jetson Nano tries tactics for many minutes


def prepare_engine(
    trtexec: str, version: Version, model: Path, artifact: Artifact, cache: EngineCache, scratch: Path
) -> Tuple[Path, EngineFacts, bool]:
    """The engine of an artefact, its facts, and whether it was there already.

    Raises:
        RuntimeUnavailableError: TensorRT refuses the model.
        UsageError: the cache folder cannot be written.
    """
    flags = build_flags(version, artifact.precision)
    path = cache.path(artifact.sha256, str(version), flags)
    known = cache.find(path)
    if known is not None:
        return path, known, True
    built = cache.scratch(path)
    began = time.monotonic()
    try:
        log = run_trtexec(
            build_command(trtexec, version, artifact.precision, str(model), str(built)), scratch, BUILD_SECONDS
        )
        gpu, capability = device_of(log)
        seconds = log.build_seconds or time.monotonic() - began
        facts = EngineFacts(artifact.sha256, str(version), flags, cache.board, gpu, capability, seconds)
        cache.keep(built, path, facts)
    finally:
        with contextlib.suppress(FileNotFoundError):
            built.unlink()
    return path, facts, False


def device_of(log: Log) -> Tuple[str, str]:
    """Name and compute capability of the GPU that a log is of, "" where it does not tell."""
    return log.device.get("Selected Device", ""), log.device.get("Compute Capability", "")
