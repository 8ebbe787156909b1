"""Tracing a torch module and translating the trace to ONNX, with errors that point at the user's own code."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from edgeconv.errors import ModelError
from edgeconv.graph import OPSET

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

__all__ = ["first_line", "trace", "translate"]

_TRACED_FRAME = re.compile(r'File "(.+)", line (\d+), in .*\n +(.*)')
_UNTRANSLATED = re.compile(r"translating node %(\w+) .*target=torch\.ops\.([\w.]+)")


def trace(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> ExportedProgram:
    """Trace `module` in evaluation mode for the shapes of `inputs`; it is left in the mode it was in.

    Args:
        module: what to trace.
        inputs: one tensor for each parameter of `forward`, in its order.

    Raises:
        ModelError: the model refuses the inputs, its control flow or its sizes depend on the data, or it returns
            something else than tensors.
    """
    import torch

    with _evaluating(module):
        try:
            with torch.no_grad(), _quiet():
                program = torch.export.export(module, (), kwargs=inputs)
        except Exception as error:
            raise _refusal(module, inputs, error) from error
    _check_program(program, type(module).__name__)
    return program


def translate(program: ExportedProgram) -> ir.Model:
    """Translate a traced program to ONNX, with the exporter's own names and notes on every node.

    The exporter's optimiser stays off: it deletes `x + eps` for every eps <= 1e-8, which turns 0 / (0 + eps) into NaN.

    Raises:
        ModelError: the exporter does not know an operator.
    """
    import torch

    try:
        with _quiet():
            converted = torch.onnx.export(program, opset_version=OPSET, dynamo=True, optimize=False, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        found = _UNTRANSLATED.search(str(cause))
        nodes = [node for node in program.graph.nodes if found and node.name.strip("_") == found[1].strip("_")]
        problem = f"operator {found[2]}{_traced_line(nodes)}" if found else f"{first_line(cause)}."
        raise ModelError(
            f"PyTorch's ONNX exporter cannot convert the model: {problem}",
            "Write it with other operators, or export to .onnx yourself and give that file.",
        ) from error
    if converted is None:
        raise ModelError("PyTorch's ONNX exporter returned nothing.")
    return converted.model


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


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
            f"{name} refuses inputs of shape {shapes}: {first_line(own)}{_user_line(own)}",
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
        f"torch.export cannot trace {name}: {first_line(error)}{_user_line(error)}",
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


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without its full stop, or its type's name."""
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
