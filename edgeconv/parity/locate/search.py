"""The search itself: every operator in the runtime, fed with the reference's own input, in the order of the graph.

In the running network an error of one operator reaches all that follow, and rounding grows on its own; so an operator
is judged *alone*, by what it makes of the reference's input:

1. An int8 operator may be one step of its output's quantiser off, never more (the design's layer-by-layer rule).
2. A float operator must keep the SQNR of its precision's class.
3. Between two precisions, where the graph of the artefact's own does not reproduce its golden outputs or is not there,
   rounding is expected; an operator below `_ROUNDING_DB` does more than round (healthy ones lie at 29 dB and above),
   and so does one with a channel that is off far more than its others (healthy ones: by 9 dB at most).
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.benchmarks.drift import golden_outputs
from edgeconv.bundles import Bundle
from edgeconv.errors import DataError, EdgeconvError, ModelError
from edgeconv.export.executor import Array
from edgeconv.export.jobs import has_float_outputs, qdq_reference, scheme_of
from edgeconv.export.onnxruntime import read_graph
from edgeconv.manifest import Artifact
from edgeconv.parity.locate import nowhere
from edgeconv.parity.locate.layers import StepReference
from edgeconv.parity.locate.readings import Reading, read_layers, sqnr_db
from edgeconv.parity.locate.variant import VariantRunner, open_variant
from edgeconv.parity.location import NOT_FINITE_DB, Location
from edgeconv.records import LayerDrift
from edgeconv.runtimes import get_runtime

__all__ = ["locate_in_artifact"]

_INT8 = "int8"
_MAX_STEPS = 1
_HEALTHY_DB = {"fp32": 80.0, "fp16": 45.0, _INT8: 60.0}  # int8: its float islands
_ROUNDING_DB = 20.0
_LONE_CHANNEL_DB = 25.0
_REPRODUCED_DB = {"fp32": 90.0, _INT8: 40.0}  # on another processor a Q/DQ graph may round the other way here and there
_MOST_CASES = 4
_WORST = 3


@dataclasses.dataclass(frozen=True)
class _Case:
    """One golden case: raw inputs, and what the reference makes of them."""

    raw: dict[str, Array]
    values: dict[str, Array]


def locate_in_artifact(bundle: Bundle, runtime: str, precision: str) -> Location:
    """The first operator of an artefact that departs from a graph of the bundle which reproduces its golden outputs.

    Raises:
        EdgeconvError: the artefact is not there, or its runtime is not installed or refuses it.
    """
    artifact = bundle.manifest.artifact(runtime, precision)
    get_runtime(runtime).version()
    unfit = []
    location = None
    failures: tuple[type[Exception], ...] = (EdgeconvError, *get_runtime("onnxruntime").failures())
    for graph in _graphs(bundle, artifact):
        name = _golden_name(graph, artifact)
        try:
            model = read_graph(bundle.directory / graph.path, float_outputs=has_float_outputs(name))
            reference = StepReference(model)
        except failures as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            unfit.append(f"{graph.path} cannot be computed ({words[-1].rstrip('.')})")
            continue
        cases = list(_cases(bundle, reference))
        if not _reproduces(bundle, graph, name, cases):
            unfit.append(f"{graph.path} does not give its own golden outputs")
            continue
        found = _search(bundle, artifact, reference, graph, cases)
        if found.found:
            return found
        location = location or found
    reasons = "; ".join(unfit) or "the bundle has no ONNX graph"
    return location or nowhere(runtime, precision, f"there is no reference to compare with: {reasons}")


def _graphs(bundle: Bundle, artifact: Artifact) -> list[Artifact]:
    """The bundle's ONNX graphs: that of the artefact's own precision first, then the other one."""
    found = [a for a in bundle.manifest.artifacts if a.path.endswith(".onnx") and a.precision in _REPRODUCED_DB]
    scheme = scheme_of(artifact.reference)
    alike = [
        a for a in found if a.precision != _INT8 or artifact.precision != _INT8 or scheme_of(a.reference) == scheme
    ]
    unique = {_golden_name(a, artifact): a for a in reversed(alike)}
    return sorted(unique.values(), key=lambda a: (a.precision == _INT8) != (artifact.precision == _INT8))


def _golden_name(graph: Artifact, artifact: Artifact) -> str:
    """The golden outputs of a graph that `artifact` is compared with: with float outputs where it has them."""
    if graph.precision != _INT8:
        return "onnx"
    freed = artifact.precision == _INT8 and has_float_outputs(artifact.reference)
    return qdq_reference(scheme_of(graph.reference), float_outputs=freed)


def _cases(bundle: Bundle, reference: StepReference) -> Iterator[_Case]:
    for index, raw in enumerate(read_cases(bundle.golden, bundle.manifest.inputs)):
        if index == _MOST_CASES:
            return
        feeds = {port.name: normalise(raw[port.name], port) for port in bundle.manifest.inputs}
        outputs, values = reference.run(feeds)
        yield _Case(raw, {**values, **outputs})


def _reproduces(bundle: Bundle, graph: Artifact, name: str, cases: Sequence[_Case]) -> bool:
    """Whether a graph still gives the golden outputs that were made with it."""
    try:
        golden = golden_outputs(bundle.golden_arrays(), name)
    except DataError:
        return False
    bound = _REPRODUCED_DB[graph.precision]
    for index, case in enumerate(cases):
        for port, wanted in golden.items():
            if port not in case.values or not _at_least(sqnr_db(wanted[index], case.values[port]), bound):
                return False
    return bool(cases)


def _search(
    bundle: Bundle, artifact: Artifact, reference: StepReference, graph: Artifact, cases: Sequence[_Case]
) -> Location:
    crossing = (graph.precision == _INT8) != (artifact.precision == _INT8)
    with tempfile.TemporaryDirectory(prefix="edgeconv-locate-") as temporary:
        source = bundle.directory / artifact.path
        loose, tapped = (
            open_variant(source, artifact, reference.layers, cut, Path(temporary) / str(cut)) for cut in (True, False)
        )
        runners = [
            VariantRunner(v, artifact.runtime, bundle.manifest.inputs, reference.layers) for v in (loose, tapped)
        ]
        readings: list[Reading] = []
        for case in cases:
            alone, running = (_run(runner, artifact, case) for runner in runners)
            readings = read_layers(reference, loose, case.values, alone, running)
            broken = next((r for r in readings if _is_broken(r, artifact.precision, crossing)), None)
            if broken is not None:
                return _named(artifact, graph, broken, readings, crossing)
    return _unnamed(artifact, readings, crossing)


def _run(runner: VariantRunner, artifact: Artifact, case: _Case) -> dict[str, Array]:
    try:
        return runner.run(case.raw, case.values)
    except get_runtime(artifact.runtime).failures() as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{artifact.runtime} fails to run {artifact.path} with its layers laid open: {words[-1]}"
        ) from error


def _is_broken(reading: Reading, precision: str, crossing: bool) -> bool:
    if reading.not_finite:
        return True
    if crossing:
        return not (_at_least(reading.alone_db, _ROUNDING_DB) and _at_least(reading.lone_channel_db, _LONE_CHANNEL_DB))
    if reading.steps is not None:
        return reading.steps > _MAX_STEPS
    return not _at_least(reading.alone_db, _HEALTHY_DB[precision])


def _named(
    artifact: Artifact, graph: Artifact, broken: Reading, readings: Sequence[Reading], crossing: bool
) -> Location:
    where = f"{broken.operator} of module {broken.module}" if broken.module else broken.operator
    if broken.not_finite:
        alone = f"{broken.not_finite} of its {math.prod(broken.layer.shape)} values are NaN or infinite"
    else:
        alone = f"fed with the reference's own input, its output is at {_db(broken.alone_db)}"
        if crossing and broken.lone_channel_db is not None:
            alone += f", one channel of it at {_db(broken.lone_channel_db)}"
        if broken.steps is not None and not crossing:
            alone += f", up to {broken.steps} steps of its quantiser off"
    message = (
        f"{artifact.runtime} {artifact.precision} first breaks at {where} (tensor {broken.layer.name}): {alone}. "
        f"In the running network its input is at {_db(broken.before_db)} and its output at {_db(broken.after_db)}, "
        f"against {graph.path}."
    )
    stage = "quantisation" if crossing and artifact.precision == _INT8 else "runtime"
    return Location(
        artifact.runtime,
        artifact.precision,
        stage,
        broken.operator,
        broken.module,
        broken.layer.name,
        broken.before_db,
        broken.after_db,
        broken.alone_db,
        message,
        _rows(readings),
    )


def _unnamed(artifact: Artifact, readings: Sequence[Reading], crossing: bool) -> Location:
    judged = [reading for reading in readings if reading.alone_db is not None]
    worst = sorted(judged, key=lambda reading: reading.alone_db or 0.0)[:_WORST]
    listed = ", ".join(f"{r.operator} of {r.name} at {_db(r.alone_db)}" for r in worst)
    message = (
        f"{artifact.runtime} {artifact.precision}: no single operator is to blame, each is within its bound on the "
        f"reference's own input; the error builds up. Least exact alone: {listed or 'none, all are identical'}."
    )
    stage = "quantisation" if crossing and artifact.precision == _INT8 else "runtime"
    return Location(artifact.runtime, artifact.precision, stage, "", "", "", None, None, None, message, _rows(readings))


def _rows(readings: Sequence[Reading]) -> list[LayerDrift]:
    return [LayerDrift(r.name, r.operator, r.alone_db, r.after_db) for r in readings]


def _at_least(value: float | None, bound: float) -> bool:
    return value is None or value >= bound


def _db(value: float | None) -> str:
    if value is None:
        return "no difference"
    return "NaN or infinity" if value <= NOT_FINITE_DB else f"{value:.1f} dB"
