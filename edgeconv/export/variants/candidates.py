"""Which other graphs are worth a try, and what a cost model says about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.export.choices import Choices

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.rewrite import Pair

__all__ = ["Candidate", "candidates", "combined"]

_MAX_PAIRS = 3


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One change of the graph, or several.

    `choices` are for the bundle's own fp32 graph, `exported` the same for an export of the model.
    """

    name: str
    choices: Choices
    exported: Choices


def candidates(graph: ir.Graph, start: Choices, exported: Choices) -> list[Candidate]:
    """Each form of the gates that the graph does not have, and each of the three largest pairs merged.

    A pair's size is the number of its output pixels: merging pays where the bottleneck's traffic is large.

    Args:
        graph: the bundle's fp32 graph.
        start: choices for it that change nothing.
        exported: those that the bundle was made with; gates that are no maps any more cannot be stored otherwise.
    """
    from edgeconv.export.gate_prices import gate_maps
    from edgeconv.rewrite.compress_gates import FOLDED, GATE_FORMS, compressed

    found = []
    maps = gate_maps(graph) if exported.gates == FOLDED else {}
    for form in GATE_FORMS:
        if any(compressed(values, form, start.gate_rank) for values in maps.values()):
            found.append(
                Candidate(
                    f"gates {form}",
                    dataclasses.replace(start, gates=form),
                    dataclasses.replace(exported, gates=form),
                )
            )
    for pair in _largest_pairs(graph):
        first = pair.first.node
        gone = {str(first.name), str(first.outputs[0].name)}
        found.append(
            Candidate(
                f"merged {pair.name}",
                _without(dataclasses.replace(start, merged_pairs=(pair.name,)), gone),
                _without(dataclasses.replace(exported, merged_pairs=(*exported.merged_pairs, pair.name)), gone),
            )
        )
    return found


def _largest_pairs(graph: ir.Graph) -> list[Pair]:
    """Those that share no convolution, so that each can be merged whatever becomes of the others."""
    from edgeconv.rewrite import factor_pairs

    chosen: list[Pair] = []
    used: set[str] = set()
    for pair in sorted(factor_pairs(graph), key=lambda pair: (-pair.pixels, pair.merged_macs / pair.macs)):
        names = {str(pair.first.node.name), pair.name}
        if len(chosen) < _MAX_PAIRS and not names & used:
            chosen.append(pair)
            used |= names
    return chosen


def combined(taken: Sequence[Candidate], start: Choices, exported: Choices) -> Candidate:
    """All changes of `taken` at once; of several forms of gates the first counts."""
    choices, written, names, has_gates = start, exported, list[str](), False
    for candidate in taken:
        if candidate.choices.gates != start.gates:
            if has_gates:
                continue
            has_gates = True
            choices = dataclasses.replace(choices, gates=candidate.choices.gates)
            written = dataclasses.replace(written, gates=candidate.exported.gates)
        else:
            gone = {*start.float_nodes, *start.tensor_ranges} - {
                *candidate.choices.float_nodes,
                *candidate.choices.tensor_ranges,
            }
            pairs = candidate.choices.merged_pairs
            choices = _without(dataclasses.replace(choices, merged_pairs=(*choices.merged_pairs, *pairs)), gone)
            written = _without(dataclasses.replace(written, merged_pairs=(*written.merged_pairs, *pairs)), gone)
        names.append(candidate.name)
    return Candidate(", ".join(names), choices, written)


def _without(choices: Choices, gone: set[str]) -> Choices:
    """Without what was said about nodes and tensors that are no longer there."""
    return dataclasses.replace(
        choices,
        float_nodes=tuple(name for name in choices.float_nodes if name not in gone),
        tensor_ranges={name: limits for name, limits in choices.tensor_ranges.items() if name not in gone},
    )
