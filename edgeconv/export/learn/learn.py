"""Learns an int8 graph and judges it beside the closed form: on samples held back, and on shifted copies of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from edgeconv.export.data import Sample
from edgeconv.export.executor import open_session
from edgeconv.export.golden import normalised
from edgeconv.export.learn.report import LearnReport
from edgeconv.export.search.trials import TIE_DB, Figures, finite, held_images, split_held
from edgeconv.manifest import Port

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.quantize import QuantisationResult

__all__ = ["Amount", "learn", "why_not"]


@dataclasses.dataclass(frozen=True)
class Amount:
    """How much is learned: `steps`, or where that is 0 as many as about `seconds` are enough for."""

    steps: int = 0
    seconds: float = 0.0


def learn(
    original: ir.Model,
    closed: QuantisationResult,
    ports: Sequence[Port],
    samples: Iterable[Sample],
    amount: Amount,
    float_nodes: Collection[str] = (),
) -> tuple[QuantisationResult, LearnReport]:
    """`closed` with learned biases, ranges and weights where these win, else `closed` itself.

    They win with at least 0.2 dB more on samples that are held back from learning and no less on shifted copies of
    them, both measured in ONNX Runtime.

    Args:
        original: the fp32 graph before anything was balanced, truncated or merged: what is aimed at.
        closed: its int8 graph; not changed.
        ports: its inputs.
        samples: raw calibration samples, split as a search does; see `split_held`.
        amount: how long.
        float_nodes: operators that were left in float, by node name.
    """
    from edgeconv.export.learn.interpreter import unknown_operators
    from edgeconv.export.learn.parameters import Parameters
    from edgeconv.export.learn.training import learn_parameters, plan_steps
    from edgeconv.export.quantize import validate_qdq
    from edgeconv.export.quantize.pipeline import with_learned

    learning, held = split_held(samples)
    report = LearnReport(0, len(learning), len(held), None, None, None, None, accepted=False)
    if not learning or held[0] is learning[0]:
        reason = f"{len(learning)} calibration samples are too few to hold any back, at least five are needed"
        return closed, dataclasses.replace(report, held_samples=0, reason=reason)
    unknown = unknown_operators(closed.model.graph)
    if unknown:
        return closed, dataclasses.replace(report, reason=f"{unknown[0]} cannot be learned through")
    model = closed.model.clone()
    if not Parameters(model).count:
        return closed, dataclasses.replace(report, reason="the graph has nothing in int8 to learn")
    inputs = [normalised(sample, ports) for sample in learning]
    session = open_session(original, optimise=True)
    targets = [session.run(None, sample) for sample in inputs]
    steps = amount.steps or plan_steps(model, inputs, targets, amount.seconds)
    learn_parameters(model, inputs, targets, steps)
    validate_qdq(model, float_nodes=float_nodes)
    images = held_images(original, ports, held)
    before, after = (Figures(*(image.sqnr_db(graph) for image in images)) for graph in (closed.model, model))
    reason = why_not(before, after)
    report = dataclasses.replace(
        report,
        steps=steps,
        held_before_db=finite(before.sqnr_db),
        held_after_db=finite(after.sqnr_db),
        shifted_before_db=finite(before.shifted_db),
        shifted_after_db=finite(after.shifted_db),
        accepted=not reason,
        reason=reason,
    )
    return closed if reason else with_learned(closed, model), report


def why_not(before: Figures, after: Figures) -> str:
    """Why the graph with the figures `after` is not taken instead of the one with `before`; empty where it is."""
    if not after.sqnr_db - before.sqnr_db >= TIE_DB:  # nor where both are exact
        return f"no gain of {TIE_DB:g} dB on samples held back"
    return "" if after.shifted_db >= before.shifted_db else "worse on shifted samples"
