"""The layer-by-layer check of int8: each lowered operator, fed with the reference's own integers.

End to end a difference of one step grows and says nothing; here an operator may be one step off, never more.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeconv.benchmarks.agent.feeds import make_inputs, order_specs, read_outputs
from edgeconv.errors import ExportError
from edgeconv.export.conversion import run_job
from edgeconv.export.executor import Array
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.reference import OperatorCase, ReferenceRunner, split_operators
from edgeconv.graph import constant_value, save_graph, static_shape
from edgeconv.manifest import Port
from edgeconv.runtimes import get_runtime

__all__ = [
    "MAX_STEPS",
    "FloatCase",
    "OperatorParity",
    "Quantiser",
    "check_operators",
    "operator_port",
    "wrap_operator",
]

MAX_STEPS = 1
_RUNTIMES = ("onnxruntime", "litert", "openvino")
_INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8)


@dataclasses.dataclass(frozen=True)
class OperatorParity:
    """One operator in one runtime: the largest difference to the reference in steps of the output's quantiser.

    `differing` is the fraction of values that differ at all.
    """

    runtime: str
    name: str
    operator: str
    module: str
    max_steps: int
    differing: float

    @property
    def passed(self) -> bool:
        """Whether no value is more than one step off."""
        return self.max_steps <= MAX_STEPS


@dataclasses.dataclass(frozen=True)
class Quantiser:
    """Of a whole tensor."""

    scale: np.float32
    zero_point: int

    def real(self, integers: Array) -> Array:
        """What the integers stand for."""
        return (integers.astype(np.int32) - self.zero_point).astype(np.float32) * self.scale

    def steps(self, found: Array, integers: Array) -> Array:
        """How many steps the real values `found` are off the integers."""
        return np.abs(np.rint((found - self.real(integers)) / self.scale))


@dataclasses.dataclass(frozen=True)
class FloatCase:
    """A case between a QuantizeLinear and a DequantizeLinear, so that any converter takes it like a whole Q/DQ graph.

    Both are exact on the integers they are fed with, so what is compared is the operator alone.
    """

    case: OperatorCase
    model: ir.Model
    feeds: dict[str, tuple[str, Quantiser | None]]  # input of the model: tensor of the graph, its quantiser
    results: dict[str, tuple[str, Quantiser]]


def check_operators(
    model: ir.Model,
    samples: Sequence[Mapping[str, Array]],
    runtimes: Sequence[str] = _RUNTIMES,
    *,
    activations: str = "int8",
) -> list[OperatorParity]:
    """Check every operator of a Q/DQ graph that writes integers, in every runtime.

    Args:
        model: the int8 Q/DQ graph.
        samples: normalised inputs of the whole graph, by name.
        runtimes: which runtimes; all must be installed.
        activations: the twin that ONNX Runtime gets, "int8" or "uint8".

    Raises:
        ExportError: a converter refuses an operator.
        RuntimeUnavailableError: a runtime is not installed, or refuses what the converter made.
    """
    cases = [wrapped for case in split_operators(model) if (wrapped := wrap_operator(case)).results]
    taps = {name for c in cases for name, _ in [*c.feeds.values(), *c.results.values()]}
    taps -= {str(value.name) for value in model.graph.inputs}
    runner = ReferenceRunner(model, sorted(taps))
    tapped = [{**sample, **runner.run(sample)} for sample in samples]
    return [_check(case, runtime, tapped, activations) for runtime in runtimes for case in cases]


def _check(wrapped: FloatCase, runtime: str, tapped: Sequence[Mapping[str, Array]], activations: str) -> OperatorParity:
    case, graph = wrapped.case, wrapped.model.graph
    ports = [[operator_port(value) for value in values] for values in (graph.inputs, graph.outputs)]
    largest, differing, count = 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="edgeconv-operator-") as temporary:
        source = Path(temporary) / "operator.onnx"
        save_graph(wrapped.model, source)
        artifact = run_job(ConversionJob(runtime, "int8", str(source), temporary, activations))
        session = get_runtime(runtime).load(Path(temporary) / artifact.path, 1)
        inputs = order_specs(artifact.inputs, session.input_names)
        outputs = order_specs(artifact.outputs, session.output_names)
        for tensors in tapped:
            raw = {n: q.real(tensors[t]) if q else tensors[t] for n, (t, q) in wrapped.feeds.items()}
            found = read_outputs(session.run(make_inputs(raw, ports[0], inputs)), ports[1], outputs)
            for name, (tensor, quantiser) in wrapped.results.items():
                steps = quantiser.steps(found[name], tensors[tensor])
                largest = max(largest, int(steps.max(initial=0)))
                differing += int(np.count_nonzero(steps))
                count += steps.size
    return OperatorParity(runtime, case.name, case.operator, case.module, largest, differing / max(count, 1))


def wrap_operator(case: OperatorCase) -> FloatCase:
    """Put the case between quantisers; its `results` are empty where it writes no integers."""
    graph = case.model.graph
    feeds: dict[str, tuple[str, Quantiser | None]] = {}
    results: dict[str, tuple[str, Quantiser]] = {}
    for index, value in enumerate(list(graph.inputs)):
        tensor = str(value.name)
        if value.dtype not in _INTEGERS:
            feeds[tensor] = (tensor, None)
            continue
        reader = value.consumers()[0]
        port = ir.Value(name=f"{tensor}.real", shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT))
        quantise = ir.node("QuantizeLinear", [port, *reader.inputs[1:3]], name=f"{tensor}/border")
        quantised = quantise.outputs[0]
        quantised.shape, quantised.type = value.shape, value.type
        value.replace_all_uses_with(quantised)
        graph.inputs[index] = port
        value.name, quantised.name = f"{tensor}.before", tensor
        graph.insert_before(graph[0], quantise)
        feeds[f"{tensor}.real"] = (tensor, _quantiser(reader))
    for index, value in enumerate(list(graph.outputs)):
        writer = value.producer()
        if writer is None or writer.op_type != "QuantizeLinear":
            continue
        dequantise = ir.node("DequantizeLinear", [value, *writer.inputs[1:3]], name=f"{value.name}/border")
        port = dequantise.outputs[0]
        port.name, port.shape, port.type = f"{value.name}.real", value.shape, ir.TensorType(ir.DataType.FLOAT)
        graph.append(dequantise)
        graph.outputs[index] = port
        results[f"{value.name}.real"] = (str(value.name), _quantiser(writer))
    return FloatCase(case, case.model, feeds, results)


def _quantiser(node: ir.Node) -> Quantiser:
    scale, zero_point = constant_value(node.inputs[1]), constant_value(node.inputs[2])
    if scale is None or zero_point is None or scale.ndim != 0:
        raise ExportError(f"{node.name} at the border of an operator has no constant scale of its whole tensor.")
    return Quantiser(np.float32(scale), int(zero_point))


def operator_port(value: ir.Value) -> Port:
    """A border tensor as a port of a bundle."""
    shape = static_shape(value)
    return Port(str(value.name), list(shape or ()), "float32", "NCHW" if len(shape or ()) == 4 else "as-is")
