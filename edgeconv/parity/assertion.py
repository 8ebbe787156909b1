"""`assert_parity`: one assertion for a user's tests."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeconv.benchmarks.run import run_benchmark
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import Bundle
from edgeconv.errors import DataError, EdgeconvError, UsageError
from edgeconv.manifest import Tolerance
from edgeconv.parity.breaks import find_breaks
from edgeconv.parity.goldens import Golden, difference, golden_of, read_golden, write_golden
from edgeconv.parity.subjects import BundleCache, as_names, model_name
from edgeconv.parity.tolerance import override_tolerances, split_tolerances
from edgeconv.parity.verdict import Finding, Verdict, check_parity

__all__ = ["ParityAssertion", "ParityError"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class ParityError(AssertionError):
    """Parity does not hold; the message is the whole report."""


class ParityAssertion:
    """Fails unless a model keeps its parity on a runtime: the value of the fixture `assert_parity`.

    Args:
        goldens: folder of the golden files.
        bundles: makes bundles of models, each once.
        update: write golden files that are missing or differ instead of failing.
        record: takes a name and a value for the test report (JUnit).
        written: takes a line for each golden file that was written.
    """

    def __init__(
        self,
        goldens: Path,
        bundles: BundleCache,
        update: bool,
        record: Callable[[str, object], None],
        written: Callable[[str], None],
    ) -> None:
        self._goldens, self._bundles, self._update = goldens, bundles, update
        self._record, self._written = record, written

    def __call__(
        self,
        model: object,
        runtime: str | Sequence[str] | None = None,
        precision: str | Sequence[str] | None = None,
        *,
        on: str = "local:",
        tolerance: Sequence[str | Tolerance] | str | Tolerance | None = None,
        metric: str | None = None,
        golden: str | None = None,
        inputs: object = None,
        locate: bool = True,
        **export: Any,
    ) -> Verdict:
        """Run the artefacts, judge them, and compare the model itself with its golden file.

        Args:
            model: a bundle (its path or .zip), a built-in name, `file.py:factory`, `package.module:factory`, a .pt2 or
                .onnx file, or a `torch.nn.Module` with `inputs`.  A model is exported once in a session.
            runtime: only this one or these; all that the bundle has by default.
            precision: the same for precisions.
            on: where to run; `local:` is this machine.
            tolerance: other bounds: `Tolerance` objects, or words like "int8.total_min_sqnr_db=28".
            metric: task metric instead of the model's; where it cannot be taken, parity does not hold.
            golden: name of the golden file without .npz; the model's name by default.
            inputs: samples for a module: a tensor, a tuple or dictionary of them, or a list of such.
            locate: on failure, look for the first broken layer.
            export: options of the export of a model: weights, input_shapes, calibration, devices (one), …

        Returns:
            The verdict, where parity holds.

        Raises:
            ParityError: it does not, or the golden file is missing, foreign or differs.
            EdgeconvError: the model, the bundle or an option cannot be used.
        """
        __tracebackhide__ = True
        classes, words = split_tolerances(tolerance)
        runtimes, precisions = as_names("runtime", runtime), as_names("precision", precision)
        for what, value in (("on", on), ("metric", metric or ""), ("golden", golden or "")):
            if not isinstance(value, str):
                raise UsageError(f"{what} is {value!r}, expected text.")
        name = golden or model_name(model)
        with self._bundles.open(model, inputs, export, name, self._kept(name, export)) as bundle:
            name = name or bundle.manifest.model.name
            record = run_benchmark(
                bundle, on, runtimes=runtimes, precisions=precisions, settings=RunSettings.quick(), metric=metric
            )
            bounds = override_tolerances([*bundle.manifest.tolerances, *classes], words)
            verdict = check_parity(record, bounds, metric)
            for finding in verdict.findings:
                figure = "exact" if finding.value is None and finding.passed else finding.value
                self._record(f"{finding.runtime} {finding.precision}: {finding.bound}", figure)
            problem = self._golden(name, golden_of(bundle), verdict.passed)
            if not verdict.passed and locate:
                verdict = dataclasses.replace(verdict, breaks=find_breaks(bundle, record, verdict))
            if problem or not verdict.passed:
                raise ParityError(report(verdict, bundle, on, problem))
            return verdict

    def _path(self, name: str) -> Path:
        return self._goldens / f"{_UNSAFE.sub('-', name).strip('-.') or 'model'}.npz"

    def _kept(self, name: str, export: Mapping[str, Any]) -> Golden | None:
        """The golden file whose inputs an export takes; one that cannot be read is told by the comparison.

        Evaluation data that were given take their place when the file is to be renewed.
        """
        if not name or (self._update and export.get("evaluation") is not None):
            return None
        try:
            return read_golden(self._path(name))
        except EdgeconvError:
            return None

    def _golden(self, name: str, current: Golden, holds: bool) -> str | None:
        """What is wrong with the golden file; nothing when it may be written, which needs that parity holds."""
        path = self._path(name)
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        is_new = not path.exists()
        try:
            kept = read_golden(path)
            problem = _missing(shown) if kept is None else difference(kept, current, shown)
        except DataError as error:
            problem = str(error)
        if problem is None or not self._update:
            return problem
        if not holds:
            return f"{problem} It was not written now, for parity does not hold."
        write_golden(path, current)
        self._written(f"{shown}: new" if is_new else f"{shown}: renewed. Before: {problem}")
        return None


def _missing(path: Path) -> str:
    return f"There is no golden file {path}. Write it with pytest --edgeconv-update, then commit it."


def report(verdict: Verdict, bundle: Bundle, on: str, problem: str | None) -> str:
    """The readable form of a failure."""
    lines = [f"Parity of {bundle.manifest.name} on {on} does not hold." if not verdict.passed else ""]
    lines += _table(verdict.findings)
    lines += [f"✗ {failure}" for failure in verdict.failures]
    lines += [f"→ {location.message}" for location in verdict.breaks]
    lines += [f"✗ golden: {problem}"] if problem else []
    return "\n".join(["", *(line for line in lines if line)])


def _table(findings: Sequence[Finding]) -> list[str]:
    rows = [("artefact", "judged", "measured", "bound", "")]
    for finding in findings:
        name = f"{finding.runtime} {finding.precision}"
        mark = "✓" if finding.passed else "✗"
        measured = "exact" if finding.value is None and finding.passed else _figure(finding, finding.value)
        rows.append((name, finding.bound.removesuffix(" dB"), measured, _figure(finding, finding.limit), mark))
    a, b, c, d, _ = (max(len(row[column]) for row in rows) for column in range(len(rows[0])))
    return [f"  {r[0]:<{a}}  {r[1]:<{b}}  {r[2]:>{c}}  {r[3]:>{d}}  {r[4]}".rstrip() for r in rows]


def _figure(finding: Finding, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} dB" if finding.bound.endswith("dB") else f"{value:.2%}"
