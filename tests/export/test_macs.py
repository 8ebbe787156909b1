from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from edgeconv.export.macs import count_macs, count_weights
from edgeconv.graph import infer_shapes


def _node(signature: str, call: str) -> ir.Node:
    text = f'<ir_version: 10, opset_import: ["" : 18]> g ({signature}) => (float y) {{ y = {call} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.Clear()
    for value in list(proto.graph.input)[1:]:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        proto.graph.initializer.append(onnx.helper.make_tensor(value.name, 1, shape, [0.0] * _size(shape)))
        proto.graph.input.remove(value)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    infer_shapes(model)
    return next(iter(model.graph))


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


@pytest.mark.parametrize(
    ("signature", "call", "macs", "weights"),
    [
        ("float[1,64,10,10] x, float[128,64,3,3] w", "Conv<pads = [1,1,1,1]>(x, w)", 73_728 * 100, 73_728),
        ("float[1,64,10,10] x, float[64,1,3,3] w", "Conv<pads = [1,1,1,1], group = 64>(x, w)", 576 * 100, 576),
        ("float[1,8,10,10] x, float[8,4,2,2] w", "ConvTranspose<strides = [2,2]>(x, w)", 8 * 4 * 4 * 100, 128),
        ("float[2,6] x, float[6,5] w, float[5] b", "Gemm(x, w, b)", 2 * 6 * 5, 35),
        ("float[2,6] x, float[6,5] w", "MatMul(x, w)", 2 * 6 * 5, 30),
        ("float[1,4,8,8] x, float[1,4,8,8] g", "Mul(x, g)", 0, 0),
    ],
)
def test_macs_and_weights_of_an_operator(signature: str, call: str, macs: int, weights: int) -> None:
    node = _node(signature, call)
    assert (count_macs(node), count_weights(node)) == (macs, weights)
