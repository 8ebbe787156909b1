"""The Q/DQ reference: the graph computed in float exactly as it is written, with no integer kernel in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.executor import Array, cut, open_session
from edgeconv.export.quantize.units import operator_units
from edgeconv.graph import module_path

__all__ = ["OperatorCase", "ReferenceRunner", "run_reference", "split_operators"]


class ReferenceRunner:
    """Runs a graph in ONNX Runtime with graph optimisation off, on one thread.

    Args:
        model: a Q/DQ graph (or any other).
        taps: names of inner tensors to return besides the outputs, the integers behind a QuantizeLinear among them.

    Raises:
        ExportError: the graph has no such tensor.
    """

    def __init__(self, model: ir.Model, taps: Sequence[str] = ()) -> None:
        self._session: Any = open_session(_tapped(model, taps), optimise=False)
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] = ()) -> dict[str, Array]:
        """The outputs and taps for one sample, by name; with `names` only those of them."""
        wanted = list(dict.fromkeys(names)) or self._names
        return dict(zip(wanted, self._session.run(wanted, dict(feeds)), strict=True))


def run_reference(model: ir.Model, feeds: Mapping[str, Array], taps: Sequence[str] = ()) -> dict[str, Array]:
    """Run `model` once; see `ReferenceRunner`, which is faster for several samples."""
    return ReferenceRunner(model, taps).run(feeds)


@dataclasses.dataclass(frozen=True)
class OperatorCase:
    """One operator of a Q/DQ graph as a model of its own: ``DQ(inputs) -> operator [-> activation] -> Q``.

    `inputs` and `outputs` are the names of the tensors at its border, the same as in the whole graph, where
    `run_reference` can tap them. They are integers but at the border of a float island.
    """

    name: str
    operator: str
    module: str
    model: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def split_operators(model: ir.Model) -> list[OperatorCase]:
    """Cut a Q/DQ graph into its operators, in graph order.

    A lowered operator that is fed with the reference's own integers may differ from the reference by one step at
    most. End to end that cannot be asked: rounding is chaotic over many layers.
    """
    cases = []
    for unit in operator_units(model.graph):
        inputs, outputs = (tuple(str(value.name) for value in values) for values in (unit.inputs, unit.outputs))
        cases.append(
            OperatorCase(
                name=str(unit.node.name),
                operator=unit.node.op_type,
                module=module_path(unit.node),
                model=cut(model, inputs, outputs),
                inputs=inputs,
                outputs=outputs,
            )
        )
    return cases


def _tapped(model: ir.Model, taps: Sequence[str]) -> ir.Model:
    if not taps:
        return model
    copy = model.clone()
    values = {str(output.name): output for node in copy.graph for output in node.outputs}
    present = {str(value.name) for value in copy.graph.outputs}
    for name in dict.fromkeys(taps):
        if name not in values:
            raise ExportError(f"The graph has no tensor {name!r} to tap.")
        if name not in present:
            copy.graph.outputs.append(values[name])
    return copy
