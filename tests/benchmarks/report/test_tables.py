from __future__ import annotations

import io
import re
from collections.abc import Callable

from rich.console import Console, RenderableType

from edgeconv.benchmarks.tables import bundle_table, run_table, verdict_table
from edgeconv.manifest import AppliedRewrite, Artifact, Failure, FileEntry, Manifest, ModelIdentity
from edgeconv.parity.verdict import check_parity
from edgeconv.records import Result, RunRecord


def _printed(table: RenderableType, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(table)
    return stream.getvalue()


def _row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name).split()


def test_run_table_gives_numbers_in_their_units(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    text = _printed(run_table(make_record([make_result(count=60)])))
    p50, spread, p90, p99, _, _, peak, size = _row(text, "litert int8")
    assert (p99, peak, size) == ("–", "31.0", "8.8")
    assert re.fullmatch(r"±0\.\d\d", spread)
    assert 16.4 <= float(p50) <= float(p90) <= 18
    assert "Task metric: Dice, 0.7812 in PyTorch." in text


def test_run_table_fits_its_width_without_cutting_a_number(make_record: Callable[..., RunRecord]) -> None:
    for width in (72, 80, 120):
        text = _printed(run_table(make_record()), width)
        assert max(len(line) for line in text.splitlines()) <= width
        assert "…" not in text


def test_run_table_marks_times_and_memory_of_an_invalid_result(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    bad = make_result("openvino", "fp16", count=600, valid=False, invalid_reasons=["the board was throttled"])
    text = _printed(run_table(make_record([bad])))
    speed, drift = (line for line in text.splitlines() if re.match(r"(✗ )?openvino fp16 +✗?\d", line))
    assert [cell for cell in speed.split()[3:] if not cell.startswith("✗")] == ["8.8"]
    assert "✗" not in drift
    assert "✗ openvino fp16 is not valid: the board was throttled" in text


def test_run_table_tells_what_ran_the_state_a_tool_without_samples_and_what_is_missing(
    make_board_record: Callable[..., RunRecord],
) -> None:
    text = _printed(run_table(make_board_record()))
    assert re.search(r"onnxruntime int8 +XNNPACK +97 +88\.1 +2 +clean", text)
    in_float = "onnxruntime int8 computes in float: encoder.0.conv1.vertical/Conv, gate.0/Mul, gate.1/Mul and 2 more."
    assert in_float in " ".join(text.split())
    assert "throttled" in text
    assert "litert fp16: benchmark_model: mean 16.70 ms, standard deviation 0.41 ms" in " ".join(text.split())
    assert "✗ openvino fp16 could not be made: operator <Foo> at encoder.1 is unknown" in " ".join(text.split())
    assert max(len(line) for line in _printed(run_table(make_board_record()), 72).splitlines()) <= 72


def test_run_table_of_nothing_measured_still_gives_the_reason(
    make_record: Callable[..., RunRecord], nothing_measured: Result
) -> None:
    text = _printed(run_table(make_record([nothing_measured])))
    assert "the runtime refused the file" in text
    assert "No result of this run is valid." in text
    assert "No artefact was measured." in _printed(run_table(make_record([])))


def test_tables_print_names_literally(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    record = make_record([make_result("[red]x[/red]", valid=False, invalid_reasons=["[bold]"])], model="[link]")
    text = _printed(run_table(record))
    assert "[red]x[/red] int8 is not valid: [bold]" in text
    assert "[link] on host" in text


def test_verdict_table_says_what_holds_and_what_does_not(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    good = _printed(verdict_table(check_parity(make_record([make_result()]))))
    assert "Parity holds: 4 of 4 bounds are met." in good
    assert "✗" not in good
    bad = _printed(verdict_table(check_parity(make_record([make_result(total_db=20.0, metric=0.5)]))))
    assert "Parity fails:" in bad
    assert "total SQNR 20.00 dB; needed 28.0 dB or more." in bad
    assert bad.count("✗") == 2 * 2  # two bounds, each in its row and as a reason
    assert "Parity fails:" in _printed(verdict_table(check_parity(make_record([]))))


def test_bundle_table_lists_files_failures_and_rewrites() -> None:
    weights = FileEntry("models/model.int8.bin", "0" * 64, 8_400_000)
    manifest = Manifest(
        schema_version=1,
        name="vessels-host",
        model=ModelIdentity("vessels", "built-in", None, 1_100_000, 4_690_000_000, "exact"),
        device="host",
        inputs=[],
        outputs=[],
        artifacts=[
            Artifact("models/model.int8.xml", "0" * 64, 300_000, "openvino", "int8", [], [], [weights], {"f32": "none"})
        ],
        files=[],
        failures=[Failure("litert", "fp32", "operator [Foo] is unknown")],
        rewrites=[AppliedRewrite("fold_batchnorm", "exact", 18, True, 128.1, [])],
        tolerances=[],
        metric=None,
        quantisation={},
        tools={},
        reproduce=[],
    )
    text = _printed(bundle_table(manifest))
    assert "1,100,000 parameters, 4.69 GMAC, exact" in text
    assert _row(text, "openvino int8") == ["8.7", "models/model.int8.xml", "f32:", "none"]
    assert "✗ litert fp32 could not be made: operator [Foo] is unknown" in text
    assert "fold_batchnorm: 18 changed, exact, 128.1 dB" in text


def test_what_gates_cost_is_a_line_of_its_own() -> None:
    facts = {"transposes": "0", "gates": "3.41 of 3.48 MB are folded gate maps"}
    artifact = Artifact("models/model.int8.tflite", "0" * 64, 3_480_000, "litert", "int8", [], [], [], facts)
    model = ModelIdentity("deblur", "built-in", None, 60_340, None, "exact")
    manifest = Manifest(1, "deblur-host", model, "host", [], [], [artifact], [], [], [], [], None, {}, {}, [])
    text = _printed(bundle_table(manifest))
    assert _row(text, "litert int8") == ["3.5", "models/model.int8.tflite", "transposes:", "0"]
    assert "litert int8: 3.41 of 3.48 MB are folded gate maps" in text
