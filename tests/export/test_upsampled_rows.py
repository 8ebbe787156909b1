"""Conv and DepthToSpace as rows: the same values, no byte-wise copy left in OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.executor import open_session
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.openvino import convert
from edgeconv.export.proof.openvino import read_kernels
from edgeconv.export.quantize import quantize
from edgeconv.export.requantisers import drop_requantisers
from edgeconv.export.upsampled_rows import split_upsampling
from edgeconv.graph import save_graph, to_bytes

Build = Callable[..., ir.Model]
Sample = dict[str, np.ndarray]


@pytest.fixture
def make(build_graph: Build) -> Callable[..., tuple[ir.Model, Sample]]:
    """A Q/DQ graph that upsamples by `block`; `behind` is what reads the result besides the output."""

    def made(block: int = 2, mode: str = "DCR", activation: str = "", kernel: int = 1) -> tuple[ir.Model, Sample]:
        rng = np.random.default_rng(4)
        channels = 3 * block**2
        weights = {
            "w1": rng.normal(0, 0.3, (6, 2, 3, 3)).astype(np.float32),
            "w2": rng.normal(0, 0.3, (channels, 6, kernel, kernel)).astype(np.float32),
            "b2": rng.normal(0, 1, channels).astype(np.float32),
            "w3": rng.normal(0, 0.3, (2, 3, 3, 3)).astype(np.float32),
        }
        name = "u" if activation else "d"
        model = build_graph(
            f"""g (float[1,2,6,10] x, float[6,2,3,3] w1, float[{channels},6,{kernel},{kernel}] w2,
            float[{channels}] b2, float[2,3,3,3] w3) => (float[1,2,{6 * block},{10 * block}] y) {{
            a = Conv<pads = [1,1,1,1]>(x, w1) r = Relu(a)
            d = Conv<pads = [{kernel // 2},{kernel // 2},{kernel // 2},{kernel // 2}]>(r, w2, b2)
            {"u = Relu(d)" if activation else ""}
            e = DepthToSpace<blocksize = {block}, mode = "{mode}">({name})
            y = Conv<pads = [1,1,1,1]>(e, w3) }}""",
            **weights,
        )
        samples = [{"x": rng.normal(0, 1, (1, 2, 6, 10)).astype(np.float32)} for _ in range(2)]
        graph = quantize(model, collect_statistics(model, samples), samples).model
        drop_requantisers(graph)
        return graph, samples[0]

    return made


def _run(model: ir.Model, sample: Sample) -> np.ndarray:
    return np.asarray(open_session(model, optimise=False).run(None, sample)[0])


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_same_values(make: Callable[..., tuple[ir.Model, Sample]], block: int, kernel: int) -> None:
    model, sample = make(block, kernel=kernel)
    split = model.clone()
    assert split_upsampling(split) == 1
    onnx.checker.check_model(onnx.load_from_string(to_bytes(split)), full_check=True)
    operators = [node.op_type for node in split.graph]
    assert "DepthToSpace" not in operators
    assert operators.count("Conv") == 2 + block
    np.testing.assert_array_equal(_run(split, sample), _run(model, sample))


def test_an_upsampled_tensor_keeps_its_name(make: Callable[..., tuple[ir.Model, Sample]]) -> None:
    model, _ = make()
    split_upsampling(model)
    assert "e" in [value.name for node in model.graph for value in node.outputs]


@pytest.mark.parametrize("options", [{"mode": "CRD"}, {"activation": "Relu"}])
def test_other_chains_are_left_alone(make: Callable[..., tuple[ir.Model, Sample]], options: dict[str, str]) -> None:
    assert split_upsampling(make(**options)[0]) == 0


def test_openvino_computes_the_parts_on_integers_and_copies_rows(
    make: Callable[..., tuple[ir.Model, Sample]], tmp_path: Path
) -> None:
    model, _ = make()
    save_graph(model, tmp_path / "qdq.onnx")
    convert(ConversionJob("openvino", "int8", str(tmp_path / "qdq.onnx"), str(tmp_path)))
    kernels = read_kernels(tmp_path / "model.int8.xml", "int8", model)
    assert {str(node.name) for node in model.graph if node.op_type == "Conv"} <= kernels.integer
    assert 'type="DepthToSpace"' not in (tmp_path / "model.int8.xml").read_text()
