"""`edgeconv check` on bundles and records, sound and broken."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeconv.benchmarks.run import run_benchmark, write_record
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import load_bundle
from edgeconv.cli import run
from edgeconv.files import sha256_file
from edgeconv.manifest import Failure, Tolerance
from edgeconv.records import read_record
from edgeconv.schema import to_json


def rewrite_manifest(directory, **changes):
    """Change the manifest, hashes of damaged artefacts included."""
    manifest = load_manifest(directory)

    def renewed(entry):
        path = directory / entry.path
        return dataclasses.replace(entry, sha256=sha256_file(path), bytes=path.stat().st_size)

    changed = dataclasses.replace(manifest, **changes)
    changed = dataclasses.replace(changed, artifacts=[renewed(artifact) for artifact in changed.artifacts])
    (directory / "manifest.json").write_text(to_json(changed))
    return load_bundle(directory)


def load_manifest(directory):
    from edgeconv.manifest import read_manifest

    return read_manifest(directory)


def only(directory, runtime, precision):
    """The bundle with this one artefact and no other."""
    manifest = load_manifest(directory)
    kept = [a for a in manifest.artifacts if (a.runtime, a.precision) == (runtime, precision)]
    for artifact in manifest.artifacts:
        if artifact not in kept:
            for entry in (artifact, *artifact.companions):
                (directory / entry.path).unlink()
    return rewrite_manifest(directory, artifacts=kept)


def damage(path, name="w2", value=None):
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array[0] = array[0][::-1] if value is None else value
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, path)


@pytest.fixture(scope="module")
def sound(tiny_bundle_master, tmp_path_factory):
    """A record of the sound bundle."""
    path = tmp_path_factory.mktemp("check") / "run.json"
    bundle = load_bundle(tiny_bundle_master)
    settings = RunSettings.quick()
    write_record(run_benchmark(bundle, runtimes=["onnxruntime"], precisions=["fp32"], settings=settings), path)
    return path


def verdict(capsys, *arguments):
    code = run(["check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    assert run(["check", *map(str, arguments)]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_sound_record_passes_and_an_override_makes_it_fail(sound, capsys):
    assert verdict(capsys, sound)[0] == 0
    code, document = verdict(capsys, sound, "--tolerance", "fp32.total_min_sqnr_db=250")
    assert code == 1
    assert [f["bound"] for f in document["findings"] if not f["passed"]] == ["total SQNR dB"]
    assert document["breaks"] == []


def test_with_its_bundle_a_record_is_judged_by_the_bundles_own_tolerances(tiny_bundle, tmp_path, capsys):
    bundle = rewrite_manifest(tiny_bundle, tolerances=[Tolerance("fp32", None, None, 250.0, None, None)])
    record = run_benchmark(bundle, runtimes=["onnxruntime"], precisions=["fp32"], settings=RunSettings.quick())
    write_record(record, tmp_path / "run.json")
    assert verdict(capsys, tmp_path / "run.json")[0] == 0
    code, document = verdict(capsys, tmp_path / "run.json", "--bundle", tiny_bundle)
    assert code == 1
    assert [f["bound"] for f in document["findings"]] == ["total SQNR dB"]
    assert "no single operator is to blame" in document["breaks"][0]["message"]
    again = tmp_path / "layers.json"
    code, document = verdict(capsys, tmp_path / "run.json", "--bundle", tiny_bundle, "--locate", "--save", again)
    (saved,) = read_record(again).results
    assert [(row.layer, row.operator) for row in saved.layers] == [("c", "Conv"), ("r", "Relu"), ("y", "Conv")]
    assert document["breaks"][0]["layers"][0]["layer"] == "c"
    eased = verdict(
        capsys, tmp_path / "run.json", "--bundle", tiny_bundle, "--tolerance", "fp32.total_min_sqnr_db=none"
    )
    assert (eased[0], eased[1]["findings"]) == (0, [])


def test_a_damaged_layer_of_a_bundle_is_named(tiny_bundle, capsys):
    damage(tiny_bundle / "models/model.fp32.onnx")
    rewrite_manifest(tiny_bundle)
    code = run(["check", str(tiny_bundle)])
    text = " ".join(capsys.readouterr().out.split())
    assert code == 1
    assert "Parity fails" in text
    assert "onnxruntime fp32 first breaks at Conv (tensor y)" in text, text


def test_nan_fails_first_with_its_place_and_is_located(tiny_bundle, capsys):
    damage(tiny_bundle / "models/model.fp32.onnx", "w1", np.nan)
    only(tiny_bundle, "onnxruntime", "fp32")
    code, document = verdict(capsys, tiny_bundle, "--no-locate")
    (finding,) = document["findings"]
    assert code == 1
    assert finding["bound"] == "outputs"
    assert finding["value"] is None
    assert (
        "Output 'y' has 4608 NaN or infinite values of 4608 (4608 NaN), the first in case 0 at [0, 0, 0, 0]"
        in (finding["message"])
    )


def test_a_wrong_dtype_fails_first(tiny_bundle, capsys):
    path = tiny_bundle / "models/model.fp32.onnx"
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "y32"
    model.graph.node.append(onnx.helper.make_node("Cast", ["y32"], ["y"], to=onnx.TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, path)
    only(tiny_bundle, "onnxruntime", "fp32")
    code, document = verdict(capsys, tiny_bundle, "--no-locate")
    assert code == 1
    assert "Output y is float64, the manifest says float32" in document["failures"][0]


def test_what_is_no_failure_of_parity_is_shown_all_the_same(sound, tmp_path, capsys):
    record = read_record(sound)
    results = [dataclasses.replace(record.results[0], valid=False, invalid_reasons=["the board was throttled"])]
    failures = [Failure("litert", "int8", "GridSample is not known")]
    write_record(dataclasses.replace(record, results=results, failures=failures), tmp_path / "run.json")
    code, document = verdict(capsys, tmp_path / "run.json")
    assert code == 0
    assert "litert int8 could not be made: GridSample is not known." in document["notes"]
    assert any("the board was throttled" in note for note in document["notes"])
    run(["check", str(tmp_path / "run.json")])
    assert "GridSample is not known" in " ".join(capsys.readouterr().out.split())


METRIC = """
import numpy as np

def closeness(outputs, targets):
    return 1 - float(np.abs((outputs > 0) - targets).mean())

def endless(outputs, targets):
    return float("nan")
"""


def test_code_that_a_bundle_names_is_not_run_unless_the_user_names_it(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text("raise SystemExit('the bundle made us import this')\n")
    (tmp_path / "mine.py").write_text(METRIC)
    rewrite_manifest(tiny_bundle, metric="planted.py:metric")
    only(tiny_bundle, "onnxruntime", "fp32")
    code, document = verdict(capsys, tiny_bundle)
    assert code == 0
    assert not any("drop" in finding["bound"] for finding in document["findings"])
    assert any("task metric is code, 'planted.py:metric'" in note for note in document["notes"])
    code, document = verdict(capsys, tiny_bundle, "--metric", "mine.py:closeness")
    assert code == 0
    assert "mine.py:closeness drop" in [finding["bound"] for finding in document["findings"]]
    assert not any("task metric" in note for note in document["notes"])


def test_a_metric_that_was_named_and_cannot_be_taken_fails(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(METRIC)
    only(tiny_bundle, "onnxruntime", "fp32")
    code, document = verdict(capsys, tiny_bundle, "--metric", "mine.py:endless", "--no-locate")
    assert code == 1
    assert "the task metric mine.py:endless was not taken: " in document["failures"][0]


def test_bad_input_is_told(sound, tiny_bundle, tmp_path, capsys):
    assert "no bound is called" in refused(capsys, sound, "--tolerance", "int8.totl=3")
    assert "--bundle goes with a run record" in refused(capsys, tiny_bundle, "--bundle", tiny_bundle)
    assert "--metric needs a bundle" in refused(capsys, sound, "--metric", "dice")
    assert "Give it: --bundle" in refused(capsys, sound, "--locate")
    assert "There is no bundle at" in refused(capsys, sound, "--bundle", tmp_path / "gone")
    rewrite_manifest(tiny_bundle, name="renamed")
    assert "is a run of another bundle" in refused(capsys, sound, "--bundle", tiny_bundle)
    (tmp_path / "cut.json").write_text(sound.read_text()[:200])
    assert "Was it cut off?" in refused(capsys, tmp_path / "cut.json")


@pytest.mark.parametrize("flags", [["--on", "ssh://nobody"], ["--model", "net.py:f"], ["--weights", "w.pt"]])
def test_flags_that_say_nothing_of_a_record_are_refused(tmp_path, capsys, flags):
    assert run(["check", str(tmp_path / "run.json"), *flags]) == 2
    assert "--on is for a bundle" in capsys.readouterr().err
