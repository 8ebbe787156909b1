"""Reading ONNX graphs: the helpers that every stage working on a graph shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edgeconv.errors import ExportError, ModelError
from edgeconv.files import atomic_write_bytes

__all__ = [
    "CHANNELS_FIRST",
    "CHANNELS_LAST",
    "IR_VERSION",
    "MODULE_KEY",
    "OPSET",
    "computed_constants",
    "constant_value",
    "describe",
    "infer_shapes",
    "load_graph",
    "module_path",
    "named_node",
    "non_finite_constants",
    "only_reader",
    "readers",
    "register_constant",
    "replace_value",
    "restore_modules",
    "save_graph",
    "static_shape",
    "to_bytes",
    "unique_name",
]

OPSET = 18
"""The version of the ONNX operator set that every graph of ours is written in."""

IR_VERSION = 10
"""The version of the ONNX file format: the newest that ONNX Runtime 1.18, our oldest, reads."""

MODULE_KEY = "edgeconv.module"
"""Key of a node's metadata that holds the dotted path of the torch module it came from; empty for the root."""


_SHAPE_CONSTANT_MAX_BYTES = 1024

CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
"""The orders of a Transpose from NCHW and back."""


def load_graph(path: Path) -> ir.Model:
    """Read an `.onnx` file with its external data, everything in memory.

    Raises:
        ModelError: there is no such file, it is no ONNX model, or its external data are missing.
    """
    try:
        proto = onnx.load(str(path))
    except FileNotFoundError as error:
        raise ModelError(f"{error.filename or path} does not exist.", "Check the path of the model.") from error
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as an ONNX model: {error}") from error
    if not proto.graph.node:
        raise ModelError(f"{path} cannot be read as an ONNX model: it has no graph.")
    return ir.from_proto(proto)


def save_graph(model: ir.Model, path: Path) -> None:
    """Write `model` as one `.onnx` file, moved into place when complete."""
    atomic_write_bytes(path, to_bytes(model))


def to_bytes(model: ir.Model) -> bytes:
    """The model in ONNX's wire format, weights included; the same graph gives the same bytes."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def constant_value(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The array that an initialiser or a `Constant` node holds; None when the value is absent or computed.

    The array may share memory with the graph: copy before writing to it.
    """
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def computed_constants(graph: ir.Graph) -> frozenset[ir.Value]:
    """The values that nodes compute from constants alone, such as a gate map that is stored as its factors."""
    found: set[ir.Value] = set()
    for node in graph:
        read = [value for value in node.inputs if value is not None]
        if read and all(value in found or constant_value(value) is not None for value in read):
            found.update(node.outputs)
    return frozenset(found)


def register_constant(graph: ir.Graph, name: str, array: np.ndarray[Any, Any]) -> ir.Value:
    """`array` as a new initialiser; the name must be free."""
    # ascontiguousarray would turn a scalar into a vector of one.
    tensor = ir.tensor(np.array(array, order="C"), name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def named_node(
    operator: str,
    inputs: Sequence[ir.Value | None],
    name: str,
    dtype: ir.DataType | None,
    shape: ir.Shape | None = None,
    attributes: Mapping[str, int | list[int]] | None = None,
) -> ir.Node:
    """A node whose one output is called `name`; it is not in a graph yet."""
    kind = None if dtype is None else ir.TensorType(dtype)
    output = ir.Value(name=name, type=kind, shape=shape)
    return ir.node(operator, inputs, dict(attributes or {}), outputs=[output], name=f"{name}/{operator}")


def replace_value(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Put `new` in the place of `old`, under its name, for all that read it and as an output of the graph."""
    if old.is_graph_output():
        graph.outputs[list(graph.outputs).index(old)] = new
    new.name = old.name
    ir.convenience.replace_all_uses_with(old, new)


def readers(value: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes that read `value`, once for each input it feeds; a graph output is no reader."""
    return tuple(use.node for use in value.uses())


def only_reader(value: ir.Value) -> ir.Node | None:
    """The node that reads `value` when exactly one input does and it is not a graph output, else None."""
    nodes = readers(value)
    return nodes[0] if len(nodes) == 1 and not value.is_graph_output() else None


def static_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of `value` in elements.

    Raises:
        ExportError: the shape is unknown or has a dynamic dimension.
    """
    if value.shape is None or not value.shape.is_static():
        producer = value.producer()
        where = describe(producer) if producer is not None else "the graph's inputs"
        raise ExportError(
            f"Tensor '{value.name}' of {where} has no static shape (it is {value.shape}).",
            "Give every input a fixed shape with --input-shape.",
        )
    return tuple(int(size) for size in value.shape.numpy())


def module_path(node: ir.Node) -> str:
    """The dotted path of the torch module that `node` came from; empty for the root and when it is unknown."""
    return node.metadata_props.get(MODULE_KEY, "")


def describe(node: ir.Node) -> str:
    """How an error message names a node: its name, operator and module path."""
    path = module_path(node)
    return f"node '{node.name}' ({node.op_type}{f' of module {path}' if path else ''})"


def unique_name(stem: str, taken: set[str]) -> str:
    """`stem`, or the first of `stem_1`, `stem_2`, … that is not in `taken`, to which the name is added."""
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name


def restore_modules(model: ir.Model, original: ir.Model) -> None:
    """Give back names and module paths to a graph that a tool made from `original` and stripped of metadata.

    A node gets the module path of the node that computed the same value before, else of the node of the same name.
    """
    by_value = {output.name: module_path(node) for node in original.graph for output in node.outputs}
    by_name = {node.name: module_path(node) for node in original.graph}
    taken: set[str] = set()
    for node in model.graph:
        path = by_value.get(node.outputs[0].name, by_name.get(node.name, ""))
        node.metadata_props[MODULE_KEY] = path
        node.name = unique_name(node.name or f"{path}/{node.op_type}", taken)


def infer_shapes(model: ir.Model) -> None:
    """Recompute type and shape of every value from the graph's inputs and initialisers, in place.

    Raises:
        ExportError: an operator refuses the shapes of its inputs.
    """
    skeleton = model.clone()
    for node in skeleton.graph:
        for output in node.outputs:
            output.shape = None
    # Inference copies the model several times and reads only small constants: axes and target shapes.
    for name, value in list(skeleton.graph.initializers.items()):
        if value.const_value is not None and value.const_value.nbytes > _SHAPE_CONSTANT_MAX_BYTES:
            del skeleton.graph.initializers[name]
            value.const_value = None
            skeleton.graph.inputs.append(value)
    try:
        proto = onnx.shape_inference.infer_shapes(
            ir.to_proto(skeleton), check_type=True, strict_mode=True, data_prop=True
        )
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"The shapes in the graph do not fit together: {str(error).strip()}") from error
    inferred = ir.convenience.create_value_mapping(ir.from_proto(proto).graph)
    for node in model.graph:
        for output in node.outputs:
            if output.name in inferred:
                output.type = inferred[output.name].type
                output.shape = inferred[output.name].shape


def non_finite_constants(model: ir.Model) -> list[str]:
    """Names of the constant tensors that hold NaN, or +inf among other numbers.

    -inf passes, masks are made of it, and so does a single +inf, which bounds a Clip.
    """
    constants = [*model.graph.initializers.values()]
    constants += [output for node in model.graph if node.op_type == "Constant" for output in node.outputs]
    names = []
    for value in constants:
        array = constant_value(value)
        if array is None or array.dtype.kind != "f":
            continue
        if np.isnan(array).any() or (array.size > 1 and np.isposinf(array).any()):
            names.append(str(value.name))
    return names
