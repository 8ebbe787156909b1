"""Threads and options of a runtime, tried on the device itself.  Part of the device agent: Python 3.8, numpy."""

from __future__ import annotations

import dataclasses
import os
from array import array
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Type

from edgeconv.benchmarks.agent.halving import Lap, halve
from edgeconv.benchmarks.agent.measure import open_artifact
from edgeconv.benchmarks.agent.progress import Progress
from edgeconv.benchmarks.agent.protocol import Sampling, collector_off
from edgeconv.benchmarks.agent.replay import Replay
from edgeconv.errors import RuntimeUnavailableError, UsageError
from edgeconv.records import Trial
from edgeconv.runtimes import get_runtime
from edgeconv.runtimes.base import Array

__all__ = ["THREADS", "FinalTrial", "TuningOutcome", "candidates_of", "tune"]

THREADS = "threads"  # stands among the options
_UNTIMED, _LEAST = 2, 3  # inferences of each trial
_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class FinalTrial:
    """A setting that came to the last rung, with its samples there in nanoseconds, slice by slice."""

    options: Dict[str, str]
    slices: List[List[int]]


@dataclasses.dataclass(frozen=True)
class TuningOutcome:
    """All trials in the order in which they were made, the finalists fastest first, and what could not run."""

    default: Dict[str, str]
    trials: List[Trial]
    finalists: List[FinalTrial]
    refused: List[str]


def candidates_of(options: Dict[str, List[str]], cores: int) -> List[Dict[str, str]]:
    """The default (one thread), then for each number of threads the defaults and each other value by itself.

    Threads are powers of two and all cores.  Options are not combined with each other: a few seconds are too short for
    the product of all.
    """
    counts = sorted({*(2**k for k in range(cores.bit_length()) if 2**k <= cores), cores})
    changes: List[Dict[str, str]] = [{}]
    changes += [{name: value} for name, values in options.items() for value in values[1:]]
    return [{THREADS: str(count), **change} for count in counts for change in changes]


def tune(
    directory: Path, runtime_name: str, precision: str, seconds: float, progress: Optional[Progress] = None
) -> Tuple[TuningOutcome, Dict[str, Array]]:
    """Try the settings of one artefact's runtime by successive halving.

    Args:
        directory: the bundle.
        runtime_name: of the artefact.
        precision: of the artefact.
        seconds: of inference, for all trials together; loading comes on top.
        progress: is told the rung.

    Returns:
        The outcome, and each finalist's outputs of all golden cases under "<index>.<port>".

    Raises:
        EdgeconvError: the bundle lacks the artefact or a file was changed, or the runtime does not run it at all.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{seconds:g} seconds were given for tuning; more than 0 are needed.")
    manifest, artifact = open_artifact(directory, runtime_name, precision)
    runtime, progress = get_runtime(runtime_name), progress or Progress()
    settings = candidates_of(runtime.options(), _cores())
    refused: Dict[int, str] = {}
    failures: Tuple[Type[Exception], ...] = (RuntimeUnavailableError, *runtime.failures())

    def open_replay(index: int) -> Tuple[Replay, Sampling]:
        options = dict(settings[index])
        session = runtime.load(directory / artifact.path, int(options.pop(THREADS)), options)
        replay = Replay(directory, manifest, artifact, session)
        return replay, Sampling(session.run, replay.first_inputs())

    def measure(index: int, share: float) -> List[int]:
        if index in refused:
            return []
        progress(f"tune {_words(settings[index])}")
        try:
            _, sampling = open_replay(index)
            return _trial(sampling, share)
        except failures as error:
            refused[index] = f"{_words(settings[index])}: {error}"
            return []

    trials: List[Trial] = []

    def lap(done: Lap) -> None:
        trials.append(Trial(settings[done.candidate], done.median_ns, done.count, done.rung))

    found = halve(len(settings), measure, seconds, lap)
    if not found:
        raise RuntimeUnavailableError(f"{runtime_name} runs {artifact.path} with no setting: {refused[0]}")
    outputs: Dict[str, Array] = {}
    for place, finalist in enumerate(found):
        replay, _ = open_replay(finalist.candidate)
        outputs.update({f"{place}.{port}": array for port, array in replay.outputs().items()})
    finalists = [FinalTrial(settings[one.candidate], one.slices) for one in found]
    return TuningOutcome(settings[0], trials, finalists, list(refused.values())), outputs


def _trial(sampling: Sampling, seconds: float) -> List[int]:
    samples = array("q")
    sampling.extend("untimed", samples, 0, _UNTIMED, float("inf"))
    del samples[:]
    with collector_off():
        sampling.extend("tune", samples, sampling.clock() + seconds * _NS, _LEAST, float("inf"))
    return samples.tolist()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _words(options: Dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
