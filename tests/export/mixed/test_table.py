from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.export.mixed.report import MixedReport, Price, Quality, Rescue
from edgeconv.export.mixed.table import mixed_lines, mixed_tables

_ONE = Ratio(1.0, 0.99, 1.01)
_REPORT = MixedReport(
    schema_version=1,
    target="no golden case below 30 dB",
    metric="dice",
    torch_metric=0.81,
    cases=8,
    candidates=30,
    machine="a CPU, 1 thread",
    int8=Quality(31.0, 28.0, 0.80),
    int8_prices=(Price("litert", 5.0, _ONE, 1_500_000, Quality(31.0, 28.0, 0.8)),),
    rescues=(
        Rescue(
            "stem Conv",
            "operator",
            ("stem/Conv",),
            Quality(33.0, 30.5, 0.8012),
            (Price("litert", 5.25, Ratio(1.05, 1.0, 1.1), 1_600_000, Quality(33.0, 30.5, 0.8), "busy"),),
        ),
    ),
    dropped=("mid/Conv",),
    not_priced=("tensorrt: it runs on the device only",),
)


def _printed(report: MixedReport, width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(*mixed_tables(report))
    return [" ".join(line.split()) for line in stream.getvalue().splitlines() if line.strip()]


def test_the_tables_have_what_was_gained_and_what_it_costs() -> None:
    lines = _printed(_REPORT)
    assert "0 nothing (int8) 28.0 31.0 0.8000" in lines
    assert "+ 1 stem Conv: stem/Conv 30.5 (+2.5) 33.0 (+2.0) 0.8012" in lines
    assert lines[-2:] == ["0 5.00 1.50", "+ 1 5.25 (+0.25) 1.60"]


def test_eighty_columns_have_room_for_three_runtimes_and_long_names() -> None:
    names = ("litert", "onnxruntime", "openvino")
    prices = tuple(Price(name, 114.25, Ratio(1.05, 1.0, 1.1), 16_000_000, None) for name in names)
    operators = ("encoder.0.conv2.horizontal/Conv", "encoder.0.conv2.vertical/Conv")
    rescue = dataclasses.replace(_REPORT.rescues[0], name="output of encoder.0.conv2.horizontal Conv", prices=prices)
    rescue = dataclasses.replace(rescue, operators=operators)
    lines = _printed(dataclasses.replace(_REPORT, int8_prices=prices, rescues=(rescue,)))
    assert lines[-1] == "+ 1" + 3 * " 114.25 (+0.00) 16.00"
    assert any(line.endswith("30.5 (+2.5) 33.0 (+2.0) 0.8012") for line in lines)
    assert all(any(name in line for line in lines) for name in operators)


def test_where_nothing_was_timed_there_is_no_table_of_costs() -> None:
    rescue = dataclasses.replace(_REPORT.rescues[0], prices=())
    assert len(mixed_tables(dataclasses.replace(_REPORT, int8_prices=(), rescues=(rescue,)))) == 1


def test_whose_prices_they_are_and_what_was_not_needed_is_said() -> None:
    text = "\n".join(mixed_lines(_REPORT))
    for words in (
        "No golden case below 30 dB",
        "this machine's: a CPU",
        "mid/Conv",
        "tensorrt: it runs",
        "litert, row 1: busy",
    ):
        assert words in text


def test_a_price_that_could_not_be_had_is_a_dash() -> None:
    broken = Price("litert", None, None, 0, None, "no kernel")
    rescue = dataclasses.replace(_REPORT.rescues[0], prices=(broken,))
    report = dataclasses.replace(_REPORT, rescues=(rescue,))
    assert _printed(report)[-1].split()[-2:] == ["–", "–"]
    assert "litert, row 1: no kernel" in list(mixed_lines(report))


def test_where_int8_is_good_enough_it_is_said() -> None:
    (line,) = mixed_lines(dataclasses.replace(_REPORT, rescues=(), int8_prices=(), machine=""))
    assert "nothing was left in float" in line
