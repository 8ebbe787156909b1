"""What a rewrite is, and running several so that none can change what the graph computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeconv.errors import ExportError
from edgeconv.graph import constant_value, infer_shapes, static_shape
from edgeconv.rewrite._evaluate import Tensors, evaluate

__all__ = ["Equivalence", "Rewrite", "RewriteReport", "RewriteResult", "run_rewrites"]

Equivalence = Literal["exact", "approximated"]

_MIN_SQNR_DB = 110.0  # float32 rounding alone leaves 120-140 dB of most networks, a dropped term far below 100
_LEAST_SQNR_DB = 80.0  # however ill-conditioned the graph is
_MARGIN_DB = 6.0  # a rewrite may round twice what one last place of the constants is
_SQNR_LIMIT_DB = 300.0


@dataclass(frozen=True)
class RewriteResult:
    """What a rewrite did to a graph: how many places changed, and one line about each that matters."""

    changed: int
    details: tuple[str, ...] = ()


class Rewrite(Protocol):
    """One graph rewrite, found by data flow: it looks at operators and constants, never at names."""

    @property
    def name(self) -> str:
        """A short identifier, the same as the module's."""

    @property
    def equivalence(self) -> Equivalence:
        """`exact`: the same function up to float32 rounding. `approximated`: a function that is close to it."""

    def apply(self, model: ir.Model) -> RewriteResult:
        """Rewrite `model` in place; the shapes of its values are static on entry and may be stale on return."""


@dataclass(frozen=True)
class RewriteReport:
    """One rewrite as it was run.

    `sqnr_db` compares the outputs after it with those before it, pooled over all probes, the worst output counting;
    300 dB stands for no difference at all, -300 dB for a result that is not finite or a graph that does not run.
    """

    name: str
    changed: int
    sqnr_db: float
    kept: bool
    equivalence: Equivalence
    details: tuple[str, ...]


def run_rewrites(
    model: ir.Model, rewrites: Iterable[Rewrite], probe_inputs: Sequence[Mapping[str, np.ndarray[Any, Any]]] = ()
) -> list[RewriteReport]:
    """Apply `rewrites` in order, in place, and undo each that does not preserve the outputs.

    Args:
        model: a graph with static shapes.
        rewrites: the passes, in order; the next one is asked for when the one before is done.
        probe_inputs: real inputs to compare on, one array for each graph input; one of noise and zeros is added.

    Returns:
        One report for each rewrite. An exact one is kept at 110 dB or more; or, since a deep network can enlarge
        roundings beyond that, where it is no further off than the outputs of the graph before it move when each
        constant moves by one in its last place (`_rounding_db`), and at 80 dB at least. An approximated one is kept
        when its outputs are finite.

    Raises:
        ExportError: the graph as it was given cannot be run.
    """
    infer_shapes(model)
    probes = [*probe_inputs, _synthetic_probe(model)]
    before = evaluate(model, probes)
    reports = []
    for rewrite in rewrites:
        original = model.clone()
        details: tuple[str, ...]
        try:
            result = rewrite.apply(model)
            after = before
            if result.changed:
                RemoveUnusedNodesPass()(model)
                infer_shapes(model)
                after = evaluate(model, probes)
            changed, details = result.changed, result.details
            sqnr_db = _worst_sqnr_db(before, after)
        except ExportError as error:
            changed, details, sqnr_db = 0, (str(error),), -_SQNR_LIMIT_DB
        exact = rewrite.equivalence == "exact"
        kept = sqnr_db >= _MIN_SQNR_DB if exact else sqnr_db > -_SQNR_LIMIT_DB
        if not kept and sqnr_db >= _LEAST_SQNR_DB:
            rounding_db = _rounding_db(original, probes, before)
            details = (*details, f"rounding of float32 alone: {rounding_db:.1f} dB")
            kept = sqnr_db >= rounding_db - _MARGIN_DB
        if kept:
            before = after
        else:
            model.graph = original.graph
        reports.append(RewriteReport(rewrite.name, changed, sqnr_db, kept, rewrite.equivalence, details))
    return reports


def _synthetic_probe(model: ir.Model) -> Tensors:
    """Normal noise on one half of the last axis and zeros on the other, which is where a lost epsilon shows."""
    generator = np.random.default_rng(0)
    probe = Tensors()
    for value in model.graph.inputs:
        shape, kind = static_shape(value), (value.dtype or ir.DataType.FLOAT).numpy()
        array = np.zeros(shape, kind)
        if kind.kind == "f" and shape:  # integers may be indices: only 0 is certain to be one
            half = -(-shape[-1] // 2)
            array[..., :half] = generator.standard_normal((*shape[:-1], half))
        probe[str(value.name)] = array
    return probe


def _rounding_db(
    model: ir.Model, probes: Sequence[Mapping[str, np.ndarray[Any, Any]]], before: Sequence[Tensors]
) -> float:
    """How near its outputs `before` stay when each float32 constant of `model` moves by one in its last place."""
    moved, generator = model.clone(), np.random.default_rng(0)
    for value in moved.graph.initializers.values():
        constant = constant_value(value)
        if constant is not None and constant.dtype == np.float32:
            direction = np.where(generator.random(constant.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
            neighbour = np.nextafter(constant, direction)
            value.const_value = ir.tensor(np.where(np.isfinite(neighbour), neighbour, constant), name=value.name)
    return _worst_sqnr_db(before, evaluate(moved, probes))


def _worst_sqnr_db(before: Sequence[Tensors], after: Sequence[Tensors]) -> float:
    """Of the output that suffers most, over all runs."""
    return min(_sqnr_db([run[name] for run in before], [run[name] for run in after]) for name in before[0])


def _sqnr_db(before: Sequence[np.ndarray[Any, Any]], after: Sequence[np.ndarray[Any, Any]]) -> float:
    signal = error = 0.0
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape:
            return -_SQNR_LIMIT_DB
        reference, result = old.astype(np.float64), new.astype(np.float64)
        same = (reference == result) | (np.isnan(reference) & np.isnan(result))
        difference = np.where(same, 0.0, result - np.where(same, 0.0, reference))
        if not np.isfinite(difference).all():
            return -_SQNR_LIMIT_DB
        signal += float(np.square(reference[np.isfinite(reference)]).sum())
        error += float(np.square(difference).sum())
    if error == 0.0:
        return _SQNR_LIMIT_DB
    if signal == 0.0:
        return -_SQNR_LIMIT_DB
    return float(np.clip(10.0 * np.log10(signal / error), -_SQNR_LIMIT_DB, _SQNR_LIMIT_DB))
