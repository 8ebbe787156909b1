"""`edgeconv tune`: settings that were tried on the target, and which of them are worth having."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.agent.tools import TOOLS
from edgeconv.benchmarks.agent.tune import FinalTrial, TuningOutcome
from edgeconv.benchmarks.campaign import Progress
from edgeconv.benchmarks.judging import Judge
from edgeconv.benchmarks.ratios import Ratio, exact_ratio, quantile_ratio
from edgeconv.benchmarks.run import select_artifacts
from edgeconv.benchmarks.target_agent import Outputs, TargetAgent, failed_result
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import open_transport
from edgeconv.errors import RecordError, RuntimeUnavailableError, UsageError
from edgeconv.export.variants.report import GraphTuning
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import Artifact, Tolerance
from edgeconv.parity.verdict import judge_result
from edgeconv.records import Host, Tuning
from edgeconv.schema import from_dict, refuse_newer, to_json

__all__ = ["SCHEMA_VERSION", "TuningEntry", "TuningReport", "read_tuning", "tune_bundle", "write_tuning"]

SCHEMA_VERSION = 1
_MIN_GAIN = 0.03  # less is not worth leaving the defaults for
_MEDIAN = 0.5


@dataclasses.dataclass(frozen=True)
class TuningEntry:
    """One artefact.

    `ratio` is the median latency of what won over that of the default, with its 99 % interval; None where the default
    is kept or nothing ran.  `passed_over` says why what was faster was not taken, and what could not run.
    """

    runtime: str
    precision: str
    artifact_sha256: str
    tuning: Tuning | None
    ratio: Ratio | None
    passed_over: list[str]


@dataclasses.dataclass(frozen=True)
class TuningReport:
    """One `edgeconv tune`; `graphs` is what it found about other graphs of the model, where that was asked for."""

    schema_version: int
    started_at: str
    target: str
    bundle: str
    manifest_sha256: str
    host: Host
    entries: list[TuningEntry]
    graphs: GraphTuning | None = None

    def tuned(self) -> dict[str, Tuning]:
        """What was found, by the SHA-256 of the artefact."""
        return {entry.artifact_sha256: entry.tuning for entry in self.entries if entry.tuning is not None}


def tune_bundle(
    bundle: Bundle,
    target: str = "local:",
    *,
    runtimes: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    seconds: float = 10.0,
    progress: Progress = lambda done, total, description: None,
) -> TuningReport:
    """Try threads and options of each artefact's runtime on a target.

    A setting replaces the default (one thread) only when its outputs of the golden cases are within the tolerance class
    of the precision, and the whole 99 % interval of its median latency is below the default's, by 3 % at least.

    Args:
        bundle: as `load_bundle` returns it; its own `agent.pyz` is what runs.
        target: where; `local:` is this machine.
        runtimes: only these, all by default.
        precisions: only these, all by default.
        seconds: of inference for all trials of one artefact; loading comes on top.
        progress: called with (done, total, what is tuned next).

    Raises:
        UsageError: a runtime or precision is unknown, or the bundle has no artefact of those asked for.
        DeviceError: the target cannot be reached, or its Python cannot run the agent.
        BundleError: the golden cases are damaged.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{seconds:g} seconds were given for tuning; more than 0 are needed.")
    artifacts = select_artifacts(bundle, runtimes, precisions)
    judge = Judge(bundle)
    started = datetime.datetime.now(datetime.timezone.utc)
    entries = []
    with closing(open_transport(target)) as transport:
        agent = TargetAgent(transport, bundle)
        host = agent.host()
        for index, artifact in enumerate(artifacts):
            progress(index, len(artifacts), f"{artifact.runtime} {artifact.precision}")
            if artifact.runtime in TOOLS:
                entries.append(_entry(artifact, None, None, ["it is measured by its own tool, which has no settings"]))
                continue
            try:
                outcome, outputs = agent.tune(artifact, seconds)
            except RuntimeUnavailableError as error:
                entries.append(_entry(artifact, None, None, [str(error)]))
                continue
            tolerance = next((t for t in bundle.manifest.tolerances if t.precision == artifact.precision), None)
            entries.append(_choose(artifact, outcome, outputs, judge, tolerance, exact=host.clock == "virtual"))
    progress(len(artifacts), len(artifacts), "done")
    return TuningReport(
        schema_version=SCHEMA_VERSION,
        started_at=started.isoformat(timespec="seconds"),
        target=target,
        bundle=bundle.manifest.name,
        manifest_sha256=bundle.manifest_sha256,
        host=host,
        entries=entries,
    )


def write_tuning(report: TuningReport, path: Path) -> None:
    """Write a report as JSON, whole or not at all."""
    atomic_write_bytes(path, to_json(report).encode())


def read_tuning(path: Path) -> TuningReport:
    """Read and type-check what `write_tuning` wrote.

    Raises:
        RecordError: no such file, no JSON, a newer schema, or a key is missing, unknown or mistyped.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        refuse_newer(document, SCHEMA_VERSION, str(path), RecordError)
        report = from_dict(TuningReport, document)
        for tuning in report.tuned().values():
            int(tuning.options.get("threads", "1"))  # a ValueError says what it is instead
        return report
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} is no result of edgeconv tune: {error}.", "Make one: edgeconv tune.") from error


def _choose(
    artifact: Artifact, outcome: TuningOutcome, outputs: Outputs, judge: Judge, tolerance: Tolerance | None, exact: bool
) -> TuningEntry:
    """The fastest finalist that may be used and is worth it, else the default."""
    passed_over = list(outcome.refused)
    default = next((one for one in outcome.finalists if one.options == outcome.default), None)
    for place, finalist in enumerate(outcome.finalists):
        if finalist is default:
            break
        name = ", ".join(f"{key}={value}" for key, value in finalist.options.items())
        ratio = _ratio(default, finalist, exact) if default is not None else None
        if ratio is not None and not (ratio.below(_MIN_GAIN) or (exact and ratio.value <= 1 - _MIN_GAIN)):
            passed_over.append(f"{name}: not certainly faster than the default, {_interval(ratio)}")
            continue
        prefix = f"{place}."
        own = {key[len(prefix) :]: array for key, array in outputs.items() if key.startswith(prefix)}
        wrong = _departures(artifact, own, judge, tolerance)
        if wrong:
            passed_over.append(f"{name}: its outputs are not within the tolerance: {wrong}")
            continue
        return _entry(artifact, Tuning(finalist.options, outcome.trials), ratio, passed_over)
    if default is None:
        return _entry(artifact, None, None, passed_over)
    return _entry(artifact, Tuning(outcome.default, outcome.trials), None, passed_over)


def _entry(artifact: Artifact, tuning: Tuning | None, ratio: Ratio | None, passed_over: list[str]) -> TuningEntry:
    return TuningEntry(artifact.runtime, artifact.precision, artifact.sha256, tuning, ratio, passed_over)


def _ratio(default: FinalTrial, candidate: FinalTrial, exact: bool) -> Ratio:
    """Of the medians; the slices of both were taken in turns and count as rounds."""
    return (exact_ratio if exact else quantile_ratio)(_slices(default), _slices(candidate), _MEDIAN)


def _slices(trial: FinalTrial) -> list[npt.NDArray[np.float64]]:
    return [np.asarray(samples, np.float64) for samples in trial.slices if samples]


def _departures(artifact: Artifact, outputs: Outputs, judge: Judge, tolerance: Tolerance | None) -> str:
    result = judge.complete(failed_result(artifact, 1, "tuning"), outputs, artifact)
    if result.drift is None:
        return result.invalid_reasons[0]
    return "; ".join(finding.message for finding in judge_result(result, tolerance) if not finding.passed)


def _interval(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} … {ratio.high:.3f})"
