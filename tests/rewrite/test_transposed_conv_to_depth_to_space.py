from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.graph import MODULE_KEY
from edgeconv.rewrite import RewriteReport, TransposedConvToDepthToSpace

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Operators = Callable[[ir.Model], list[str]]
Normal = Callable[..., np.ndarray]

TEXT = """g (float[2,5,3,4] x, float[5,{co},{k}] w, float[{out}] b) => (float[2,{out},{h},{width}] y)
{{ y = ConvTranspose<{attributes}>(x, w{bias}) }}"""


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_tiling_convolution_becomes_pointwise_and_depth_to_space(
    build_graph: Build, apply: Apply, operators: Operators, normal: Normal, k: int, bias: bool
) -> None:
    text = TEXT.format(
        co=3, out=3, k=f"{k},{k}", h=3 * k, width=4 * k, attributes=f"strides = [{k},{k}]", bias=", b" if bias else ""
    )
    model = build_graph(text, w=normal(5, 3, k, k), b=normal(3))
    next(iter(model.graph)).metadata_props[MODULE_KEY] = "up"
    apply(model, TransposedConvToDepthToSpace())
    assert operators(model) == ["Conv", "DepthToSpace"]
    assert [node.metadata_props[MODULE_KEY] for node in model.graph] == ["up", "up"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert list(model.graph)[1].attributes.get_string("mode") == "DCR"


@pytest.mark.parametrize(
    ("co", "out", "k", "h", "width", "attributes"),
    [
        (3, 3, (3, 3), 7, 9, "strides = [2,2]"),  # tiles overlap
        (3, 3, (2, 2), 4, 6, "strides = [2,2], pads = [1,1,1,1]"),
        (3, 3, (2, 2), 7, 9, "strides = [2,2], output_padding = [1,1]"),
        (3, 3, (2, 3), 6, 12, "strides = [2,3]"),  # DepthToSpace has square blocks
        (3, 15, (2, 2), 6, 8, "strides = [2,2], group = 5"),
    ],
)
def test_other_transposed_convolutions_stay(
    build_graph: Build,
    apply: Apply,
    normal: Normal,
    co: int,
    out: int,
    k: tuple[int, int],
    h: int,
    width: int,
    attributes: str,
) -> None:
    text = TEXT.format(co=co, out=out, k=f"{k[0]},{k[1]}", h=h, width=width, attributes=attributes, bias=", b")
    model = build_graph(text, w=normal(5, co, *k), b=normal(out))
    assert apply(model, TransposedConvToDepthToSpace()).changed == 0
