"""From the outputs of the golden cases to drift and task metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from edgeconv.benchmarks.drift import Outputs, drift_of, golden_outputs
from edgeconv.bundles import Bundle
from edgeconv.errors import BundleError, DataError
from edgeconv.manifest import Artifact
from edgeconv.parity.metrics import Metric, metric_of_bundle
from edgeconv.records import METRIC_EVIDENCE, Result, TaskMetric

__all__ = ["Judge"]


class Judge:
    """The golden references of a bundle and its task metric.

    Args:
        bundle: what is judged.
        metric: instead of the bundle's own; see `metric_of_bundle`.

    Raises:
        BundleError: the golden cases are damaged.
        UsageError: the metric is unknown or cannot be used.
    """

    def __init__(self, bundle: Bundle, metric: str | None = None) -> None:
        self._metric = metric_of_bundle(bundle.manifest.metric, metric)
        self._port = bundle.manifest.outputs[0].name  # a task is judged by the first output
        self._golden = _read_golden(bundle)

    def complete(self, result: Result, outputs: Outputs, artifact: Artifact) -> Result:
        """Add drift and task metric; outputs that cannot be compared make the result invalid, and that comes first.

        A metric that cannot be taken of them is told in the evidence: speed and drift are what they are.
        """
        if not outputs:
            return result
        try:
            drift = drift_of(self._golden, outputs, result.precision, artifact.reference)
        except DataError as error:
            reasons = [str(error), *result.invalid_reasons]
            return dataclasses.replace(result, valid=False, invalid_reasons=reasons)
        try:
            task = _task(self._golden, outputs, self._port, self._metric)
        except DataError as error:
            return dataclasses.replace(result, drift=drift, evidence={**result.evidence, METRIC_EVIDENCE: str(error)})
        return dataclasses.replace(result, drift=drift, task=task)


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
    if judge is None or "target" not in golden:
        return None
    name, metric = judge
    torch, value = (metric(arrays[port], golden["target"]) for arrays in (golden_outputs(golden, "torch"), outputs))
    return TaskMetric(name, torch, value)
