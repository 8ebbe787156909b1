from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.rewrite import EqualiseChannels, RewriteReport

Build = Callable[..., ir.Model]
Apply = Callable[..., RewriteReport]
Ranges = Callable[[ir.Model], dict[str, np.ndarray]]
Normal = Callable[..., np.ndarray]


@pytest.fixture
def layer(build_graph: Build, normal: Normal) -> Callable[[str], ir.Model]:
    """x (1,3,8,6) -> Conv c, 8 channels of very different ranges -> the body -> Conv over t, 4 channels -> y."""

    def build(body: str, channels: int = 8, size: str = "8,6") -> ir.Model:
        spread = np.logspace(-1.5, 1, 8, dtype=np.float32).reshape(-1, 1, 1, 1)
        return build_graph(
            f"""g (float[1,3,8,6] x, float[8,3,3,3] w1, float[8] b1, float[4,{channels},1,1] w2,
            float[1,8,8,6] gate, float[8,1,1] slope, float[8,8,1,1] w3, float[8,1,1,1] w4, float[8,3,1,1] w5)
            => (float[1,4,{size}] y) {{ c = Conv<pads = [1,1,1,1]>(x, w1, b1) {body} y = Conv(t, w2) }}""",
            w1=normal(8, 3, 3, 3) * spread,
            b1=normal(8) * spread.ravel(),
            w2=normal(4, channels, 1, 1),
            gate=np.abs(normal(1, 8, 8, 6)),
            slope=normal(8, 1, 1),
            w3=normal(8, 8, 1, 1) * spread,
            w4=normal(8, 1, 1, 1),
            w5=normal(8, 3, 1, 1),
        )

    return build


def _spread(ranges: np.ndarray) -> float:
    return float(ranges.max() / ranges.min())


@pytest.mark.parametrize(
    ("body", "channels", "size"),
    [
        ("t = Relu(c)", 8, "8,6"),
        ("t = LeakyRelu<alpha = 0.2>(c)", 8, "8,6"),
        ("t = PRelu(c, slope)", 8, "8,6"),
        ("r = Relu(c) t = MaxPool<kernel_shape = [2,2], strides = [2,2]>(r)", 8, "4,3"),
        ("r = Relu(c) t = AveragePool<kernel_shape = [3,3], pads = [1,1,1,1]>(r)", 8, "8,6"),
        ("r = Relu(c) t = GlobalAveragePool(r)", 8, "1,1"),
        ("r = Relu(c) t = DepthToSpace<blocksize = 2>(r)", 2, "16,12"),
        ('r = Relu(c) t = DepthToSpace<blocksize = 2, mode = "CRD">(r)', 2, "16,12"),
        ("r = Relu(c) t = SpaceToDepth<blocksize = 2>(r)", 32, "4,3"),
        ("r = Relu(c) t = Mul(r, gate)", 8, "8,6"),
        ("r = Relu(c) t = Mul(gate, r)", 8, "8,6"),
        ("r = Relu(c) d = Conv(r, w3) e = Relu(d) t = Concat<axis = 1>(e, r)", 16, "8,6"),
        ("r = Relu(c) d = Conv<group = 8>(r, w4) t = Relu(d)", 8, "8,6"),
    ],
)
def test_scales_pass_exactly_and_narrow_the_ranges(
    layer: Callable[..., ir.Model], apply: Apply, channel_ranges: Ranges, body: str, channels: int, size: str
) -> None:
    model = layer(body, channels, size)
    before = channel_ranges(model)
    report = apply(model, EqualiseChannels(before))
    after = channel_ranges(model)
    assert report.sqnr_db > 120
    first = "r" if "r" in after else "t"
    assert _spread(after[first]) < 0.7 * _spread(before[first])


def test_half_strength_takes_the_root_of_each_relative_range(
    layer: Callable[..., ir.Model], apply: Apply, channel_ranges: Ranges
) -> None:
    model = layer("t = Relu(c)")
    before = channel_ranges(model)["t"]
    apply(model, EqualiseChannels({"t": before}))
    relative = np.maximum(before / before.max(), 1e-2)
    np.testing.assert_allclose(channel_ranges(model)["t"], before * relative**-0.5, rtol=1e-5)


def test_full_strength_makes_ranges_equal_above_the_clip(
    layer: Callable[..., ir.Model], apply: Apply, channel_ranges: Ranges
) -> None:
    model = layer("t = Relu(c)")
    before = channel_ranges(model)["t"]
    apply(model, EqualiseChannels({"t": before}, strength=1.0))
    expected = np.minimum(before / (0.01 * before.max()), 1) * before.max()
    np.testing.assert_allclose(channel_ranges(model)["t"], expected, rtol=1e-5)


def test_strength_zero_changes_nothing(layer: Callable[..., ir.Model], apply: Apply, channel_ranges: Ranges) -> None:
    model = layer("t = Relu(c)")
    assert apply(model, EqualiseChannels(channel_ranges(model), strength=0.0)).changed == 0


@pytest.mark.parametrize(
    "body",
    [
        "t = Sigmoid(c)",
        "low = Constant<value = float {0}>() high = Constant<value = float {6}>() t = Clip(c, low, high)",
        "t = Softmax<axis = 1>(c)",
        "r = Relu(c) d = Conv(x, w5) t = Add(r, d)",
        "r = Relu(c) t = Mul(r, r)",
        "r = Relu(c) t = Transpose<perm = [0, 1, 3, 2]>(r)",
        "t = Conv(c, w3)",  # two bottlenecks: they have a gauge of their own
    ],
)
def test_scales_are_one_where_they_would_not_pass(
    layer: Callable[..., ir.Model], apply: Apply, channel_ranges: Ranges, body: str
) -> None:
    model = layer(body, size="6,8" if "Transpose" in body else "8,6")
    assert apply(model, EqualiseChannels(channel_ranges(model))).changed == 0


def test_port_and_one_branch_of_a_concat_keep_only_their_own_channels(
    build_graph: Build, apply: Apply, channel_ranges: Ranges, normal: Normal
) -> None:
    model = build_graph(
        """g (float[1,3,8,6] x, float[4,3,1,1] w, float[4] b, float[2,7,1,1] v) => (float[1,2,8,6] y)
        { c = Conv(x, w, b) r = Relu(c) t = Concat<axis = 1>(r, x) y = Conv(t, v) }""",
        w=normal(4, 3, 1, 1) * np.float32([[[[0.01]]], [[[0.1]]], [[[1]]], [[[3]]]]),
        b=np.zeros(4, np.float32),
        v=normal(2, 7, 1, 1),
    )
    before = channel_ranges(model)
    assert apply(model, EqualiseChannels(before)).changed == 2
    after = channel_ranges(model)
    np.testing.assert_array_equal(after["t"][4:], before["t"][4:])
    assert _spread(after["r"]) < 0.5 * _spread(before["r"])


def test_ranges_are_relative_to_the_tensors_that_share_the_quantiser(
    build_graph: Build, apply: Apply, normal: Normal
) -> None:
    model = build_graph(
        """g (float[1,3,8,6] x, float[2,3,1,1] w, float[2,3,1,1] u, float[1,4,1,1] v) => (float[1,1,8,6] y)
        { c = Conv(x, w) r = Relu(c) d = Conv(x, u) s = Relu(d) t = Concat<axis = 1>(r, s) y = Conv(t, v) }""",
        w=normal(2, 3, 1, 1),
        u=normal(2, 3, 1, 1),
        v=normal(1, 4, 1, 1),
    )
    ranges = {"r": np.array([1.0, 1.0]), "s": np.array([16.0, 4.0]), "t": np.array([1.0, 1.0, 16.0, 4.0])}
    report = apply(model, EqualiseChannels(ranges))
    assert report.details[:2] == ("c/Conv: output scales 4 to 4", "d/Conv: output scales 1 to 2")
