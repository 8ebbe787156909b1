"""A bundle's own fp32 graph as a model to export: with its golden cases, and data to calibrate with."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgeconv.bundles import Bundle
from edgeconv.errors import UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Array, Sample, SampleSource, open_source
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.options import ExportOptions
from edgeconv.export.recipe import RECIPE_PATH, read_recipe
from edgeconv.export.subject import Subject, task_calibration
from edgeconv.manifest import Port

__all__ = ["Material", "open_material"]

_GRAPH = ("onnxruntime", "fp32")
_TASK = "built-in task "


@dataclasses.dataclass(frozen=True)
class Material:
    """What variants are made of.

    exported: the choices that the bundle was made with.
    start: the same for a graph that is adapted already: channels have their ranges, pairs are merged.
    golden: all arrays of the golden cases.
    """

    subject: Subject
    ports: list[Port]
    exported: Choices
    start: Choices
    golden: GoldenArrays


def open_material(bundle: Bundle, calibration: str | None = None) -> Material:
    """Read the bundle's fp32 graph and its golden cases, and open calibration data.

    Args:
        bundle: as `load_bundle` returns it.
        calibration: see `open_source`; without it those of the built-in task that the bundle is of. Samples that are
            golden cases are left out, and no more are taken than the export took.

    Raises:
        UsageError: there are no calibration data, or the bundle has no fp32 ONNX graph.
        BundleError: the golden cases or the recipe are damaged.
        DataError: the calibration data cannot be used.
    """
    from edgeconv.export.reference import ReferenceRunner
    from edgeconv.graph import load_graph

    manifest = bundle.manifest
    artifact = next((a for a in manifest.artifacts if (a.runtime, a.precision) == _GRAPH), None)
    if artifact is None:
        raise UsageError(
            f"Bundle {manifest.name} has no {' '.join(_GRAPH)} artefact, which other graphs are made from.",
            "Export it for a device that gets one, such as host.",
        )
    path = bundle.directory / artifact.path
    shapes = {port.name: tuple(port.shape) for port in manifest.inputs}
    golden = bundle.golden_arrays()
    runner = ReferenceRunner(load_graph(path))

    def run(inputs: Mapping[str, Array]) -> list[Array]:
        return list(runner.run(inputs).values())

    recipe = read_recipe(bundle.directory) if (bundle.directory / RECIPE_PATH).is_file() else None
    taken = recipe.calibration if recipe is not None else None
    samples = _samples(golden, list(shapes))
    count = ExportOptions.calibration_count if taken is None else taken.samples
    subject = Subject(
        manifest.model.name,
        manifest.model.source,
        manifest.model.weights_sha256,
        manifest.model.parameters,
        shapes,
        samples,
        _kept_apart(_calibration(bundle, shapes, calibration), samples, count),
        manifest.metric,
        lambda: load_graph(path),
        run,
    )
    exported = Choices() if recipe is None else recipe.choices
    start = dataclasses.replace(exported, balancing=False, equalisation=0.0, merged_pairs=(), ranks={})
    return Material(subject, manifest.inputs, exported, start, golden)


def _samples(golden: GoldenArrays, names: list[str]) -> list[Sample]:
    count = len(golden[f"input.{names[0]}"])
    return [{name: golden[f"input.{name}"][index] for name in names} for index in range(count)]


def _calibration(bundle: Bundle, shapes: dict[str, tuple[int, ...]], spec: str | None) -> SampleSource:
    from edgeconv.training.tasks import get_task, task_names

    if spec is not None:
        return open_source(spec, shapes)
    model = bundle.manifest.model
    if model.source.startswith(_TASK) and model.name in task_names():
        return task_calibration(get_task(model.name), shapes)
    raise UsageError(
        f"Bundle {bundle.manifest.name} is of {model.source}, whose calibration data are not at hand.",
        "Give what it was exported with: --calibration.",
    )


def _kept_apart(source: SampleSource, golden: Sequence[Sample], count: int) -> SampleSource:
    """The first `count` samples that are no golden case: what a graph is judged on must not have made it.

    Where there are no others, all serve both, as in the export.
    """

    def is_golden(sample: Sample) -> bool:
        return any(all(np.array_equal(sample[name], array) for name, array in case.items()) for case in golden)

    def others() -> Iterator[Sample]:
        return itertools.islice((sample for sample in source if not is_golden(sample)), count)

    def all_of_them() -> Iterator[Sample]:
        return itertools.islice(iter(source), count)

    return SampleSource(source.description, all_of_them if next(others(), None) is None else others)
