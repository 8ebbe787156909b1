"""From the outputs of the golden cases to drift and task metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from edgeconv.benchmarks.drift import Outputs, drift_by_port, golden_outputs, worst_drift, worst_port
from edgeconv.bundles import Bundle
from edgeconv.errors import BundleError, DataError, UsageError
from edgeconv.manifest import Artifact
from edgeconv.parity.metrics import Metric, metric_of_bundle
from edgeconv.records import METRIC_EVIDENCE, OUTPUT_EVIDENCE, Drift, Result, TaskMetric

__all__ = ["Judge"]

_JUDGED = ("export", "runtime", "total")
_TARGET = "target"


class Judge:
    """The golden references of a bundle and its task metric.

    Args:
        bundle: what is judged.
        metric: instead of the bundle's own; see `metric_of_bundle`.

    Raises:
        BundleError: the manifest names no output, or the golden cases are damaged.
        UsageError: the metric is unknown, cannot be imported, or was chosen and there are no targets for it.
    """

    def __init__(self, bundle: Bundle, metric: str | None = None) -> None:
        self._metric = metric_of_bundle(bundle.manifest.metric, metric)
        if not bundle.manifest.outputs:
            raise BundleError(f"The manifest of {bundle.directory} names no output.", "Export the bundle again.")
        self._port = bundle.manifest.outputs[0].name  # a task is judged by the first output
        self._golden = _read_golden(bundle)
        if metric is not None and _TARGET not in self._golden:
            raise UsageError(
                f"The metric {metric} needs targets, and the golden cases of {bundle.manifest.name} have none.",
                f"Export it with evaluation data that have an array named {_TARGET}, or leave the metric out.",
            )

    def complete(self, result: Result, outputs: Outputs, artifact: Artifact) -> Result:
        """Add drift and task metric; outputs that cannot be compared make the result invalid, and that comes first.

        A metric that cannot be taken of them is told in the evidence: speed and drift are what they are.
        """
        if not outputs:
            return result
        try:
            ports = drift_by_port(self._golden, outputs, result.precision, artifact.reference)
        except DataError as error:
            reasons = [str(error), *result.invalid_reasons]
            return dataclasses.replace(result, valid=False, invalid_reasons=reasons)
        drift, evidence = worst_drift(ports), {**result.evidence, **_worst_outputs(ports)}
        try:
            task = _task(self._golden, outputs, self._port, self._metric)
        except DataError as error:
            return dataclasses.replace(result, drift=drift, evidence={**evidence, METRIC_EVIDENCE: str(error)})
        return dataclasses.replace(result, drift=drift, task=task, evidence=evidence)


def _worst_outputs(ports: Mapping[str, Drift]) -> dict[str, str]:
    """Which output each part that is judged is of, where there are several."""
    return {f"{OUTPUT_EVIDENCE} {part}": worst_port(ports, part) for part in _JUDGED} if len(ports) > 1 else {}


def _read_golden(bundle: Bundle) -> dict[str, npt.NDArray[Any]]:
    arrays = {name: array for name, array in bundle.golden_arrays().items() if not name.startswith("input.")}
    try:
        golden_outputs(arrays, "torch")
        return arrays
    except DataError as error:
        raise BundleError(f"{bundle.golden} cannot be used: {error}.", "Export the bundle again.") from error


def _task(
    golden: Mapping[str, npt.NDArray[Any]], outputs: Outputs, port: str, judge: tuple[str, Metric] | None
) -> TaskMetric | None:
    if judge is None or _TARGET not in golden:
        return None
    name, metric = judge
    torch, value = (metric(arrays[port], golden[_TARGET]) for arrays in (golden_outputs(golden, "torch"), outputs))
    return TaskMetric(name, torch, value)
