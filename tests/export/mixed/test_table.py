from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.export.mixed.report import MixedReport, Price, Quality, Rescue
from edgeconv.export.mixed.table import mixed_lines, mixed_table

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


def test_the_table_has_what_was_gained_and_what_it_costs() -> None:
    stream = io.StringIO()
    Console(file=stream, width=200).print(mixed_table(_REPORT))
    lines = [line.split() for line in stream.getvalue().splitlines() if line.strip()]
    base, row = (" ".join(line) for line in lines[-2:])
    assert base == "nothing (int8) 28.0 31.0 0.8000 5.00 1.50"
    assert row == "+ stem Conv: stem/Conv 30.5 (+2.5) 33.0 (+2.0) 0.8012 5.25 (+0.25) 1.60 (+0.10)"


def test_whose_prices_they_are_and_what_was_not_needed_is_said() -> None:
    text = "\n".join(mixed_lines(_REPORT))
    for words in (
        "No golden case below 30 dB",
        "this machine's: a CPU",
        "mid/Conv",
        "tensorrt: it runs",
        "litert: busy",
    ):
        assert words in text


def test_a_price_that_could_not_be_had_is_a_dash() -> None:
    broken = Price("litert", None, None, 0, None, "no kernel")
    rescue = dataclasses.replace(_REPORT.rescues[0], prices=(broken,))
    stream = io.StringIO()
    report = dataclasses.replace(_REPORT, rescues=(rescue,))
    Console(file=stream, width=200).print(mixed_table(report))
    assert stream.getvalue().splitlines()[-1].split()[-2:] == ["–", "–"]
    assert "litert: no kernel" in list(mixed_lines(report))


def test_where_int8_is_good_enough_it_is_said() -> None:
    (line,) = mixed_lines(dataclasses.replace(_REPORT, rescues=(), int8_prices=(), machine=""))
    assert "nothing was left in float" in line
