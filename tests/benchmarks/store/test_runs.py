from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.benchmarks.store import default_path, find_run, query, remove_run, save_run, save_runs
from edgeconv.errors import RecordError
from edgeconv.records import Drift, DriftPart, Result, RunRecord

_Records = Callable[..., RunRecord]
_Results = Callable[..., Result]


def test_saved_run_comes_back_whole(make_record: _Records, store: Path) -> None:
    record = make_record()
    assert save_run(record, store) == store
    assert find_run("run-1", store) == record


def test_default_path_is_the_variable_else_the_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("EDGECONV_HISTORY", raising=False)
    assert default_path() == tmp_path / "edgeconv" / "history.sqlite"
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "mine.db"))
    assert default_path() == tmp_path / "mine.db"


def test_saving_the_same_run_again_changes_nothing(make_record: _Records, store: Path) -> None:
    save_run(make_record(), store)
    assert save_runs([make_record()], store) == 0
    assert len(query(path=store)) == 1


def test_other_run_of_the_same_id_is_refused_and_the_first_kept(make_record: _Records, store: Path) -> None:
    save_run(make_record(), store)
    with pytest.raises(RecordError, match="different run with the id run-1"):
        save_run(make_record(model="other"), store)
    assert find_run("run-1", store).model == "vessels"


def test_a_batch_is_kept_whole_or_not_at_all(make_record: _Records, store: Path) -> None:
    save_run(make_record("b"), store)
    with pytest.raises(RecordError, match="different run"):
        save_runs([make_record("a"), make_record("b", day=2)], store)
    assert [run.run_id for run in query(path=store)] == ["b"]


def test_query_filters_by_model_device_runtime_precision_and_time(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    both = [make_result(), make_result("openvino", "fp32", 20.0)]
    other = "deadbeef" * 8
    runs = [make_record("a", 3, both), make_record("b", 1), make_record("c", 2, model="deblur", model_sha256=other)]
    save_runs([*runs, make_record("d", 4, [], device="pi")], store)

    def ids(**wanted: object) -> list[str]:
        return [run.run_id for run in query(path=store, **wanted)]

    assert ids() == ["b", "c", "a", "d"]
    assert ids(model="vessels") == ["b", "a", "d"]
    assert ids(model="deadbeef") == ["c"]
    assert ids(model="dead") == ids(model="%") == []
    assert ids(device="pi") == ["d"]
    assert ids(runtime="openvino") == ids(precision="fp32") == ["a"]
    assert ids(runtime="openvino", precision="int8") == []
    assert ids(since=datetime.datetime(2026, 11, 3)) == ["a", "d"]
    assert [r.runtime for r in query(path=store, precision="fp32")[0].results] == ["openvino"]


def test_query_gives_the_figures_and_the_evidence_of_a_result(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    exact = DriftPart(0.0, 0.0, None, 1.0)
    identical = make_result(drift=Drift(exact, exact, exact, exact, exact), valid=False)
    save_run(make_record(results=[make_result(), identical]), store)
    (run,) = query(path=store)
    assert (run.machine, run.emulated, run.clock, run.tools) == ("Xeon", False, "wall", {"onnx": "1.22"})
    first, second = run.results
    assert (first.p50_ns, first.p50_low_ns, first.p50_high_ns, first.p90_ns) == (10**7, 10**7 - 9, 10**7 + 9, 10**7)
    assert (first.peak_rss_bytes, first.sqnr_db, first.runtime_version, first.valid) == (
        90_000_000,
        31.25,
        "2.1.0",
        True,
    )
    assert second.sqnr_db == math.inf
    assert second.valid is False


def test_a_beginning_finds_a_run_only_where_it_is_the_only_one(make_record: _Records, store: Path) -> None:
    save_runs([make_record("2026-aa"), make_record("2026-ab", 2), make_record("2026", 3)], store)
    assert find_run("2026-aa", store).run_id == "2026-aa"
    assert find_run("2026", store).run_id == "2026"
    with pytest.raises(RecordError, match="2 runs begin with '2026-a': 2026-ab, 2026-aa"):
        find_run("2026-a", store)
    for name in ("", "nothing", "%", "2026-a_"):
        with pytest.raises(RecordError, match=r"No run in the store.*The newest are: 2026, 2026-ab"):
            find_run(name, store)


def test_removed_run_takes_its_results_with_it(make_record: _Records, store: Path) -> None:
    save_runs([make_record("a"), make_record("b")], store)
    assert remove_run("a", store) == "a"
    assert [run.run_id for run in query(path=store, runtime="litert")] == ["b"]
    save_run(make_record("a", model="other"), store)


def test_absent_store_is_an_error_for_readers_and_is_not_made_by_them(store: Path) -> None:
    for read in (lambda: query(path=store), lambda: find_run("x", store), lambda: remove_run("x", store)):
        with pytest.raises(RecordError, match="There is no store"):
            read()
    assert not store.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": ""},
        {"run_id": "a\nb"},
        {"run_id": "\ud800"},
        {"model": "\ud800"},
        {"started_at": "yesterday"},
    ],
)
def test_record_that_cannot_be_indexed_is_refused(make_record: _Records, store: Path, changes: dict[str, str]) -> None:
    with pytest.raises(RecordError, match="cannot be kept"):
        save_run(make_record(**changes), store)
    assert query(path=store) == []


def test_record_whose_json_would_lose_a_number_is_refused(
    make_record: _Records, make_result: _Results, store: Path
) -> None:
    broken = DriftPart(math.nan, 0.0, 1.0, 1.0)
    with pytest.raises(RecordError, match="max_abs"):
        save_run(make_record(results=[make_result(drift=Drift(*[broken] * 5))]), store)
