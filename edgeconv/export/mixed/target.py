"""What the quality of an int8 graph is to be, and how it is measured on the golden cases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError
from edgeconv.export.data import TARGET_KEY, Array, Sample
from edgeconv.export.mixed.report import Quality
from edgeconv.parity.metrics import Metric, get_metric
from edgeconv.sqnr import sqnr_db

__all__ = ["Judgement", "QualityTarget", "make_target"]

_EXAMPLE = "Write METRIC=VALUE, like dice=0.002 or psnr=0.1."


@dataclasses.dataclass(frozen=True)
class QualityTarget:
    """Both have to be met where both are asked for.

    min_sqnr_db: SQNR against PyTorch that no golden case may stay below, in dB.
    max_drop: how much lower than PyTorch's the task `metric` over all golden cases may be.
    """

    min_sqnr_db: float | None = None
    metric: str | None = None
    max_drop: float | None = None

    def check(self, samples: Sequence[Sample], calibrated: bool) -> None:
        """Refuse, before the long work, data that the target cannot be judged on.

        Raises:
            UsageError: there are no calibration data, hence no int8; or a metric is named and a case has no target.
        """
        if not calibrated:
            raise UsageError("--min-sqnr and --max-drop are about int8, which needs data.", "Give --calibration.")
        if self.max_drop is not None and not all(TARGET_KEY in sample for sample in samples):
            raise UsageError(
                f"--max-drop {self.metric}: the golden cases have no targets.",
                "Give them with --eval: a .npz that also holds an array named target.",
            )

    @property
    def words(self) -> str:
        """For people."""
        sqnr = "" if self.min_sqnr_db is None else f"no golden case below {self.min_sqnr_db:g} dB"
        drop = "" if self.max_drop is None else f"{self.metric} at most {self.max_drop:g} below PyTorch's"
        return " and ".join(filter(None, (sqnr, drop)))


def make_target(min_sqnr: float | None, max_drop: str | None) -> QualityTarget | None:
    """The target that the flags --min-sqnr and --max-drop name; None where neither is given.

    Raises:
        UsageError: a value means nothing, or there is no such metric.
    """
    if min_sqnr is None and max_drop is None:
        return None
    if min_sqnr is not None and not 0 < min_sqnr < math.inf:
        raise UsageError(f"--min-sqnr {min_sqnr:g} means nothing.", "Give decibels above 0, like 40.")
    if max_drop is None:
        return QualityTarget(min_sqnr)
    metric, equals, text = max_drop.rpartition("=")
    if not (equals and metric):
        raise UsageError(f"--max-drop {max_drop!r} names no metric and value.", _EXAMPLE)
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"--max-drop {max_drop!r}: {text!r} is no number.", _EXAMPLE) from None
    if not 0 <= value < math.inf:
        raise UsageError(f"--max-drop {max_drop!r}: a drop is 0 or more.", _EXAMPLE)
    get_metric(metric)
    return QualityTarget(min_sqnr, metric, value)


class Judgement:
    """Judges outputs for the golden cases.

    Args:
        target: what is asked for.
        torch: PyTorch's outputs of each case, by port.
        samples: the golden cases.
        metric: the model's own, which is told where the target names none.

    Raises:
        UsageError: a metric is asked for and the golden cases have no targets.
    """

    def __init__(
        self,
        target: QualityTarget,
        torch: Sequence[Mapping[str, Array]],
        samples: Sequence[Sample],
        metric: str | None = None,
    ) -> None:
        self.target, self.torch = target, torch
        self._torch = [_flat(outputs) for outputs in torch]
        self._first = next(iter(torch[0]))
        self.metric_name = target.metric or metric
        target.check(samples, calibrated=True)
        has_targets = all(TARGET_KEY in sample for sample in samples)
        self._metric: Metric | None = None
        self._wanted = np.zeros(0)
        if has_targets and self.metric_name is not None:
            self._metric = get_metric(self.metric_name)
            self._wanted = np.stack([sample[TARGET_KEY] for sample in samples])
        self.torch_metric = self._score(torch)

    def quality(self, outputs: Sequence[Mapping[str, Array]]) -> Quality:
        """Of one graph's outputs of each case."""
        errors = [_flat(found) - wanted for found, wanted in zip(outputs, self._torch, strict=True)]
        noise = [float(error @ error) for error in errors]
        signal = [float(wanted @ wanted) for wanted in self._torch]
        cases = [sqnr_db(s, n) for s, n in zip(signal, noise, strict=True)]
        finite = [case for case in cases if case is not None]
        return Quality(sqnr_db(sum(signal), sum(noise)), min(finite, default=None), self._score(outputs))

    def case_db(self, outputs: Mapping[str, Array], case: int) -> float:
        """The SQNR of one case in dB, infinite where nothing differs."""
        wanted = self._torch[case]
        error = _flat(outputs) - wanted
        found = sqnr_db(float(wanted @ wanted), float(error @ error))
        return math.inf if found is None else found

    def met(self, quality: Quality) -> bool:
        """Whether a graph of that quality is good enough."""
        asked = self.target
        if asked.min_sqnr_db is not None and quality.worst < asked.min_sqnr_db:
            return False
        if asked.max_drop is None or quality.metric is None or self.torch_metric is None:
            return True
        return self.torch_metric - quality.metric <= asked.max_drop

    def _score(self, outputs: Sequence[Mapping[str, Array]]) -> float | None:
        if self._metric is None:
            return None
        return self._metric(np.stack([case[self._first] for case in outputs]), self._wanted)


def _flat(outputs: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.asarray(outputs[name], np.float64).ravel() for name in sorted(outputs)])
