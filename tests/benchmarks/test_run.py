"""The host side with the bundle's own agent in real processes and real runtimes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.run import RunSettings, run_benchmark, write_record
from edgeconv.bundles import Bundle, load_bundle
from edgeconv.errors import BundleError, DeviceError, UsageError
from edgeconv.files import sha256_file
from edgeconv.parity.verdict import check_parity
from edgeconv.records import Tuning, read_record

DRIFT_KEYS = {"max_abs", "mean_abs", "sqnr_db", "cosine"}


def rehash(bundle: Bundle, changes) -> Bundle:
    """The bundle with `changes` to files written and the manifest following them, as an export would have made it."""
    for name, data in changes.items():
        (bundle.directory / name).write_bytes(data)

    def renewed(entry):
        path = bundle.directory / entry.path
        fresh = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        if hasattr(entry, "companions"):
            fresh["companions"] = [renewed(companion) for companion in entry.companions]
        return dataclasses.replace(entry, **fresh)

    from edgeconv.schema import to_json

    manifest = dataclasses.replace(
        bundle.manifest,
        artifacts=[renewed(a) for a in bundle.manifest.artifacts],
        files=[renewed(f) for f in bundle.manifest.files],
    )
    (bundle.directory / "manifest.json").write_text(to_json(manifest))
    return load_bundle(bundle.directory)


@pytest.fixture(scope="module")
def announced():
    return []


@pytest.fixture(scope="module")
def record(tiny_bundle_master, announced):
    def progress(done, total, what):
        announced.append((done, total, what))

    return run_benchmark(load_bundle(tiny_bundle_master), settings=RunSettings.quick(), progress=progress)


@pytest.fixture
def bundle(tiny_bundle):
    return load_bundle(tiny_bundle)


def one(bundle, runtime="onnxruntime", precision="fp32", **options):
    """The one result of one artefact."""
    settings = options.pop("settings", RunSettings.quick())
    run = run_benchmark(bundle, runtimes=[runtime], precisions=[precision], settings=settings, **options)
    (result,) = run.results
    return result


def test_every_artefact_of_the_bundle_is_measured_in_its_order(record, tiny_bundle_master):
    manifest = load_bundle(tiny_bundle_master).manifest
    assert [(r.runtime, r.precision) for r in record.results] == [(a.runtime, a.precision) for a in manifest.artifacts]
    assert [r.artifact_sha256 for r in record.results] == [a.sha256 for a in manifest.artifacts]
    assert record.manifest_sha256 == load_bundle(tiny_bundle_master).manifest_sha256
    assert record.target == "local:"
    assert all(r.latency_ns.p50 for r in record.results)


def test_the_record_has_the_fixed_names(record, tmp_path):
    write_record(record, tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text())
    for result in document["results"]:
        assert {"runtime", "precision", "valid", "invalid_reasons", "load_ns", "first_inference_ns"} <= set(result)
        assert {"samples", "p50", "p90", "p99"} <= set(result["latency_ns"])
        assert {"peak_rss_bytes", "baseline_rss_bytes"} <= set(result["memory"])
        assert {"export", "quantisation", "runtime", "total"} <= set(result["drift"])
        for part in result["drift"].values():
            assert set(part) == DRIFT_KEYS
    assert read_record(tmp_path / "run.json") == record


def test_evidence_travels_with_each_number(record):
    for result in record.results:
        assert result.provider
        assert result.threads == 1
        assert result.evidence["threads"] == "1"
        assert result.evidence["version"]
        assert result.evidence["int8 instructions"]
    assert {r.evidence.get("precision hint") for r in record.results if r.runtime == "openvino"} == {"f32"}
    assert record.host.cpus >= 1
    assert record.host.clock == "wall"


def test_drift_is_split_where_it_arises(record):
    by_name = {(r.runtime, r.precision): r.drift for r in record.results}
    assert len({json.dumps(dataclasses.asdict(d.export)) for d in by_name.values()}) == 1
    for (_, precision), drift in by_name.items():
        assert drift.export.sqnr_db > 90
        if precision == "int8":
            assert 30 < drift.quantisation.sqnr_db < 60
            assert drift.runtime.sqnr_db is None or drift.runtime.sqnr_db > 50
        else:
            assert drift.quantisation.sqnr_db is None
    assert by_name["onnxruntime", "fp32"].runtime.sqnr_db is None
    assert by_name["openvino", "fp16"].runtime.sqnr_db > 50


def test_int8_kernels_stay_within_a_step_of_the_reference(record, tiny):
    for result in record.results:
        if result.precision == "int8":
            assert result.drift.runtime.max_abs <= tiny.output[0] * 1.001


def test_the_task_metric_stands_beside_pytorchs(record):
    for result in record.results:
        assert result.task.name == "dice"
        assert result.task.torch == pytest.approx(1.0, abs=1e-3)
        assert 0.95 < result.task.value <= 1.0


def test_float_artefacts_pass_and_the_verdict_names_the_int8_metric_drop(record):
    verdict = check_parity(record)
    failed = {(f.runtime, f.precision, f.bound) for f in verdict.findings if not f.passed}
    assert {bound for _, _, bound in failed} <= {"dice drop"}
    assert all(precision == "int8" for _, precision, _ in failed)


def test_drift_shows_a_perturbed_weight(bundle):
    before = one(bundle)
    assert before.drift.runtime.sqnr_db is None
    data = bytearray((bundle.directory / "models/model.fp32.onnx").read_bytes())
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(bytes(data))
    weight = next(t for t in model.graph.initializer if t.name == "w1")
    changed = numpy_helper.to_array(weight).copy()
    changed[0, 0, 0, 0] += 0.05
    weight.CopyFrom(numpy_helper.from_array(changed, "w1"))
    after = one(rehash(bundle, {"models/model.fp32.onnx": model.SerializeToString()}))
    assert after.drift.runtime.sqnr_db < 60
    assert after.drift.export == before.drift.export
    assert after.drift.total.max_abs >= after.drift.runtime.max_abs / 2
    verdict = check_parity(run_with(after))
    assert any("runtime SQNR" in failure for failure in verdict.failures)


def run_with(*results):
    """A record that holds just these results."""
    from edgeconv.records import Host, RunRecord

    host = Host("x86_64", "Linux", None, [], 1, None, None, "3.11", False, "wall")
    return RunRecord(1, "r", "t", "0", "local:", "b", "0", "m", "host", host, list(results))


def test_outputs_with_nan_make_the_result_invalid_and_give_no_drift(bundle):
    import onnx
    from onnx import numpy_helper

    model = onnx.load(bundle.directory / "models/model.fp32.onnx")
    bias = next(t for t in model.graph.initializer if t.name == "b2")
    bias.CopyFrom(numpy_helper.from_array(np.array([np.nan, 0], np.float32), "b2"))
    result = one(rehash(bundle, {"models/model.fp32.onnx": model.SerializeToString()}))
    assert not result.valid
    assert result.drift is None
    assert any("NaN" in reason for reason in result.invalid_reasons)
    assert result.latency_ns.samples  # measured all the same, and kept


def test_a_failing_artefact_is_a_row_and_the_others_are_measured(bundle):
    broken = rehash(bundle, {"models/model.fp32.tflite": b"no model at all"})
    run = run_benchmark(broken, precisions=["fp32"], settings=RunSettings.quick())
    by_runtime = {r.runtime: r for r in run.results}
    assert set(by_runtime) == {"litert", "onnxruntime", "openvino"}
    failed = by_runtime["litert"]
    assert not failed.valid
    assert failed.invalid_reasons[0].startswith("litert does not load model.fp32.tflite")
    assert failed.latency_ns.samples == []
    assert failed.latency_ns.p50 is None
    assert by_runtime["onnxruntime"].drift is not None
    assert not check_parity(run).passed


def test_a_crashing_agent_is_a_row_with_the_signal(bundle):
    crash = b"import os, sys\nif 'run' in sys.argv: os.kill(os.getpid(), 11)\nprint('{}')\n"
    with pytest.raises(DeviceError, match="agent does not run"):
        one(rehash(bundle, {"agent.pyz": crash}))
    host = json.dumps(dataclasses.asdict(run_with().host))
    speaking = crash.replace(b"'{}'", repr(host).encode())
    result = one(rehash(load_bundle(bundle.directory), {"agent.pyz": speaking}))
    assert result.invalid_reasons == ["the agent was killed by signal 11"]


def test_the_bundles_own_agent_runs_and_not_ours(bundle):
    loud = b"import sys\nprint('I am another agent', file=sys.stderr)\nsys.exit(7)\n"
    with pytest.raises(DeviceError, match="I am another agent"):
        one(rehash(bundle, {"agent.pyz": loud}))


def test_a_sample_that_is_too_small_says_so(bundle):
    result = one(bundle, settings=RunSettings.counted(1))
    assert not result.valid
    assert "only 1 inferences were timed, the median needs 7" in result.invalid_reasons
    assert result.latency_ns.p50 is None
    assert result.drift is not None  # parity does not depend on it


def test_percentiles_follow_the_size_of_the_sample(bundle):
    protocol = LatencyProtocol(min_seconds=0.0, min_count=50, extra_seconds=3.0, warmup_seconds=0.0)
    few = one(bundle, settings=RunSettings(protocol, rounds=1, attempts=1)).latency_ns
    assert len(few.samples) >= 50
    assert few.p90 is not None
    assert few.p99 is None or len(few.samples) >= 459


def test_rounds_are_fresh_processes_whose_samples_are_all_kept(bundle):
    protocol = LatencyProtocol(min_seconds=0.15, min_count=21, extra_seconds=0.3, warmup_seconds=0.0)
    result = one(bundle, settings=RunSettings(protocol, rounds=3, attempts=1))
    assert len(result.latency_ns.rounds) == 3
    assert sum(result.latency_ns.rounds) == len(result.latency_ns.samples)
    assert min(result.latency_ns.rounds) >= 7
    assert result.drift is not None
    looks = [sample.at_seconds for sample in result.state.samples]
    assert looks == sorted(looks)
    assert looks[-1] > 0.2  # three processes one after the other


def test_what_was_measured_how_stands_in_the_record(record, tiny_bundle_master):
    manifest = load_bundle(tiny_bundle_master).manifest
    assert record.settings["min_count"] == RunSettings.quick().protocol.min_count
    assert (record.settings["rounds"], record.settings["attempts"]) == (1, 1)
    assert record.failures == manifest.failures
    assert record.tools == manifest.tools
    assert record.model_sha256 == manifest.model.weights_sha256
    for result in record.results:
        assert result.execution.share == 1.0
        assert result.execution.requested == result.execution.used
        assert result.state is not None


def test_options_of_a_runtime_reach_only_that_runtime(bundle):
    options = {"litert": {"xnnpack": "off"}}
    run = run_benchmark(bundle, precisions=["fp32"], settings=RunSettings.quick(), options=options)
    by_runtime = {result.runtime: result for result in run.results}
    assert by_runtime["litert"].provider == "built-in kernels"
    assert {name: result.options for name, result in by_runtime.items()} == {
        "litert": {"xnnpack": "off"},
        "onnxruntime": {},
        "openvino": {},
    }


def test_a_provider_that_is_not_there_is_an_invalid_row_and_not_another_provider(bundle):
    result = one(bundle, options={"onnxruntime": {"provider": "dml"}})
    assert not result.valid
    assert "cannot have provider=dml here" in result.invalid_reasons[0]
    assert result.latency_ns.samples == []


def test_tuned_settings_are_used_unless_something_else_is_asked_for(bundle):
    sha256 = bundle.manifest.artifact("litert", "fp32").sha256
    tuned = {sha256: Tuning({"threads": "2", "xnnpack": "off"}, [])}
    result = one(bundle, "litert", tuned=tuned)
    assert (result.threads, result.provider, result.tuning) == (2, "built-in kernels", tuned[sha256])
    asked = one(bundle, "litert", tuned=tuned, threads=1, options={"litert": {"xnnpack": "on"}})
    assert (asked.threads, asked.provider) == (1, "XNNPACK")


def test_events_tell_what_the_agent_is_at(bundle):
    events = []
    one(bundle, settings=RunSettings.counted(20), events=events.append)
    assert events
    assert all("phase" in event for event in events)


def test_a_run_has_the_id_that_it_was_given(bundle):
    run = run_benchmark(bundle, runtimes=["litert"], settings=RunSettings.quick(), run_id="mine")
    assert run.run_id == "mine"


def test_threads_are_asked_for_and_recorded(bundle):
    assert one(bundle, threads=2).evidence["threads"] == "2"
    with pytest.raises(UsageError, match="0 threads"):
        one(bundle, threads=0)


def test_progress_counts_every_artefact(record, announced):
    names = [f"{r.runtime} {r.precision}" for r in record.results]
    assert announced == [(i, 7, name) for i, name in enumerate([*names, "done"])]


def test_nothing_is_left_in_the_bundle(record, tiny_bundle_master):
    assert load_bundle(tiny_bundle_master).manifest_sha256 == record.manifest_sha256


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"runtimes": ["onnx"]}, "Did you mean"),
        ({"precisions": ["int4"]}, "No precision is called 'int4'"),
        ({"runtimes": ["litert"], "precisions": ["fp16"]}, "no artefact of those asked for"),
    ],
)
def test_a_choice_that_means_nothing_is_refused_before_anything_runs(choice, words, bundle):
    with pytest.raises(UsageError, match=words):
        run_benchmark(bundle, **choice)


def test_an_unknown_kind_of_target_is_refused(bundle):
    with pytest.raises(DeviceError, match="carrier-pigeon"):
        run_benchmark(bundle, "carrier-pigeon:coop")


def test_golden_cases_without_references_are_refused(bundle):
    import io

    stream = io.BytesIO()
    np.savez(stream, **{"input.x": np.load(bundle.golden)["input.x"]})
    with pytest.raises(BundleError, match="no outputs of the torch reference"):
        one(rehash(bundle, {"golden/cases.npz": stream.getvalue()}))


def test_an_unknown_metric_is_told_before_anything_runs(bundle):
    with pytest.raises(UsageError, match="Did you mean dice"):
        one(dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, metric="dise")))


def test_a_metric_that_cannot_be_taken_costs_neither_drift_nor_parity(bundle, tmp_path):
    (tmp_path / "mine.py").write_text("def bad(outputs, targets):\n    raise ValueError('no positive target')\n")
    run = run_benchmark(
        bundle,
        runtimes=["onnxruntime"],
        precisions=["fp32"],
        settings=RunSettings.quick(),
        metric=f"{tmp_path / 'mine.py'}:bad",
    )
    (result,) = run.results
    assert (result.task, result.drift is not None) == (None, True)
    verdict = check_parity(run)
    assert verdict.passed
    assert any("the task metric was not taken: " in note and "no positive target" in note for note in verdict.notes)
