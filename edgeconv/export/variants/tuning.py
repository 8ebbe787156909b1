"""`edgeconv tune --graphs`: variants of a bundle's graph, measured beside its own artefacts or only estimated."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgeconv.benchmarks.drift import compare_outputs, golden_outputs
from edgeconv.benchmarks.ratios import median_ratio
from edgeconv.bundles import Bundle
from edgeconv.errors import EdgeconvError
from edgeconv.export.choices import Choices
from edgeconv.export.gate_prices import folds_constants
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.graphs import Graphs
from edgeconv.export.search.cost import LATENCY_BASIS, estimate_latency_ms
from edgeconv.export.variants.build import Variant, conversion_key, variant_golden, variant_graphs, write_variant
from edgeconv.export.variants.candidates import Candidate, candidates, combined
from edgeconv.export.variants.decide import decide, gain
from edgeconv.export.variants.material import Material
from edgeconv.export.variants.measure import Bench, Progress, objection
from edgeconv.export.variants.report import GraphTrial, GraphTuning, VariantResult
from edgeconv.manifest import Artifact
from edgeconv.records import Result

__all__ = ["estimate_graphs", "tune_graphs"]

_INT8 = "int8"
Compare = Callable[[Sequence[Candidate]], list[list[VariantResult]]]


def tune_graphs(
    bundle: Bundle,
    material: Material,
    artifacts: Sequence[Artifact],
    target: str,
    *,
    seconds: float,
    progress: Progress = lambda done, total, description: None,
) -> GraphTuning:
    """Measure variants of the bundle's graph on a target, in turns with the bundle's own artefacts.

    Args:
        bundle: what is tuned.
        material: of it.
        artifacts: those of the bundle that count.
        target: where to measure.
        seconds: of inference for each artefact, all variants together.
        progress: called with (done, total, what is done next).

    Raises:
        DeviceError: the target cannot be reached, or its Python cannot run the agent.
        ExportError: the bundle's own graph cannot be made again.
    """
    folder = tempfile.TemporaryDirectory(prefix="edgeconv-variants-")
    with folder as directory, Bench(target, seconds, progress) as bench:
        comparison = _Measured(bundle, material, artifacts, bench, Path(directory), progress)
        trials, choices = _search(_candidates(bundle, material), material, comparison, lambda: bench.exact)
    return GraphTuning(f"measured on {target}", trials, choices)


def estimate_graphs(bundle: Bundle, material: Material, artifacts: Sequence[Artifact]) -> GraphTuning:
    """The same by a cost model, for want of a target: latencies are estimates, qualities those of the Q/DQ graphs.

    Raises:
        ExportError: the bundle's own graph cannot be made again.
    """
    trials, choices = _search(
        _candidates(bundle, material), material, _Estimated(bundle, material, artifacts), lambda: True
    )
    return GraphTuning(LATENCY_BASIS, trials, choices)


def _candidates(bundle: Bundle, material: Material) -> list[Candidate]:
    return candidates(material.subject.trace().graph, material.start, material.exported)


def _search(
    found: Sequence[Candidate], material: Material, compare: Compare, exact: Callable[[], bool]
) -> tuple[list[GraphTrial], Choices]:
    """Each candidate by itself, then all that are better together; if that is not better still, the best of them."""
    results = compare(found)
    verdicts = [decide(result, exact=exact()) for result in results]
    better = sorted((i for i, (taken, _) in enumerate(verdicts) if taken), key=lambda i: -gain(results[i]))
    winner, together = (found[better[0]] if better else None), list[GraphTrial]()
    joint = combined([found[i] for i in better], material.start, material.exported)
    if winner is not None and joint.name != winner.name:
        (measured,) = compare([joint])
        taken, remark = decide(measured, exact=exact())
        taken = taken and gain(measured) > gain(results[better[0]])
        together.append(GraphTrial(joint.name, joint.exported, measured, taken, remark))
        winner = joint if taken else winner
    trials = [
        GraphTrial(one.name, one.exported, result, one is winner, remark)
        for one, result, (_, remark) in zip(found, results, verdicts, strict=True)
    ]
    return [*trials, *together], material.exported if winner is None else winner.exported


class _Measured:
    """Makes bundles of candidates and measures them beside the one that they are variants of."""

    def __init__(
        self,
        bundle: Bundle,
        material: Material,
        artifacts: Sequence[Artifact],
        bench: Bench,
        directory: Path,
        progress: Progress,
    ) -> None:
        self._bundle, self._material, self._artifacts = bundle, material, artifacts
        self._bench, self._directory, self._progress = bench, directory, progress
        self._estimate = _Estimated(bundle, material, artifacts)
        self._count = 0

    def __call__(self, found: Sequence[Candidate]) -> list[list[VariantResult]]:
        made: dict[int, Variant] = {}
        rows: list[list[VariantResult]] = []
        for index, candidate in enumerate(found):
            self._progress(index, len(found), f"making {candidate.name}")
            try:
                graphs = variant_graphs(self._material, candidate.choices, self._artifacts)
                rows.append(self._estimate.of(graphs))
                made[index] = self._write(graphs)
            except EdgeconvError as error:
                rows[index:] = [self._estimate.none(error.message)]
        bundles = [self._bundle, *(variant.bundle for variant in made.values())]
        measured = self._bench.measure(bundles, self._artifacts) if made else {}
        for place, (index, variant) in enumerate(made.items(), 1):
            rows[index] = [self._completed(row, variant, place, measured) for row in rows[index]]
        return rows

    def _write(self, graphs: Graphs) -> Variant:
        self._count += 1
        path = self._directory / f"variant-{self._count}"
        return write_variant(path, self._bundle, self._material, graphs, self._artifacts)

    def _completed(
        self, row: VariantResult, variant: Variant, place: int, measured: Mapping[tuple[int, str, str], Result]
    ) -> VariantResult:
        kind = (row.runtime, row.precision)
        if kind in variant.failures:
            return dataclasses.replace(row, objection=variant.failures[kind])
        base, result = (measured[number, row.runtime, row.precision] for number in (0, place))
        ratio = median_ratio(base, result, exact=self._bench.exact)
        words = objection(result, variant.bundle)
        if ratio is None:
            words = words or "; ".join([*base.invalid_reasons, *result.invalid_reasons])
        return dataclasses.replace(
            row,
            bytes=variant.bundle.manifest.artifact(*kind).total_bytes,
            ratio=ratio,
            sqnr_db=result.drift.total.sqnr_db if result.drift is not None else None,
            base_sqnr_db=base.drift.total.sqnr_db if base.drift is not None else None,
            objection=words,
        )


class _Estimated:
    """Makes only the graphs of candidates: their quality is that of the references, their latency an estimate."""

    def __init__(self, bundle: Bundle, material: Material, artifacts: Sequence[Artifact]) -> None:
        self._bundle, self._material, self._artifacts = bundle, material, artifacts
        graph = material.subject.trace()
        self._base = {folds: estimate_latency_ms(graph, folds=folds) for folds in (True, False)}

    def __call__(self, found: Sequence[Candidate]) -> list[list[VariantResult]]:
        rows = []
        for candidate in found:
            try:
                rows.append(self.of(variant_graphs(self._material, candidate.choices, self._artifacts)))
            except EdgeconvError as error:
                rows.append(self.none(error.message))
        return rows

    def none(self, reason: str) -> list[VariantResult]:
        """Of graphs that could not be made."""
        return [self._row(artifact, 1.0, None, reason) for artifact in self._artifacts]

    def of(self, graphs: Graphs) -> list[VariantResult]:
        """One candidate, for each artefact."""
        golden = variant_golden(self._material, graphs)
        return [
            self._row(
                artifact,
                self._ratio(graphs, artifact),
                _sqnr_db(golden, _reference(artifact)),
                graphs.no_int8.get(conversion_key(artifact).scheme, "") if artifact.precision == _INT8 else "",
            )
            for artifact in self._artifacts
        ]

    def _row(self, artifact: Artifact, estimate: float, sqnr_db: float | None, words: str) -> VariantResult:
        own = _sqnr_db(self._material.golden, _reference(artifact))
        return VariantResult(
            artifact.runtime, artifact.precision, None, artifact.total_bytes, None, estimate, sqnr_db, own, words
        )

    def _ratio(self, graphs: Graphs, artifact: Artifact) -> float:
        folds = folds_constants(artifact.runtime)
        return estimate_latency_ms(graphs.fp32, folds=folds) / self._base[folds]


def _reference(artifact: Artifact) -> str:
    return artifact.reference if artifact.precision == _INT8 else "onnx"


def _sqnr_db(golden: GoldenArrays, reference: str) -> float | None:
    """Against PyTorch's outputs; None where nothing differs, or the reference could not be made."""
    if not any(name.startswith(f"{reference}.") for name in golden):
        return None
    return compare_outputs(golden_outputs(golden, "torch"), golden_outputs(golden, reference)).sqnr_db
