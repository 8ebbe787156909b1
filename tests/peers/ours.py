"""Our own exports of a model: as it comes, with `--quality best`, and the plain lowering they are measured against."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from peers import run_cold
from results import BEST, OURS, PLAIN, Conversion, Measurement
from subjects import Subject

from edgeconv.bundles import Bundle, load_bundle
from edgeconv.errors import EdgeconvError
from edgeconv.manifest import Artifact
from edgeconv.packing import pack_bundle, packed_bytes

__all__ = ["export_ours"]

_EXPORT = (sys.executable, "-m", "edgeconv", "export")
_PLAIN_EXPORT = (sys.executable, str(Path(__file__).with_name("plain_lowering.py")))
_MAKES = "all runtimes, all precisions"


@dataclasses.dataclass(frozen=True)
class _Variant:
    """One way to export; `precisions` are those whose artefacts are measured, None for all."""

    converter: str
    directory: str
    program: tuple[str, ...] = _EXPORT
    options: tuple[str, ...] = ()
    precisions: tuple[str, ...] | None = ("int8",)


_VARIANTS = (
    _Variant(PLAIN, "plain", program=_PLAIN_EXPORT),  # first: it brings all of our files into the page cache
    _Variant(OURS, "default", precisions=None),
    _Variant(BEST, "best", options=("--quality", "best")),
)


def export_ours(
    subject: Subject, output: Path, directory: Path, tell: Callable[[Conversion], None]
) -> tuple[list[Conversion], list[Measurement]]:
    """Make a bundle in every way for this machine, each in a fresh process, and name its artefacts."""
    conversions, measurements = [], []
    for variant in _VARIANTS:
        bundles = directory / variant.directory
        shutil.rmtree(bundles, ignore_errors=True)  # so that a failing export leaves no older bundle to be measured
        command = [*variant.program, subject.spec, *_given(subject, output, directory), *variant.options]
        command += ["--device", "host", "--name", subject.name, "--json", "-o", str(bundles)]
        conversion = run_cold(variant.converter, _MAKES, command, directory / f"edgeconv-{variant.directory}.log")
        try:
            bundle = load_bundle(bundles / f"{subject.name}-host")
        except EdgeconvError as error:
            conversion = dataclasses.replace(conversion, failure=conversion.failure or str(error))
        else:
            measurements += _artefacts(variant, bundle)
        tell(conversion)
        conversions.append(conversion)
    return conversions, measurements


def _given(subject: Subject, output: Path, directory: Path) -> list[str]:
    """What a model that the package has no data for is exported with; see `material.py`."""
    weights = subject.weights(output)
    if weights is None:
        return []
    shape = "x".join(map(str, subject.task.input_shape))
    data = ["--calibration", str(directory / "images.npy"), "--eval", str(directory / "golden.npz")]
    return ["--weights", str(weights), "--input-shape", shape, *data, "--metric", subject.task.metric]


def _artefacts(variant: _Variant, bundle: Bundle) -> list[Measurement]:
    wanted = [
        Measurement(variant.converter, a.runtime, a.precision, str(bundle.directory / a.path), a.total_bytes, packed)
        for a, packed in _packed(bundle)
        if variant.precisions is None or a.precision in variant.precisions
    ]
    failed = bundle.manifest.failures
    return wanted + [Measurement(variant.converter, f.runtime, f.precision, "", 0, failure=f.reason) for f in failed]


def _packed(bundle: Bundle) -> list[tuple[Artifact, int]]:
    """Each artefact with the bytes that its files take in the bundle as one .zip."""
    path = pack_bundle(bundle.directory, bundle.manifest)
    bytes_of = packed_bytes(path)
    path.unlink()
    return [(a, sum(bytes_of[name] for name in a.paths)) for a in bundle.manifest.artifacts]
