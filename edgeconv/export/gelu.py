"""Exact GELU as torch writes it below opset 20: ``0.5 · x · (1 + erf(x / √2))``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import onnx_ir as ir

from edgeconv.graph import only_reader

__all__ = ["GeluPattern", "find_gelu"]

Scalar = Callable[["ir.Value | None"], "float | None"]


@dataclasses.dataclass(frozen=True)
class GeluPattern:
    """``output = gelu(x)``, computed by `nodes`, the last of them last."""

    x: ir.Value
    output: ir.Value
    nodes: tuple[ir.Node, ...]


def find_gelu(erf: ir.Node, scalar: Scalar) -> GeluPattern | None:
    """The GELU around the Erf node `erf`; `scalar` gives the number that a constant value holds, else None."""
    inner = erf.inputs[0]
    scaled = inner.producer() if inner is not None else None
    plus_one = only_reader(erf.outputs[0])
    if inner is None or scaled is None or plus_one is None or only_reader(inner) is not erf:
        return None
    x, factor = _split(scaled, scalar)
    expected = {"Div": math.sqrt(2), "Mul": math.sqrt(0.5)}.get(scaled.op_type)
    if x is None or factor is None or expected is None or not math.isclose(factor, expected, rel_tol=1e-6):
        return None
    if plus_one.op_type != "Add" or _split(plus_one, scalar)[1] != 1.0:
        return None
    nodes, value, wanted = [scaled, erf, plus_one], plus_one.outputs[0], {"x", "half"}
    while wanted:
        product = only_reader(value)
        if product is None or product.op_type != "Mul":
            return None
        other = product.inputs[1] if product.inputs[0] is value else product.inputs[0]
        half_x = other.producer() if other is not None else None
        if other is x and "x" in wanted:
            wanted.remove("x")
        elif scalar(other) == 0.5 and "half" in wanted:
            wanted.remove("half")
        elif half_x is not None and half_x.op_type == "Mul" and _split(half_x, scalar) == (x, 0.5) and len(wanted) == 2:
            wanted.clear()
            nodes += [half_x] if only_reader(half_x.outputs[0]) is product else []
        else:
            return None
        nodes.append(product)
        value = product.outputs[0]
    return GeluPattern(x, value, tuple(nodes))


def _split(node: ir.Node, scalar: Scalar) -> tuple[ir.Value | None, float | None]:
    """The variable and the constant operand of a binary node; the constant of a Div must be the divisor."""
    if len(node.inputs) != 2:
        return None, None
    first, second = node.inputs
    if scalar(second) is not None:
        return first, scalar(second)
    return (second, scalar(first)) if node.op_type != "Div" and scalar(first) is not None else (None, None)
