"""Store a constant gate map in fewer bytes: as a sum of separable terms, or at a quarter of its resolution.

Both leave a subgraph of constants before the gate's Mul.  ONNX Runtime and OpenVINO compute it once, when they load
the file; LiteRT, which computes nothing when it loads, runs the Resize of a reduced map with every inference.  It has
to be the last rewrite: `FoldConstants` and onnxsim would make full maps of them again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UsageError
from edgeconv.rewrite._edit import Array, add_constant
from edgeconv.rewrite._pass import Equivalence, RewriteResult
from edgeconv.rewrite.normalise_gates import gate_of

__all__ = ["FOLDED", "GATE_FORMS", "CompressGates", "CompressedGate", "check_gate_form", "compressed"]

FOLDED = "folded"
_STEP = 4  # a reduced map has a quarter of the rows and columns
_MIN_REDUCED = 64  # rows and columns: a smaller map loses more than 8-bit rounding, and has few bytes anyway
_WORTH = 0.75  # of the map's bytes in int8; what saves less stays a map
_HALF_BYTES = 2
_SQNR_LIMIT_DB = 300.0


@dataclasses.dataclass(frozen=True)
class CompressedGate:
    """What replaces a map: the arrays that are stored, the map that they make, and how far it is from the original.

    `stored` are float16 factors (1, C, H, R) and (1, C, R, W), or the float32 reduced map (1, C, h, w), which int8
    stores in a quarter of the bytes; `values` is (C, H, W).
    """

    stored: tuple[Array, ...]
    values: Array
    sqnr_db: float

    @property
    def stored_values(self) -> int:
        """How many numbers are stored."""
        return sum(array.size for array in self.stored)


_Form = Callable[[Array, int], CompressedGate | None]


def compressed(gate: Array, form: str, rank: int) -> CompressedGate | None:
    """A gate map (C, H, W) in another form; None where the form saves too little to be worth its error.

    Args:
        gate: the map, float64, no side repeated.
        form: "folded", which is the map as it is, "expression" or "reduced".
        rank: separable terms of each channel in an expression.

    Raises:
        UsageError: no such form, or a rank below 1.
    """
    check_gate_form(form, rank)
    return GATE_FORMS[form](gate, rank) if form != FOLDED and gate.ndim == 3 else None


def check_gate_form(form: str, rank: int) -> None:
    """Raise `UsageError` when there is no such form of gates, or the rank is below 1."""
    names = [FOLDED, *GATE_FORMS]
    if form not in names:
        raise UsageError(f"No form of gates is called {form!r}.", f"There are: {', '.join(names)}.")
    if rank < 1:
        raise UsageError(f"Gates of rank {rank} were asked for; at least 1 is needed.")


class CompressGates:
    """Replace each constant map G of `x * G` by a subgraph of constants that makes it nearly.

    Args:
        form: "expression": for each channel the `rank` best separable terms, as factors in float16, multiplied and
            clipped to the map's own range.  "reduced": the map of a quarter of the rows and columns that a bilinear
            Resize brings nearest to the original (least squares); maps below 64x64 stay.
        rank: of an expression, for each channel.

    Raises:
        UsageError: no such form, or a rank below 1.
    """

    name = "compress_gates"
    equivalence: Equivalence = "approximated"

    def __init__(self, form: str, rank: int = 4) -> None:
        check_gate_form(form, rank)
        self._form, self._rank = form, rank

    def apply(self, model: ir.Model) -> RewriteResult:
        """Compress in place; the details give each gate's error in dB and the elements that are stored."""
        details = []
        for node in list(model.graph):
            gate = gate_of(node)
            found = compressed(gate[1], self._form, self._rank) if gate is not None else None
            if gate is None or found is None:
                continue
            index = 0 if node.inputs[1] is gate[0] else 1
            node.replace_input_with(index, _WRITERS[self._form](model.graph, node, found, gate[1]))
            details.append(f"{node.name}: {found.sqnr_db:.1f} dB, {found.stored_values} of {gate[1].size} values")
        for name, value in list(model.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del model.graph.initializers[name]
        return RewriteResult(len(details), tuple(details))


def _separable(gate: Array, rank: int) -> CompressedGate | None:
    from edgeconv.layers.separability import low_rank, reconstruct  # loads torch

    channels, height, width = gate.shape
    rank = min(rank, height, width)
    if channels * rank * (height + width) * _HALF_BYTES > _WORTH * gate.size:
        return None
    terms = [low_rank(channel, rank) for channel in gate]
    columns = np.stack([columns.T for columns, _ in terms]).astype(np.float16)
    rows = np.stack([rows for _, rows in terms]).astype(np.float16)
    maps = [reconstruct(c.T, r) for c, r in zip(columns, rows, strict=True)]
    values = np.clip(np.stack(maps), gate.min(), gate.max())
    return CompressedGate((columns[None], rows[None]), values, _sqnr_db(gate, values))


def _reduced(gate: Array, _: int) -> CompressedGate | None:
    _, height, width = gate.shape
    if min(height, width) < _MIN_REDUCED:
        return None
    vertical, horizontal = (_bilinear(math.ceil(size / _STEP), size) for size in (height, width))
    small = np.linalg.pinv(vertical) @ gate @ np.linalg.pinv(horizontal).T
    small = np.clip(small, gate.min(), gate.max()).astype(np.float32)
    values = vertical @ small.astype(np.float64) @ horizontal.T
    return CompressedGate((small[None],), values, _sqnr_db(gate, values))


def _bilinear(size: int, count: int) -> Array:
    """The (count, size) matrix of a linear Resize with half-pixel centres, which repeats the border."""
    places = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
    left = np.minimum(np.floor(places).astype(int), max(size - 2, 0))
    matrix = np.zeros((count, size))
    matrix[np.arange(count), left] += 1 - (places - left)
    matrix[np.arange(count), np.minimum(left + 1, size - 1)] += places - left
    return matrix


def _write_expression(graph: ir.Graph, gated: ir.Node, found: CompressedGate, gate: Array) -> ir.Value:
    """clip(float32(columns) @ float32(rows))."""
    stem = str(gated.name)
    names = ("columns", "rows")
    factors = [add_constant(graph, f"{stem}.gate_{n}", array) for n, array in zip(names, found.stored, strict=True)]
    bounds = [
        add_constant(graph, f"{stem}.gate_{name}", np.array(limit, np.float32))
        for name, limit in (("low", gate.min()), ("high", gate.max()))
    ]
    shapes = [array.shape for array in found.stored]
    casts = [
        _node("Cast", [factor], f"{stem}.gate_{name}_float", gated, shape, {"to": ir.DataType.FLOAT.value})
        for factor, name, shape in zip(factors, names, shapes, strict=True)
    ]
    product = _node("MatMul", [cast.outputs[0] for cast in casts], f"{stem}.gate_product", gated, (1, *gate.shape))
    clip = _node("Clip", [product.outputs[0], *bounds], f"{stem}.gate_map", gated, (1, *gate.shape))
    graph.insert_before(gated, [*casts, product, clip])
    return clip.outputs[0]


def _write_reduced(graph: ir.Graph, gated: ir.Node, found: CompressedGate, gate: Array) -> ir.Value:
    stem = str(gated.name)
    small = add_constant(graph, f"{stem}.gate_reduced", found.stored[0])
    sizes = add_constant(graph, f"{stem}.gate_size", np.array((1, *gate.shape), np.int64))
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    resize = _node("Resize", [small, None, None, sizes], f"{stem}.gate_map", gated, (1, *gate.shape), attributes)
    graph.insert_before(gated, resize)
    return resize.outputs[0]


def _node(
    operator: str,
    inputs: list[ir.Value | None],
    name: str,
    gated: ir.Node,
    shape: tuple[int, ...],
    attributes: Mapping[str, int | str] | None = None,
) -> ir.Node:
    """A node whose output is called `name`, of the module that `gated` came from."""
    output = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
    node = ir.node(operator, inputs, attributes or {}, outputs=[output], name=f"{name}/{operator}")
    node.metadata_props.update(gated.metadata_props)
    return node


def _sqnr_db(gate: Array, values: Array) -> float:
    error = float(np.square(values - gate).sum())
    if error == 0:
        return _SQNR_LIMIT_DB
    signal = max(float(np.square(gate).sum()), np.finfo(np.float64).tiny)
    return float(np.clip(10 * math.log10(signal / error), -_SQNR_LIMIT_DB, _SQNR_LIMIT_DB))


GATE_FORMS: Mapping[str, _Form] = {"expression": _separable, "reduced": _reduced}
_WRITERS: Mapping[str, Callable[[ir.Graph, ir.Node, CompressedGate, Array], ir.Value]] = {
    "expression": _write_expression,
    "reduced": _write_reduced,
}
