"""1x1 heads as products: the same values, integers still, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.conversion import run_job
from edgeconv.export.float_outputs import free_outputs
from edgeconv.export.golden import quantised_references
from edgeconv.export.jobs import ASYMMETRIC, ConversionJob
from edgeconv.export.onnxruntime import read_graph
from edgeconv.export.pointwise_products import is_pointwise, join_pointwise, spell_out_pointwise
from edgeconv.export.proof import prove
from edgeconv.export.quantize import quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.twins import to_int8, to_uint8
from edgeconv.graph import save_graph, to_bytes
from edgeconv.runtimes import get_runtime

Build = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Made = tuple[ir.Model, dict[str, np.ndarray]]

HEADS = {
    "mask": "y = Conv(b, w2, c2)",
    "softmax": "h = Conv(b, w2, c2) y = Softmax<axis = 1>(h)",
    "no bias": "y = Conv(b, w2)",
}


def _quantised(build_graph: Build, head: str, outputs: int = 2, batch: int = 1) -> Made:
    rng = np.random.default_rng(3)
    constants = {
        "w1": rng.normal(0, 0.3, (6, 4, 3, 3)),
        "w2": rng.normal(0, 0.3, (outputs, 6, 1, 1)),
        "c2": rng.normal(0, 0.3, outputs),
    }
    constants = {name: array for name, array in constants.items() if name in head or name == "w1"}
    ports = ", ".join(f"float[{','.join(map(str, array.shape))}] {name}" for name, array in constants.items())
    model = build_graph(
        f"""g (float[{batch},4,8,12] x, {ports}) => (float[{batch},{outputs},8,12] y) {{
        a = Conv<pads = [1,1,1,1]>(x, w1) b = Relu(a) {head} }}""",
        **{name: array.astype(np.float32) for name, array in constants.items()},
    )
    samples = [{"x": rng.normal(0, 1, (batch, 4, 8, 12)).astype(np.float32)} for _ in range(2)]
    return quantize(model, collect_statistics(model, samples), samples).model, samples[0]


def _names(model: ir.Model) -> list[str]:
    return [*(str(value.name) for node in model.graph for value in node.outputs), *model.graph.initializers]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("outputs", "batch"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("twin", [ir.Model.clone, to_uint8])
def test_the_same_values_and_back(
    build_graph: Build, head: str, outputs: int, batch: int, twin: Callable[[ir.Model], ir.Model], tmp_path: Path
) -> None:
    quantised, sample = _quantised(build_graph, HEADS[head], outputs, batch)
    model = twin(quantised)
    assert free_outputs(model)
    save_graph(model, tmp_path / "before.onnx")
    wanted = run_reference(model, sample)["y"]
    assert spell_out_pointwise(model) == 1
    onnx.checker.check_model(onnx.load_from_string(to_bytes(model)), full_check=True)
    np.testing.assert_allclose(run_reference(model, sample)["y"], wanted, rtol=1e-5, atol=1e-6)

    save_graph(model, tmp_path / "after.onnx")
    back, before = join_pointwise(ir.load(tmp_path / "after.onnx")), ir.load(tmp_path / "before.onnx")
    onnx.checker.check_model(onnx.load_from_string(to_bytes(back)), full_check=True)
    np.testing.assert_array_equal(run_reference(back, sample)["y"], wanted)
    assert {node.outputs[0].name for node in back.graph} == {node.outputs[0].name for node in before.graph}
    assert set(back.graph.initializers) == set(before.graph.initializers)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("outputs", [1, 3])  # of one channel it is computed on four columns at once
def test_onnx_runtime_s_file_computes_its_own_reference_on_integers(
    build_graph: Build, head: str, outputs: int, optimised: Count, tmp_path: Path
) -> None:
    model, sample = _quantised(build_graph, HEADS[head], outputs)
    save_graph(model, tmp_path / "source.onnx")
    job = ConversionJob(
        "onnxruntime", "int8", str(tmp_path / "source.onnx"), str(tmp_path), "uint8", float_outputs=True
    )
    artifact = run_job(job)
    assert artifact.reference == "qdq+float"
    kinds = optimised(ir.load(tmp_path / artifact.path))
    assert (kinds["QLinearConv"], kinds["QGemm"], kinds["Conv"], kinds["Gemm"]) == (1, 1, 0, 0)
    proof = prove(artifact, job)
    assert proof is not None
    assert (proof.mac_share, proof.float_macs, proof.unfused) == (1.0, [], 0)
    (found,) = get_runtime("onnxruntime").load(tmp_path / artifact.path, 1).run([sample["x"]])
    reference = quantised_references({ASYMMETRIC: model})["qdq+float"](sample)["y"]
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-5 * np.abs(reference).max())
    assert not any("/columns" in name or "/pixels" in name for name in _names(read_graph(tmp_path / artifact.path)))
    again = run_reference(to_int8(read_graph(tmp_path / artifact.path)), sample)["y"]
    np.testing.assert_array_equal(again, run_reference(model, sample)["y"])


def test_an_activation_behind_the_head_keeps_its_quantiser(
    build_graph: Build, optimised: Count, tmp_path: Path
) -> None:
    """ONNX Runtime would have to compute the convolution before it in float."""
    model, _ = _quantised(build_graph, "h = Conv(b, w2, c2) y = Relu(h)")
    save_graph(model, tmp_path / "source.onnx")
    artifact = run_job(
        ConversionJob("onnxruntime", "int8", str(tmp_path / "source.onnx"), str(tmp_path), "uint8", float_outputs=True)
    )
    assert artifact.reference == "qdq"
    assert optimised(ir.load(tmp_path / artifact.path))["QLinearConv"] == 2


@pytest.mark.parametrize("attributes", ["<strides = [2,2]>", "<pads = [1,1,1,1]>", "<group = 2>"])
def test_only_plain_1x1_convolutions_are_products(build_graph: Build, attributes: str) -> None:
    rng = np.random.default_rng(0)
    inner = 2 if "group" in attributes else 4
    size = {"<strides = [2,2]>": "4,4", "<pads = [1,1,1,1]>": "10,10", "<group = 2>": "8,8"}[attributes]
    model = build_graph(
        f"g (float[1,4,8,8] x, float[2,{inner},1,1] w) => (float[1,2,{size}] y) {{ y = Conv{attributes}(x, w) }}",
        w=rng.normal(0, 0.3, (2, inner, 1, 1)).astype(np.float32),
    )
    samples = [{"x": rng.normal(0, 1, (1, 4, 8, 8)).astype(np.float32)}]
    quantised = quantize(model, collect_statistics(model, samples), samples).model
    (conv,) = (node for node in quantised.graph if node.op_type == "Conv")
    assert not is_pointwise(conv)
    assert free_outputs(quantised)
    assert spell_out_pointwise(quantised) == 0


def test_a_convolution_that_writes_integers_is_left_alone(build_graph: Build) -> None:
    model, _ = _quantised(build_graph, HEADS["mask"])
    assert spell_out_pointwise(model) == 0


def test_what_is_marked_and_is_none_is_refused(build_graph: Build) -> None:
    model, _ = _quantised(build_graph, HEADS["mask"])
    model.graph[0].metadata_props["pointwise.tensor"] = "b"
    with pytest.raises(ExportError, match="marked as the end of a 1x1 convolution and is none"):
        join_pointwise(model)
