"""A variant of a bundle: its graphs, and a bundle of its own that can run where the first one does."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgeconv.bundles import Bundle, load_bundle
from edgeconv.errors import ExportError
from edgeconv.export.bundle import write_bundle
from edgeconv.export.choices import Choices
from edgeconv.export.golden import GoldenArrays, Reference, golden_arrays, quantised_references
from edgeconv.export.graphs import Graphs, make_graphs
from edgeconv.export.jobs import ASYMMETRIC, ConversionKey, scheme_of
from edgeconv.export.lowering import Lowered, lower
from edgeconv.export.variants.material import Material
from edgeconv.manifest import Artifact, Failure, Tolerance
from edgeconv.parity.tolerance import default_tolerances

__all__ = ["Variant", "conversion_key", "variant_golden", "variant_graphs", "write_variant"]

_INT8 = "int8"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A bundle of the same model; `failures` say of each artefact that it lacks why, by runtime and precision."""

    bundle: Bundle
    failures: Mapping[tuple[str, str], str]


def conversion_key(artifact: Artifact) -> ConversionKey:
    """The conversion that makes an artefact of the same kind from another graph."""
    if artifact.precision != _INT8:
        return ConversionKey(artifact.runtime, artifact.precision)
    activations = artifact.facts.get("activations", _INT8)
    return ConversionKey(artifact.runtime, artifact.precision, activations, scheme_of(artifact.reference))


def variant_graphs(material: Material, choices: Choices, artifacts: Sequence[Artifact]) -> Graphs:
    """The graphs of `choices`, with the quantisation schemes that the artefacts need.

    Raises:
        ExportError: a graph does not run.
        DataError: a calibration sample is not finite.
    """
    schemes = list(dict.fromkeys([ASYMMETRIC, *(conversion_key(artifact).scheme for artifact in artifacts)]))
    return make_graphs(material.subject.trace(), material.subject, material.ports, schemes, _quiet, choices)


def variant_golden(material: Material, graphs: Graphs) -> GoldenArrays:
    """The bundle's golden cases with the variant's own references."""
    from edgeconv.export.reference import ReferenceRunner

    references: dict[str, Reference] = {"onnx": ReferenceRunner(graphs.fp32).run}
    references |= quantised_references(graphs.int8_models)
    return {**material.golden, **golden_arrays(material.subject.golden, material.ports, references)}


def write_variant(
    path: Path, base: Bundle, material: Material, graphs: Graphs, artifacts: Sequence[Artifact]
) -> Variant:
    """Convert what corresponds to `artifacts` of the bundle `base`, and write the bundle `path`.

    Raises:
        ExportError: none of them can be made.
    """
    work = path.with_name(f"{path.name}-files")
    work.mkdir()
    keys = [conversion_key(artifact) for artifact in artifacts]
    lowered = lower(graphs.fp32, graphs.int8_models, keys, work, no_int8=graphs.no_int8)
    made = [outcome for outcome in lowered.values() if isinstance(outcome, Lowered)]
    failures = {(o.runtime, o.precision): o.reason for o in lowered.values() if isinstance(o, Failure)}
    if not made:
        raise ExportError(f"Nothing could be made of the variant: {'; '.join(failures.values())}.")
    files = {name: file for one in made for name, file in one.files.items()}
    manifest = dataclasses.replace(
        base.manifest,
        name=path.name,
        artifacts=[one.artifact for one in made],
        files=[],
        failures=[],
        rewrites=graphs.rewrites,
        tolerances=_tolerances(base, graphs),
    )
    write_bundle(path, manifest, files, variant_golden(material, graphs), base.supply)
    return Variant(load_bundle(path), failures)


def _tolerances(base: Bundle, graphs: Graphs) -> list[Tolerance]:
    """The bundle's own, but where the variant approximates what the bundle computes exactly."""
    exact = all(rewrite.equivalence == "exact" for rewrite in graphs.rewrites if rewrite.kept)
    return base.manifest.tolerances if exact else default_tolerances("approximated")


@contextlib.contextmanager
def _quiet(_: str) -> Iterator[None]:
    yield
