"""The part of `edgeconv tune` that is about other graphs: what it needs is opened before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeconv.benchmarks.agent.tools import TOOLS
from edgeconv.benchmarks.run import select_artifacts
from edgeconv.bundles import Bundle
from edgeconv.errors import UsageError
from edgeconv.export.variants.material import open_material
from edgeconv.export.variants.measure import Progress
from edgeconv.export.variants.recipe import write_tuned_recipe
from edgeconv.export.variants.report import GraphTuning
from edgeconv.export.variants.tuning import estimate_graphs, tune_graphs

__all__ = ["TuneGraphs"]

_INT8 = "int8"


class TuneGraphs:
    """Graphs of the model of a bundle, for some of its artefacts: the int8 ones, where no precision is named.

    Raises:
        UsageError: there is no such artefact, none that an agent measures, or there are no calibration data.
        BundleError: golden cases or recipe are damaged.
        DataError: the calibration data cannot be used.
    """

    def __init__(
        self, bundle: Bundle, calibration: str | None, runtimes: Sequence[str], precisions: Sequence[str]
    ) -> None:
        chosen = select_artifacts(bundle, runtimes or None, precisions or (_INT8,))
        self._artifacts = [artifact for artifact in chosen if artifact.runtime not in TOOLS]
        if not self._artifacts:
            raise UsageError("The artefacts asked for are measured by tools of their own, which compare no graphs.")
        self._bundle, self._material = bundle, open_material(bundle, calibration)

    def measure(self, target: str, seconds: float, progress: Progress, recipe: Path) -> GraphTuning:
        """On a target; what is better is written to `recipe`, else an earlier run's is removed; see `tune_graphs`."""
        tuning = tune_graphs(self._bundle, self._material, self._artifacts, target, seconds=seconds, progress=progress)
        return self._written(tuning, recipe)

    def estimate(self, recipe: Path) -> GraphTuning:
        """By the cost model; likewise. See `estimate_graphs`."""
        return self._written(estimate_graphs(self._bundle, self._material, self._artifacts), recipe)

    def _written(self, tuning: GraphTuning, recipe: Path) -> GraphTuning:
        if tuning.changed:
            write_tuned_recipe(self._bundle, tuning, recipe)
        else:
            recipe.unlink(missing_ok=True)
        return tuning
