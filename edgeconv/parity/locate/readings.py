"""What each layer of an artefact computes, beside what the reference does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from edgeconv import sqnr
from edgeconv.export.executor import Array
from edgeconv.parity.locate.layers import Layer, StepReference, inputs_of
from edgeconv.parity.locate.variant import Variant
from edgeconv.parity.location import NOT_FINITE_DB

__all__ = ["Reading", "read_layers", "sqnr_db"]

_QUANTISER = "QuantizeLinear"
_LONE_CHANNEL_EXCESS_DB, _FEWEST_CHANNELS = 15.0, 4


@dataclasses.dataclass(frozen=True)
class Reading:
    """One layer of the artefact against the reference; SQNR in dB, None where identical."""

    layer: Layer
    members: list[Layer]
    alone_db: float | None
    after_db: float | None
    before_db: float | None
    lone_channel_db: float | None  # SQNR of the channel whose error stands out, None where none does
    steps: int | None
    not_finite: int

    @property
    def operator(self) -> str:
        """Everything that the artefact does between the tensors before it and its own."""
        return " + ".join(dict.fromkeys(member.operator for member in self.members))

    @property
    def module(self) -> str:
        """Dotted path of the torch module; empty where it is not known."""
        return self.members[0].module

    @property
    def name(self) -> str:
        """The module, else the tensor."""
        return self.module or self.layer.name


def read_layers(
    reference: StepReference,
    variant: Variant,
    values: Mapping[str, Array],
    alone: Mapping[str, Array],
    running: Mapping[str, Array],
) -> list[Reading]:
    """One reading for each layer that `variant` lays open, in the order of the graph.

    Args:
        reference: whose layers they are.
        variant: of the artefact.
        values: of the reference, by layer.
        alone: of the artefact, each layer fed with the reference's own input.
        running: of the artefact, each layer fed with what the one before it computed.
    """
    sources, opened = inputs_of(reference.layers), set(variant.layers)
    members = _members(reference.layers, sources, opened)
    after = {name: sqnr_db(values[name], running[name]) for name in opened}
    readings = []
    for layer in (layer for layer in reference.layers if layer.name in opened):
        found, wanted = alone[layer.name], values[layer.name]
        border = {s for m in members[layer.name] for s in sources[m.name] if s in opened}
        before = [db for db in (after[name] for name in border) if db is not None]
        finite = np.isfinite(found)
        steps = None
        if layer.grid is not None and finite.all():
            steps = int(np.abs(np.rint((found - wanted) / np.float32(layer.grid.scale))).max(initial=0))
        readings.append(
            Reading(
                layer=layer,
                members=members[layer.name],
                alone_db=sqnr_db(wanted, found),
                after_db=after[layer.name],
                before_db=min(before) if before else None,
                lone_channel_db=_lone_channel(wanted, found),
                steps=steps,
                not_finite=int(found.size - np.count_nonzero(finite)),
            )
        )
    return readings


def _members(layers: Sequence[Layer], sources: Mapping[str, Sequence[str]], opened: set[str]) -> dict[str, list[Layer]]:
    """For each layer that is laid open, itself and those in front of it that the artefact keeps no tensor of."""
    by_name = {layer.name: layer for layer in layers}
    order = {layer.name: index for index, layer in enumerate(layers)}
    found = {}
    for name in opened:
        inside, pending = {name}, list(sources[name])
        while pending:
            source = pending.pop()
            if source not in opened and source not in inside:
                inside.add(source)
                pending.extend(sources[source])
        members = [by_name[member] for member in sorted(inside, key=order.__getitem__)]
        # The quantiser of a graph input is the runner's work, not that of the operator behind it.
        found[name] = [m for m in members if m.operator != _QUANTISER] or members
    return found


def sqnr_db(reference: Array, found: Array) -> float | None:
    """SQNR in dB, None where identical, `NOT_FINITE_DB` where there are NaN or infinite values."""
    if not np.isfinite(found).all() or not np.isfinite(reference).all():
        return NOT_FINITE_DB
    power = sqnr.Power()
    power.add(reference, found)
    return None if power.db is None else max(power.db, NOT_FINITE_DB)


def _lone_channel(reference: Array, found: Array) -> float | None:
    if reference.ndim != 4 or reference.shape[1] < _FEWEST_CHANNELS:
        return None
    signal, noise = (
        (np.asarray(array, np.float64) ** 2).sum(axis=(0, 2, 3)) for array in (reference, found - reference)
    )
    worst, typical = int(noise.argmax()), float(np.median(noise))
    if not np.isfinite(noise).all() or noise[worst] <= typical * 10 ** (_LONE_CHANNEL_EXCESS_DB / 10):
        return None
    return sqnr.sqnr_db(float(signal[worst]), float(noise[worst]))
