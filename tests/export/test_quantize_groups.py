from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.errors import UsageError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import Grid, QuantisationResult, QuantisationScheme, observed_tensors, quantize
from edgeconv.export.reference import run_reference

Build = Callable[..., ir.Model]
_FIXED = (1 / 256, -128)


def _quantise(model: ir.Model, samples: list[dict[str, np.ndarray]], **scheme: object) -> QuantisationResult:
    statistics = collect_statistics(model, samples, tensors=observed_tensors(model))
    result = quantize(model, statistics, samples, scheme=QuantisationScheme(**{"ranges": "minmax", **scheme}))
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    return result


def _grids(result: QuantisationResult) -> dict[str, tuple[float, int]]:
    return {record.name: (record.scale, record.zero_point) for record in result.recipe.tensors}


def _uniform(low: float, high: float, *shape: int) -> np.ndarray:
    values = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    values.flat[0], values.flat[1] = low, high
    return values


@pytest.mark.parametrize(
    "body",
    [
        "y = MaxPool<kernel_shape=[2,2]>(r)",
        "y = AveragePool<kernel_shape=[2,2]>(r)",
        "y = GlobalMaxPool(r)",
        "y = Resize<mode=\"linear\">(r, , scales)",
        "y = Pad(r, pads)",
        "y = Slice(r, starts, ends)",
        "y = Reshape(r, flat)",
        "y = Transpose<perm=[0,2,3,1]>(r)",
        "y = Flatten(r)",
        "y = Squeeze(r, first)",
        "y = Unsqueeze(r, first)",
        "y = Gather<axis=1>(r, starts)",
        "y = DepthToSpace<blocksize=2>(r)",
        "y = SpaceToDepth<blocksize=2>(r)",
        "y = ReduceMax(r, first)",
        "y = ReduceMin(r, first)",
    ],
)  # fmt: skip
def test_an_operator_that_moves_values_shares_its_quantiser(build_graph: Build, body: str) -> None:
    model = build_graph(
        "g (float[1,4,4,4] x, float[4] scales, int64[8] pads, int64[4] starts, int64[4] ends, int64[2] flat,"
        f" int64[1] first) => (float[{_dimensions(body)}] y) {{ r = LeakyRelu(x) {body} }}",
        scales=np.array([1, 1, 2, 2], np.float32),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        starts=np.array([0, 1, 1, 1], np.int64),
        ends=np.array([1, 3, 3, 3], np.int64),
        flat=np.array([8, 8], np.int64),
        first=np.array([0], np.int64),
    )
    grids = _grids(_quantise(model, [{"x": _uniform(-2, 3, 1, 4, 4, 4)}]))
    assert grids["r"] == grids["y"] != grids["x"]


def _dimensions(body: str) -> str:
    ranks = {"Flatten": 2, "Reshape": 2, "Squeeze": 3, "Unsqueeze": 5}
    return ",".join("ABCDE"[: next((rank for name, rank in ranks.items() if f"= {name}(" in body), 4)])


def test_a_split_shares_the_quantiser_with_all_its_outputs(build_graph: Build) -> None:
    model = build_graph("g (float[1,4] x) => (float[1,2] y, float[1,2] z) { y, z = Split<axis=1, num_outputs=2>(x) }")
    grids = _grids(_quantise(model, [{"x": _uniform(-1, 1, 1, 4)}]))
    assert grids["x"] == grids["y"] == grids["z"]


def test_a_concat_covers_the_union_of_its_inputs(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2] a, float[1,2] b, float[1,2] k) => (float[1,6] y) { y = Concat<axis=1>(a, b, k) }",
        k=np.array([[-7, 0.5]], np.float32),
    )
    result = _quantise(model, [{"a": _uniform(-1, 2, 1, 2), "b": _uniform(0, 5, 1, 2)}])
    grids = _grids(result)
    assert grids["a"] == grids["b"] == grids["y"]
    assert grids["y"][0] == pytest.approx(12 / 255)
    assert float(result.model.graph.initializers["k_scale"].const_value.numpy()) == grids["y"][0]


def test_a_pad_value_belongs_to_the_range(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,2] x, int64[4] pads, float fill) => (float[1,4] y) { y = Pad(x, pads, fill) }",
        pads=np.array([0, 1, 0, 1], np.int64),
        fill=np.array(-9, np.float32),
    )
    assert _grids(_quantise(model, [{"x": _uniform(-1, 1, 1, 2)}]))["y"][0] == pytest.approx(10 / 255)


@pytest.mark.parametrize(
    ("operator", "grid"), [("Sigmoid", _FIXED), ("Softmax<axis=1>", _FIXED), ("Tanh", (1 / 128, 0))]
)
def test_outputs_with_a_fixed_quantiser_get_it_and_pass_it_on(
    build_graph: Build, operator: str, grid: tuple[float, int]
) -> None:
    model = build_graph(
        f"g (float[1,4] x, int64[1] n) => (float[4] y) {{ s = {operator}(x) y = Reshape(s, n) }}",
        n=np.array([4], np.int64),
    )
    samples = [{"x": _uniform(-3, 3, 1, 4)}]
    grids = _grids(_quantise(model, samples))
    assert grids["s"] == grids["y"] == grid


def test_scores_and_probabilities_that_fit_share_the_fixed_quantiser(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,4] x) => (float[1,8] y) { s = Sigmoid(x) m = Softmax<axis=1>(x) y = Concat<axis=1>(s, m) }"
    )
    grids = _grids(_quantise(model, [{"x": _uniform(-3, 3, 1, 4)}]))
    assert grids["s"] == grids["m"] == grids["y"] == _FIXED


def test_coordinates_beside_scores_are_not_clipped_to_one(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,4] x, float[1,4] box) => (float[1,8] y) { s = Sigmoid(x) y = Concat<axis=1>(s, box) }"
    )
    sample = {"x": _uniform(-3, 3, 1, 4), "box": _uniform(0, 300, 1, 4)}
    result = _quantise(model, [sample])
    grids = _grids(result)
    assert grids["s"] == _FIXED
    assert grids["y"] == grids["box"] == (pytest.approx(300 / 255), -128)
    difference = run_reference(result.model, sample)["y"] - run_reference(model, sample)["y"]
    assert np.abs(difference).max() < 300 / 255


def test_different_fixed_quantisers_are_brought_onto_one(build_graph: Build) -> None:
    model = build_graph(
        "g (float[1,4] x) => (float[1,8] y, float[1,4] z) {"
        " s = Sigmoid(x) t = Tanh(x) y = Concat<axis=1>(s, t) z = Mul(s, t) }"
    )
    sample = {"x": _uniform(-3, 3, 1, 4)}
    result = _quantise(model, [sample])
    grids = _grids(result)
    assert grids["s"] == _FIXED
    assert grids["t"] == (1 / 128, 0)
    assert grids["y"][0] == pytest.approx(2 / 256, rel=0.01)
    expected, found = run_reference(model, sample), run_reference(result.model, sample)
    assert found["y"] == pytest.approx(expected["y"], abs=0.01)
    assert found["z"] == pytest.approx(expected["z"], abs=0.01)


def test_an_image_grid_passes_through_operators_that_move_values(build_graph: Build) -> None:
    model = build_graph("g (float[1,4,4,4] x) => (float[1,1,8,8] y) { y = DepthToSpace<blocksize=2>(x) }")
    image = Grid(1 / 255, -128)
    result = _quantise(model, [{"x": _uniform(0.2, 0.6, 1, 4, 4, 4)}], input_grid={"x": image})
    assert _grids(result)["y"] == (image.scale, image.zero_point)


def test_an_image_concatenated_with_what_exceeds_it_is_requantised(build_graph: Build) -> None:
    model = build_graph("g (float[1,4] x, float[1,4] c) => (float[1,8] y) { y = Concat<axis=1>(x, c) }")
    sample = {"x": _uniform(0, 1, 1, 4), "c": _uniform(-1, 1, 1, 4)}
    image = Grid(1 / 255, -128)
    result = _quantise(model, [sample], input_grid={"x": image})
    assert _grids(result)["x"] == (image.scale, image.zero_point)
    assert _grids(result)["y"][0] == pytest.approx(2 / 255)
    assert run_reference(result.model, sample)["y"] == pytest.approx(run_reference(model, sample)["y"], abs=0.01)


def test_a_grid_with_a_zero_point_does_not_fit_symmetric_activations() -> None:
    with pytest.raises(UsageError, match="symmetric"):
        QuantisationScheme(activations="symmetric", input_grid={"x": Grid(1 / 255, -128)})
    with pytest.raises(UsageError, match="'lopsided'"):
        QuantisationScheme(activations="lopsided")
