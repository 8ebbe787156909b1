from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edgeconv.benchmarks.report import html_report, write_report
from edgeconv.bundles import Bundle
from edgeconv.errors import BundleError, UsageError
from edgeconv.manifest import Failure, FileEntry, Manifest, ModelIdentity, Port
from edgeconv.records import DriftPart, Host, Result, RunRecord

_VOID = {"meta", "img", "br", "use", "path", "rect"}


class _Page(HTMLParser):
    """What a browser would see: balanced tags, their attributes, the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, *names: str) -> list[str]:
        return [value for _, name, value in self.attributes if name in names]


def _bundle(
    directory: Path, shape: tuple[int, int, int, int] = (1, 1, 24, 32), metric: str | None = None, int8: bool = True
) -> Bundle:
    golden = directory / "golden" / "cases.npz"
    golden.parent.mkdir(parents=True)
    source = np.random.default_rng(0)
    arrays = {
        "input.image": source.integers(0, 256, (5, 1, 3, 24, 32), dtype=np.uint8),
        "torch.mask": source.normal(size=(5, *shape)).astype(np.float32),
    }
    if int8:
        arrays["qdq.mask"] = arrays["torch.mask"] + 0.125
    np.savez(golden, **arrays)
    manifest = Manifest(
        schema_version=1,
        name="vessels-host",
        model=ModelIdentity("vessels", "built-in", None, 1, None, "exact"),
        device="host",
        inputs=[Port("image", [1, 3, 24, 32], "uint8", "NCHW")],
        outputs=[Port("mask", list(shape), "float32", "NCHW")],
        artifacts=[],
        files=[FileEntry("golden/cases.npz", "0" * 64, 1)],
        failures=[Failure("openvino", "fp32", "operator <Foo> at encoder.1 is unknown")],
        rewrites=[],
        tolerances=[],
        metric=metric,
        quantisation={},
        tools={},
        reproduce=[],
    )
    return Bundle(directory, manifest, "9f3c5a17" * 8)


def test_page_asks_nothing_of_the_network(two_devices: list[RunRecord], tmp_path: Path) -> None:
    text = html_report(two_devices, [_bundle(tmp_path)])
    page = _Page(text)
    assert re.findall(r"https?:|@import|url\((?!#)", text) == []
    links = page.values("href", "xlink:href")
    assert links
    assert all(link.startswith("#") for link in links)
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert not page.tags["script"]
    assert not page.tags["link"]
    assert any(value.startswith("default-src 'none'") for value in page.values("content"))


def test_page_names_every_artefact_device_and_plot(two_devices: list[RunRecord]) -> None:
    page = _Page(html_report(two_devices))
    for record in two_devices:
        assert record.device in page.text
        assert record.target in page.text
        for result in record.results:
            assert f"{result.runtime} {result.precision}" in page.text
    assert page.tags["svg"] == 8
    assert "AVX-512 VNNI" in page.text
    assert "none (no dotprod)" in page.text


def test_every_link_and_id_of_the_page_is_unique_and_resolved(two_devices: list[RunRecord]) -> None:
    text = html_report(two_devices)
    page = _Page(text)
    identifiers = page.values("id")
    assert len(set(identifiers)) == len(identifiers)
    targets = {link[1:] for link in page.values("href")} | set(re.findall(r"url\(#([^)]*)\)", text))
    assert targets <= set(identifiers)


def test_names_are_escaped_everywhere(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    evil = "<script>alert('x')</script>"
    quoted = '"><img src=x onerror=y> $x$'
    result = make_result(
        runtime=evil,
        precision=quoted,
        valid=False,
        invalid_reasons=[evil, quoted],
        provider=evil,
        evidence={evil: evil},
    )
    record = make_record([result], model=evil, device=quoted, target=evil, bundle=quoted, run_id=evil)
    text = html_report([record, record])
    page = _Page(text)
    assert not page.tags["script"]
    assert not page.tags["img"]
    assert "onerror" not in {name for _, name, _ in page.attributes}
    assert evil in page.text
    assert quoted in page.text


def test_invalid_result_is_marked_wherever_its_numbers_stand(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    reason = "the board was throttled: frequency capped"
    good = make_result(median_ms=40.0)
    bad = make_result("openvino", "fp16", median_ms=12.0, valid=False, invalid_reasons=[reason])
    text = html_report([make_record([good, bad])])
    page = _Page(text)
    assert reason in page.text
    assert "openvino fp16, invalid" in page.text
    row = re.findall(r'<tbody class="invalid">.*?</tbody>', text, flags=re.DOTALL)[0]
    cells = re.findall(r'<td data-group="(\w+)[^>]*>(.*?)</td>', row, flags=re.DOTALL)
    assert len(cells) == 15
    of_speed = ("Latency", "Start", "Memory")
    assert all(("<s " in cell and "✕" in cell) == (group in of_speed) for group, cell in cells)
    assert "Fastest: <strong>litert int8</strong>" in text
    everywhere_else = text.replace(row, "")
    assert not re.findall(r"\b12\.\d\d\b", everywhere_else)


def test_record_without_a_valid_result_has_no_summary(
    make_record: Callable[..., RunRecord], nothing_measured: Result
) -> None:
    text = html_report([make_record([nothing_measured])])
    page = _Page(text)
    assert "No result of this run is valid." in page.text
    assert "the runtime refused the file" in page.text
    assert "Fastest" not in page.text
    assert page.tags["svg"] == 3  # none of latency against drift


def test_emulated_run_says_so_and_names_no_fastest(make_record: Callable[..., RunRecord]) -> None:
    record = make_record()
    emulated = dataclasses.replace(record, host=dataclasses.replace(record.host, emulated=True, clock="virtual"))
    page = _Page(html_report([emulated]))
    assert "latencies say nothing about the real device" in page.text
    assert "Fastest" not in page.text
    badges = page.text.count("emulated, virtual clock")
    assert badges == 1 + page.tags["svg"]  # at the heading and at every plot


def test_emulated_runs_stand_in_a_table_of_their_own(
    two_devices: list[RunRecord], make_host: Callable[..., Host]
) -> None:
    emulated = dataclasses.replace(two_devices[1], host=make_host(emulated=True), run_id="e", device="pi-emulated")
    text = html_report([*two_devices, emulated])
    tables = re.findall(r'<table class="across">.*?</table>', text, flags=re.DOTALL)
    assert [("pi-emulated" in table, "raspberry-pi-4" in table) for table in tables] == [(False, True), (True, False)]
    assert "not to be compared with measured ones" in text
    assert "not to be compared" not in html_report(two_devices)


def test_everything_that_a_record_holds_is_shown(make_board_record: Callable[..., RunRecord]) -> None:
    text = html_report([make_board_record()])
    page = _Page(text)
    shown = " ".join(page.text.split())
    for words in (
        "Temperature during the run",
        "Clock frequency during the run",
        "Power during the run",
        "throttled 13 s",
        "Drift layer by layer: litert int8",
        "encoder.stages.0.mul4",
        "All 24 operators",
        "Tuned on the device",
        "threads 4, xnnpack off won",
        "asked forXNNPACK",
        "XNNPACK, 96.8% of the operators as asked",
        "88.1 %, in float: encoder.0.conv1.vertical/Conv, gate.0/Mul, gate.1/Mul, gate.2/Mul, gate.3/Mul",
        "benchmark_model: mean 16.70 ms",
        "openvino fp16 could not be made: operator <Foo> at encoder.1 is unknown",
        "Raspberry Pi 5 Model B Rev 1.0",
        "BCM2712 · Cortex-A76",
        "min seconds 2, min count 90, rounds 3",
        "91.3 J",
        "Each artefact was timed in up to 2 fresh processes",
    ):
        assert words in shown, words
    assert page.tags["svg"] == 4 + 3 + 1
    assert "±" in re.findall(r'<td data-group="Latency".*?</td>', text, flags=re.DOTALL)[0]


def test_record_of_the_first_schema_has_no_columns_and_plots_of_nothing(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    page = _Page(html_report([make_record([make_result()])]))
    assert page.tags["svg"] == 4
    assert "as asked" not in page.text
    assert "Tuned on the device" not in page.text


def test_unsupported_percentile_is_a_dash_that_says_what_is_missing(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    text = html_report([make_record([make_result(count=20)])])
    assert '<abbr title="20 samples; p90 needs 44">–</abbr>' in text
    assert '<abbr title="20 samples; p99 needs 459">–</abbr>' in text


def test_record_without_results_or_facts_is_still_a_page(make_record: Callable[..., RunRecord]) -> None:
    bare = Host("x86_64", "Linux", None, [], 1, None, None, "3.11", False, "wall")
    page = _Page(html_report([make_record([], host=bare)]))
    assert "No artefact was measured." in page.text
    assert "unknown" in page.text
    assert page.tags["svg"] == 0


def test_drift_that_is_not_finite_is_shown_as_such_and_not_plotted(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    nan = DriftPart(float("nan"), float("nan"), float("nan"), float("nan"))
    result = make_result()
    assert result.drift is not None
    broken = dataclasses.replace(result, drift=dataclasses.replace(result.drift, runtime=nan, total=nan))
    page = _Page(html_report([make_record([broken])]))
    assert page.text.count("NaN") == 3  # runtime and total of the table, total of the summary
    assert page.tags["svg"] == 3


def test_same_records_give_the_same_bytes(two_devices: list[RunRecord], tmp_path: Path) -> None:
    bundle = _bundle(tmp_path)
    assert html_report(two_devices, [bundle]) == html_report(two_devices, [bundle])


def test_page_stays_small_when_samples_are_many(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result]
) -> None:
    results = [make_result(runtime, "int8", 2.0, 20_000) for runtime in ("litert", "onnxruntime", "openvino")]
    assert len(html_report([make_record(results)])) < 200_000


def test_both_themes_colour_every_token_of_the_plots(make_record: Callable[..., RunRecord]) -> None:
    text = html_report([make_record()])
    light, dark = text.split("prefers-color-scheme: dark", maxsplit=1)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert used <= set(re.findall(r"(--[\w-]+):", light))
    assert used <= set(re.findall(r"(--[\w-]+):", dark))
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert drawings
    assert not any(re.findall(r"(?:fill|stroke): #", drawing) for drawing in drawings)


def test_bundle_adds_pictures_and_what_could_not_be_made(make_record: Callable[..., RunRecord], tmp_path: Path) -> None:
    page = _Page(html_report([make_record()], [_bundle(tmp_path)]))
    assert page.tags["img"] == 3 * 4
    assert "operator <Foo> at encoder.1 is unknown" in page.text
    assert "0 to 0.125" in page.text  # of the difference


def test_what_the_runtime_returned_stands_beside_pytorch(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result], tmp_path: Path
) -> None:
    bundle = _bundle(tmp_path)
    with np.load(bundle.golden) as golden:
        torch = golden["torch.mask"]
    record = make_record(
        [make_result("litert", "fp32", total_db=120.0), make_result("openvino", "int8", total_db=30.0)]
    )
    outputs = {("litert", "fp32"): {"mask": torch}, ("openvino", "int8"): {"mask": torch[:2] + 0.25}}
    page = _Page(html_report([record], [bundle], {record.run_id: outputs}))
    titles = page.values("alt")
    assert [title.split(",")[0] for title in titles[:4]] == ["Input", "PyTorch", "openvino int8", "|difference|"]
    assert len(titles) == 4 + 4 + 2  # the third case was not kept
    assert "0 to 0.25" in page.text
    assert "int8 reference, mask" not in " ".join(titles)


def test_outputs_of_another_bundle_or_shape_are_not_shown(
    make_record: Callable[..., RunRecord], make_result: Callable[..., Result], tmp_path: Path
) -> None:
    bundle = _bundle(tmp_path)
    odd = {("litert", "int8"): {"mask": np.zeros((5, 1, 1, 8, 8))}}
    record = make_record([make_result()])
    for run, outputs in ((record, odd), (make_record([make_result()], manifest_sha256="0" * 64), odd)):
        titles = _Page(html_report([run], [bundle], {run.run_id: outputs})).values("alt")
        assert titles[2].startswith("int8 reference")


def test_logits_of_a_mask_are_shown_as_probabilities(make_record: Callable[..., RunRecord], tmp_path: Path) -> None:
    page = _Page(html_report([make_record()], [_bundle(tmp_path, metric="dice")]))
    assert page.text.count("0 to 1") == 3 * 2


def test_bundle_without_int8_shows_input_and_output_only(make_record: Callable[..., RunRecord], tmp_path: Path) -> None:
    page = _Page(html_report([make_record()], [_bundle(tmp_path, int8=False)]))
    assert page.tags["img"] == 3 * 2


def test_outputs_that_are_no_images_give_no_pictures(make_record: Callable[..., RunRecord], tmp_path: Path) -> None:
    page = _Page(html_report([make_record()], [_bundle(tmp_path, shape=(1, 10, 24, 32))]))
    assert page.tags["img"] == 0


def test_bundles_with_the_same_golden_cases_show_them_once(
    make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    bundles = [_bundle(tmp_path / "host"), _bundle(tmp_path / "pi")]
    assert _Page(html_report([make_record()], bundles)).tags["img"] == 3 * 4


def test_damaged_golden_cases_are_an_error_that_names_the_file(
    make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    bundle = _bundle(tmp_path)
    bundle.golden.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(BundleError, match=r"cases\.npz"):
        html_report([make_record()], [bundle])


def test_write_report_refuses_no_records_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run record"):
        write_report([], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_write_report_writes_the_page(make_record: Callable[..., RunRecord], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write_report([make_record()], path)
    assert path.read_text(encoding="utf-8") == html_report([make_record()])
