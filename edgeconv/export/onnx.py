"""From a torch module, an exported program or an `.onnx` file to one ONNX graph of fixed shapes.

The exporter's own optimiser stays off: it deletes `x + eps` for every eps <= 1e-8, which turns 0 / (0 + eps) into NaN.
What it would have folded, our rewrites fold and check.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveInitializersFromInputsPass

from edgeconv.errors import CheckpointError, ModelError, UsageError
from edgeconv.export.graph import MODULE_KEY, OPSET, infer_shapes, load_graph, non_finite_constants

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

__all__ = ["forward_parameters", "load_onnx", "parse_input_shapes", "to_onnx"]

_NAMED_SHAPE = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<shape>[1-9]\d*(?:[xX,][1-9]\d*)*)")
_TRACED_FRAME = re.compile(r'File "(.+)", line (\d+), in .*\n +(.*)')
_UNTRANSLATED = re.compile(r"translating node %(\w+) .*target=torch\.ops\.([\w.]+)")
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
            outputs are not tensors, or the ONNX exporter does not know an operator.
    """
    import torch

    if isinstance(model, torch.nn.Module):
        _check_finite(model.state_dict())
        with _evaluating(model):
            program = _trace(model, _arguments(model, example_inputs))
    else:
        program = model
        _check_finite(program.state_dict)
        example_inputs = _program_inputs(program, example_inputs)
    graph = _convert(program)
    _name_ports(graph, list(example_inputs))
    _name_nodes(graph)
    _fix_input_shapes(graph, {name: tuple(tensor.shape) for name, tensor in example_inputs.items()})
    infer_shapes(graph)
    return graph


def load_onnx(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
    """Read a user's `.onnx` file, with its dimensions fixed and its operators in our opset; port names are kept.

    Args:
        path: the file; external data beside it are read as well.
        input_shapes: shapes in elements by input name; inputs of fixed shape need none.

    Raises:
        UsageError: an input has dynamic dimensions and no shape was given, or a shape contradicts a fixed one.
        ModelError: the file is no ONNX model, or its operators cannot be expressed in our opset.
        CheckpointError: an initialiser holds NaN or infinity.
    """
    graph = load_graph(path)
    InlinePass()(graph)
    RemoveInitializersFromInputsPass()(graph)
    graph = _to_opset(graph, path)
    _complete_names(graph)
    _fix_input_shapes(graph, input_shapes or {})
    broken = non_finite_constants(graph)
    if broken:
        raise CheckpointError(_not_finite(broken), f"Check how {path} was trained and saved.")
    infer_shapes(graph)
    return graph


# -- torch -----------------------------------------------------------------------------------------------------------


def _check_finite(state: Mapping[str, torch.Tensor]) -> None:
    broken = [
        name
        for name, tensor in state.items()
        # -inf passes: attention masks are buffers of 0 and -inf.
        if tensor.is_floating_point() and (tensor.isnan().any() or tensor.isposinf().any())
    ]
    if broken:
        raise CheckpointError(
            _not_finite(broken), "The training diverged or the file is damaged: use another checkpoint."
        )


def _not_finite(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"The weights are not finite: NaN or infinity in {', '.join(names[:5])}{more}."


def _arguments(module: torch.nn.Module, example_inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    parameters = inspect.signature(module.forward).parameters
    required = forward_parameters(module)
    missing = [name for name in required if name not in example_inputs]
    unknown = [name for name in example_inputs if name not in parameters]
    if missing or unknown:
        problems = [f"no input for {_listed(missing)}"] * bool(missing) + [f"unknown {_listed(unknown)}"] * bool(
            unknown
        )
        raise ModelError(
            f"The inputs do not fit {type(module).__name__}.forward({', '.join(parameters)}): {'; '.join(problems)}.",
            "Give one --input-shape NAME=... for each parameter of forward.",
        )
    return {name: example_inputs[name] for name in parameters if name in example_inputs}


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _trace(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> ExportedProgram:
    import torch

    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(module, (), kwargs=inputs)
    except Exception as error:  # noqa: BLE001 - tracing runs the user's code, which may raise anything
        raise _refusal(module, inputs, error) from error
    _check_program(program, type(module).__name__)
    return program


def _refusal(module: torch.nn.Module, inputs: dict[str, torch.Tensor], error: Exception) -> ModelError:
    """Why tracing failed: running the model as it is tells whether the shapes are at fault or the tracing."""
    import torch
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    name = type(module).__name__
    try:
        with torch.no_grad():
            outputs = module(**inputs)
    except Exception as own:  # noqa: BLE001 - as above
        shapes = ", ".join(f"{key} {'x'.join(map(str, tensor.shape))}" for key, tensor in inputs.items())
        return ModelError(
            f"{name} refuses inputs of shape {shapes}: {_first_line(own)}{_user_line(own)}",
            "Give a shape that the model accepts with --input-shape.",
        )
    if not isinstance(outputs, (torch.Tensor, tuple, list, Mapping)):
        return _no_tensor(name, outputs)
    if isinstance(error, GuardOnDataDependentSymNode):
        return ModelError(
            f"{name} has control flow that depends on the data, which a fixed graph cannot hold{_user_line(error)}",
            "Replace the branch by torch.where, or the size by a constant.",
        )
    return ModelError(
        f"torch.export cannot trace {name}: {_first_line(error)}{_user_line(error)}",
        "Write that part of forward with torch operators only.",
    )


def _check_program(program: ExportedProgram, name: str) -> None:
    """Refuse outputs that are no tensors, and sizes that tracing with fixed shapes could not know."""
    import torch
    from torch.export.graph_signature import ConstantArgument

    if not program.graph_signature.user_outputs:
        raise ModelError(f"{name} returns no tensor.", "Return at least one tensor from forward.")
    for spec in program.graph_signature.output_specs:
        if isinstance(spec.arg, ConstantArgument):
            raise _no_tensor(name, spec.arg.value)
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and any(not isinstance(size, int) for size in value.shape):
            raise ModelError(
                f"{name} computes a tensor whose size depends on the data, which a fixed graph cannot hold"
                f"{_traced_line([node])}",
                "Replace masks that select elements by torch.where.",
            )


def _no_tensor(name: str, output: object) -> ModelError:
    return ModelError(
        f"{name} returns something of type {type(output).__name__} where tensors were expected.",
        "Wrap the model in a module whose forward returns a tensor, or a tuple, list or dict of tensors.",
    )


def _program_inputs(program: ExportedProgram, example_inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = program.graph_signature.user_inputs
    if set(names) != set(example_inputs):
        raise ModelError(
            f"The inputs do not fit the exported program: it takes {_listed([str(name) for name in names])}, "
            f"given {_listed(list(example_inputs))}.",
            "Give one --input-shape NAME=... for each of them.",
        )
    return {str(name): example_inputs[str(name)] for name in names}


def _convert(program: ExportedProgram) -> ir.Model:
    import torch

    try:
        with _quiet():
            converted = torch.onnx.export(program, opset_version=OPSET, dynamo=True, optimize=False, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        found = _UNTRANSLATED.search(str(cause))
        nodes = [node for node in program.graph.nodes if found and node.name.strip("_") == found[1].strip("_")]
        problem = f"operator {found[2]}{_traced_line(nodes)}" if found else f"{_first_line(cause)}."
        raise ModelError(
            f"PyTorch's ONNX exporter cannot convert the model: {problem}",
            "Write it with other operators, or export to .onnx yourself and give that file.",
        ) from error
    graph: ir.Model = converted.model
    InlinePass()(graph)
    graph.metadata_props.clear()
    graph.graph.metadata_props.clear()
    return graph


def _user_line(error: BaseException) -> str:
    """Where in the user's code an exception came from, as the end of a sentence."""
    return _where((frame.filename, frame.lineno, frame.line) for frame in traceback.extract_tb(error.__traceback__))


def _traced_line(nodes: Sequence[torch.fx.Node]) -> str:
    """Where in the user's code traced operations were called, as the end of a sentence."""
    return _where(frame for node in nodes for frame in _TRACED_FRAME.findall(str(node.meta.get("stack_trace") or "")))


def _where(frames: Iterable[tuple[str, object, object]]) -> str:
    """The innermost of (file, line number, code) outside torch, Python's library and this file, as a sentence's end."""
    import torch

    library = str(Path(inspect.__file__).parent)
    foreign = (str(Path(torch.__file__).parent), __file__, "<")
    own = [
        frame
        for frame in frames
        if not frame[0].startswith(foreign) and not (frame[0].startswith(library) and "site-packages" not in frame[0])
    ]
    return f" ({own[-1][0]}:{own[-1][1]}: {own[-1][2]})." if own else "."


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what torch's exporters print, log and warn, and leave every logger as it was."""
    handlers = {
        handler
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in ("torch", "onnxscript", "onnx_ir")
        for handler in logger.handlers
    }
    levels = {handler: handler.level for handler in handlers}
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


# -- the graph -------------------------------------------------------------------------------------------------------


def _name_ports(graph: ir.Model, inputs: Sequence[str]) -> None:
    outputs = graph.graph.outputs
    for index, value in enumerate(outputs):
        # A port belongs to one node: what is an input, a weight or another port as well is passed on by an Identity.
        if value.producer() is None or any(value is other for other in outputs[:index]):
            node = ir.node("Identity", [value])
            node.outputs[0].dtype, node.outputs[0].shape = value.dtype, value.shape
            graph.graph.append(node)
            outputs[index] = node.outputs[0]
    ports = [*inputs, *(["output"] if len(outputs) == 1 else [f"output_{index}" for index in range(len(outputs))])]
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
        node.name = _unique(f"{path}/{node.op_type}", taken)
        for output in node.outputs:
            if output.name and not output.is_graph_output():
                output.name = f"{path}/{output.name}"


def _complete_names(graph: ir.Model) -> None:
    """Keep a user's node names, make them unique, and read module paths from them where an exporter wrote any."""
    taken: set[str] = set()
    for node in graph.graph:
        path = _scope(node)
        node.name = _unique(node.name or f"{path}/{node.op_type}", taken)
        node.metadata_props.clear()
        node.metadata_props[MODULE_KEY] = path


def _scope(node: ir.Node) -> str:
    """Dotted module path as PyTorch's exporters write it: in the metadata, or as `/encoder/0/conv/Conv` in the name."""
    if scopes := node.metadata_props.get(_SCOPES_KEY):
        # ['', 'encoder', 'encoder.0', 'conv2d_1']: the modules from the outside in, then the operation. A module
        # called for the second time is 'encoder.0@1'.
        modules: list[str] = ast.literal_eval(scopes)[:-1]
        return modules[-1].partition("@")[0] if modules else ""
    if (node.name or "").startswith("/"):
        return ".".join((node.name or "").strip("/").split("/")[:-1])
    return ""


def _unique(stem: str, taken: set[str]) -> str:
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name


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


def _to_opset(graph: ir.Model, path: Path) -> ir.Model:
    version = graph.opset_imports.get("", OPSET)
    if version == OPSET:
        return graph
    try:
        return ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(graph), OPSET))
    except RuntimeError as error:
        raise ModelError(
            f"{path} is written in ONNX opset {version} and cannot be expressed in {OPSET}: {_first_line(error)}",
            f"Export the model with opset {OPSET}.",
        ) from error


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
