from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.rewrite import EqualiseBottlenecks, RewriteReport

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Ranges = Callable[[ir.Model], dict[str, np.ndarray]]
Normal = Callable[..., np.ndarray]


def _pair(build: Build, normal: Normal, body: str = "", group: int = 1) -> ir.Model:
    w1 = normal(6, 3, 1, 3) * np.logspace(-2, 2, 6, dtype=np.float32).reshape(-1, 1, 1, 1)
    return build(
        f"""g (float[1,3,7,8] x, float[6,3,1,3] w1, float[6] b1, float[4,{6 // group},3,1] w2, float[4] b2)
        => (float[1,4,7,8] y)
        {{ z = Conv<pads = [0,1,0,1]>(x, w1, b1) {body}
           y = Conv<pads = [1,0,1,0], group = {group}>({"t" if body else "z"}, w2, b2) }}""",
        w1=w1,
        b1=normal(6),
        w2=normal(4, 6 // group, 3, 1),
        b2=normal(4),
    )


@pytest.mark.parametrize("group", [1, 2])
def test_every_channel_of_the_bottleneck_reaches_one(
    build_graph: Build, apply: Apply, channel_ranges: Ranges, normal: Normal, group: int
) -> None:
    model = _pair(build_graph, normal, group=group)
    before = channel_ranges(model)
    assert apply(model, EqualiseBottlenecks(before)).changed == 1
    expected = np.minimum(before["z"] / (1e-3 * before["z"].max()), 1)  # channels below 1e-3 stay below
    np.testing.assert_allclose(channel_ranges(model)["z"], expected, rtol=1e-5)
    assert before["z"].min() < 1e-3 * before["z"].max() or np.allclose(expected, 1)


def test_silent_channel_is_amplified_a_thousand_times_at_most(build_graph: Build, apply: Apply, normal: Normal) -> None:
    model = _pair(build_graph, normal)
    ranges = np.array([1, 1e-9, 0, 2, 4, 8], np.float32)
    report = apply(model, EqualiseBottlenecks({"z": ranges}))
    assert report.details == ("z/Conv: channel ranges 0.008 to 8, now 1",)


@pytest.mark.parametrize("body", ["t = Relu(z)", "p = MaxPool<kernel_shape = [1,1]>(z) t = Add(p, z)"])
def test_anything_between_leaves_the_pair_alone(
    build_graph: Build, apply: Apply, channel_ranges: Ranges, normal: Normal, body: str
) -> None:
    model = _pair(build_graph, normal, body)
    assert apply(model, EqualiseBottlenecks(channel_ranges(model))).changed == 0


def test_tensor_without_ranges_is_left_alone(build_graph: Build, apply: Apply, normal: Normal) -> None:
    assert apply(_pair(build_graph, normal), EqualiseBottlenecks({})).changed == 0
