"""A trained Factorizer in every runtime: the factorisation in float, no division by zero, the iterations a dial."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from safetensors.torch import save_file

from edgeconv.benchmarks.agent.feeds import make_inputs, order_specs, read_outputs
from edgeconv.errors import UsageError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.conversion import run_job
from edgeconv.export.data import input_ports
from edgeconv.export.golden import normalised
from edgeconv.export.graphs import Graphs, make_graphs
from edgeconv.export.jobs import ASYMMETRIC, ConversionJob
from edgeconv.export.macs import count_macs
from edgeconv.export.options import ExportOptions
from edgeconv.export.quantize import observed_tensors, plan, quantize
from edgeconv.export.reference import ReferenceRunner
from edgeconv.export.subject import load_subject
from edgeconv.graph import constant_value, module_path, save_graph
from edgeconv.layers.nmf import MIN_EPSILON
from edgeconv.manifest import Artifact, Port
from edgeconv.models.factorizer import Factorizer
from edgeconv.runtimes import get_runtime

RUNTIMES = ("litert", "onnxruntime", "openvino")
PRECISIONS = ("fp32", "int8")
SIDE = 32
BLOCKS, ITERATIONS = 3, 3
FACTORY = f"""
from edgeconv.models.factorizer import Factorizer
def build():
    return Factorizer(1, 1, ({SIDE}, {SIDE}), (8, 16), window=8, shifts=(0, 4), iterations={ITERATIONS})
"""
Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Exported:
    """The graphs of one trained network and its six files."""

    graphs: Graphs
    ports: list[Port]
    samples: list[Mapping[str, Array]]
    directory: Path
    artifacts: Mapping[tuple[str, str], Artifact]

    def run(self, runtime: str, precision: str, sample: Mapping[str, Array]) -> Array:
        artifact = self.artifacts[runtime, precision]
        session = get_runtime(runtime).load(self.directory / artifact.path, 1)
        inputs = order_specs(artifact.inputs, session.input_names)
        outputs = order_specs(artifact.outputs, session.output_names)
        graph = self.graphs.fp32.graph
        names = [Port(str(value.name), [1, 1, SIDE, SIDE], "float32", "NCHW") for value in graph.outputs]
        (found,) = read_outputs(session.run(make_inputs(sample, self.ports, inputs)), names, outputs).values()
        return found


def lamps(count: int, seed: int) -> tuple[Array, Array]:
    """Bright discs on noise, and where they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    row, column, radius = rng.uniform(6, 26, (3, count, 1, 1)) * np.array([1, 1, 0.25]).reshape(3, 1, 1, 1)
    mask = ((y - row) ** 2 + (x - column) ** 2 < radius**2).astype(np.float32)[:, None]
    return np.clip(0.3 + 0.4 * mask + rng.normal(0, 0.1, mask.shape), 0, 1).astype(np.float32), mask


def train() -> Factorizer:
    torch.manual_seed(0)
    model = Factorizer(1, 1, (SIDE, SIDE), (8, 16), window=8, shifts=(0, 4), iterations=ITERATIONS)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(40):
        images, masks = (torch.from_numpy(array) for array in lamps(8, step))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def options(directory: Path, **more: Any) -> ExportOptions:
    return ExportOptions(
        f"{directory / 'net.py'}:build",
        weights=directory / "weights.safetensors",
        input_shapes=(f"1x1x{SIDE}x{SIDE}",),
        calibration=str(directory / "images.npy"),
        golden_count=4,
        **more,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a factory, trained weights and images for calibration."""
    directory = tmp_path_factory.mktemp("factorizer")
    (directory / "net.py").write_text(FACTORY)
    save_file(train().state_dict(), directory / "weights.safetensors")
    np.save(directory / "images.npy", lamps(12, 1000)[0])
    return directory


@pytest.fixture(scope="module")
def exported(trained: Path) -> Exported:
    subject = load_subject(options(trained))
    ports = input_ports(subject.golden, subject.shapes, None, None)
    graphs = make_graphs(subject.trace(), subject, ports, [ASYMMETRIC], lambda stage: contextlib.nullcontext())
    sources = {"fp32": graphs.fp32, "int8": graphs.int8[ASYMMETRIC].model}
    artifacts = {}
    for precision, model in sources.items():
        save_graph(model, trained / f"source.{precision}.onnx")
        for runtime in RUNTIMES:
            job = ConversionJob(runtime, precision, str(trained / f"source.{precision}.onnx"), str(trained))
            artifacts[runtime, precision] = run_job(job)
    return Exported(graphs, ports, [normalised(sample, ports) for sample in subject.golden], trained, artifacts)


def sqnr_db(reference: Array, other: Array) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - other).sum()))


def in_factorisation(node: ir.Node) -> bool:
    return module_path(node).endswith(".nmf")


def test_no_operator_of_the_factorisation_is_int8(exported: Exported) -> None:
    nodes = [node for node in exported.graphs.int8[ASYMMETRIC].recipe.nodes if node.module.endswith(".nmf")]
    assert len(nodes) > 10 * BLOCKS
    assert {node.decision for node in nodes} == {"float"}


def test_nothing_is_rounded_inside_the_factorisation(exported: Exported) -> None:
    """The float region begins before the first product and ends behind the last: no quantiser lies in between."""
    inside = [node for node in exported.graphs.int8[ASYMMETRIC].model.graph if in_factorisation(node)]
    assert sum(node.op_type == "MatMul" for node in inside) == 4 * ITERATIONS * BLOCKS
    readers = {reader.op_type for node in inside for output in node.outputs for reader in output.consumers()}
    assert not readers & {"QuantizeLinear", "DequantizeLinear"}


def test_the_onnx_runtime_file_multiplies_matrices_in_float(exported: Exported, tmp_path: Path) -> None:
    """In the graph that ONNX Runtime makes of it, fusions included."""
    from edgeconv.runtimes.onnxruntime import import_onnxruntime

    ort = import_onnxruntime()
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    settings.log_severity_level = 4
    path = exported.directory / exported.artifacts["onnxruntime", "int8"].path
    ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    kinds = collections.Counter(node.op_type for node in onnx.load(settings.optimized_model_filepath).graph.node)
    assert kinds["QLinearConv"] > 0
    assert not {kind for kind in kinds if "MatMul" in kind and kind not in ("MatMul", "FusedMatMul")}
    assert not {kind for kind in kinds if kind.startswith("QLinear")} - {"QLinearConv", "QLinearAdd", "QLinearConcat"}


def test_the_litert_file_multiplies_and_divides_in_float(exported: Exported) -> None:
    data = (exported.directory / exported.artifacts["litert", "int8"].path).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    int8 = collections.Counter[str]()
    for operator in graph.operators:
        name = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
        if any(graph.tensors[i].type == schema.TensorType.INT8 for i in (*operator.inputs, *operator.outputs)):
            int8[name] += 1
    assert int8["CONV_2D"] > 0
    assert not set(int8) & {"BATCH_MATMUL", "FULLY_CONNECTED", "DIV", "MUL", "SUB", "RELU", "MEAN", "SUM"}
    assert int8["ADD"] == 2 * BLOCKS + 1  # the residuals, and the position in the bottleneck
    assert int8["GELU"] == BLOCKS


def test_openvino_multiplies_matrices_in_float(exported: Exported) -> None:
    path = exported.directory / exported.artifacts["openvino", "int8"].path
    nodes = get_runtime("openvino").load(path, 1).evidence()["nodes"].split(", ")
    kinds = [line.split(" ", 1)[1].lower() for line in nodes]
    products = [kind for kind in kinds if "matmul" in kind or "fullyconnected" in kind]
    assert products
    assert not [kind for kind in products if "i8" in kind or "u8" in kind]
    assert [kind for kind in kinds if kind.startswith("convolution") and kind.endswith("_i8")]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_file_scatters_or_gathers(exported: Exported, runtime: str, precision: str) -> None:
    path = exported.directory / exported.artifacts[runtime, precision].path
    if runtime == "onnxruntime":
        kinds = {node.op_type for node in onnx.load(path).graph.node}
    elif runtime == "openvino":
        kinds = set(path.read_text().split('type="')[1:])
        kinds = {kind.split('"', 1)[0] for kind in kinds}
    else:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        kinds = {names[code.builtinCode] for code in model.operatorCodes}
    assert len(kinds) > 5
    assert not {kind for kind in kinds if "scatter" in kind.lower() or "gather" in kind.lower()}


def test_every_division_is_kept_from_zero_by_an_addition(exported: Exported) -> None:
    """The exporter drops an epsilon of 1e-8 or less; so every divisor is looked at in the graph that is converted."""
    found = []
    for model in (exported.graphs.fp32, exported.graphs.int8[ASYMMETRIC].model):
        for node in model.graph:
            if node.op_type == "Div" and in_factorisation(node):
                addition = node.inputs[1].producer()
                assert addition.op_type == "Add"
                found.append(max(float(a.max()) for a in map(constant_value, addition.inputs) if a is not None))
    assert len(found) == 2 * BLOCKS * (2 * ITERATIONS - 1)  # in both graphs; the first divisor is a constant
    assert min(found) >= np.float32(MIN_EPSILON)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_all_zero_image_is_finite_and_the_reference(exported: Exported, runtime: str) -> None:
    sample = {port.name: np.zeros(port.shape, np.float32) for port in exported.ports}
    (expected,) = ReferenceRunner(exported.graphs.fp32).run(sample).values()
    assert np.isfinite(expected).all()
    assert sqnr_db(expected, exported.run(runtime, "fp32", sample)) > 90
    int8 = exported.run(runtime, "int8", sample)
    assert np.isfinite(int8).all()
    assert sqnr_db(expected, int8) > 15


@pytest.mark.parametrize(("precision", "least_db"), [("fp32", 90), ("int8", 20)])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_parity(exported: Exported, runtime: str, precision: str, least_db: float) -> None:
    reference = ReferenceRunner(exported.graphs.fp32)
    for sample in exported.samples:
        (expected,) = reference.run(sample).values()
        assert sqnr_db(expected, exported.run(runtime, precision, sample)) > least_db


def test_int8_is_nearer_to_float_than_with_rounded_factors(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(model: ir.Model) -> float:
        runners = ReferenceRunner(exported.graphs.fp32), ReferenceRunner(model)
        pairs = [[next(iter(runner.run(sample).values())) for sample in exported.samples] for runner in runners]
        return sqnr_db(*(np.stack(outputs) for outputs in pairs))

    monkeypatch.setattr(plan, "keep_float_regions", lambda operations, graph: operations)
    fp32, samples = exported.graphs.fp32, [{"x": image[None]} for image in lamps(8, 1000)[0]]
    statistics = collect_statistics(fp32, samples, tensors=observed_tensors(fp32))
    rounded = quantize(fp32, statistics, samples)
    now, before = measure(exported.graphs.int8[ASYMMETRIC].model), measure(rounded.model)
    print(f"int8 SQNR {now:.1f} dB, with a rounded factorisation {before:.1f} dB")
    assert now > before + 1


def test_iterations_are_a_dial_of_the_export(trained: Path) -> None:
    """Each iteration costs the same multiply-accumulates, and the output changes the less the more there are."""
    macs, outputs = {}, {}
    sample = np.load(trained / "images.npy")[:1].copy()
    for iterations in (1, 2, 3, 4):
        subject = load_subject(options(trained, nmf_iterations=iterations))
        graph = subject.trace()
        macs[iterations] = sum(count_macs(node) for node in graph.graph if node.op_type == "MatMul")
        outputs[iterations] = subject.run({next(iter(subject.shapes)): sample})[0]
        assert subject.source.endswith("1 NMF iterations") == (iterations == 1)
    assert macs[2] - macs[1] == macs[3] - macs[2] == macs[4] - macs[3] > 0
    changes = [sqnr_db(outputs[4], outputs[iterations]) for iterations in (1, 2, 3)]
    assert changes == sorted(changes)


@pytest.mark.parametrize(
    ("model", "iterations", "words"),
    [("factorizer", 0, "at least 1"), ("deblur", 2, "no NMF layer"), ("net.onnx", 2, "traced already")],
)
def test_a_dial_that_cannot_be_turned_is_named(exported: Exported, model: str, iterations: int, words: str) -> None:
    if model.endswith(".onnx"):
        model = str(exported.directory / "source.fp32.onnx")
    with pytest.raises(UsageError, match=words):
        load_subject(ExportOptions(model, input_shapes=("1x3x128x128",), nmf_iterations=iterations))
