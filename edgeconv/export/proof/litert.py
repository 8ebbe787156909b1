"""LiteRT: the types of the tensors that each operator of the file reads and writes; kernels follow from those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgeconv.export.quantize.units import Unit, operator_units
from edgeconv.runtimes.kernels import Kernels

__all__ = ["read_kernels"]

_QUANTISERS = ("QUANTIZE", "DEQUANTIZE")
_LAYOUT = ("TRANSPOSE",)
_MOVES = "RESHAPE"


def read_kernels(path: Path, activations: str, graph: ir.Model) -> Kernels:
    """See `Reader`; an operator computes on integers where what it reads first and what it writes are int8.

    Of a node that is several operators in the file all must; those that only move its values do not count.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    file = model.subgraphs[0]
    words = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = [words[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    nodes = _nodes(graph)
    computing: dict[str, bool] = {}  # whether on integers
    quantisers: list[str] = []
    layout = 0
    for operator in file.operators:
        kind = kinds[operator.opcodeIndex]
        read, written = file.tensors[operator.inputs[0]], file.tensors[operator.outputs[0]]
        name = written.name.decode()
        part_of = nodes.get(name.rpartition("/")[0])
        node = nodes.get(name, part_of or name)
        if kind in _LAYOUT:
            layout += 1
        elif kind in _QUANTISERS:
            quantisers.append(node)
        elif not (kind == _MOVES and part_of is not None):
            in_integers = _is_integer(read, schema) and _is_integer(written, schema)
            computing[node] = computing.get(node, True) and in_integers
    integer = frozenset(node for node, in_integers in computing.items() if in_integers)
    floating = tuple(node for node, in_integers in computing.items() if not in_integers)
    return Kernels(integer, floating, tuple(quantisers), layout)


def _nodes(graph: ir.Model) -> dict[str, str]:
    """The node that computes a tensor, by all names that the tensor may have in a file."""
    found = {}
    for unit in operator_units(graph.graph):
        for name in _names(unit):
            found[name] = str(unit.node.name)
    return found


def _names(unit: Unit) -> list[str]:
    last = unit.activation or unit.node
    values = [*unit.node.outputs, *last.outputs]
    for output in unit.outputs:
        values.append(output)
        values += [reader.outputs[0] for reader in output.consumers() if reader.op_type == "DequantizeLinear"]
    return [str(value.name) for value in values]


def _is_integer(tensor: Any, schema: Any) -> bool:
    return tensor.type in (schema.TensorType.INT8, schema.TensorType.UINT8)
