from __future__ import annotations

import json

import pytest

from edgeconv.errors import RecordError
from edgeconv.records import SCHEMA_VERSION, Host, RunRecord, read_record
from edgeconv.schema import to_json


@pytest.fixture
def path(tmp_path):
    host = Host("x86_64", "Linux", None, [], 1, None, None, "3.11", False, "wall")
    record = RunRecord(SCHEMA_VERSION, "r", "t", "0", "local:", "b", "0", "m", "host", host, [])
    (tmp_path / "run.json").write_text(to_json(record))
    return tmp_path / "run.json"


def test_a_record_is_read_back(path):
    assert read_record(path).bundle == "b"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_record_is_refused(share, path):
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(RecordError, match="cut off"):
        read_record(path)


def test_a_newer_schema_is_told_apart_from_damage(path):
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(RecordError, match="Update edgeconv"):
        read_record(path)


@pytest.mark.parametrize("text", ["null", "[]", "3", "{}", '{"schema_version": 1}'])
def test_other_json_is_refused(text, path):
    path.write_text(text)
    with pytest.raises(RecordError, match="no run record of ours"):
        read_record(path)


def test_an_absent_file_and_a_folder_are_refused(path, tmp_path):
    for wrong in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(RecordError, match="cannot be read"):
            read_record(wrong)


def test_a_mistyped_key_is_named(path):
    document = json.loads(path.read_text())
    document["host"]["cpus"] = "two"
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match=r"host\.cpus: expected int, found str 'two'"):
        read_record(path)


def test_absurdly_nested_json_is_refused(path):
    path.write_text("[" * 200_000)
    with pytest.raises(RecordError):
        read_record(path)


def test_a_record_of_version_1_is_read_without_its_free_form_state(path):
    result = {
        "runtime": "litert",
        "precision": "int8",
        "valid": True,
        "invalid_reasons": [],
        "artifact_sha256": "0",
        "artifact_bytes": 1,
        "import_ns": None,
        "load_ns": None,
        "first_inference_ns": None,
        "drift": None,
        "task": None,
        "provider": None,
        "threads": 1,
        "evidence": {},
        "state": {"before": {"load_average": 1.0}},
        "latency_ns": {"samples": [5], "p50": None, "p90": None, "p99": None, "warmup": []},
        "memory": {"peak_rss_bytes": 2, "baseline_rss_bytes": 1, "method": "m"},
    }
    document = {**json.loads(path.read_text()), "schema_version": 1, "results": [result]}
    path.write_text(json.dumps(document))
    record = read_record(path)
    assert record.schema_version == SCHEMA_VERSION
    assert record.results[0].state is None
    assert record.results[0].latency_ns.samples == [5]
