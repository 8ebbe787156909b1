"""ONNX Runtime's artefact is the ONNX graph itself, for int8 in the twin that the device's kernels fuse."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgeconv.export.jobs import ConversionJob, ConvertedFile
from edgeconv.graph import load_graph, static_shape
from edgeconv.manifest import TensorSpec

__all__ = ["convert", "read_graph", "tensor_specs"]


def convert(job: ConversionJob) -> ConvertedFile:
    """Write `model.<precision>.onnx`."""
    from edgeconv.export.channels_last import spell_out_depth_to_space
    from edgeconv.export.constant_expressions import spell_out_quantisers
    from edgeconv.export.float_guards import guard_float_operators
    from edgeconv.export.float_outputs import free_outputs
    from edgeconv.export.integer_relu import relus_on_integers
    from edgeconv.export.joined_columns import join_columns
    from edgeconv.export.pointwise_products import spell_out_pointwise
    from edgeconv.export.twins import to_uint8

    model = ir.load(job.source)
    if job.precision == "int8" and job.activations == "uint8":
        model = to_uint8(model)
    freed = job.float_outputs and free_outputs(model, _writes_float)
    join_columns(model)
    spell_out_pointwise(model)
    relus_on_integers(model)
    spell_out_depth_to_space(model)
    guard_float_operators(model)
    spell_out_quantisers(model)
    path = Path(job.directory) / f"model.{job.precision}.onnx"
    ir.save(model, path)
    inputs, outputs = tensor_specs(model)
    facts = {"transposes": str(sum(node.op_type == "Transpose" for node in model.graph))}
    if job.precision == "int8":
        facts["activations"] = job.activations
    return ConvertedFile(path.name, inputs, outputs, facts=facts, float_outputs=freed)


def read_graph(path: Path, *, float_outputs: bool = False) -> ir.Model:
    """The graph that an artefact was made from: operators between quantisers, under their own names.

    With `float_outputs` those that `free_outputs` can take out are taken out, whether they are in the file or not.
    """
    from edgeconv.export.channels_last import join_depth_to_space
    from edgeconv.export.float_outputs import free_outputs, quantise_outputs
    from edgeconv.export.integer_relu import join_relus
    from edgeconv.export.joined_columns import part_columns
    from edgeconv.export.pointwise_products import join_pointwise

    model = join_relus(join_depth_to_space(load_graph(path)))
    model = quantise_outputs(part_columns(join_pointwise(model)))
    if float_outputs:
        free_outputs(model)
    return model


def tensor_specs(model: ir.Model) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of an ONNX graph: float32, NCHW where they have rank 4."""
    inputs, outputs = ([_spec(value) for value in values] for values in (model.graph.inputs, model.graph.outputs))
    return inputs, outputs


def _spec(value: ir.Value) -> TensorSpec:
    shape = list(static_shape(value))
    name = value.name or ""
    return TensorSpec(name, name, shape, "NCHW" if len(shape) == 4 else "as-is", "float32")


def _writes_float(node: ir.Node) -> bool:
    """Whether it can at no cost: an integer product writes what one likes, an integer convolution only integers."""
    from edgeconv.export.float_outputs import PRODUCTS, is_light
    from edgeconv.export.pointwise_products import is_pointwise

    return node.op_type in PRODUCTS or is_pointwise(node) or is_light(node)
