"""Gives every quantised tensor its grid; tensors that one operator moves around together share one.

An operator that only moves or compares values (MaxPool, Concat, Reshape…) computes on integers only if its inputs and
outputs have the same grid, so all of them form a group. A grid that is fixed from outside (an 8-bit image, a
Sigmoid's output) becomes the group's when it reaches far enough. Otherwise the tensor leaves the group and is
requantised where the group reads it: a Concat of scores and coordinates must not clip the coordinates to [0, 1].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from edgeconv.export.calibrate import Statistics
from edgeconv.export.executor import Array
from edgeconv.export.quantize.grid import Grid
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.operators import FIXED_OUTPUTS, Output
from edgeconv.export.quantize.plan import Plan
from edgeconv.export.quantize.ranges import range_estimator
from edgeconv.export.quantize.scheme import QuantisationScheme
from edgeconv.graph import constant_value

__all__ = ["GridAssignment", "assign_grids"]

_FIXED, _GIVEN = "fixed", "given"
_WHOLE = "minmax"


@dataclasses.dataclass(frozen=True)
class GridAssignment:
    """The grid of each quantised tensor, where it comes from, and the inputs that read it on another grid.

    `requantised` maps (operator, tensor) to the grid on which that operator reads the tensor.
    """

    grids: Mapping[ir.Value, Grid]
    sources: Mapping[ir.Value, str]
    requantised: Mapping[tuple[ir.Node, ir.Value], Grid]


@dataclasses.dataclass
class _Group:
    """Tensors with one quantiser, the operations that tie them together, and the fixed tensors that these read.

    `constant` are values that depend on no data: nothing of them may be clipped as an outlier.
    """

    tensors: list[ir.Value]
    operations: list[Operation]
    outside: list[ir.Value]
    constant: frozenset[ir.Value]


def assign_grids(plan: Plan, statistics: Statistics, scheme: QuantisationScheme) -> GridAssignment:
    """Give each tensor of the plan its grid.

    Raises:
        ExportError: the statistics lack a tensor.
    """
    fixed = _fixed_grids(plan, scheme)
    detached: set[ir.Value] = set()
    while True:
        groups = _groups(plan, detached)
        misfits = {value for group in groups for value in _misfits(group, fixed, statistics, scheme)}
        if not misfits:
            break
        detached |= misfits
    grids: dict[ir.Value, Grid] = {}
    sources: dict[ir.Value, str] = {}
    requantised: dict[tuple[ir.Node, ir.Value], Grid] = {}
    for group in groups:
        held = [fixed[value] for value in group.tensors if value in fixed]
        grid = held[0] if held else _covering(group, fixed, statistics, scheme)
        grids.update(dict.fromkeys(group.tensors, grid))
        source = _FIXED if held else _GIVEN if _is_given(group, fixed, scheme) else scheme.ranges
        sources.update(dict.fromkeys(group.tensors, source))
        for operation in group.operations:
            requantised.update(((operation.node, value), grid) for value in operation.inputs if value in detached)
    return GridAssignment(grids, sources, requantised)


def _fixed_grids(plan: Plan, scheme: QuantisationScheme) -> dict[ir.Value, Grid]:
    fixed = {
        value: scheme.input_grid[str(value.name)]
        for value in plan.quantised
        if value.is_graph_input() and value.name in scheme.input_grid
    }
    for operation in plan.operations:
        if operation.is_int8 and operation.rule.output is Output.FIXED:
            fixed.update(dict.fromkeys(operation.outputs, FIXED_OUTPUTS[operation.node.op_type]))
    return fixed


def _groups(plan: Plan, detached: set[ir.Value]) -> list[_Group]:
    """Union-find over the tensors of operations with a shared quantiser; detached tensors stay by themselves."""
    parent = {value: value for value in plan.quantised}

    def find(value: ir.Value) -> ir.Value:
        while parent[value] is not value:
            parent[value] = parent[parent[value]]
            value = parent[value]
        return value

    sharing = [op for op in plan.operations if op.is_int8 and op.rule.output is Output.SHARED]
    for operation in sharing:
        first = find(operation.outputs[0])
        for value in (*operation.outputs, *operation.inputs):
            if value not in detached:
                parent[find(value)] = first
    groups: dict[ir.Value, _Group] = {}
    for value in plan.quantised:
        groups.setdefault(find(value), _Group([], [], [], plan.constant)).tensors.append(value)
    for operation in sharing:
        group = groups[find(operation.outputs[0])]
        group.operations.append(operation)
        group.outside.extend(value for value in operation.inputs if value in detached)
    return list(groups.values())


def _misfits(
    group: _Group, fixed: Mapping[ir.Value, Grid], statistics: Statistics, scheme: QuantisationScheme
) -> Iterable[ir.Value]:
    """The fixed tensors of a group that cannot give it their grid: too narrow, or one of several different ones."""
    held = [value for value in group.tensors if value in fixed]
    if not group.operations or not held:
        return []
    low, high = _range(group, fixed, statistics, scheme)
    agree = len({fixed[value] for value in held}) == 1 and fixed[held[0]].covers(low, high)
    return [] if agree else held


def _covering(
    group: _Group, fixed: Mapping[ir.Value, Grid], statistics: Statistics, scheme: QuantisationScheme
) -> Grid:
    return Grid.covering(*_range(group, fixed, statistics, scheme), symmetric=scheme.symmetric)


def _range(
    group: _Group, fixed: Mapping[ir.Value, Grid], statistics: Statistics, scheme: QuantisationScheme
) -> tuple[float, float]:
    """The union of the ranges of everything that flows into the group."""
    estimate, whole = range_estimator(scheme.ranges), range_estimator(_WHOLE)
    derived = {value for operation in group.operations for value in operation.outputs}
    ranges = [(0.0, 0.0)]
    for value in [*group.tensors, *group.outside]:
        if value in fixed:
            ranges.append((fixed[value].low, fixed[value].high))
        elif str(value.name) in scheme.tensor_ranges:
            ranges.append(scheme.tensor_ranges[str(value.name)])
        elif value not in derived:
            ranges.append((whole if value in group.constant else estimate)(statistics[str(value.name)]))
    for operation in group.operations:
        ranges.extend((float(array.min()), float(array.max())) for array in _constants(operation) if array.size)
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _is_given(group: _Group, fixed: Mapping[ir.Value, Grid], scheme: QuantisationScheme) -> bool:
    """Whether the scheme says the range of a tensor that flows into the group."""
    return any(v not in fixed and str(v.name) in scheme.tensor_ranges for v in [*group.tensors, *group.outside])


def _constants(operation: Operation) -> Sequence[Array]:
    """Constant operands of a shared operator, and the value that Pad fills in."""
    arrays = [array for _, array in operation.constants]
    if operation.node.op_type == "Pad" and len(operation.node.inputs) > 2:
        fill = constant_value(operation.node.inputs[2])
        arrays.extend([] if fill is None else [fill])
    return arrays
