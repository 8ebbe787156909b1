"""From the fp32 graph and its statistics to the one Q/DQ graph."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from edgeconv.errors import DataError, UsageError
from edgeconv.export.calibrate import Statistics, check_sample
from edgeconv.export.executor import Array
from edgeconv.export.macs import count_macs
from edgeconv.export.quantize.grid import Grid
from edgeconv.export.quantize.groups import GridAssignment, assign_grids
from edgeconv.export.quantize.insert import insert_quantisers
from edgeconv.export.quantize.operation import Operation
from edgeconv.export.quantize.plan import plan_operations
from edgeconv.export.quantize.scheme import (
    NodeRecord,
    QuantisationResult,
    QuantisationScheme,
    QuantisationSummary,
    Recipe,
    TensorRecord,
)
from edgeconv.export.quantize.sequential import correct_bias, run_sequential_pass
from edgeconv.export.quantize.validate import validate_qdq
from edgeconv.graph import constant_value, module_path

__all__ = ["quantize", "with_learned"]

_LEARNED = "learned"
_MAX_CORRECTION_SAMPLES = 4  # as good as sixteen; each is held as the live tensors of both graphs


def quantize(
    model: ir.Model,
    statistics: Statistics,
    samples: Iterable[Mapping[str, Array]],
    *,
    scheme: QuantisationScheme | None = None,
) -> QuantisationResult:
    """Quantise `model` to int8 as explicit Q/DQ nodes.

    Args:
        model: the fp32 graph: static shapes, every tensor and node named. Not changed.
        statistics: of at least the `observed_tensors` of the scheme's placement, collected on this graph.
        samples: normalised calibration samples; the first 4 serve the sequential pass.
        scheme: what to quantise how.

    Raises:
        UsageError: the scheme has a grid for an input that the graph does not have.
        DataError: a sample does not fit the inputs, or there is none.
        ExportError: weights that are not finite, missing statistics, or a Q/DQ graph that breaks its contract.
    """
    scheme = scheme or QuantisationScheme()
    _check_input_names(model, scheme)
    reference = _with_unique_node_names(model)
    quantised = reference.clone()
    plan = plan_operations(quantised.graph, placement=scheme.placement, kept_float=scheme.float_nodes)
    assignment = assign_grids(plan, statistics, scheme)
    tensors = _tensor_records(assignment)
    raised = insert_quantisers(
        quantised.graph, plan, assignment, with_bias=scheme.bias_correction, symmetric=scheme.symmetric
    )
    held = _first_samples(model, samples) if scheme.bias_correction else []
    corrected = run_sequential_pass(reference, quantised, held, correct_bias) if held else set()
    validate_qdq(quantised, symmetric=scheme.symmetric, float_nodes=scheme.float_nodes)
    nodes = tuple(_node_record(operation, raised, corrected) for operation in plan.operations)
    recipe = Recipe(
        scheme.activations, scheme.ranges, scheme.bias_correction, statistics.samples, len(held), tensors, nodes
    )
    return QuantisationResult(quantised, recipe, _summary(recipe, quantised.graph))


def with_learned(result: QuantisationResult, model: ir.Model) -> QuantisationResult:
    """The result for `model`, which is its graph with other integers and scales: ranges that moved are "learned"."""
    scales: dict[str, float] = {}
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and (scale := constant_value(node.inputs[1])) is not None:
            names = [value.name for value in node.inputs[:1] if value is not None]
            names += [reader.outputs[0].name for reader in node.outputs[0].consumers()]  # a graph output kept its name
            scales.update((str(name), float(scale)) for name in names)
    tensors = tuple(_moved(record, scales.get(record.name, record.scale)) for record in result.recipe.tensors)
    recipe = dataclasses.replace(result.recipe, tensors=tensors)
    return QuantisationResult(model, recipe, _summary(recipe, model.graph))


def _moved(record: TensorRecord, scale: float) -> TensorRecord:
    if scale == record.scale:
        return record
    grid = Grid(scale, record.zero_point)
    return dataclasses.replace(record, scale=grid.scale, low=grid.low, high=grid.high, source=_LEARNED)


def _check_input_names(model: ir.Model, scheme: QuantisationScheme) -> None:
    names = [str(value.name) for value in model.graph.inputs]
    for name in scheme.input_grid:
        if name not in names:
            raise UsageError(f"There is a grid for {name!r}, which is no input of the graph.", f"Inputs: {names}.")


def _with_unique_node_names(model: ir.Model) -> ir.Model:
    """A copy in which every node can be found by its name."""
    copy = model.clone()
    NameFixPass()(copy)
    return copy


def _first_samples(model: ir.Model, samples: Iterable[Mapping[str, Array]]) -> list[dict[str, Array]]:
    held = [
        check_sample(model, sample, index)
        for index, sample in enumerate(itertools.islice(samples, _MAX_CORRECTION_SAMPLES))
    ]
    if not held:
        raise DataError("There is no calibration sample to correct biases with.", "Give at least one; four are enough.")
    return held


def _tensor_records(assignment: GridAssignment) -> tuple[TensorRecord, ...]:
    return tuple(
        TensorRecord(str(value.name), grid.scale, grid.zero_point, grid.low, grid.high, assignment.sources[value])
        for value, grid in assignment.grids.items()
    )


def _node_record(operation: Operation, raised: Mapping[str, tuple[int, ...]], corrected: Collection[str]) -> NodeRecord:
    node, name = operation.node, str(operation.node.name)
    return NodeRecord(
        name=name,
        operator=node.op_type,
        module=module_path(node),
        decision="int8" if operation.is_int8 else "float",
        reason=operation.reason,
        macs=count_macs(node),
        raised_channels=raised.get(name, ()),
        bias_corrected=name in corrected,
    )


def _summary(recipe: Recipe, graph: ir.Graph) -> QuantisationSummary:
    int8 = [node for node in recipe.nodes if node.decision == "int8"]
    macs = sum(node.macs for node in recipe.nodes)
    return QuantisationSummary(
        int8_operators=len(int8),
        float_islands=tuple(node.name for node in recipe.nodes if node.decision != "int8"),
        int8_mac_share=sum(node.macs for node in int8) / macs if macs else 1.0,
        bias_q_max_log2=_bias_q_max_log2(graph),
        corrected_biases=sum(node.bias_corrected for node in recipe.nodes),
    )


def _bias_q_max_log2(graph: ir.Graph) -> float:
    """log2 of the largest integer bias; 0 without any."""
    largest = 1
    for value in graph.initializers.values():
        readers = value.consumers()
        if value.dtype == ir.DataType.INT32 and readers and readers[0].op_type == "DequantizeLinear":
            array = constant_value(value)
            largest = largest if array is None else max(largest, int(np.abs(array.astype(np.int64)).max(initial=1)))
    return math.log2(largest)
