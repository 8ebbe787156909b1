"""CoordConv and the free-map gate, the alternatives to an encoded gate."""

from __future__ import annotations

import pytest
import torch

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.coordconv import CoordConv2d
from edgeconv.layers.mapgate import MapGate2d


def test_coordconv_sees_row_and_column():
    layer = CoordConv2d(3, 2, 1, 5, 9)
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.bias.zero_()
        layer.conv.weight[0, 3], layer.conv.weight[1, 4] = 1, 1
    rows, columns = layer(torch.randn(2, 3, 5, 9))[1]
    assert torch.allclose(rows, torch.linspace(-1, 1, 5)[:, None].expand(5, 9))
    assert torch.allclose(columns, torch.linspace(-1, 1, 9).expand(5, 9))


def test_coordconv_has_two_more_inputs_and_no_coordinates_in_its_state():
    layer = CoordConv2d(16, 16, 3, 8, 8, padding=1)
    assert sum(p.numel() for p in layer.parameters()) == 16 * 18 * 9 + 16
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}
    with pytest.raises(ModelError, match="8x8"):
        layer(torch.zeros(1, 16, 8, 9))


def test_a_fresh_map_gate_is_its_projection():
    layer = MapGate2d(4, 6, 8)
    x = torch.randn(2, 4, 6, 8)
    assert torch.equal(layer(x), layer.project(x))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_small_map_is_brought_to_the_size_of_the_image(interpolation):
    layer = MapGate2d(3, 8, 12, map_size=(2, 3), interpolation=interpolation)
    with torch.no_grad():
        layer.map.normal_()
    gate = layer.gate_map()
    assert gate.shape == (1, 3, 8, 12)
    assert float(gate.detach().min()) >= 0
    if interpolation == "nearest":
        assert torch.equal(gate[..., ::4, ::4], torch.relu(layer.map))
    assert layer(torch.randn(1, 3, 8, 12)).shape == (1, 3, 8, 12)


def test_gradients_reach_the_map():
    layer = MapGate2d(3, 8, 8, map_size=(2, 2))
    layer(torch.randn(1, 3, 8, 8)).square().sum().backward()
    assert float(layer.map.grad.abs().min()) > 0


def test_an_exported_map_gate_is_a_constant():
    import onnx_ir as ir

    from edgeconv.export.onnx import to_onnx
    from edgeconv.rewrite import FoldConstants

    graph = to_onnx(MapGate2d(3, 8, 8, map_size=(2, 2)).eval(), {"x": torch.zeros(1, 3, 8, 8)})
    assert isinstance(graph, ir.Model)
    FoldConstants().apply(graph)
    assert [node.op_type for node in graph.graph] == ["Mul", "Conv"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MapGate2d(0, 4, 4), "positive"),
        (lambda: MapGate2d(2, 4, 4, map_size=(8, 4)), "no larger"),
        (lambda: MapGate2d(2, 4, 4, interpolation="cubic"), "cubic"),
    ],
)
def test_bad_sizes_are_named(build, words):
    with pytest.raises(UsageError, match=words):
        build()


def test_another_image_is_refused():
    with pytest.raises(ModelError, match="4x4 pixels, found 4x5"):
        MapGate2d(2, 4, 4)(torch.zeros(1, 2, 4, 5))
