"""DepthToSpace as transpositions of integers: the same values, fewer transpositions left in ONNX Runtime, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.channels_last import join_depth_to_space, spell_out_depth_to_space
from edgeconv.export.executor import open_session
from edgeconv.export.quantize import quantize
from edgeconv.export.twins import to_uint8
from edgeconv.graph import to_bytes
from edgeconv.parity.locate.layers import graph_layers

Build = Callable[..., ir.Model]
MODES = ["DCR", "CRD"]


@pytest.fixture
def make(build_graph: Build) -> Callable[[str], tuple[ir.Model, dict[str, np.ndarray]]]:
    """A Q/DQ decoder step: two convolutions, one of them upsampled, concatenated for a third."""

    def made(mode: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
        rng = np.random.default_rng(1)
        shapes = {"w1": (8, 3, 3, 3), "w2": (16, 8, 2, 2), "w3": (4, 12, 3, 3)}
        weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
        model = build_graph(
            f"""g (float[1,3,16,24] x, float[8,3,3,3] w1, float[16,8,2,2] w2, float[4,12,3,3] w3)
            => (float[1,4,16,24] y) {{
            a = Conv<pads = [1,1,1,1]>(x, w1) b = Conv<strides = [2,2]>(a, w2)
            up = DepthToSpace<blocksize = 2, mode = "{mode}">(b) c = Concat<axis = 1>(a, up)
            y = Conv<pads = [1,1,1,1]>(c, w3) }}""",
            **weights,
        )
        samples = [{"x": rng.normal(0, 1, (1, 3, 16, 24)).astype(np.float32)} for _ in range(2)]
        return quantize(model, collect_statistics(model, samples), samples).model, samples[0]

    return made


def _run(model: ir.Model, sample: dict[str, np.ndarray], optimise: bool) -> np.ndarray:
    return np.asarray(open_session(model, optimise=optimise).run(None, sample)[0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("twin", [ir.Model.clone, to_uint8])
def test_the_same_values(
    make: Callable[..., tuple[ir.Model, dict[str, np.ndarray]]], mode: str, twin: Callable[[ir.Model], ir.Model]
) -> None:
    model, sample = make(mode)
    spelled = twin(model)
    assert spell_out_depth_to_space(spelled) == 1
    onnx.checker.check_model(onnx.load_from_string(to_bytes(spelled)), full_check=True)
    assert "DepthToSpace" not in [node.op_type for node in spelled.graph]
    np.testing.assert_array_equal(_run(spelled, sample, optimise=False), _run(twin(model), sample, optimise=False))


def test_onnx_runtime_turns_fewer_tensors_round(
    make: Callable[..., tuple[ir.Model, dict[str, np.ndarray]]], optimised: Callable[[ir.Model], Counter[str]]
) -> None:
    model = to_uint8(make("DCR")[0])
    before = optimised(model)["Transpose"]
    spell_out_depth_to_space(model)
    assert optimised(model)["Transpose"] == 3 < before  # of the input, the output and the rows


@pytest.mark.parametrize("mode", MODES)
def test_joined_again_it_is_the_graph_that_it_was(
    make: Callable[..., tuple[ir.Model, dict[str, np.ndarray]]], mode: str
) -> None:
    model, sample = make(mode)
    spelled = model.clone()
    spell_out_depth_to_space(spelled)
    joined = join_depth_to_space(ir.from_proto(ir.to_proto(spelled)))
    assert [node.op_type for node in joined.graph].count("DepthToSpace") == 1
    assert [(x.name, x.operator, x.shape, x.grid) for x in graph_layers(joined)] == [
        (x.name, x.operator, x.shape, x.grid) for x in graph_layers(model)
    ]
    np.testing.assert_array_equal(_run(joined, sample, optimise=False), _run(model, sample, optimise=False))
    assert spell_out_depth_to_space(joined) == 1


def test_a_float_one_is_left_alone(build_graph: Build) -> None:
    model = build_graph("g (float[1,4,2,2] x) => (float[1,1,4,4] y) { y = DepthToSpace<blocksize = 2>(x) }")
    assert spell_out_depth_to_space(model) == 0


def test_a_mark_on_something_else_is_refused(make: Callable[..., tuple[ir.Model, dict[str, np.ndarray]]]) -> None:
    model = make("DCR")[0]
    next(node for node in model.graph if node.op_type == "Concat").metadata_props["depth_to_space.tensor"] = "x"
    with pytest.raises(ExportError, match="marked as the end of a DepthToSpace"):
        join_depth_to_space(model)
