"""Each layer alone in int8, simulated on this machine with the bundle's own graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from edgeconv.export.executor import Array
from edgeconv.parity.drift.record import NetworkError, Parts
from edgeconv.parity.drift.switches import SwitchedGraph, SwitchedLayer
from edgeconv.sqnr import Power

__all__ = ["Simulated", "simulate"]

Step = Callable[[int, int, str], None]


@dataclasses.dataclass(frozen=True)
class Simulated:
    """Of one layer: with it alone in int8, at the network's output and at its own; and in the whole int8 network."""

    at_output: Parts
    own: Parts
    output_noise: float
    cumulative_db: float | None


def simulate(
    graph: SwitchedGraph, cases: Sequence[Mapping[str, Array]], step: Step
) -> tuple[NetworkError, list[Simulated]]:
    """Run the network once for each layer's weights and once for its activations, on every case.

    An operator that only moves values (MaxPool, Concat, …) writes what its inputs' quantisers left: where rounding
    again changes nothing in the int8 network, it has no error of its own.

    Args:
        graph: of the bundle.
        cases: normalised inputs.
        step: called with (done, total, what is next).

    Returns:
        The whole network, and one entry for each of `graph.layers`.
    """
    sums = [_LayerPower() for _ in graph.layers]
    whole = {"weights": Power(), "activations": Power(), "both": Power()}
    total, done = len(cases) * sum(len(layer.switches) for layer in graph.layers), 0
    every = {switch for layer in graph.layers for switch in layer.switches}
    tensors = [layer.tensor for layer in graph.layers]
    moved = [layer.before for layer in graph.layers if layer.before]
    for feeds in cases:
        exact = graph.run(feeds, (), [*tensors, *graph.outputs])
        int8 = graph.run(feeds, every, [*tensors, *moved, *graph.outputs])
        still = {entry.tensor for entry in graph.layers if _only_moves(entry, int8)}
        for layer, power in zip(graph.layers, sums, strict=True):
            power.cumulative.add(exact[layer.tensor], int8[layer.tensor])
        _add(whole["both"], exact, int8, graph.outputs)
        del int8
        for part in ("weights", "activations"):
            on = {switch for layer in graph.layers if (switch := getattr(layer, part))}
            _add(whole[part], exact, graph.run(feeds, on, graph.outputs), graph.outputs)
        for layer, power in zip(graph.layers, sums, strict=True):
            for switch in layer.switches:
                step(done, total, layer.layer.module or layer.layer.name)
                done += 1
                if switch == layer.activations and layer.tensor in still:
                    continue
                found = graph.run(feeds, {switch}, [layer.tensor, *graph.outputs])
                part = "weights" if switch == layer.weights else "activations"
                power.own[part].add(exact[layer.tensor], found[layer.tensor])
                _add(power.output[part], exact, found, graph.outputs)
    network = NetworkError(_parts(whole), whole["both"].db)
    return network, [power.result() for power in sums]


class _LayerPower:
    """The sums of one layer."""

    def __init__(self) -> None:
        self.output = {"weights": Power(), "activations": Power()}
        self.own = {"weights": Power(), "activations": Power()}
        self.cumulative = Power()

    def result(self) -> Simulated:
        """In decibels."""
        noise = sum(power.noise for power in self.output.values())
        return Simulated(_parts(self.output), _parts(self.own), noise, self.cumulative.db)


def _parts(powers: Mapping[str, Power]) -> Parts:
    return Parts(powers["weights"].db, powers["activations"].db)


def _add(power: Power, exact: Mapping[str, Array], found: Mapping[str, Array], names: Collection[str]) -> None:
    for name in names:
        power.add(exact[name], found[name])


def _only_moves(layer: SwitchedLayer, int8: Mapping[str, Array]) -> bool:
    return bool(layer.before) and np.array_equal(int8[layer.before], int8[layer.tensor])
