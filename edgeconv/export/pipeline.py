"""The way a model takes: load, trace, rewrite, simplify, calibrate, quantise, convert, bundle."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from edgeconv.devices.profile import DeviceProfile, Target, load_profile
from edgeconv.errors import ExportError, UsageError
from edgeconv.export.bundle import Supply, write_bundle
from edgeconv.export.conversion import CONVERTERS
from edgeconv.export.data import TARGET_KEY, Array, input_ports
from edgeconv.export.decide import improvement, settles_ranges, start_choices
from edgeconv.export.describe import describe_bundle
from edgeconv.export.gate_prices import GatePrices, with_gate_prices
from edgeconv.export.golden import GoldenArrays, Reference, golden_arrays, quantised_references
from edgeconv.export.graphs import Graphs, make_graphs
from edgeconv.export.jobs import ASYMMETRIC, ConversionKey, qdq_reference, scheme_of
from edgeconv.export.lowering import Lowered, lower
from edgeconv.export.mixed.report import MixedReport
from edgeconv.export.mixed.target import QualityTarget, make_target
from edgeconv.export.options import BuiltBundle, ExportOptions, ExportResult
from edgeconv.export.proof import check_share, demand_int8, with_least_share
from edgeconv.export.rank_dial import RankDial, with_ranks
from edgeconv.export.recipe import make_recipe
from edgeconv.export.subject import Subject, load_subject
from edgeconv.files import refuse_existing, refuse_existing_file
from edgeconv.manifest import Artifact, Failure, Manifest, Port
from edgeconv.packing import pack_bundle, packed_path
from edgeconv.parity.metrics import get_metric
from edgeconv.rewrite import CompressGates
from edgeconv.rewrite.compress_gates import FOLDED

__all__ = ["Progress", "build_bundle"]

Progress = Callable[[str], None]
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_INT8 = "int8"


def build_bundle(options: ExportOptions, progress: Progress = lambda stage: None) -> ExportResult:
    """Export a trained model to one bundle for each device.

    Args:
        options: what to export; see `ExportOptions`.
        progress: called with the name of each stage when it begins.

    Raises:
        EdgeconvError: bad input, before anything is written; nothing half-written stays.
    """
    stage = _Stages(progress)
    profiles = _profiles(options)
    choices = start_choices(options)
    target = make_target(options.min_sqnr_db, options.max_drop)
    multiple = max(profile.channel_multiple for profile in profiles)
    dial = RankDial(options.rank_energy, options.macs_budget, multiple)
    with stage("load"):
        subject = load_subject(options)
        name = _UNSAFE.sub("-", options.name or subject.name).strip("-.") or "model"
        paths = {profile.name: options.output / f"{name}-{profile.name}" for profile in profiles}
        for path in paths.values():
            refuse_existing(path, options.force)
            if options.pack:
                _refuse_zip(packed_path(path), options.force)
        ports = input_ports(subject.golden, subject.shapes, options.mean, options.std)
        if (options.metric or options.max_drop) and any(port.name == TARGET_KEY for port in ports):
            raise UsageError(
                f"The model has an input named {TARGET_KEY}, and what a metric is taken against is called so in data.",
                "Rename the parameter of forward, or leave out --metric and --max-drop.",
            )
        improve = with_ranks(dial, subject, ports, improvement(options, subject, ports, progress))
        if target is not None:
            target.check(subject.golden, subject.calibration is not None)
    supplies: dict[str, Supply] = {}
    if options.with_wheels:  # before the long work begins: what cannot be had is known at once
        with stage("wheels"):
            supplies = {profile.name: _supply(profile, options, progress) for profile in profiles}
    with stage("trace"):
        traced = subject.trace()
    schemes = _schemes(profiles, options)
    settle = settles_ranges(options)
    graphs = make_graphs(traced, subject, ports, schemes, stage, choices, improve, settle, options.learn_seconds)
    mixed: MixedReport | None = None
    if target is not None:
        with stage("mixed precision"):
            graphs, mixed = _rescue(graphs, subject, ports, target, profiles, options, progress)
    with stage("golden cases"):
        golden = golden_arrays(subject.golden, ports, _references(subject, graphs))
    bundles = []
    with tempfile.TemporaryDirectory(prefix="edgeconv-export-") as temporary:
        with stage("convert"):
            lowered = lower(
                graphs.fp32,
                graphs.int8_models,
                [key for profile in profiles for key in _wanted(profile, options)],
                Path(temporary),
                no_int8=graphs.no_int8,
                progress=lambda job: progress(f"converted to {job.runtime} {job.precision}"),
            )
            outcomes = [o.artifact if isinstance(o, Lowered) else o for o in lowered.values()]
            demand_int8(outcomes, options.min_int8_share)
        with stage("bundle"):
            gates = GatePrices(graphs.fp32.graph, graphs.choices.gate_rank)
            outcomes_of = {profile.name: _sorted_out(profile, options, lowered) for profile in profiles}
            for profile in profiles:  # all of them have something by now: nothing is replaced for a failed export
                made, failures = outcomes_of[profile.name]
                artifacts = with_gate_prices([one.artifact for one in made], gates)
                sources = {path: file for one in made for path, file in one.files.items()}
                path = paths[profile.name]
                cases = _cases(golden, graphs, artifacts)
                manifest = describe_bundle(path.name, profile, subject, ports, graphs, cases, artifacts, failures)
                manifest = with_least_share(manifest, options.min_int8_share)
                supply = supplies.get(profile.name, {})
                recipe = make_recipe(manifest, graphs)
                manifest = write_bundle(
                    path, manifest, sources, cases, supply, recipe=recipe, mixed=mixed, force=options.force
                )
                if options.pack:
                    pack_bundle(path, manifest)
                bundles.append(_built(path, manifest, options.pack))
    return ExportResult(bundles, stage.times_ns, graphs.search, mixed, graphs.learn, list(_notes(graphs)))


class _Stages:
    """Announces stages and times them."""

    def __init__(self, progress: Progress) -> None:
        self.times_ns: dict[str, int] = {}
        self._progress = progress

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._progress(name)
        start = time.perf_counter_ns()
        yield
        self.times_ns[name] = time.perf_counter_ns() - start


def _profiles(options: ExportOptions) -> list[DeviceProfile]:
    """The profiles asked for; every other name in the options is checked as well."""
    if not options.devices:
        raise UsageError("No device was named.", "Use --device, for example --device raspberry-pi-5.")
    for runtime in options.runtimes:
        if runtime not in CONVERTERS:
            raise UsageError(f"No runtime is called {runtime!r}.", f"There are: {', '.join(CONVERTERS)}.")
    if options.metric is not None:
        get_metric(options.metric)
    check_share(options.min_int8_share)
    profiles = list({profile.name: profile for profile in map(load_profile, options.devices)}.values())
    for profile in profiles:
        if not _wanted(profile, options):
            there = dict.fromkeys(target.runtime for target in profile.targets)
            raise UsageError(
                f"{profile.name} has no {' or '.join(options.runtimes)}, so its bundle would be empty.",
                f"Name one that it has: {', '.join(there)}; or export for it by itself.",
            )
    return profiles


def _refuse_zip(path: Path, force: bool) -> None:
    """Raise `UsageError` when the packed bundle may not be (re)written."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder, and the packed bundle would have that name.", "Name another -o.")
    refuse_existing_file(path, force)


def _supply(profile: DeviceProfile, options: ExportOptions, progress: Progress) -> Supply:
    from edgeconv.export.wheels import make_supply

    return make_supply(profile, list(dict.fromkeys(key.runtime for key in _wanted(profile, options))), progress)


def _rescue(
    graphs: Graphs,
    subject: Subject,
    ports: Sequence[Port],
    target: QualityTarget,
    profiles: Sequence[DeviceProfile],
    options: ExportOptions,
    progress: Progress,
) -> tuple[Graphs, MixedReport]:
    """Leave operators in float until the target is met, as far as the bundles have int8 artefacts for it."""
    from edgeconv.export.mixed.rescue import rescue_operators

    int8 = [[key for key in _wanted(profile, options) if key.precision == _INT8] for profile in profiles]
    return rescue_operators(graphs, subject, ports, target, int8, lambda words: progress(f"mixed precision: {words}"))


def _notes(graphs: Graphs) -> Iterator[str]:
    """What was asked for and had no effect."""
    form = graphs.choices.gates
    if form != FOLDED and CompressGates.name not in [rewrite.name for rewrite in graphs.rewrites]:
        yield (
            f"--gates {form} changed nothing: the model has no constant gate map that takes fewer bytes so "
            "(an expression that of few terms, reduced one of 64x64 or more)."
        )


def _references(subject: Subject, graphs: Graphs) -> dict[str, Reference]:
    from edgeconv.export.reference import ReferenceRunner

    names = [value.name or "" for value in graphs.fp32.graph.outputs]

    def original(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(names, subject.run(inputs), strict=True))

    exact: dict[str, Reference] = {"torch": original, "onnx": ReferenceRunner(graphs.fp32).run}
    return exact | quantised_references(graphs.int8_models)


def _cases(golden: GoldenArrays, graphs: Graphs, artifacts: Sequence[Artifact]) -> GoldenArrays:
    """The golden cases without the Q/DQ references that no artefact of the bundle is judged by."""
    references = {artifact.reference for artifact in artifacts}
    needed = {qdq_reference(scheme) for scheme in (ASYMMETRIC, *map(scheme_of, references))} | references
    left_out = {qdq_reference(s, float_outputs=freed) for s in graphs.int8 for freed in (False, True)} - needed
    return {name: array for name, array in golden.items() if name.split(".")[0] not in left_out}


def _job_key(profile: DeviceProfile, target: Target) -> ConversionKey:
    if target.precision != _INT8:
        return ConversionKey(target.runtime, target.precision)
    activations = profile.onnx_activations if target.runtime == "onnxruntime" else _INT8
    return ConversionKey(target.runtime, target.precision, activations, target.quantisation)


def _schemes(profiles: Sequence[DeviceProfile], options: ExportOptions) -> list[str]:
    """The quantisation schemes that the devices ask for; the asymmetric one is always made."""
    return list(dict.fromkeys([ASYMMETRIC, *(key.scheme for profile in profiles for key in _wanted(profile, options))]))


def _wanted(profile: DeviceProfile, options: ExportOptions) -> list[ConversionKey]:
    return [
        _job_key(profile, target)
        for target in profile.targets
        if not options.runtimes or target.runtime in options.runtimes
    ]


def _sorted_out(
    profile: DeviceProfile, options: ExportOptions, lowered: Mapping[ConversionKey, Lowered | Failure]
) -> tuple[list[Lowered], list[Failure]]:
    """What was made for the device, and what could not be.

    Raises:
        ExportError: a runtime that was asked for by name failed, or nothing could be made.
    """
    outcomes = [lowered[key] for key in _wanted(profile, options)]
    made = [outcome for outcome in outcomes if isinstance(outcome, Lowered)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    reasons = "; ".join(f"{f.runtime} {f.precision}: {f.reason}" for f in failures)
    if failures and options.runtimes:
        raise ExportError(f"A runtime that was asked for failed for {profile.name}: {reasons}")
    if not made:
        raise ExportError(f"Nothing could be made for {profile.name}: {reasons or 'no artefact was asked for'}.")
    return made, failures


def _built(path: Path, manifest: Manifest, pack: bool) -> BuiltBundle:
    beside = packed_path(path)
    return BuiltBundle(
        str(path),
        manifest.device,
        str(beside) if pack else None,
        sum(artifact.total_bytes for artifact in manifest.artifacts),
        [f"{artifact.runtime} {artifact.precision}" for artifact in manifest.artifacts],
        manifest.failures,
        str(beside) if beside.is_file() and not pack else None,
    )
