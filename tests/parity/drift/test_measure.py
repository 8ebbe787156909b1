"""A real bundle on this machine: every runtime's own tensors, and a layer that is made bad on purpose."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.bundles import load_bundle
from edgeconv.errors import BundleError, UsageError
from edgeconv.export.reference import ReferenceRunner
from edgeconv.graph import load_graph
from edgeconv.manifest import read_manifest
from edgeconv.parity.drift import DriftReport, measure_drift, measure_layers, on_target
from edgeconv.schema import from_dict, to_json

INT8, FP32 = "models/model.int8.onnx", "models/model.fp32.onnx"


@pytest.fixture(scope="module")
def healthy(exported: Path) -> DriftReport:
    """With so little memory that the layers of a runtime are read in two portions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_target, "_MOST_BYTES", 60_000)
        return measure_layers(load_bundle(exported))


def damage(directory: Path, reseal, module: str) -> None:
    """One filter of the int8 graph is negated, and the golden outputs are those of a quantiser that did so."""
    model = onnx.load(directory / INT8)
    node = next(n for n in model.graph.node if n.op_type == "Conv" and n.name.startswith(module))
    source = next(n for n in model.graph.node if node.input[1] in n.output).input[0]
    tensor = next(t for t in model.graph.initializer if t.name == source)
    array = numpy_helper.to_array(tensor).copy()
    marks = {prop.key: prop.value for prop in node.metadata_props}
    filters = len(array) // json.loads(marks.get("columns", '{"columns": 1}'))["columns"]  # there for each column
    array[::filters] = -array[::filters]
    tensor.CopyFrom(numpy_helper.from_array(array, source))
    onnx.save(model, directory / INT8)
    with np.load(directory / "golden/cases.npz") as archive:
        golden = dict(archive)
    (port,) = read_manifest(directory).inputs
    runner = ReferenceRunner(load_graph(directory / INT8))
    cases = [runner.run({port.name: normalise(raw, port)}) for raw in golden[f"input.{port.name}"]]
    golden.update({f"qdq.{name}": np.stack([case[name] for case in cases]) for name in cases[0]})
    np.savez(directory / "golden/cases.npz", allow_pickle=False, **golden)
    reseal(directory)


def test_each_layer_is_told_with_its_module_and_what_every_runtime_makes_of_it(healthy: DriftReport) -> None:
    convolutions = [layer for layer in healthy.layers if layer.operator == "Conv"]
    assert [layer.module for layer in convolutions] == ["first.conv", "second.conv", "last"]
    for layer in convolutions:
        assert [entry.runtime for entry in layer.on_target] == ["litert", "onnxruntime", "openvino"]
        for entry in layer.on_target:
            assert entry.read
            if layer.module == "last" and entry.runtime != "litert":
                assert entry.cumulative_db > layer.cumulative_db  # in float, without the last rounding
            else:
                assert entry.cumulative_db == pytest.approx(layer.cumulative_db, abs=0.5)
            assert entry.max_steps is not None
            assert entry.max_steps <= 1
    assert sum(layer.share for layer in healthy.layers) == pytest.approx(1)
    assert healthy.cases == [0, 1]
    assert healthy.notes == []
    network = healthy.network
    assert network is not None
    assert min(network.alone.weights_db or 0, network.alone.activations_db or 0) > (network.both_db or 999) - 0.5


def test_the_report_is_json_that_reads_back(healthy: DriftReport) -> None:
    assert from_dict(DriftReport, json.loads(to_json(healthy))) == healthy


def test_a_wrong_filter_leads_the_ranking(healthy: DriftReport, bundle_directory: Path, reseal) -> None:
    damage(bundle_directory, reseal, "second.conv")
    report = measure_layers(load_bundle(bundle_directory), runtimes=["litert"], case=1)
    worst = report.ranked[0]
    assert (worst.module, worst.operator) == ("second.conv", "Conv")
    assert worst.share > 0.9
    before = next(layer for layer in healthy.layers if layer.module == "second.conv")
    assert (worst.own.weights_db or 0) < (before.own.weights_db or 0) - 20
    # LiteRT's own file is sound: that its operators are not those of the graph shows as well.
    (entry,) = worst.on_target
    assert (entry.cumulative_db or 0) > (worst.cumulative_db or 0) + 10
    assert report.cases == [1]


def test_a_graph_that_does_not_give_its_golden_outputs_is_refused(bundle_directory: Path, reseal) -> None:
    data = (bundle_directory / INT8).read_bytes()
    damage(bundle_directory, reseal, "second.conv")
    (bundle_directory / INT8).write_bytes(data)
    with pytest.raises(BundleError, match=r"The int8 ONNX graph of bundle .* is at .* dB of its own golden outputs"):
        measure_layers(reseal(bundle_directory))


def test_a_bundle_without_the_fp32_graph_is_refused(bundle_directory: Path) -> None:
    bundle = load_bundle(bundle_directory)
    artifacts = [a for a in bundle.manifest.artifacts if a.path != FP32]
    without = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, artifacts=artifacts))
    with pytest.raises(BundleError, match="no fp32 ONNX graph"):
        measure_layers(without)


@pytest.mark.parametrize("case", [-1, 3])
def test_a_golden_case_that_is_not_there_is_refused(exported: Path, case: int) -> None:
    with pytest.raises(UsageError, match=f"no golden case {case}"):
        measure_layers(load_bundle(exported), case=case)


def test_end_to_end_has_a_row_for_each_artefact(exported: Path) -> None:
    report = measure_drift(load_bundle(exported), runtimes=["onnxruntime"])
    assert [(row.runtime, row.precision) for row in report.artifacts] == [
        ("onnxruntime", "int8"),
        ("onnxruntime", "fp32"),
    ]
    for row in report.artifacts:
        assert row.drift is not None
        assert row.reason == ""
    assert report.layers == []
    assert report.cases == [0, 1, 2]
