from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from edgeconv.errors import UsageError
from edgeconv.parity.drift.record import DriftReport, LayerError, NetworkError, OnTarget, Parts
from edgeconv.parity.drift.views import drift_markdown, drift_table
from edgeconv.parity.drift.write import write_drift


def layer(number: int, share: float, **other: object) -> LayerError:
    seen = [OnTarget("litert", True, 40.0 - number, 1, 0.01), OnTarget("openvino", False, None, None, None)]
    fields = {
        "number": number,
        "tensor": f"t{number}",
        "operator": "Conv",
        "module": f"block.{number}.<conv>|x",
        "is_int8": True,
        "at_output": Parts(50.0, 40.0 + number),
        "own": Parts(45.0, None),
        "share": share,
        "cumulative_db": 41.0 - number,
        "on_target": seen,
    }
    return LayerError(**{**fields, **other})


@pytest.fixture
def report() -> DriftReport:
    layers = [layer(1, 0.2), layer(2, 0.7), layer(3, 0.1), layer(4, 0.0, at_output=Parts(None, None), is_int8=False)]
    network = NetworkError(Parts(50.0, 40.0), 39.5)
    return DriftReport(1, "net-host", "0" * 64, "local:", [0, 1], [], "qdq", network, layers, ["openvino: refused"])


def text(report: DriftReport, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(drift_table(report))
    return captured.get()


def test_the_terminal_table_fits_and_the_largest_share_is_first(report: DriftReport) -> None:
    shown = text(report)
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert shown.index("block.2") < shown.index("block.1") < shown.index("block.3")
    assert "block.4" not in shown  # it makes no error
    assert "only the weights in int8 50.0 dB" in shown
    assert "openvino: refused" in shown


def test_many_layers_are_cut_and_it_is_said_how_much_is_left(report: DriftReport) -> None:
    many = [layer(number, 0.05) for number in range(1, 21)]
    shown = text(DriftReport(**{**vars(report), "layers": many}))
    assert "5 more layers make 25.0% of the error" in shown


def test_markdown_has_every_runtime_and_keeps_its_columns(report: DriftReport) -> None:
    lines = [line for line in drift_markdown(report).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert "litert running, steps" in lines[0]
    assert "block.2.<conv>\\|x Conv" in lines[2]
    assert lines[2].endswith("| 38.0, 1 | –, – |")


def test_each_suffix_is_written(report: DriftReport, tmp_path: Path) -> None:
    for suffix in (".html", ".svg", ".md", ".json"):
        write_drift(report, tmp_path / f"drift{suffix}")
    page = (tmp_path / "drift.html").read_text()
    assert "block.2.&lt;conv&gt;|x" in page
    assert "<conv>" not in page
    assert "<svg" in page
    assert (tmp_path / "drift.svg").read_text().startswith("<svg xmlns=")
    assert json.loads((tmp_path / "drift.json").read_text())["layers"][1]["share"] == 0.7


def test_a_file_of_another_kind_and_a_drawing_without_layers_are_refused(report: DriftReport, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suffix '\.txt'"):
        write_drift(report, tmp_path / "drift.txt")
    with pytest.raises(UsageError, match="there are none"):
        write_drift(DriftReport(**{**vars(report), "layers": []}), tmp_path / "drift.svg")
    assert list(tmp_path.iterdir()) == []
