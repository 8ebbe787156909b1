"""`edgeconv export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from edgeconv.commands.terminal import EXIT_FAILED, Terminal
from edgeconv.errors import TargetMissedError
from edgeconv.export.options import ExportOptions

__all__ = ["export"]

_Repeat = Parameter(negative="", consume_multiple=False, show_default=False)
_Flag = Parameter(negative="", show_default=False)


def export(
    model: str,
    /,
    *,
    device: Annotated[tuple[str, ...], _Repeat] = ("host",),
    weights: Path | None = None,
    input_shape: Annotated[tuple[str, ...], _Repeat] = (),
    calibration: str | None = None,
    calibration_count: int = 64,
    eval: str | None = None,  # noqa: A002 — the flag's name
    metric: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    nmf_iterations: int | None = None,
    runtime: Annotated[tuple[str, ...], _Repeat] = (),
    quality: str = "default",
    ranges: str | None = None,
    recipe: Path | None = None,
    gates: str | None = None,
    gate_rank: int | None = None,
    rank_energy: float | None = None,
    macs_budget: float | None = None,
    min_sqnr: float | None = None,
    max_drop: str | None = None,
    learn: float | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("bundles"),
    name: str | None = None,
    min_int8_share: float = 0.0,
    with_wheels: Annotated[bool, _Flag] = False,
    pack: Annotated[bool, _Flag] = False,
    force: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Make a self-contained, verified bundle of a trained model for each device.

    Examples: `edgeconv export vessels --device raspberry-pi-5`, or `edgeconv export net.py:factory
    --weights w.safetensors --input-shape 1x3x160x224 --calibration images/ --device raspberry-pi-5 -o out --json`.

    Parameters
    ----------
    model
        A built-in name (vessels, deblur, …), file.py:factory, package.module:factory, a .pt2 or an .onnx file.
    device
        Device profile, by name or as a .toml file; repeat it for several. By default host; see `edgeconv devices`.
    weights
        Checkpoint: .safetensors, .pt or .pth. Without it the factory's own weights are used.
    input_shape
        Like 1x3x160x224; for several inputs NAME=1x3x160x224, once for each.
    calibration
        What int8 ranges are taken from: folder of images, .npy, .npz or file.py:function. 4 to 64 samples are enough.
    calibration_count
        At most so many calibration samples are used.
    eval
        Data of the golden cases, like --calibration; a .npz can hold an array named target. Without it some of the
        calibration samples are kept from calibration.
    metric
        Task metric of the golden cases with a target: dice, iou, auroc, top1, psnr, ssim, or your own
        file.py:function or package.module:function with function(outputs, targets) -> float, higher is better.
    mean
        Mean of the inputs, one value or one for each channel (0.485,0.456,0.406); 8-bit images are scaled to 0…1 first.
    std
        Standard deviation of the inputs, likewise.
    nmf_iterations
        Iterations of the model's NMF layers, a dial: fewer are faster and a little less exact than it was trained with.
    runtime
        Only this runtime (litert, onnxruntime, openvino); repeat for several. One that fails is then an error.
    quality
        default, or best: of pairs merged to dense kernels, range estimators, gauges, strengths of equalisation and the
        ranges of single tensors those that win on calibration samples that are held back. Takes about a minute more.
    ranges
        Where the 8-bit grids end: percentile (99.99), percentile-99.999, minmax, peaks (what 1,000 images should stay
        within), entropy or mse. By default percentile, or peaks where clipping is measured to cost more than 3 dB.
    recipe
        recipe.json of an earlier bundle, or that bundle, as a folder or .zip: its choices are repeated. With the same
        model, data and tools this gives the same model files.
    gates
        How constant gate maps are stored: folded (the default), expression (factors of low rank, which ONNX Runtime and
        OpenVINO multiply when they load) or reduced (a quarter of the resolution). The last two are approximations.
    gate_rank
        Separable terms of each channel of a gate that is an expression; 4 by default.
    rank_energy
        Cut the channels between two convolutions with nothing between them down to those that keep at least this share
        of the pair's output energy on the calibration data, like 0.99. The model is then only approximated.
    macs_budget
        Likewise, cutting where it loses least until the whole model takes at most this share of its
        multiply-accumulates (0.7), or so many (2.5e8).
    min_sqnr
        Leave operators in float until no golden case has a signal-to-quantisation-noise ratio against PyTorch below
        so many decibels; each with its price in milliseconds on this machine. Exit code 1 where that cannot be reached.
    max_drop
        Likewise, until the task metric is at most so much lower than PyTorch's: METRIC=VALUE, like dice=0.002.
    learn
        Learn biases, ranges and weights of the int8 graph for about so many seconds after everything else, on one core.
        Kept only where that wins 0.2 dB on calibration samples held back and loses nothing on shifted copies of them.
    output
        Folder in which NAME-DEVICE folders are made.
    name
        Name of the bundles; by default the model's.
    min_int8_share
        Fail where an int8 artefact computes less than this part (0 to 1) of its multiply-accumulates on integers, as
        its own runtime's optimiser tells on this machine; the operators in float are named.
    with_wheels
        Add what the device needs to measure, so that nothing is installed on it: the wheels of the runtimes for its
        Python and C library, or a whole Python where it has none (Android). pip fetches them from its index.
    pack
        Also write each bundle as one .zip, which every verb opens; int8 files are .xz in it.
    force
        Replace bundles that exist.
    json
        Print the paths and sizes as JSON.
    """
    options = ExportOptions(
        model=model,
        weights=weights,
        input_shapes=input_shape,
        devices=device,
        calibration=calibration,
        calibration_count=calibration_count,
        evaluation=eval,
        metric=metric,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        nmf_iterations=nmf_iterations,
        runtimes=runtime,
        quality=quality,
        ranges=ranges,
        recipe=recipe,
        gates=gates,
        gate_rank=gate_rank,
        rank_energy=rank_energy,
        macs_budget=macs_budget,
        min_sqnr_db=min_sqnr,
        max_drop=max_drop,
        learn_seconds=learn,
        output=output,
        name=name,
        pack=pack,
        min_int8_share=min_int8_share,
        with_wheels=with_wheels,
        force=force,
    )
    terminal = Terminal(json)
    try:
        with terminal.stages("export") as progress:
            from edgeconv.export.pipeline import build_bundle

            result = build_bundle(options, progress)
    except TargetMissedError as error:
        terminal.console.print(f"[bold red]✗[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return EXIT_FAILED
    if json:
        terminal.print_json(result)
        return 0
    from edgeconv.benchmarks.tables import bundle_table
    from edgeconv.bundles import load_bundle

    if result.search is not None:
        from edgeconv.export.search.table import search_table

        terminal.console.print(search_table(result.search))
    if result.mixed is not None:
        from edgeconv.export.mixed.table import mixed_lines, mixed_tables

        if result.mixed.rescues:
            for table in mixed_tables(result.mixed):
                terminal.console.print(table, "")
        for line in mixed_lines(result.mixed):
            terminal.console.print(escape(line), highlight=False)
    if result.learn is not None:
        from edgeconv.export.learn.report import learn_line

        terminal.console.print(escape(learn_line(result.learn)), highlight=False)
    for note in result.notes:
        terminal.console.print(escape(note), highlight=False)
    for built in result.bundles:
        terminal.console.print(bundle_table(load_bundle(Path(built.path)).manifest))
        terminal.done(f"{built.packed or built.path}")
        if built.outdated is not None:
            words = f"{built.outdated} is of an earlier export; --pack writes it anew."
            terminal.console.print(escape(words), highlight=False, soft_wrap=True)
    return 0


def _numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    from edgeconv.errors import UsageError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} {text!r} is no list of numbers.", "Write 0.5 or 0.485,0.456,0.406.") from None
