"""Several columns at once: the same integers, still by integer kernels, and back under the same names."""

from __future__ import annotations

import json
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
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.joined_columns import join_columns, part_columns
from edgeconv.export.onnxruntime import read_graph
from edgeconv.export.proof import prove
from edgeconv.export.quantize import quantize
from edgeconv.export.reference import run_reference
from edgeconv.export.twins import to_int8, to_uint8
from edgeconv.graph import save_graph, to_bytes
from edgeconv.runtimes import get_runtime

Build = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Made = tuple[ir.Model, dict[str, np.ndarray]]

# Operators and how many convolutions of them are joined.
NETWORKS = {
    "stem": ("y = Conv<pads = [1,1,1,1]>(x, w133)", 1),
    "pair": ("a = Conv<pads = [0,1,0,1]>(x, w113) b = Conv<pads = [1,0,1,0]>(a, w631) y = Relu(b)", 2),
    "read twice": ("a = Conv<pads = [0,1,0,1]>(x, w113) b = Conv<pads = [1,0,1,0]>(a, w131) y = Add(a, b)", 2),
    "high": ("a = Conv<pads = [1,1,1,1]>(x, w133) b = Relu(a) y = Conv<pads = [0,2,0,0]>(b, w633)", 2),
    "clip": ("a = Conv<pads = [0,1,0,1]>(x, w113) b = Clip(a, low, high) y = Conv<pads = [1,0,1,0]>(b, w631)", 2),
    "leaky": ("a = Conv<pads = [0,1,0,1]>(x, w113) y = LeakyRelu<alpha = 0.1>(a)", 1),
    "pooled": (
        "a = Conv<pads = [1,1,1,1]>(x, w133) b = Relu(a) y = MaxPool<kernel_shape = [2,2], strides = [2,2]>(b)",
        1,
    ),
}
NETWORKS["head"] = ("a = Conv<pads = [1,1,1,1]>(x, w133) y = Conv(a, w161)", 2)
SIZES = {"head": "1,8,8", "high": "6,6,8", "pooled": "6,4,4", "read twice": "6,8,8", "pair": "6,8,8"}


def _quantised(build_graph: Build, operators: str, size: str, channels: int = 1, batch: int = 1) -> Made:
    rng = np.random.default_rng(7)
    kinds = {
        "w133": (6, channels, 3, 3),
        "w113": (6, channels, 1, 3),
        "w631": (6, 6, 3, 1),
        "w633": (6, 6, 3, 3),
        "w161": (1, 6, 1, 1),
    }
    kinds["w131"] = kinds["w631"]
    constants = {name: rng.normal(0, 0.3, shape) for name, shape in kinds.items() if name in operators}
    constants |= {name: np.array(value) for name, value in (("low", 0.0), ("high", 6.0)) if name in operators}
    ports = ", ".join(
        f"float[{','.join(map(str, array.shape))}] {n}" if array.ndim else f"float {n}"
        for n, array in constants.items()
    )
    model = build_graph(
        f"g (float[{batch},{channels},8,8] x, {ports}) => (float[{batch},{size}] y) {{ {operators} }}",
        **{name: array.astype(np.float32) for name, array in constants.items()},
    )
    samples = [{"x": rng.normal(0, 1, (batch, channels, 8, 8)).astype(np.float32)} for _ in range(2)]
    return quantize(model, collect_statistics(model, samples), samples).model, samples[0]


def _tensors(model: ir.Model) -> dict[str, tuple[int, ...]]:
    return {str(value.name): tuple(value.shape or ()) for node in model.graph for value in node.outputs}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("channels", "batch"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("twin", [ir.Model.clone, to_uint8])
def test_the_same_values_and_back(
    build_graph: Build, name: str, channels: int, batch: int, twin: Callable[[ir.Model], ir.Model], tmp_path: Path
) -> None:
    operators, count = NETWORKS[name]
    quantised, sample = _quantised(build_graph, operators, SIZES.get(name, "6,8,8"), channels, batch)
    model = twin(quantised)
    assert join_columns(model) == count
    onnx.checker.check_model(onnx.load_from_string(to_bytes(model)), full_check=True)
    wanted = run_reference(twin(quantised), sample)["y"]
    np.testing.assert_array_equal(run_reference(model, sample)["y"], wanted)

    save_graph(model, tmp_path / "joined.onnx")
    back = part_columns(ir.load(tmp_path / "joined.onnx"))
    onnx.checker.check_model(onnx.load_from_string(to_bytes(back)), full_check=True)
    assert _tensors(back) == _tensors(quantised)
    stored = [node.outputs[0].name for node in quantised.graph if node.op_type == "QuantizeLinear"]
    found, expected = (run_reference(graph, sample, stored) for graph in (back, twin(quantised)))
    for tensor, array in expected.items():
        np.testing.assert_array_equal(found[tensor], array)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_computes_the_same_integers_with_integer_kernels(
    build_graph: Build, name: str, optimised: Count, tmp_path: Path
) -> None:
    operators, _ = NETWORKS[name]
    model, sample = _quantised(build_graph, operators, SIZES.get(name, "6,8,8"))
    plain = to_uint8(model)
    save_graph(plain, tmp_path / "plain.onnx")
    save_graph(model, tmp_path / "source.onnx")
    job = ConversionJob("onnxruntime", "int8", str(tmp_path / "source.onnx"), str(tmp_path), "uint8")
    artifact = run_job(job)
    before, after = optimised(plain), optimised(ir.load(tmp_path / artifact.path))
    for kind in ("QLinearConv", "QLinearAdd", "Conv", "Transpose", "DequantizeLinear", "QuantizeLinear"):
        assert after[kind] == before[kind], kind
    proof = prove(artifact, job)
    assert proof is not None
    assert (proof.mac_share, proof.float_macs, proof.unfused) == (1.0, [], 0)
    runtime = get_runtime("onnxruntime")
    found, wanted = (runtime.load(tmp_path / path, 1).run([sample["x"]])[0] for path in (artifact.path, "plain.onnx"))
    np.testing.assert_array_equal(found, wanted)
    again = run_reference(to_int8(read_graph(tmp_path / artifact.path)), sample)["y"]
    np.testing.assert_array_equal(again, run_reference(model, sample)["y"])


@pytest.mark.parametrize(
    ("operators", "size"),
    [
        ("y = Conv<strides = [1,2], pads = [1,1,1,1]>(x, w133)", "6,8,4"),
        ("y = Conv<pads = [1,0,1,0]>(x, w133)", "6,8,6"),
        ("y = Conv<dilations = [1,2], pads = [1,2,1,2]>(x, w133)", "6,8,8"),
        ('y = Conv<auto_pad = "SAME_UPPER">(x, w133)', "6,8,8"),
    ],
)
def test_other_convolutions_are_left_alone(build_graph: Build, operators: str, size: str) -> None:
    model, _ = _quantised(build_graph, operators, size)
    before = to_bytes(model)
    assert join_columns(model) == 0
    assert to_bytes(model) == before


def test_many_products_and_odd_widths_are_left_alone(build_graph: Build) -> None:
    rng = np.random.default_rng(0)
    for inputs, outputs, width in ((16, 32, 8), (2, 4, 7)):
        shape = (outputs, inputs, 3, 1)
        model = build_graph(
            f"g (float[1,{inputs},4,{width}] x, float[{outputs},{inputs},3,1] w) => (float[1,{outputs},4,{width}] y) "
            "{ y = Conv<pads = [1,0,1,0]>(x, w) }",
            w=rng.normal(0, 0.1, shape).astype(np.float32),
        )
        samples = [{"x": rng.normal(0, 1, (1, inputs, 4, width)).astype(np.float32)}]
        assert join_columns(quantize(model, collect_statistics(model, samples), samples).model) == 0


def test_a_file_that_was_changed_still_computes_what_it_did(build_graph: Build) -> None:
    model, sample = _quantised(build_graph, *NETWORKS["stem"][:1], "6,8,8")
    assert join_columns(model) == 1
    (conv,) = (node for node in model.graph if node.op_type == "Conv")
    weights = conv.inputs[1].producer().inputs[0]  # type: ignore[union-attr]
    changed = weights.const_value.numpy().copy()  # type: ignore[union-attr]
    changed[-1] = -changed[-1]  # of the last column alone
    weights.const_value = ir.tensor(changed, name=weights.name)  # type: ignore[union-attr]
    wanted = run_reference(model, sample)["y"]
    np.testing.assert_array_equal(run_reference(part_columns(model), sample)["y"], wanted)


@pytest.mark.parametrize(
    "mark",
    [
        "",
        "{}",
        "[]",
        json.dumps({"columns": 0, "before": 1, "behind": 1}),
        json.dumps({"columns": 4, "before": 9, "behind": 1}),
        json.dumps({"columns": 5, "before": 1, "behind": 1}),
        json.dumps({"columns": -4, "before": 1, "behind": 1}),
    ],
)
def test_a_mark_that_means_nothing_is_refused(build_graph: Build, mark: str) -> None:
    model, _ = _quantised(build_graph, NETWORKS["stem"][0], "6,8,8")
    assert join_columns(model) == 1
    (conv,) = (node for node in model.graph if node.op_type == "Conv")
    conv.metadata_props["columns"] = mark
    with pytest.raises(ExportError, match="marked as one on joined columns and is none"):
        part_columns(model)


def test_two_heads_on_one_tensor_are_read_in_an_order_that_can_be_computed(build_graph: Build, tmp_path: Path) -> None:
    """The reader that the heads share again stands before both of them, wherever it was."""
    rng = np.random.default_rng(8)
    model = build_graph(
        "g (float[1,3,8,8] x, float[6,3,3,3] w, float[2,6,1,1] v, float[3,6,1,1] u)"
        " => (float[1,2,8,8] y, float[1,3,8,8] z)"
        " { a = Conv<pads = [1,1,1,1]>(x, w) y = Conv(a, v) b = Conv(a, u) z = Sigmoid(b) }",
        w=rng.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32),
        v=rng.normal(0, 0.3, (2, 6, 1, 1)).astype(np.float32),
        u=rng.normal(0, 0.3, (3, 6, 1, 1)).astype(np.float32),
    )
    samples = [{"x": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)} for _ in range(2)]
    quantised = quantize(model, collect_statistics(model, samples), samples).model
    save_graph(quantised, tmp_path / "source.onnx")
    job = ConversionJob("onnxruntime", "int8", str(tmp_path / "source.onnx"), str(tmp_path), float_outputs=True)
    artifact = run_job(job)
    back = read_graph(tmp_path / artifact.path)
    onnx.checker.check_model(onnx.load_from_string(to_bytes(back)), full_check=True)
    assert _tensors(back) == _tensors(quantised)
    found, wanted = (run_reference(graph, samples[0]) for graph in (back, quantised))
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
