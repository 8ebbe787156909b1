"""The table of docs/gates.md: `python tests/peers/gates.py [MODEL] [--without-latency] [--page docs/gates.md]`.

Exports MODEL (deblur) with its gates folded, as an expression and reduced, runs all artefacts of each in the same
rounds, and replaces the table on the page.  Needs a quiet machine; without one `--without-latency` leaves that column
as it is not to be had.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from pathlib import Path

from machine import QUIET_CORES, describe_machine, foreign_cores_now

from edgeconv.benchmarks.ratios import median_ratio
from edgeconv.bundles import Bundle, load_bundle
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.export.variants.measure import Bench
from edgeconv.files import atomic_write_bytes
from edgeconv.manifest import Artifact
from edgeconv.records import Result
from edgeconv.rewrite.compress_gates import FOLDED, GATE_FORMS

_FORMS = (FOLDED, *GATE_FORMS)
_RUNTIMES = ("litert", "onnxruntime", "openvino")
_PRECISIONS = ("int8", "fp32")
_SECONDS, _HASTY_SECONDS = 30.0, 0.3
_DEFLATE_LEVEL = 9
_BEGIN, _END = "<!-- table -->", "<!-- /table -->"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="deblur")
    parser.add_argument("--without-latency", action="store_true")
    parser.add_argument("--page", type=Path, default=Path("docs/gates.md"))
    asked = parser.parse_args(arguments)
    if not asked.without_latency and (busy := foreign_cores_now()) > QUIET_CORES:
        sys.exit(
            f"Others use {busy:.2f} cores of this machine; latencies would mean nothing. Wait, or --without-latency."
        )
    with tempfile.TemporaryDirectory(prefix="edgeconv-gates-") as temporary:
        bundles = [_export(asked.model, form, Path(temporary)) for form in _FORMS]
        artifacts = [bundles[0].manifest.artifact(r, p) for r in _RUNTIMES for p in _PRECISIONS]
        with Bench("local:", _HASTY_SECONDS if asked.without_latency else _SECONDS, _progress) as bench:
            results = bench.measure(bundles, artifacts)
        lines = [
            _row(bundles, artifact, i, results, not asked.without_latency) for artifact in artifacts for i in range(3)
        ]
        worst = ", ".join(f"{form} {_worst_map(bundle)}" for form, bundle in zip(_FORMS[1:], bundles[1:], strict=True))
    machine = describe_machine()
    table = "\n".join(
        [
            _BEGIN,
            "",
            f"`{asked.model}`, {machine.cpu}, one thread; worst map of each form: {worst}.",
            "",
            "| artefact | gates | file MB | deflated MB | SQNR dB | median / folded (99 %) |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            _END,
        ]
    )
    page = asked.page.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    atomic_write_bytes(asked.page, f"{before}{table}{rest.partition(_END)[2]}".encode())


def _export(model: str, form: str, folder: Path) -> Bundle:
    print(f"exporting {model}, gates {form}", file=sys.stderr)
    options = ExportOptions(model=model, gates=form, runtimes=_RUNTIMES, output=folder / form)
    (built,) = build_bundle(options).bundles
    return load_bundle(Path(built.path))


def _row(
    bundles: list[Bundle], artifact: Artifact, index: int, results: dict[tuple[int, str, str], Result], timed: bool
) -> str:
    kind = (artifact.runtime, artifact.precision)
    base, result = results[(0, *kind)], results[(index, *kind)]
    own = bundles[index].manifest.artifact(*kind)
    paths = own.paths
    packed = sum(len(zlib.compress((bundles[index].directory / path).read_bytes(), _DEFLATE_LEVEL)) for path in paths)
    sqnr = "–" if result.drift is None or result.drift.total.sqnr_db is None else f"{result.drift.total.sqnr_db:.1f}"
    ratio = median_ratio(base, result) if timed else None
    latency = "not measured" if ratio is None else f"{ratio.value:.3f} ({ratio.low:.3f} … {ratio.high:.3f})"
    sizes = f"{own.total_bytes / 1e6:.2f} | {packed / 1e6:.2f}"
    return f"| {' '.join(kind)} | {_FORMS[index]} | {sizes} | {sqnr} | {'1' if index == 0 else latency} |"


def _worst_map(bundle: Bundle) -> str:
    rewrite = next(rewrite for rewrite in bundle.manifest.rewrites if rewrite.name == "compress_gates")
    return min((detail.partition(": ")[2].partition(",")[0] for detail in rewrite.details), key=lambda d: float(d[:-3]))


def _progress(done: int, total: int, description: str) -> None:
    print(f"{done}/{total} {description}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
