"""The results as tables: on the terminal, and as the page docs/measurements.md."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterator
from pathlib import Path

from bounds import int8_measurement, latency_ratio
from machine import QUIET_CORES
from results import OURS, PLAIN, Bound, DemoTimes, Machine, Measurement, ModelResult, Quality, Results
from rich.console import Console
from rich.table import Table

__all__ = ["document", "print_results"]

_PAGE = Path(__file__).with_name("page.md")
_SHOWN_PACKAGES = (
    "torch",
    "onnx",
    "onnxsim",
    "onnxruntime",
    "ai-edge-litert",
    "openvino",
    "onnx2tf",
    "tensorflow",
    "litert-torch",
    "ai-edge-quantizer",
    "nncf",
    "numpy",
)
_DIGITS = {"s": 2, "×": 3, "dB": 2, "MB": 2}  # behind the point; metrics, without a unit, have four
_RUNTIMES = {"litert": "LiteRT", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclasses.dataclass(frozen=True)
class _Rows:
    title: str
    head: list[str]
    body: list[list[str]]


def print_results(results: Results, console: Console) -> None:
    """All tables, then the bounds."""
    for rows in [*_model_tables(results), _bound_table(results)]:
        table = Table(title=rows.title, title_justify="left")
        for index, name in enumerate(rows.head):
            table.add_column(name, justify="right" if index > 1 else "left", overflow="fold")
        for cells in rows.body:
            table.add_row(*cells, style="bold" if cells[0] == OURS else "red" if cells[-1] == "missed" else None)
        console.print(table)


def document(results: Results) -> str:
    """The page, in Markdown."""
    return string.Template(_PAGE.read_text(encoding="utf-8")).substitute(
        date=results.date,
        warning="" if results.quiet else ", **on a busy machine: these figures are worth nothing**",
        machine=_machine(results.machine),
        bounds=_markdown(_bound_table(results)),
        waiting="" if results.demo is None else f"{_waiting(results.demo)}\n\n",
        calibration_images=_listed({model.calibration_images for model in results.models}),
        evaluation_images=_listed({model.evaluation_images for model in results.models}),
        plain=PLAIN,
        rounds=results.rounds,
        quiet_cores=f"{QUIET_CORES:.2f}",
        tables="\n\n".join(f"### {rows.title}\n\n{_markdown(rows)}" for rows in _model_tables(results)),
        versions=_markdown(_version_table(results)),
    )


def _machine(machine: Machine) -> str:
    return (
        f"{machine.cpu}, {machine.cpus} cores, {machine.memory_gib:g} GiB; "
        f"int8 dot product: {machine.int8_instructions}; governor: {machine.governor}; "
        f"{machine.system}; Python {machine.python}."
    )


def _waiting(demo: DemoTimes) -> str:
    install = (
        "" if demo.install_seconds is None else f"its environment from wheels on disk {demo.install_seconds:.0f} s, "
    )
    return f"What `make demo` takes: {install}`edgeconv quickstart` {demo.quickstart_seconds:.0f} s."


def _model_tables(results: Results) -> Iterator[_Rows]:
    for model in results.models:
        head = ["converter", "makes", "seconds", "of CPU", "failed"]
        body = [
            [c.converter, c.makes, f"{c.seconds:.1f}", f"{c.cpu_seconds:.1f}", c.failure or ""]
            for c in model.conversions
        ]
        yield _Rows(f"{model.model}: conversion", head, body)
        yield _quality_table(model)
        for runtime, label in _RUNTIMES.items():
            yield _latency_table(model, runtime, label)


def _quality_table(model: ModelResult) -> _Rows:
    """int8 artefacts only."""
    rows = [m for m in model.measurements if m.precision == "int8" and m.quality is not None]
    corrects = any(m.quality is not None and m.quality.correction_sqnr_db is not None for m in rows)
    head = ["converter", "runtime", "SQNR dB", *["of correction"] * corrects]
    head += [f"{model.metric} (PyTorch {model.torch_metric:.4g})", "shifted SQNR dB", *["of correction"] * corrects]
    head += [f"{model.metric} (PyTorch {model.shifted_torch_metric:.4g})"]
    body = [
        [m.converter, _RUNTIMES[m.runtime], *_answers(m.quality, corrects), *_answers(m.shifted, corrects)]
        for m in rows
    ]
    return _Rows(f"{model.model}: answers of int8, as they are and on shifted inputs", head, body)


def _answers(quality: Quality | None, corrects: bool) -> list[str]:
    if quality is None:
        return [""] * (2 + corrects)
    of_correction = "" if quality.correction_sqnr_db is None else f"{quality.correction_sqnr_db:.1f}"
    return [f"{quality.sqnr_db:.1f}", *[of_correction] * corrects, f"{quality.metric:.4g}"]


def _latency_table(model: ModelResult, runtime: str, label: str) -> _Rows:
    rows = [m for m in model.measurements if m.runtime == runtime]
    ours = int8_measurement(model, runtime, OURS)
    head = ["converter", "precision", "MB", "packed MB", "median ms", "minimum ms", "÷ ours int8", "SQNR dB"]
    return _Rows(f"{model.model}: {label}", head, [_latency_row(m, ours, len(head)) for m in rows])


def _latency_row(m: Measurement, ours: Measurement | None, width: int) -> list[str]:
    if m.failure is not None:
        return [m.converter, m.precision, "", "", m.failure, *[""] * (width - 5)]
    return [
        m.converter,
        f"{m.precision} ({m.port_type} in)" if m.precision == "int8" else m.precision,
        f"{m.bytes / 1e6:.2f}",
        "" if m.packed_bytes is None else f"{m.packed_bytes / 1e6:.2f}",
        _milliseconds(m.median_ns),
        _milliseconds(m.minimum_ns),
        f"{latency_ratio(m, ours)[0]:.2f}" if m.rounds_ns and ours else "",
        "" if m.quality is None else f"{m.quality.sqnr_db:.1f}",
    ]


def _bound_table(results: Results) -> _Rows:
    head = ["model", "figure", "measured", "interval", "limit", "verdict"]
    return _Rows("Bounds", head, [_bound_row(bound) for bound in results.bounds])


def _bound_row(bound: Bound) -> list[str]:
    measured = "no figure" if bound.value is None else f"{bound.value:.{_DIGITS.get(bound.unit, 4)}f} {bound.unit}"
    interval = "" if bound.interval is None else f"{bound.interval[0]:.3f} … {bound.interval[1]:.3f}"
    verdict = "met" if bound.passed else "missed"
    limit = f"{'≥' if bound.at_least else '≤'} {bound.limit:.3g} {bound.unit}"
    return [bound.model, bound.what, measured.strip(), interval, limit.strip(), verdict]


def _version_table(results: Results) -> _Rows:
    body = [[p, *(versions.get(p, "") for versions in results.versions.values())] for p in _SHOWN_PACKAGES]
    return _Rows("Versions", ["package", *results.versions], body)


def _listed(counts: set[int]) -> str:
    return " or ".join(map(str, sorted(counts)))


def _milliseconds(nanoseconds: float | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.2f}"


def _markdown(rows: _Rows) -> str:
    lines = [rows.head, ["---" if index < 2 else "---:" for index in range(len(rows.head))], *rows.body]
    return "\n".join(f"| {' | '.join(_bold(cells))} |" for cells in lines)


def _bold(cells: list[str]) -> list[str]:
    escaped = [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]
    return [f"**{cell}**" if cell else cell for cell in escaped] if cells[0] == OURS else escaped
