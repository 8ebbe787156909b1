from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgeconv.benchmarks.report.trend import write_trend
from edgeconv.benchmarks.store import StoredRun, query, save_runs
from edgeconv.benchmarks.store.trend import FIGURES
from edgeconv.errors import RecordError, UsageError
from edgeconv.records import Host, RunRecord


@pytest.fixture
def runs(make_record: Callable[..., RunRecord], make_host: Callable[..., Host], tmp_path: Path) -> list[StoredRun]:
    """Three days on a real machine, the last one on an emulated one too."""
    days = [make_record(run_id=f"r{n}", started_at=f"2026-11-0{n}T08:00:00Z") for n in (1, 2, 3)]
    emulated = make_record(
        run_id="e", host=make_host(emulated=True, clock="virtual"), started_at="2026-11-03T09:00:00Z"
    )
    save_runs([*days, emulated], tmp_path / "h.sqlite")
    return query(path=tmp_path / "h.sqlite")


def test_page_has_a_plot_for_each_kind_and_labels_what_is_not_measured(runs: list[StoredRun], tmp_path: Path) -> None:
    write_trend(runs, FIGURES["p50"], tmp_path / "trend.html")
    text = (tmp_path / "trend.html").read_text()
    sections = text.split("<section")[1:]
    assert len(sections) == 2
    assert "emulated, virtual clock" not in sections[0]
    assert sections[1].count("emulated, virtual clock") >= 1
    assert "EMULATED, VIRTUAL CLOCK" in sections[1]
    assert "http" not in text.replace("http-equiv", "")


def test_drawing_is_wellformed_has_both_themes_and_is_of_one_machine(runs: list[StoredRun], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"A drawing is of one machine.*emulated"):
        write_trend(runs, FIGURES["p50"], tmp_path / "trend.svg")
    write_trend([run for run in runs if not run.emulated], FIGURES["drift"], tmp_path / "trend.svg")
    text = (tmp_path / "trend.svg").read_text()
    shown = " ".join(ElementTree.fromstring(text).itertext())
    assert "total SQNR, dB" in shown
    assert "litert int8" in shown
    assert "prefers-color-scheme: dark" in shown


def test_different_models_other_suffixes_and_absent_figures_are_refused(runs: list[StoredRun], tmp_path: Path) -> None:
    other = dataclasses.replace(runs[0], model="deblur")
    with pytest.raises(RecordError, match="different models: deblur, vessels"):
        write_trend([*runs, other], FIGURES["p50"], tmp_path / "trend.html")
    with pytest.raises(UsageError, match=r"Use \.html or \.svg"):
        write_trend(runs, FIGURES["p50"], tmp_path / "trend.png")
    empty = [dataclasses.replace(run, results=[]) for run in runs]
    with pytest.raises(UsageError, match="None of the runs has a latency p50"):
        write_trend(empty, FIGURES["p50"], tmp_path / "trend.html")
    assert not (tmp_path / "trend.html").exists()
