from __future__ import annotations

import dataclasses
import datetime
import sys
import tempfile
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.benchmarks.store import Imported, export_runs, find_run, import_runs, query, save_run, save_runs
from edgeconv.benchmarks.store.index import record_text
from edgeconv.errors import RecordError, UsageError
from edgeconv.records import SCHEMA_VERSION, Latency, Result, RunRecord

_Records = Callable[..., RunRecord]
_SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])

_WHOLE = st.integers(0, 2**62)
_SCALARS: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: _WHOLE,
    float: st.floats(allow_nan=False, allow_infinity=False),  # what JSON can carry
    str: st.text(st.characters(codec="utf-8"), max_size=8),
}


def _of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a record is made of."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return st.none() | _of(arguments[0])
    if origin is list:
        return st.lists(_of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(_SCALARS[str], _of(arguments[1]), max_size=2)
    return _built(hint) if dataclasses.is_dataclass(hint) else _SCALARS[hint]


def _built(cls: Any, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{name: fixed[name] if name in fixed else _of(hint) for name, hint in hints.items()})


_INTERVALS = st.dictionaries(st.sampled_from(["p50", "p90"]), st.tuples(_WHOLE, _WHOLE).map(list))
_RESULTS = _built(Result, latency_ns=_built(Latency, intervals=_INTERVALS))
_RECORDS = _built(
    RunRecord,
    schema_version=st.just(SCHEMA_VERSION),
    run_id=st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True),
    started_at=st.datetimes(datetime.datetime(1970, 1, 2)).map(datetime.datetime.isoformat),
    results=st.lists(_RESULTS, max_size=2),
)


@given(st.lists(_RECORDS, max_size=3, unique_by=lambda record: record.run_id))
@settings(max_examples=20, deadline=None)
def test_export_and_import_give_every_record_back(records: list[RunRecord]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        save_runs(records, directory / "a.sqlite")
        for suffix in (".jsonl", ".parquet"):
            file, other = directory / f"runs{suffix}", directory / f"{suffix}.sqlite"
            assert export_runs(file, directory / "a.sqlite") == len(records)
            assert import_runs(file, other) == Imported(len(records), 0)
            assert {record.run_id: find_run(record.run_id, other) for record in records} == {
                record.run_id: record for record in records
            }


@_SUFFIXES
def test_importing_twice_adds_nothing(make_record: _Records, store: Path, tmp_path: Path, suffix: str) -> None:
    save_runs([make_record("a"), make_record("b", 2)], store)
    file = tmp_path / f"runs{suffix}"
    export_runs(file, store)
    assert import_runs(file, store) == Imported(0, 2)


def test_foreign_and_truncated_lines_are_named_and_nothing_is_imported(
    make_record: _Records, store: Path, tmp_path: Path
) -> None:
    save_run(make_record("kept"), store)
    good, newer = record_text(make_record("new")), record_text(make_record("n", schema_version=99))
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join([good, '{"a": 1}', "", good[:-40], newer]))
    with pytest.raises(RecordError) as caught:
        import_runs(file, store)
    for line in ("line 2", "line 4", "line 5, has schema version 99", "Nothing was imported"):
        assert line in str(caught.value)
    assert "line 1," not in str(caught.value)
    assert [run.run_id for run in query(path=store)] == ["kept"]


def test_line_that_is_no_text_is_named(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b"\n\xff\xfe\n")
    with pytest.raises(RecordError, match="line 2"):
        import_runs(file, store)


def test_conflicting_run_stops_the_whole_import(make_record: _Records, store: Path, tmp_path: Path) -> None:
    save_run(make_record("b"), store)
    file = tmp_path / "runs.jsonl"
    file.write_text(record_text(make_record("a")) + "\n" + record_text(make_record("b", model="other")))
    with pytest.raises(RecordError, match="different run with the id b"):
        import_runs(file, store)
    assert [run.run_id for run in query(path=store)] == ["b"]


def test_parquet_that_is_truncated_foreign_or_without_records_is_refused(
    make_record: _Records, store: Path, tmp_path: Path
) -> None:
    import pyarrow
    from pyarrow import parquet

    save_run(make_record(), store)
    whole, file = tmp_path / "runs.parquet", tmp_path / "bad.parquet"
    export_runs(whole, store)
    columns = {"record": [None]}, {"other": ["x"]}, {"record": [3]}, {"record": ["{}"]}
    for content in (whole.read_bytes()[:-10], b"PAR1", b"", *columns):
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            parquet.write_table(pyarrow.table(content), file)
        with pytest.raises(RecordError, match=r"bad\.parquet"):
            import_runs(file, store)
    assert len(query(path=store)) == 1


def test_parquet_columns_can_be_read_without_us(make_record: _Records, store: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    save_run(make_record(), store)
    export_runs(tmp_path / "runs.parquet", store)
    (row,) = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert (row["run_id"], row["model"], row["emulated"]) == ("run-1", "vessels", False)
    assert row["results"][0]["p50_ns"] == 10**7
    assert row["results"][0]["samples_ns"] == [10**7] * 50


def test_missing_pyarrow_is_told_with_what_to_install(
    make_record: _Records, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_run(make_record(), store)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"needs the package pyarrow.*edgeconv\[history\]"):
        export_runs(tmp_path / "runs.parquet", store)
    assert not (tmp_path / "runs.parquet").exists()
    assert export_runs(tmp_path / "runs.jsonl", store) == 1


def test_other_suffixes_and_absent_files_are_refused(make_record: _Records, store: Path, tmp_path: Path) -> None:
    save_run(make_record(), store)
    with pytest.raises(UsageError, match=r"\.jsonl, \.parquet"):
        export_runs(tmp_path / "runs.csv", store)
    with pytest.raises(RecordError, match="cannot be read"):
        import_runs(tmp_path / "absent.jsonl", store)
    with pytest.raises(UsageError, match="cannot be written"):
        export_runs(tmp_path / "history.sqlite" / "runs.jsonl", store)
