"""Layers as the runtimes on a target compute them: their tensors in the running network, and each operator alone.

Both are bundles of their own that the agent runs like any other, so the same words serve this machine and a device.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, TargetAgent
from edgeconv.bundles import Bundle, load_bundle
from edgeconv.devices.transports import open_transport
from edgeconv.errors import EdgeconvError, ExportError
from edgeconv.export.bundle import write_bundle
from edgeconv.export.executor import Array
from edgeconv.export.operator_bundle import OperatorBundle
from edgeconv.export.operator_parity import OperatorParity
from edgeconv.export.twins import to_int8
from edgeconv.files import sha256_file
from edgeconv.manifest import Artifact, FileEntry
from edgeconv.parity.locate.layers import Layer
from edgeconv.parity.locate.variant import open_variant

__all__ = ["check_operators_on", "read_layers_on"]

_MOST_BYTES = 64 << 20  # of inner tensors that a target holds and sends back at once
_FLOAT_BYTES = 4
_ONCE = RunSettings.counted(1).protocol
Step = Callable[[int, int, str], None]
Found = tuple[Artifact, dict[str, Array]]


def read_layers_on(
    target: str,
    bundle: Bundle,
    artifacts: Sequence[Artifact],
    layers: Sequence[Layer],
    cases: Sequence[Mapping[str, Array]],
    step: Step,
    problems: list[str],
) -> Iterator[Found]:
    """Artefact by artefact, in portions that bound the memory: the real values of `layers`, stacked over the cases.

    Args:
        target: where to run.
        bundle: whose artefacts, profile and wheels are used.
        artifacts: of the bundle.
        layers: those of the Q/DQ graph; one that an artefact does not keep by name is left out.
        cases: raw inputs.
        step: called with (done, total, what is next).
        problems: what could not be read is added, in words.
    """
    portions = list(_portions(layers, len(cases)))
    total = len(portions) * len(artifacts)
    with tempfile.TemporaryDirectory(prefix="edgeconv-drift-") as temporary, closing(open_transport(target)) as reached:
        refused: set[tuple[str, str]] = set()
        for number, portion in enumerate(portions):
            made: list[Artifact] = []
            for artifact in artifacts:
                if (artifact.runtime, artifact.precision) in refused:
                    continue
                try:
                    made.append(_laid_open(bundle, artifact, portion, Path(temporary) / str(number)))
                except EdgeconvError as error:
                    refused.add((artifact.runtime, artifact.precision))
                    problems.append(f"{artifact.runtime} {artifact.precision}: {error}")
            if not made:
                continue
            opened = _write(bundle, Path(temporary) / f"layers-{number}", made, portion, cases)
            agent = TargetAgent(reached, opened)
            for place, artifact in enumerate(made):
                step(number * len(artifacts) + place, total, f"{artifact.runtime} {artifact.precision}")
                result, outputs = agent.measure(Measurement(artifact, 1, _ONCE))
                if not outputs:
                    refused.add((artifact.runtime, artifact.precision))
                    reasons = "; ".join(result.invalid_reasons)
                    problems.append(f"{artifact.runtime} {artifact.precision} with its layers laid open: {reasons}")
                else:
                    yield artifact, outputs


def check_operators_on(
    target: str,
    bundle: Bundle,
    model: ir.Model,
    sample: Mapping[str, Array],
    runtimes: Mapping[str, str],
    step: Step,
    problems: list[str],
) -> list[OperatorParity]:
    """Every operator of the Q/DQ graph, fed with the reference's own integers, in each runtime on the target.

    Args:
        target: where to run.
        bundle: whose profile and wheels are used.
        model: the Q/DQ graph.
        sample: normalised inputs of the whole graph.
        runtimes: each with the activations that it gets, "int8" or "uint8".
        step: called with (done, total, what is next).
        problems: what could not be checked is added, in words.
    """
    operators = OperatorBundle(to_int8(model), sample)
    rows: list[OperatorParity] = []
    with tempfile.TemporaryDirectory(prefix="edgeconv-drift-") as temporary, closing(open_transport(target)) as reached:
        for number, (runtime, activations) in enumerate(runtimes.items()):
            step(number, len(runtimes), f"operators in {runtime}")
            path = Path(temporary) / f"operators-{runtime}"
            try:
                operators.write(
                    path,
                    device=bundle.manifest.device,
                    runtimes=[runtime],
                    activations=activations,
                    supply=bundle.supply,
                )
            except ExportError as error:
                problems.append(f"{runtime}: its operators cannot be checked one by one: {error}")
                continue
            written = load_bundle(path)
            (artifact,) = written.manifest.artifacts
            result, outputs = TargetAgent(reached, written).measure(Measurement(artifact, 1, _ONCE))
            if not outputs:
                problems.append(f"{runtime}: its operators one by one: {'; '.join(result.invalid_reasons)}")
                continue
            rows += operators.compare({(runtime, artifact.precision): outputs})
    return rows


def _portions(layers: Sequence[Layer], cases: int) -> Iterator[list[Layer]]:
    """The layers in order, each portion as large as fits, or one layer that does not."""
    portion: list[Layer] = []
    size = 0
    for layer in layers:
        own = math.prod(layer.shape) * _FLOAT_BYTES * cases
        if portion and size + own > _MOST_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(layer)
        size += own
    if portion:
        yield portion


def _laid_open(bundle: Bundle, artifact: Artifact, layers: Sequence[Layer], to: Path) -> Artifact:
    """The artefact with `layers` as its outputs; its paths are where the files lie now."""
    folder = to / f"{artifact.runtime}-{artifact.precision}"
    variant = open_variant(bundle.directory / artifact.path, artifact, layers, False, folder)
    if not variant.layers:
        raise ExportError(f"{artifact.path} keeps none of {len(layers)} layers' tensors by name.")
    others = sorted(path for path in folder.iterdir() if path != variant.path)
    main, *companions = (FileEntry(str(p), sha256_file(p), p.stat().st_size) for p in (variant.path, *others))
    return dataclasses.replace(
        artifact,
        path=main.path,
        sha256=main.sha256,
        bytes=main.bytes,
        inputs=variant.inputs,
        outputs=variant.outputs,
        companions=companions,
    )


def _write(
    bundle: Bundle, path: Path, made: list[Artifact], layers: Sequence[Layer], cases: Sequence[Mapping[str, Array]]
) -> Bundle:
    sources: dict[str, Path] = {}

    def placed(file: str, artifact: Artifact) -> str:
        name = f"models/{artifact.runtime}-{artifact.precision}-{Path(file).name}"
        sources[name] = Path(file)
        return name

    for index, artifact in enumerate(made):
        companions = [dataclasses.replace(c, path=placed(c.path, artifact)) for c in artifact.companions]
        made[index] = dataclasses.replace(artifact, path=placed(artifact.path, artifact), companions=companions)
    manifest = dataclasses.replace(
        bundle.manifest, outputs=[layer.port for layer in layers], artifacts=made, files=[], failures=[], metric=None
    )
    golden = {f"input.{port.name}": np.stack([case[port.name] for case in cases]) for port in manifest.inputs}
    write_bundle(path, manifest, sources, golden, bundle.supply)
    return load_bundle(path)
