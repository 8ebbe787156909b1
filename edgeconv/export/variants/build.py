"""A variant of a bundle: its graphs, and a bundle of its own that can run where the first one does."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgeconv.bundles import PACK_PATH, WHEELS_PATH, Bundle, load_bundle
from edgeconv.errors import ExportError
from edgeconv.export.bundle import place_artifact, write_bundle
from edgeconv.export.choices import Choices
from edgeconv.export.conversion import convert_all
from edgeconv.export.golden import GoldenArrays, Reference, golden_arrays
from edgeconv.export.graphs import Graphs, make_graphs
from edgeconv.export.jobs import ASYMMETRIC, ConversionJob, ConversionKey, qdq_reference
from edgeconv.export.variants.material import Material
from edgeconv.manifest import Artifact, Failure, Tolerance
from edgeconv.parity.tolerance import default_tolerances

__all__ = ["Variant", "conversion_key", "variant_golden", "variant_graphs", "write_variant"]

_INT8 = "int8"
_SUPPLIED = (f"{WHEELS_PATH}/", f"{Path(PACK_PATH).parent}/")  # what brings a runtime to the device


@dataclasses.dataclass(frozen=True)
class Variant:
    """A bundle of the same model; `failures` say of each artefact that it lacks why, by runtime and precision."""

    bundle: Bundle
    failures: Mapping[tuple[str, str], str]


def conversion_key(artifact: Artifact) -> ConversionKey:
    """The conversion that makes an artefact of the same kind from another graph."""
    scheme = artifact.reference.partition("-")[2] or ASYMMETRIC  # the inverse of `qdq_reference`
    if artifact.precision != _INT8:
        return ConversionKey(artifact.runtime, artifact.precision)
    return ConversionKey(artifact.runtime, artifact.precision, artifact.facts.get("activations", _INT8), scheme)


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
    for scheme, quantised in graphs.int8.items():
        references[qdq_reference(scheme)] = ReferenceRunner(quantised.model).run
    return {**material.golden, **golden_arrays(material.subject.golden, material.ports, references)}


def write_variant(
    path: Path, base: Bundle, material: Material, graphs: Graphs, artifacts: Sequence[Artifact]
) -> Variant:
    """Convert what corresponds to `artifacts` of the bundle `base`, and write the bundle `path`.

    Raises:
        ExportError: none of them can be made.
    """
    from edgeconv.graph import save_graph

    work = path.with_name(f"{path.name}-files")
    work.mkdir()
    fp32 = work / "fp32.onnx"
    save_graph(graphs.fp32, fp32)
    sources = {scheme: work / f"{scheme}.onnx" for scheme in graphs.int8}
    for scheme, source in sources.items():
        save_graph(graphs.int8[scheme].model, source)
    jobs, failures = [], dict[tuple[str, str], str]()
    keys = {conversion_key(artifact): artifact for artifact in artifacts}
    for key in keys:
        if key.precision == _INT8 and key.scheme not in sources:
            failures[key.runtime, key.precision] = graphs.no_int8[key.scheme]
            continue
        directory = work / f"{key.scheme}-{key.activations}"
        directory.mkdir(exist_ok=True)
        source = sources[key.scheme] if key.precision == _INT8 else fp32
        jobs.append(ConversionJob(key.runtime, key.precision, str(source), str(directory), key.activations, key.scheme))
    made, files = [], dict[str, Path]()
    for key, outcome in convert_all(jobs, lambda job, outcome: None).items():
        if isinstance(outcome, Failure):
            failures[key.runtime, key.precision] = outcome.reason
            continue
        artifact = place_artifact(outcome)
        made.append(artifact)
        for name in [artifact.path, *(companion.path for companion in artifact.companions)]:
            files[name] = work / f"{key.scheme}-{key.activations}" / Path(name).name
    if not made:
        raise ExportError(f"Nothing could be made of the variant: {'; '.join(failures.values())}.")
    supply = {
        entry.path: base.directory / entry.path for entry in base.manifest.files if entry.path.startswith(_SUPPLIED)
    }
    manifest = dataclasses.replace(
        base.manifest,
        name=path.name,
        artifacts=made,
        files=[],
        failures=[],
        rewrites=graphs.rewrites,
        tolerances=_tolerances(base, graphs),
    )
    write_bundle(path, manifest, files, variant_golden(material, graphs), supply)
    return Variant(load_bundle(path), failures)


def _tolerances(base: Bundle, graphs: Graphs) -> list[Tolerance]:
    """The bundle's own, but where the variant approximates what the bundle computes exactly."""
    exact = all(rewrite.equivalence == "exact" for rewrite in graphs.rewrites if rewrite.kept)
    return base.manifest.tolerances if exact else default_tolerances("approximated")


@contextlib.contextmanager
def _quiet(_: str) -> Iterator[None]:
    yield
