"""Judges graphs with some operators in float: quickly by trials, and for certain by quantising anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.export.data import Array
from edgeconv.export.mixed.candidates import effective
from edgeconv.export.mixed.report import Quality
from edgeconv.export.mixed.target import Judgement
from edgeconv.export.mixed.trials import make_trial
from edgeconv.export.reference import ReferenceRunner

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.calibrate import Statistics
    from edgeconv.export.quantize import QuantisationResult, QuantisationScheme

__all__ = ["GraphAppraiser", "run_cases"]

_WORST_SHARE = 4  # a quarter of the cases are the worst
Requantise = Callable[[tuple[str, ...]], "QuantisationResult"]


class GraphAppraiser:
    """See `Appraiser` in `search`.

    Args:
        fp32: the graph that is quantised.
        statistics: of all its float tensors.
        scheme: how the int8 graph was quantised.
        int8: the Q/DQ graph with everything in int8.
        outputs: what that computes for `cases`.
        requantise: the graph that is exported with some operators in float, by their names in graph order.
        cases: normalised inputs of the golden cases.
        judgement: of their outputs.
    """

    def __init__(
        self,
        fp32: ir.Model,
        statistics: Statistics,
        scheme: QuantisationScheme,
        int8: QuantisationResult,
        outputs: Sequence[Mapping[str, Array]],
        requantise: Requantise,
        cases: Sequence[Mapping[str, Array]],
        judgement: Judgement,
    ) -> None:
        self._fp32, self._statistics, self._scheme = fp32, statistics, scheme
        self._requantise, self._cases, self._judgement = requantise, cases, judgement
        self._order = {str(node.name): index for index, node in enumerate(fp32.graph)}
        self._int8 = int8.model
        self._exact: dict[frozenset[str], tuple[QuantisationResult, Quality]] = {}
        self._exact[frozenset()] = int8, judgement.quality(outputs)
        self._worst_db: dict[frozenset[str], float] = {}
        by_quality = np.argsort([judgement.case_db(one, case) for case, one in enumerate(outputs)], kind="stable")
        self._worst = [int(case) for case in by_quality[: max(1, len(cases) // _WORST_SHARE)]]

    def worst_db(self, nodes: Collection[str]) -> float:
        """The mean SQNR of the quarter of the cases that are worst in int8, in dB, by a trial; made once."""
        key = frozenset(nodes)
        if key not in self._worst_db:
            runner = ReferenceRunner(self._trial(nodes))
            self._worst_db[key] = float(
                np.mean([self._judgement.case_db(runner.run(self._cases[i]), i) for i in self._worst])
            )
        return self._worst_db[key]

    def seems_met(self, nodes: Collection[str]) -> bool:
        """Whether a trial meets the target on all cases."""
        return self._judgement.met(self._judgement.quality(self._run(self._trial(nodes))))

    def is_met(self, nodes: Collection[str]) -> bool:
        """Whether the graph that is exported meets it."""
        return self._judgement.met(self.exact(nodes)[1])

    def effective(self, nodes: Collection[str]) -> frozenset[str]:
        """Those of `nodes` that really compute in float when no other does."""
        return effective(self._fp32, (*self._scheme.float_nodes, *nodes)).intersection(nodes)

    def exact(self, nodes: Collection[str]) -> tuple[QuantisationResult, Quality]:
        """The graph that is exported with `nodes` in float, and its quality; made once."""
        key = frozenset(nodes)
        if key not in self._exact:
            result = self._requantise(self.in_order(nodes))
            self._exact[key] = result, self._judgement.quality(self._run(result.model))
        return self._exact[key]

    def in_order(self, nodes: Collection[str]) -> tuple[str, ...]:
        """Names as the graph has them."""
        return tuple(sorted(set(nodes), key=self._order.__getitem__))

    def best(self) -> Quality:
        """The best of everything that was quantised."""
        qualities = [quality for _, quality in self._exact.values()]
        metric = max((q.metric for q in qualities if q.metric is not None), default=None)
        return dataclasses.replace(max(qualities, key=lambda quality: quality.worst), metric=metric)

    def _trial(self, nodes: Collection[str]) -> ir.Model:
        float_nodes = (*self._scheme.float_nodes, *nodes)
        return make_trial(self._fp32, self._statistics, self._scheme, self._int8, float_nodes)

    def _run(self, model: ir.Model) -> list[dict[str, Array]]:
        return run_cases(model, self._cases)


def run_cases(model: ir.Model, cases: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """The outputs of a graph for each case, by port."""
    runner = ReferenceRunner(model)
    return [runner.run(case) for case in cases]
