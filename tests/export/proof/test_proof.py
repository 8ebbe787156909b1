"""What each runtime makes of small int8 graphs: whole in int8, and with an operator left in float."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import ExportError, UsageError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.conversion import run_job
from edgeconv.export.jobs import ConversionJob
from edgeconv.export.proof import check_share, demand_int8, prove, with_least_share, with_proof
from edgeconv.export.quantize import QuantisationScheme, quantize
from edgeconv.graph import save_graph
from edgeconv.manifest import Artifact, Failure, Int8Proof, read_manifest

RUNTIMES = ("litert", "onnxruntime", "openvino")
GRAPH = """g (float[1,8,16,16] x, float[8,8,3,3] w1, float[8,8,3,3] w2, float[1,8,16,16] k, float[16,8,1,1] w3)
        => (float[1,16,8,8] y) {
    c1 = Conv<pads=[1,1,1,1]>(x, w1)  r1 = Relu(c1)  m = Mul(r1, k)
    c2 = Conv<pads=[1,1,1,1]>(m, w2)  e = Concat<axis=1>(c2, m)
    s = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)  c3 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
    q = Conv(c3, w3)  y = Add(q, s)
}"""
MACS = {"c1/Conv": 8 * 256 * 72, "c2/Conv": 8 * 256 * 72, "q/Conv": 16 * 64 * 8}


@pytest.fixture
def made(build_graph: Callable[..., ir.Model], tmp_path: Path) -> Callable[..., tuple[Artifact, ConversionJob]]:
    def make(
        runtime: str, activations: str = "uint8", float_nodes: tuple[str, ...] = ()
    ) -> tuple[Artifact, ConversionJob]:
        rng = np.random.default_rng(0)
        constants = {n: rng.normal(size=s).astype(np.float32) for n, s in (("w1", (8, 8, 3, 3)), ("w2", (8, 8, 3, 3)))}
        constants["w3"] = rng.normal(size=(16, 8, 1, 1)).astype(np.float32)
        constants["k"] = rng.uniform(0.1, 1, (1, 8, 16, 16)).astype(np.float32)
        fp32 = build_graph(GRAPH, **constants)
        samples = [{"x": rng.normal(size=(1, 8, 16, 16)).astype(np.float32)} for _ in range(2)]
        scheme = QuantisationScheme(float_nodes=float_nodes)
        result = quantize(fp32, collect_statistics(fp32, samples), samples, scheme=scheme)
        source = tmp_path / "source.onnx"
        save_graph(result.model, source)
        job = ConversionJob(runtime, "int8", str(source), str(tmp_path), activations)
        return run_job(job), job

    return make


def proof_of(made: tuple[Artifact, ConversionJob]) -> Int8Proof:
    proof = prove(*made)
    assert proof is not None
    return proof


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_whole_int8_graph_computes_in_int8(made, runtime: str, activations: str) -> None:
    proof = proof_of(made(runtime, activations))
    assert (proof.mac_share, proof.float_macs, proof.float_operators) == (1.0, [], [])
    if runtime != "openvino":  # it may move a quantiser between kernels of its own
        assert proof.unfused == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_operator_left_in_float_is_named_with_its_share_and_its_quantisers(made, runtime: str) -> None:
    proof = proof_of(made(runtime, float_nodes=("c2/Conv",)))
    assert proof.float_macs == ["c2/Conv"]
    assert proof.mac_share == pytest.approx(1 - MACS["c2/Conv"] / sum(MACS.values()))
    assert proof.macs == MACS
    if runtime != "openvino":  # there they are fused into the kernels beside them
        assert proof.unfused >= 1


def test_an_artefact_of_floats_or_of_a_runtime_that_is_not_here_has_no_proof(made) -> None:
    artifact, job = made("onnxruntime")
    assert prove(artifact, dataclasses.replace(job, precision="fp32")) is None
    assert with_proof(artifact, dataclasses.replace(job, runtime="tensorrt")) == artifact


def test_the_facts_say_it_in_words(made) -> None:
    facts = with_proof(*made("onnxruntime", float_nodes=("c2/Conv",))).facts
    assert facts["int8 MACs"] == "51.35 %"
    assert facts["in float"].startswith("c2/Conv")
    assert with_proof(*made("litert")).facts["in float"] == "nothing"


def test_openvino_s_share_is_that_of_this_machine(made) -> None:
    """Its builds for other processors have other kernels."""
    artifact = with_proof(*made("openvino"))
    assert artifact.proof.machine == platform.machine()
    assert artifact.facts["int8 MACs"] == f"100 % on {platform.machine()}"
    assert with_proof(*made("litert")).proof.machine == "any"


def test_a_share_below_what_is_asked_for_is_an_error_that_names_the_operators(made) -> None:
    artifact = with_proof(*made("litert", float_nodes=("c2/Conv",)))
    demand_int8([artifact], 0.5)
    demand_int8([dataclasses.replace(artifact, proof=None), dataclasses.replace(artifact, precision="fp32")], 1.0)
    lost = Failure("openvino", "int8", "it is said why")
    demand_int8([artifact, lost], 0.0)
    demand_int8([artifact, Failure("openvino", "fp16", "it is said why")], 0.5)
    with pytest.raises(ExportError, match=r"openvino int8 could not be made, 50\.0% in int8 .*it is said why"):
        demand_int8([artifact, lost], 0.5)
    with pytest.raises(ExportError, match=r"litert int8 computes 51\.4% .* 90\.0% are asked for. In float: c2/Conv\."):
        demand_int8([artifact], 0.9)


def test_what_was_asked_of_the_export_is_asked_of_the_device(tiny_bundle: Path) -> None:
    manifest = read_manifest(tiny_bundle)
    assert with_least_share(manifest, 0.0) is manifest
    asked = {t.precision: t for t in with_least_share(manifest, 0.9).tolerances}
    assert asked["int8"].min_int8_share == 0.9
    assert asked["fp32"].min_int8_share is None


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_no_fraction_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="means nothing"):
        check_share(share)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_product_of_rows_counts_whatever_its_operators_are_called(
    build_graph: Callable[..., ir.Model], tmp_path: Path, runtime: str
) -> None:
    """LiteRT computes it as a convolution between two reshapes, the second of which is one with the model's own."""
    rng = np.random.default_rng(0)
    fp32 = build_graph(
        """g (float[4,16,8] x, float[8,24] w, int64[4] s) => (float[4,3,16,8] y) {
            m = MatMul(x, w)  r = Reshape(m, s)  y = Transpose<perm=[0,2,1,3]>(r)
        }""",
        w=rng.normal(size=(8, 24)).astype(np.float32),
        s=np.array([4, 16, 3, 8], np.int64),
    )
    samples = [{"x": rng.normal(size=(4, 16, 8)).astype(np.float32)} for _ in range(2)]
    result = quantize(fp32, collect_statistics(fp32, samples), samples, scheme=QuantisationScheme())
    save_graph(result.model, tmp_path / "source.onnx")
    job = ConversionJob(runtime, "int8", str(tmp_path / "source.onnx"), str(tmp_path), "uint8")
    proof = proof_of((run_job(job), job))
    assert (proof.mac_share, proof.float_macs) == (1.0, [])
