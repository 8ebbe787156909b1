"""From a torch module, an exported program or an `.onnx` file to one ONNX graph of fixed shapes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveInitializersFromInputsPass

from edgeconv.errors import CheckpointError, ModelError, UsageError
from edgeconv.export.trace import first_line, trace, translate
from edgeconv.graph import (
    IR_VERSION,
    MODULE_KEY,
    OPSET,
    infer_shapes,
    load_graph,
    non_finite_constants,
    restore_modules,
    unique_name,
)

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

__all__ = ["forward_parameters", "load_onnx", "parse_input_shapes", "to_onnx"]

_NAMED_SHAPE = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<shape>[1-9]\d*(?:[xX,][1-9]\d*)*)")
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"


def parse_input_shapes(specs: Sequence[str], parameters: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read `--input-shape` options: `1x3x160x224` for a single input, `NAME=1x3x160x224` for several.

    Args:
        specs: one option for each input.
        parameters: the names of the model's inputs, in order.

    Returns:
        Shapes in elements by input name, in the order of `parameters`.

    Raises:
        UsageError: an option is no shape, names no input or an input that has one already, or needs a name.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        match = _NAMED_SHAPE.fullmatch(spec.strip())
        if match is None:
            raise UsageError(
                f"--input-shape {spec!r} is no shape.", "Write sizes joined by x, batch first: 1x3x160x224."
            )
        name = match["name"]
        if name is None:
            if len(specs) > 1 or len(parameters) > 1:
                raise UsageError(
                    f"--input-shape {spec!r} does not say which input it belongs to; the model has "
                    f"{_listed(parameters)}.",
                    f"Write --input-shape {parameters[0] if parameters else 'NAME'}={spec}.",
                )
            name = parameters[0] if parameters else "input"
        if parameters and name not in parameters:
            raise UsageError(f"--input-shape {spec!r}: the model has no input {name!r}; it has {_listed(parameters)}.")
        if name in shapes:
            raise UsageError(f"--input-shape gives input {name!r} two shapes.", "Give each input one.")
        shapes[name] = tuple(int(size) for size in re.split("[xX,]", match["shape"]))
    return {name: shapes[name] for name in (parameters or shapes) if name in shapes}


def forward_parameters(module: torch.nn.Module) -> tuple[str, ...]:
    """Names of the tensors that `module.forward` must be given, in order: its parameters without a default."""
    return tuple(
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )


def to_onnx(model: torch.nn.Module | ExportedProgram, example_inputs: Mapping[str, torch.Tensor]) -> ir.Model:
    """Export a torch model for the shapes of `example_inputs`.

    The graph's inputs are named after `forward`'s parameters; its outputs `output`, or `output_0`, `output_1`, … in
    the order in which they lie in the returned tuple, list or dict. A node is named `<module path>/<OpType>[_k]` and
    carries the path in its metadata under `edgeconv.module`. The module itself is left in the mode it was in.

    Args:
        model: a module, run in eval mode, or what `torch.export.load` returns.
        example_inputs: one tensor for each input, by parameter name; only shapes and types count.

    Raises:
        CheckpointError: weights or buffers hold NaN or infinity.
        ModelError: the inputs do not fit `forward`, the model refuses them, its control flow depends on data, its
            outputs are not tensors of float32, or the ONNX exporter does not know an operator.
    """
    import torch

    from edgeconv.models.checkpoint import check_finite

    check_finite(model.named_parameters(), model.named_buffers(), "the model")
    if isinstance(model, torch.nn.Module):
        inputs = _arguments(model, example_inputs)
        program = trace(model, inputs)
    else:
        inputs, program = _program_inputs(model, example_inputs), model
    graph = translate(program)
    InlinePass()(graph)
    _drop_notes(graph)
    _name_ports(graph, list(inputs))
    _name_nodes(graph)
    _fix_input_shapes(graph, {name: tuple(tensor.shape) for name, tensor in inputs.items()})
    infer_shapes(graph)
    _check_types(graph)
    return graph


def load_onnx(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
    """Read a user's `.onnx` file, with its dimensions fixed and its operators in our opset; port names are kept.

    Args:
        path: the file; external data beside it are read as well.
        input_shapes: shapes in elements by input name; inputs of fixed shape need none.

    Raises:
        UsageError: an input has dynamic dimensions and no shape was given, or a shape contradicts a fixed one.
        ModelError: the file is no ONNX model, its inputs or outputs are not float32, or its operators cannot be
            expressed in our opset.
        CheckpointError: an initialiser holds NaN or infinity.
    """
    graph = load_graph(path)
    graph.ir_version = IR_VERSION
    InlinePass()(graph)
    RemoveInitializersFromInputsPass()(graph)
    broken = non_finite_constants(graph)
    if broken:
        raise CheckpointError(
            f"The weights of {path} are not finite: NaN or infinity in {_listed(broken)}.",
            "The training diverged or the file is damaged: use another one.",
        )
    _complete_names(graph)
    graph = _to_opset(graph, path)
    _fix_input_shapes(graph, input_shapes or {})
    infer_shapes(graph)
    _check_types(graph)
    return graph


def _arguments(module: torch.nn.Module, example_inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    parameters = inspect.signature(module.forward).parameters
    required = forward_parameters(module)
    missing = [name for name in required if name not in example_inputs]
    unknown = [name for name in example_inputs if name not in parameters]
    if missing or unknown:
        found = {"no input for": missing, "unknown": unknown}
        problems = [f"{problem} {_listed(names)}" for problem, names in found.items() if names]
        raise ModelError(
            f"The inputs do not fit {type(module).__name__}.forward({', '.join(parameters)}): {'; '.join(problems)}.",
            "Give one --input-shape NAME=... for each parameter of forward.",
        )
    return {name: example_inputs[name] for name in parameters if name in example_inputs}


def _program_inputs(program: ExportedProgram, example_inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = program.graph_signature.user_inputs
    if set(names) != set(example_inputs):
        raise ModelError(
            f"The inputs do not fit the exported program: it takes {_listed([str(name) for name in names])}, "
            f"given {_listed(list(example_inputs))}.",
            "Give one --input-shape NAME=... for each of them.",
        )
    return {str(name): example_inputs[str(name)] for name in names}


def _drop_notes(graph: ir.Model) -> None:
    """Remove what the exporter wrote about the program and its values; it holds paths of the machine."""
    graph.metadata_props.clear()
    graph.graph.metadata_props.clear()
    outputs = (output for node in graph.graph for output in node.outputs)
    for value in (*graph.graph.inputs, *graph.graph.initializers.values(), *outputs):
        value.metadata_props.clear()


def _name_ports(graph: ir.Model, inputs: Sequence[str]) -> None:
    outputs = graph.graph.outputs
    for index, value in enumerate(outputs):
        # A port belongs to one node: what is an input, a weight or another port as well is passed on by an Identity.
        if value.producer() is None or any(value is other for other in outputs[:index]):
            node = ir.node("Identity", [value])
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.graph.append(node)
            outputs[index] = node.outputs[0]
    taken = set(inputs)
    names = ["output"] if len(outputs) == 1 else [f"output_{index}" for index in range(len(outputs))]
    ports = [*inputs, *(unique_name(name, taken) for name in names)]
    for weight in list(graph.graph.initializers.values()):
        if weight.name in ports:
            weight.name = f"/{weight.name}"
    for value, name in zip([*graph.graph.inputs, *outputs], ports, strict=True):
        value.name = name


def _name_nodes(graph: ir.Model) -> None:
    """Name nodes and the values they compute after their modules; drop the exporter's own notes."""
    taken: set[str] = set()
    for node in graph.graph:
        path = _scope(node)
        node.metadata_props.clear()
        node.doc_string = None
        node.metadata_props[MODULE_KEY] = path
        node.name = unique_name(f"{path}/{node.op_type}", taken)
        for output in node.outputs:
            if output.name and not output.is_graph_output():
                output.name = f"{path}/{output.name}"


def _complete_names(graph: ir.Model) -> None:
    """Keep a user's node names, make them unique, and read module paths from them where an exporter wrote any."""
    taken: set[str] = set()
    for node in graph.graph:
        path = _scope(node)
        node.name = unique_name(node.name or f"{path}/{node.op_type}", taken)
        node.metadata_props.clear()
        node.metadata_props[MODULE_KEY] = path


def _scope(node: ir.Node) -> str:
    """Dotted module path as PyTorch's exporters write it: in the metadata, or as `/encoder/0/conv/Conv` in the name."""
    if scopes := node.metadata_props.get(_SCOPES_KEY):
        # ['', 'encoder', 'encoder.0', 'conv2d_1']: the modules from the outside in, then the operation. A module
        # called for the second time is 'encoder.0@1'.
        modules: list[str] = ast.literal_eval(scopes)[:-1]
        return modules[-1].partition("@")[0] if modules else ""
    path: list[str] = []
    if (node.name or "").startswith("/"):
        for part in (node.name or "").strip("/").split("/")[:-1]:
            # The children of a Sequential are called 'encoder.0', not '0'.
            if path and part.startswith(f"{path[-1]}."):
                path.pop()
            path.append(part)
    return ".".join(path)


def _fix_input_shapes(graph: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    names = [value.name or "" for value in graph.graph.inputs]
    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise UsageError(f"The model has no input {_listed(unknown)}; it has {_listed(names)}.")
    for value in graph.graph.inputs:
        shape, declared = shapes.get(value.name or ""), value.shape
        if shape is None:
            if declared is None or not declared.is_static():
                raise UsageError(
                    f"Input '{value.name}' has dynamic dimensions ({declared}).",
                    f"Fix them with --input-shape {value.name}=...",
                )
            continue
        fits = declared is None or (
            len(declared) == len(shape)
            and all(want == size or not isinstance(want, int) for want, size in zip(declared, shape, strict=True))
        )
        if not fits:
            raise UsageError(
                f"Input '{value.name}' has the shape {declared} in the model, {list(shape)} does not fit.",
                "Leave --input-shape out, or give a shape that agrees with the fixed dimensions.",
            )
        value.shape = ir.Shape(shape)


def _check_types(graph: ir.Model) -> None:
    """Refuse inputs and outputs that are not float32: drift against class numbers or masks has no decibels."""
    for word, values in (("input", graph.graph.inputs), ("output", graph.graph.outputs)):
        for value in values:
            if value.dtype in (None, ir.DataType.FLOAT):
                continue
            raise ModelError(
                f"The model's {word} '{value.name}' is {str(value.dtype).lower()}; only float32 can be exported.",
                _other_type_hint(value),
            )


def _other_type_hint(value: ir.Value) -> str:
    node = value.producer()
    if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE):
        return "Convert the model to float32 first, as module.float() does."
    if node is None:
        return "Leave the conversion to float32 out of the model and describe the input with --mean and --std."
    return (
        f"It is computed by {node.op_type} (node '{node.name}'). End the model before that, and pick classes or "
        "compare with a threshold in what the device returns."
    )


def _to_opset(graph: ir.Model, path: Path) -> ir.Model:
    version = graph.opset_imports.get("", OPSET)
    if version == OPSET:
        return graph
    try:
        converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(graph), OPSET))
    except RuntimeError as error:
        raise ModelError(
            f"{path} is written in ONNX opset {version} and cannot be expressed in {OPSET}: {first_line(error)}",
            f"Export the model with opset {OPSET}.",
        ) from error
    restore_modules(converted, graph)
    return converted


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
