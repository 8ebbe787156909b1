"""An ONNX graph as the lowering reads it: constants, quantisers, and operators with their fused activations.

Rules, in the order they are applied:

1. What depends on constants only is a constant; ``constant -> DequantizeLinear`` is a constant with its quantiser.
2. A value whose readers are all QuantizeLinear with one and the same quantiser can be stored in int8.
3. ``x -> Div √2 -> Erf -> Add 1 -> Mul x -> Mul 0.5`` (any order of the products) is one Gelu.
4. Conv, Gemm, Add, … followed by a single Relu, Clip(0, 6) or Clip(-1, 1) is one operator.
5. A convolution that only feeds a pixel shuffle writes its channels in the order that TFLite's shuffle reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.errors import ExportError
from edgeconv.export.gelu import find_gelu
from edgeconv.export.tflite.fold import constant_array, fold_constants
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.pixel_shuffle import dcr_order, find_shuffles
from edgeconv.export.tflite.tensors import Quantiser
from edgeconv.graph import only_reader

__all__ = ["Constant", "GraphView", "Step", "module_path", "static_shape"]


@dataclasses.dataclass(frozen=True)
class Constant:
    """A constant in the axis order of ONNX; with a quantiser `array` holds its integers."""

    array: npt.NDArray[Any]
    quantiser: Quantiser | None = None

    def real(self) -> npt.NDArray[Any]:
        """The values themselves, dequantised if need be."""
        return self.array if self.quantiser is None else self.quantiser.dequantise(self.array)


@dataclasses.dataclass(frozen=True)
class Step:
    """One operator to lower: `outputs` are the values after the fused `activation`."""

    node: ir.Node
    op_type: str
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value, ...]
    attributes: Mapping[str, Any]
    activation: str = "NONE"


class GraphView:
    """Read-only view of a static ONNX graph, float or with Q/DQ nodes."""

    def __init__(self, model: ir.Model, fusing: frozenset[str]) -> None:
        self.graph = model.graph
        self._nodes = _reachable(model.graph)
        self.constants = self._read_constants(model)
        self._nodes = _reachable(model.graph, self.constants)  # without what only a folded constant was made of
        #: Operators in order of execution, QuantizeLinear and DequantizeLinear of activations among them.
        self.steps: Sequence[Step] = self._cluster(fusing)
        #: Pixel shuffles that read what a convolution wrote in DCR order, and that order by convolution.
        self.shuffles = find_shuffles(self.steps)
        self.dcr_orders = {
            conv: dcr_order(static_shape(conv.outputs[0])[1], int(shuffle.attributes["blocksize"].value))
            for shuffle, conv in self.shuffles.items()
        }

    def quantiser(self, node: ir.Node) -> Quantiser | None:
        """Quantiser of a Q or DQ node as int8 sees it, None when it is of a kind that TFLite does not have.

        uint8 quantisers are read as their lossless int8 twin: zero point and integers less 128.
        """
        scale, zero_point = (self._array(node.inputs[i]) if i < len(node.inputs) else None for i in (1, 2))
        source = self._array(node.inputs[0])
        dtype = next((array.dtype for array in (zero_point, source) if array is not None), np.dtype(np.uint8))
        if scale is None or scale.ndim > 1 or dtype not in (np.int8, np.uint8, np.int32):
            return None
        shift = 128 if dtype == np.uint8 else 0
        scales = tuple(float(value) for value in scale.ravel())
        zero_points = (0,) * len(scales) if zero_point is None else tuple(int(value) for value in zero_point.ravel())
        axis = int(node.attributes["axis"].value) if "axis" in node.attributes else 1
        rank = source.ndim if source is not None else 4
        shifted = tuple(value - shift for value in zero_points)
        return Quantiser(scales, shifted, axis % rank if len(scales) > 1 else 0)

    def stored_quantiser(self, value: ir.Value) -> Quantiser | None:
        """The quantiser that every reader of `value` applies to it, None when one reads it as a float."""
        readers = value.consumers()
        if value.is_graph_output() or not readers or any(node.op_type != "QuantizeLinear" for node in readers):
            return None
        quantisers = {self.quantiser(node) for node in readers}
        quantiser = quantisers.pop()
        return quantiser if not quantisers and quantiser is not None and quantiser.per_tensor else None

    def scalar(self, value: ir.Value | None) -> float | None:
        """The number that a constant of one element holds, None for everything else."""
        constant = self.constants.get(value) if value is not None else None
        return float(constant.real().item()) if constant is not None and constant.array.size == 1 else None

    def _read_constants(self, model: ir.Model) -> dict[ir.Value, Constant]:
        self.constants = {}
        values = dict.fromkeys(value for node in self._nodes for value in node.inputs if value is not None)
        for value in [*values, *self.graph.outputs]:
            array = constant_array(value)
            if array is not None:
                self.constants[value] = Constant(array)
        for value, array in fold_constants(self._nodes, model.opset_imports).items():
            self.constants[value] = Constant(array)
        for node in self._nodes:
            if node.op_type == "DequantizeLinear" and node.inputs[0] in self.constants:
                integers, quantiser = self.constants[node.inputs[0]].array, self.quantiser(node)
                if integers.dtype == np.uint8:
                    integers = (integers.astype(np.int16) - 128).astype(np.int8)
                if quantiser is not None:
                    self.constants[node.outputs[0]] = Constant(integers, quantiser)
        return self.constants

    def _cluster(self, fusing: frozenset[str]) -> list[Step]:
        steps: list[Step] = []
        patterns = [find_gelu(node, self.scalar) for node in self._nodes if node.op_type == "Erf"]
        gelus = {pattern.nodes[-1]: pattern for pattern in patterns if pattern is not None}
        absorbed = {node for pattern in gelus.values() for node in pattern.nodes}
        for node in self._nodes:
            if node in gelus:
                steps.append(Step(node, "Gelu", (gelus[node].x,), (gelus[node].output,), {}))
            if node in absorbed or all(value in self.constants for value in node.outputs):
                continue
            activation, outputs = "NONE", tuple(node.outputs)
            reader = only_reader(outputs[0]) if node.op_type in fusing else None
            fused = self._activation(reader) if reader is not None else None
            if reader is not None and fused is not None:
                absorbed.add(reader)
                activation, outputs = fused, tuple(reader.outputs)
            attributes = {name: attribute.value for name, attribute in node.attributes.items()}
            steps.append(Step(node, node.op_type, tuple(node.inputs), outputs, attributes, activation))
        return steps

    def _array(self, value: ir.Value | None) -> npt.NDArray[Any] | None:
        constant = self.constants.get(value) if value is not None else None
        return constant.array if constant is not None and constant.quantiser is None else None

    def _activation(self, node: ir.Node) -> str | None:
        if node.op_type == "Relu":
            return "RELU"
        bounds = [self.scalar(value) for value in node.inputs[1:]] if node.op_type == "Clip" else []
        return "RELU6" if bounds == [0, 6] else "RELU_N1_TO_1" if bounds == [-1, 1] else None


def static_shape(value: ir.Value) -> Shape:
    """Shape of `value`.

    Raises:
        ExportError: it is unknown or not static.
    """
    dims = value.shape.dims if value.shape is not None else None
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        raise ExportError(
            f"The shape of {value.name!r} is {'unknown' if dims is None else value.shape}; TFLite needs static ones.",
            "Export with fixed input shapes and simplify the graph.",
        )
    return tuple(dim for dim in dims if isinstance(dim, int))


def module_path(node: ir.Node) -> str:
    """Path of the module that a node comes from: its metadata, else its name without the operator."""
    return node.metadata_props.get("edgeconv.module") or (node.name or "").rpartition("/")[0]


def _reachable(graph: ir.Graph, known: Collection[ir.Value] = ()) -> list[ir.Node]:
    """Nodes that an output depends on but for the values that are `known`, in order of execution."""
    pending = [value.producer() for value in graph.outputs if value not in known]
    wanted: set[ir.Node] = set()
    while pending:
        node = pending.pop()
        if node is not None and node not in wanted:
            wanted.add(node)
            pending += [value.producer() for value in node.inputs if value is not None and value not in known]
    return [node for node in graph if node in wanted]
