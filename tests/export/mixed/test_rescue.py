from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeconv.benchmarks.settings import RunSettings
from edgeconv.errors import ExportError, TargetMissedError, UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.graphs import Graphs, make_graphs
from edgeconv.export.jobs import ConversionKey
from edgeconv.export.mixed.report import MixedReport, read_mixed
from edgeconv.export.mixed.rescue import rescue_operators
from edgeconv.export.mixed.table import mixed_lines
from edgeconv.export.mixed.target import QualityTarget
from edgeconv.export.prepare import Stage
from edgeconv.export.subject import Subject
from edgeconv.graph import to_bytes
from edgeconv.manifest import Port
from edgeconv.schema import to_json

RUNTIMES = ("litert", "onnxruntime", "openvino")
BUNDLES = [[ConversionKey(runtime, "int8") for runtime in RUNTIMES]]


def test_the_planted_layer_and_no_other_is_rescued_and_priced_in_each_runtime(
    graphs: Graphs, subject: Subject, ports: list[Port], bad: str
) -> None:
    made, report = rescue_operators(graphs, subject, ports, QualityTarget(25.0), BUNDLES, pricing=RunSettings.quick())
    assert report.int8.worst < 20
    assert [rescue.operators for rescue in report.rescues] == [(bad,)]
    assert report.reached.worst >= 25
    assert made.choices.float_nodes == (bad,)
    decisions = {node.name: node.decision for node in made.int8["asymmetric"].recipe.nodes}
    assert [name for name, decision in decisions.items() if decision == "float"] == [bad]

    ((rescue, before, base),) = report.steps()
    assert before == report.int8
    assert rescue.quality == report.reached
    assert [price.runtime for price in base] == [price.runtime for price in rescue.prices] == list(RUNTIMES)
    for price in (*base, *rescue.prices):
        assert price.latency_ms is not None
        assert price.latency_ms > 0
        assert (price.ratio is not None and price.ratio.low < price.ratio.value < price.ratio.high) or price in base
    for one, other in zip(base, rescue.prices, strict=True):
        # 8x8x3x3 weights of four bytes instead of one; of so small a model OpenVINO's file is mostly names of nodes
        assert other.bytes > one.bytes or one.runtime == "openvino"
        assert one.quality is not None
        assert other.quality is not None
        assert other.quality.worst > one.quality.worst + 10  # what the runtimes themselves returned
        assert len(report.curve(one.runtime)) == 2
    assert report.machine.endswith("1 thread")


@pytest.fixture(scope="module")
def rescued(graphs: Graphs, subject: Subject, ports: list[Port]) -> tuple[Graphs, MixedReport]:
    """For a runtime that is not here."""
    return rescue_operators(graphs, subject, ports, QualityTarget(25.0), [[ConversionKey("tensorrt", "int8")]])


def test_the_same_choices_give_the_same_bytes(
    rescued: tuple[Graphs, MixedReport], subject: Subject, ports: list[Port], bad: str, quiet: Stage
) -> None:
    again = make_graphs(subject.trace(), subject, ports, ["asymmetric"], quiet, Choices(float_nodes=(bad,)))
    assert to_bytes(rescued[0].int8["asymmetric"].model) == to_bytes(again.int8["asymmetric"].model)


def test_a_runtime_that_is_not_here_is_named(rescued: tuple[Graphs, MixedReport]) -> None:
    report = rescued[1]
    assert report.not_priced == ("tensorrt: it runs on the device only",)
    assert report.rescues[0].prices == ()


def test_the_report_survives_json(rescued: tuple[Graphs, MixedReport], tmp_path: Path) -> None:
    (tmp_path / "mixed.json").write_text(to_json(rescued[1]), encoding="utf-8")
    assert read_mixed(tmp_path) == rescued[1]


def test_nothing_is_done_where_int8_is_good_enough(graphs: Graphs, subject: Subject, ports: list[Port]) -> None:
    made, report = rescue_operators(graphs, subject, ports, QualityTarget(1.0), BUNDLES)
    assert made is graphs
    assert report.rescues == ()
    assert report.int8_prices == ()
    assert report.reached == report.int8


def test_a_drop_of_the_task_metric_is_a_target_too(
    graphs: Graphs, subject: Subject, ports: list[Port], bad: str
) -> None:
    _, free = rescue_operators(graphs, subject, ports, QualityTarget(1.0), ())
    assert free.torch_metric == 1.0
    assert free.int8.metric is not None
    drop = 1.0 - free.int8.metric
    assert drop > 0.02
    _, report = rescue_operators(graphs, subject, ports, QualityTarget(None, "dice", drop / 2), ())
    assert bad in {name for rescue in report.rescues for name in rescue.operators}
    assert report.reached.metric is not None
    assert 1.0 - report.reached.metric <= drop / 2


def test_what_cannot_be_reached_is_told_with_the_best(graphs: Graphs, subject: Subject, ports: list[Port]) -> None:
    with pytest.raises(TargetMissedError, match=r"below 90 dB cannot be reached.*the best was \d\d\.\d dB.*int8 alone"):
        rescue_operators(graphs, subject, ports, QualityTarget(90.0), BUNDLES)


def test_without_int8_there_is_nothing_to_rescue(graphs: Graphs, subject: Subject, ports: list[Port]) -> None:
    none = dataclasses.replace(graphs, int8={}, no_int8={"asymmetric": "int8 needs calibration data"})
    with pytest.raises(ExportError, match=r"no int8 graph.*needs calibration data"):
        rescue_operators(none, subject, ports, QualityTarget(25.0), ())


def test_a_metric_needs_targets(graphs: Graphs, subject: Subject, ports: list[Port]) -> None:
    bare = dataclasses.replace(subject, golden=[{"x": sample["x"]} for sample in subject.golden])
    with pytest.raises(UsageError, match=r"no targets.*--eval"):
        rescue_operators(graphs, bare, ports, QualityTarget(None, "dice", 0.1), ())


SYMMETRIC = ConversionKey("openvino", "int8", scheme="symmetric-outputs")


@pytest.fixture(scope="module")
def both(subject: Subject, ports: list[Port], quiet: Stage) -> Graphs:
    """With the graph of symmetric activations that a board's OpenVINO gets."""
    return make_graphs(subject.trace(), subject, ports, ["asymmetric", SYMMETRIC.scheme], quiet)


def test_a_symmetric_graph_beside_the_asymmetric_one_is_told_where_it_misses_the_target(
    both: Graphs, subject: Subject, ports: list[Port]
) -> None:
    bundle = [ConversionKey("tensorrt", "int8"), SYMMETRIC]
    made, report = rescue_operators(both, subject, ports, QualityTarget(25.0), [bundle])
    assert report.reached.worst >= 25
    (other,) = report.others
    assert (other.scheme, other.runtimes, other.met) == (SYMMETRIC.scheme, ("openvino",), False)
    assert other.quality.worst < 25
    (line,) = [line for line in mixed_lines(report) if line.startswith("But")]
    assert "openvino does not meet it: its int8 graph has symmetric-outputs activations" in line
    assert f"{other.quality.worst:.1f} dB in the worst case" in line
    assert SYMMETRIC.scheme in made.int8


def test_a_bundle_with_nothing_but_a_symmetric_graph_that_misses_the_target_is_refused(
    both: Graphs, subject: Subject, ports: list[Port]
) -> None:
    asymmetric = [ConversionKey("litert", "int8")]
    with pytest.raises(
        TargetMissedError, match=r"any int8 artefact of a bundle: that of openvino has symmetric-outputs.*\d dB"
    ):
        rescue_operators(both, subject, ports, QualityTarget(25.0), [asymmetric, [SYMMETRIC]])


def test_nothing_is_rescued_in_a_graph_that_no_bundle_has(both: Graphs, subject: Subject, ports: list[Port]) -> None:
    (other,) = rescue_operators(both, subject, ports, QualityTarget(1.0), [[SYMMETRIC]])[1].others
    asked = QualityTarget(other.quality.worst - 0.01)
    made, report = rescue_operators(both, subject, ports, asked, [[SYMMETRIC]])
    assert made is both
    assert (report.rescues, report.int8, report.not_priced) == ((), other.quality, ())
    assert not report.missed
