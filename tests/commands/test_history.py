from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.commands.history import app
from edgeconv.commands.report import report
from edgeconv.errors import RecordError, UsageError
from edgeconv.records import Host, Latency, Memory, Result, RunRecord, parse_record
from edgeconv.schema import to_json


def _record(run_id: str, day: int, model: str = "vessels", emulated: bool = False) -> RunRecord:
    memory, latency = Memory(9, 5, "VmHWM"), Latency([7_000_000] * 9, 7_000_000, None, None, [])
    rest = (None, 1, 1, memory, None, None, None, 1, {})
    result = Result("litert", "int8", True, [], "0" * 64, 9, latency, *rest)
    host = Host("aarch64", "Linux", "Cortex-A76", [], 4, None, None, "3.11", emulated, "wall")
    moment = f"2026-11-{day:02}T08:00:00+00:00"
    return RunRecord(2, run_id, moment, "0.1.0", "local:", "b", "0" * 64, model, "pi", host, [result])


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Keeps records by `history add` in the store of the environment."""
    store = tmp_path / "history.sqlite"
    monkeypatch.setenv("EDGECONV_HISTORY", str(store))
    monkeypatch.setenv("COLUMNS", "120")

    def keep(*records: RunRecord) -> Path:
        paths = [tmp_path / f"{record.run_id}.json" for record in records]
        for path, record in zip(paths, records, strict=True):
            path.write_text(to_json(record))
        assert not paths or _run("add", *map(str, paths)) == 0
        return store

    return keep


def _run(*arguments: str) -> int:
    code = app(list(arguments), exit_on_error=False)
    assert isinstance(code, int)
    return code


def test_empty_store_is_told_and_no_error(kept: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    store = kept()
    assert _run() == 0
    assert f"No run is kept yet in {store}" in "".join(capsys.readouterr().out.split("\n"))
    assert not store.exists()
    assert _run("--json") == 0
    assert json.loads(capsys.readouterr().out) == {"store": str(store), "runs": []}
    kept(_record("a", 1))
    _run("remove", "a")
    capsys.readouterr()
    assert _run() == 0
    assert "No run is kept yet" in capsys.readouterr().out


def test_runs_are_listed_and_one_models_trend_drawn(
    kept: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    kept(_record("a", 1), _record("b", 2), _record("c", 3, emulated=True), _record("d", 4, model="deblur"))
    capsys.readouterr()
    assert _run("--limit", "2") == 0
    listed = capsys.readouterr().out
    assert "4 runs in" in listed
    assert "2026-11-04" in listed
    assert "2026-11-01" not in listed
    assert "trend" not in listed
    assert _run("--model", "vessels", "--device", "pi") == 0
    drawn = capsys.readouterr().out
    assert "▁▁" in drawn
    assert "EMULATED" in drawn
    assert _run("--since", "2026-11-03", "--json") == 0
    assert [run["run_id"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["c", "d"]


def test_trend_is_written_and_different_models_refused(kept: Callable[..., Path], tmp_path: Path) -> None:
    kept(_record("a", 1), _record("b", 2), _record("d", 4, model="deblur"))
    assert _run("--model", "vessels", "-o", str(tmp_path / "trend.svg")) == 0
    assert (tmp_path / "trend.svg").read_text().startswith("<svg xmlns")
    with pytest.raises(RecordError, match="different models"):
        _run("-o", str(tmp_path / "trend.html"))


def test_filters_that_match_nothing_say_what_there_is(kept: Callable[..., Path]) -> None:
    kept(_record("a", 1))
    with pytest.raises(RecordError, match=r"None of the 1 runs.*Models: vessels\. Devices: pi\."):
        _run("--model", "vesels")
    with pytest.raises(UsageError, match="'yesterday' is no date"):
        _run("--since", "yesterday")


def test_run_is_shown_as_a_table_and_as_its_record(
    kept: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    record = _record("20261101-a", 1)
    kept(record)
    capsys.readouterr()
    assert _run("show", "2026") == 0
    assert "litert int8" in capsys.readouterr().out
    assert _run("show", "2026", "--json") == 0
    assert parse_record(capsys.readouterr().out, "it") == record


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_export_and_import_carry_runs_to_another_store(
    kept: Callable[..., Path], tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(_record("a", 1), _record("b", 2))
    file, other = tmp_path / f"runs.{suffix}", tmp_path / "other.sqlite"
    assert _run("export", str(file)) == 0
    for _ in range(2):
        assert _run("import", str(file), "--store", str(other)) == 0
    out = "".join(capsys.readouterr().out.split("\n"))
    assert "2 runs were added" in out
    assert "2 were there already" in out


def test_add_keeps_all_files_or_none(kept: Callable[..., Path], tmp_path: Path) -> None:
    store = kept()
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(to_json(_record("a", 1)))
    bad.write_text(to_json(_record("b", 1))[:-9])
    with pytest.raises(RecordError, match=r"bad\.json is no run record"):
        _run("add", str(good), str(bad))
    assert not store.exists()
    with pytest.raises(UsageError, match="No run record was named"):
        _run("add")


def test_report_takes_files_and_ids_of_kept_runs(kept: Callable[..., Path], tmp_path: Path) -> None:
    kept(_record("20261101-a", 1))
    other = dataclasses.replace(_record("20261102-b", 2), device="other-board")
    (tmp_path / "other.json").write_text(to_json(other))
    page = tmp_path / "report.html"
    assert report("20261101", str(tmp_path / "other.json"), output=page) == 0
    assert "other-board" in page.read_text()
    with pytest.raises(RecordError, match=r"nothing is no file\. No run in the store is called 'nothing'"):
        report("nothing", output=page)
