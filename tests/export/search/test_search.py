from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from rich.console import Console

from edgeconv.errors import ExportError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Sample, input_ports
from edgeconv.export.prepare import PreparedGraph
from edgeconv.export.search.report import Candidate, SearchReport
from edgeconv.export.search.search import search_choices
from edgeconv.export.search.table import search_table
from edgeconv.export.search.trials import Figures, Trials
from edgeconv.manifest import Port
from edgeconv.schema import from_dict, to_dict

START = Choices(tensor_ranges={"ur": (0.0, 58.0)})  # its values end at 9.7


@pytest.fixture(scope="module")
def found(prepared: PreparedGraph, samples: list[Sample], ports: list[Port]) -> tuple[Choices, SearchReport]:
    return search_choices(prepared, ports, samples, START)


def test_what_is_found_is_better_on_images_held_back(found: tuple[Choices, SearchReport], trials: Trials) -> None:
    best, report = found
    before, after = trials.measure(START), trials.measure(best)
    assert after.sqnr_db >= before.sqnr_db + 1, report
    assert after.shifted_db > before.shifted_db - 0.2
    assert report.gain_db == pytest.approx(after.sqnr_db - before.sqnr_db)


def test_every_candidate_is_recorded(found: tuple[Choices, SearchReport]) -> None:
    _, report = found
    tried = [(candidate.step, candidate.name) for candidate in report.candidates]
    assert tried[0] == ("start", "as an export does it")
    assert ("merge", "q/Conv") in tried
    assert ("merge", "u/Conv") in tried
    assert ("merge", "f/Conv") not in tried  # at half resolution
    assert {name for step, name in tried if step == "ranges"} == {"percentile-99.999", "entropy", "minmax"}
    assert all(candidate.chosen or candidate.remark for candidate in report.candidates)
    assert report.calibration_samples == 9
    assert report.held_samples == 3
    assert from_dict(SearchReport, to_dict(report)) == report


def test_each_choice_gains_and_stays_in_the_budget(found: tuple[Choices, SearchReport]) -> None:
    kept = list(found[1].kept)
    for before, after in itertools.pairwise(kept):
        assert (after.sqnr_db or 0) >= (before.sqnr_db or 0) + 0.2
        assert (after.shifted_db or 0) > (before.shifted_db or 0) - 0.2
    assert all((candidate.latency_ratio or 0) <= 1.05 for candidate in kept)


def test_table_has_a_row_for_each_candidate(found: tuple[Choices, SearchReport]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=200).print(search_table(found[1]))
    text = " ".join(stream.getvalue().split())
    assert text.count("✓") == len(list(found[1].kept))
    assert all(candidate.name in text for candidate in found[1].candidates)
    assert "not measured" in text


def _fixed(monkeypatch: pytest.MonkeyPatch, figures: dict[str, Figures | ExportError], trials: Trials) -> None:
    """Measurements by the name of the range estimator, whatever else is chosen."""

    def measure(_: Trials, choices: Choices) -> Figures:
        result = figures.get(choices.ranges, figures["percentile"])
        if isinstance(result, ExportError):
            raise result
        return result

    monkeypatch.setattr(Trials, "measure", measure)
    monkeypatch.setattr("edgeconv.export.search.search.refine_tensor_ranges", lambda trials, best: {})


@pytest.mark.parametrize(
    ("figures", "expected", "remark"),
    [
        (Figures(40.19, 40.0), "percentile", "no gain of 0.2 dB"),
        (Figures(40.21, 40.0), "entropy", ""),
        (Figures(43.0, 39.7), "percentile", "loses on shifted images"),
        (ExportError("no such graph"), "percentile", "no such graph"),
    ],
)
def test_a_candidate_wins_on_both_kinds_of_images_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
    prepared: PreparedGraph,
    samples: list[Sample],
    ports: list[Port],
    trials: Trials,
    figures: Figures | ExportError,
    expected: str,
    remark: str,
) -> None:
    _fixed(monkeypatch, {"percentile": Figures(40.0, 40.0), "entropy": figures}, trials)
    best, report = search_choices(prepared, ports, samples, Choices())
    (entropy,) = (candidate for candidate in report.candidates if candidate.name == "entropy")
    assert best == dataclasses.replace(Choices(), ranges=expected)
    assert entropy.remark == remark
    assert entropy.chosen == (expected == "entropy")


def test_nothing_better_leaves_the_start(
    monkeypatch: pytest.MonkeyPatch, prepared: PreparedGraph, samples: list[Sample], ports: list[Port], trials: Trials
) -> None:
    _fixed(monkeypatch, {"percentile": Figures(40.0, 40.0)}, trials)
    best, report = search_choices(prepared, ports, samples, START)
    assert best == START
    assert [candidate.step for candidate in report.kept] == ["start"]
    assert report.gain_db == 0.0


def test_gain_is_that_of_the_last_candidate_kept() -> None:
    figures = [(30.0, True), (29.0, False), (31.5, True), (31.4, False)]
    report = SearchReport(tuple(Candidate("s", "n", db, db, 1.0, chosen) for db, chosen in figures), 4, 2, "")
    assert report.gain_db == pytest.approx(1.5)


def test_peaks_that_are_the_answer_are_held_whatever_chance_says(build_graph: Callable[..., ir.Model]) -> None:
    network = "g (float[1,1,256,256] x, float[1,1,1,1] w) => (float[1,1,256,256] y) { y = Conv(x, w) }"
    model = build_graph(network, w=np.ones((1, 1, 1, 1), np.float32))
    rng = np.random.default_rng(0)
    images = [rng.normal(0, 0.5, (1, 1, 256, 256)).clip(-1, 1).astype(np.float32) for _ in range(12)]
    images[0][..., 0, 0] = 200  # not one of those held back, on which it costs 50 dB
    samples = [{"x": image} for image in images]
    ports = input_ports(iter(samples), {"x": (1, 1, 256, 256)}, None, None)
    best, report = search_choices(PreparedGraph(model, (), []), ports, samples, Choices())
    assert best.ranges == "peaks"
    assert [one.name for one in report.kept if one.step == "ranges"] == ["peaks, for the largest outputs"]
