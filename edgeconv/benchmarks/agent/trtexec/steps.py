"""The steps of a measurement by `trtexec`, with their files in one scratch folder.

Part of the device agent: Python 3.8, numpy.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Tuple

import numpy as np

from edgeconv.benchmarks.agent.feeds import make_inputs, read_outputs
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.agent.replay import GOLDEN
from edgeconv.benchmarks.agent.trtexec.command import output_command, profile_command, timing_command
from edgeconv.benchmarks.agent.trtexec.layers import Layers, parse_layers, slowest_layers
from edgeconv.benchmarks.agent.trtexec.outputs import parse_outputs
from edgeconv.benchmarks.agent.trtexec.parse import Log
from edgeconv.benchmarks.agent.trtexec.times import Queries, parse_times
from edgeconv.benchmarks.agent.trtexec.tool import run_trtexec
from edgeconv.benchmarks.agent.trtexec.version import Version
from edgeconv.errors import BundleError, RuntimeUnavailableError
from edgeconv.manifest import Artifact, Manifest
from edgeconv.runtimes.base import Array

__all__ = ["Steps"]

_LEAST_WARMUP_MS = 200  # what trtexec itself thinks is enough
_START_SECONDS = 300.0  # to load libraries and engine, and for a few queries
_SLOWEST = 3


class Steps:
    """What is done with an engine of one artefact of the bundle in `directory`."""

    def __init__(
        self, trtexec: str, version: Version, scratch: Path, directory: Path, manifest: Manifest, artifact: Artifact
    ) -> None:
        self._trtexec, self._version, self._scratch = trtexec, version, scratch
        self._golden, self._manifest, self._artifact = directory / GOLDEN, manifest, artifact

    def time(self, engine: Path, protocol: LatencyProtocol) -> Tuple[Log, Queries]:
        """Timed queries of the first golden case."""
        warmup_ms = max(_LEAST_WARMUP_MS, round(protocol.warmup_seconds * 1000))
        argv = timing_command(
            self._trtexec,
            self._version,
            str(engine),
            self._first_inputs(),
            "times.json",
            warmup_ms,
            protocol.min_seconds,
            protocol.min_count,
        )
        log = self._run(argv, _START_SECONDS + protocol.deadline_seconds, "times.json")
        return log, parse_times(self._read("times.json"), warmup_ms)

    def layers(self, engine: Path) -> Tuple[Layers, List[str]]:
        """In which precision the layers run (empty where this TensorRT does not tell), and which are the slowest."""
        argv = profile_command(
            self._trtexec, self._version, str(engine), self._first_inputs(), "profile.json", "layers.json"
        )
        self._run(argv, _START_SECONDS, "profile.json", "layers.json")
        described = (self._scratch / "layers.json").is_file()
        layers = parse_layers(self._read("layers.json")) if described else Layers({}, {})
        return layers, slowest_layers(self._read("profile.json"), _SLOWEST)

    def outputs(self, engine: Path) -> Dict[str, Array]:
        """Every golden case's outputs by port, stacked; one run of `trtexec` each."""
        stacked: Dict[str, List[Array]] = {}
        specs = self._artifact.outputs
        for case in self._cases():
            argv = output_command(self._trtexec, self._version, str(engine), self._feed(case), "outputs.json")
            self._run(argv, _START_SECONDS, "outputs.json")
            returned = parse_outputs(self._read("outputs.json"), specs)
            for port, array in read_outputs(returned, self._manifest.outputs, specs).items():
                stacked.setdefault(port, []).append(array)
        return {port: np.stack(arrays) for port, arrays in stacked.items()}

    def _cases(self) -> Iterator[Dict[str, Array]]:
        return read_cases(self._golden, self._manifest.inputs)

    def _first_inputs(self) -> Dict[str, str]:
        for case in self._cases():
            return self._feed(case)
        raise BundleError(f"{self._golden} has no case.")

    def _feed(self, case: Mapping[str, Array]) -> Dict[str, str]:
        """The inputs of a case as raw files, by tensor; their names are relative to the scratch folder."""
        files: Dict[str, str] = {}
        specs = self._artifact.inputs
        for index, (spec, array) in enumerate(zip(specs, make_inputs(case, self._manifest.inputs, specs))):
            files[spec.name] = f"input{index}.bin"
            array.tofile(str(self._scratch / files[spec.name]))
        return files

    def _run(self, argv: List[str], seconds: float, *written: str) -> Log:
        """Run it after what an earlier run wrote is gone, so that nothing old is taken for new."""
        for name in written:
            with contextlib.suppress(FileNotFoundError):
                (self._scratch / name).unlink()
        return run_trtexec(argv, self._scratch, seconds)

    def _read(self, name: str) -> str:
        try:
            return (self._scratch / name).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise RuntimeUnavailableError(f"trtexec did not write {name}: {error}.") from error
