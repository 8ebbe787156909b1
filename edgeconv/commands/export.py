"""`edgeconv export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal
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
    runtime: Annotated[tuple[str, ...], _Repeat] = (),
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("bundles"),
    name: str | None = None,
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
    runtime
        Only this runtime (litert, onnxruntime, openvino); repeat for several. One that fails is then an error.
    output
        Folder in which NAME-DEVICE folders are made.
    name
        Name of the bundles; by default the model's.
    with_wheels
        Add what the device needs to measure, so that nothing is installed on it: the wheels of the runtimes for its
        Python and C library, or a whole Python where it has none (Android). pip fetches them from its index.
    pack
        Also write each bundle as one .zip.
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
        runtimes=runtime,
        output=output,
        name=name,
        pack=pack,
        with_wheels=with_wheels,
        force=force,
    )
    terminal = Terminal(json)
    with terminal.stages("export") as progress:
        from edgeconv.export.pipeline import build_bundle

        result = build_bundle(options, progress)
    if json:
        terminal.print_json(result)
        return 0
    from edgeconv.benchmarks.tables import bundle_table
    from edgeconv.bundles import load_bundle

    for built in result.bundles:
        terminal.console.print(bundle_table(load_bundle(Path(built.path)).manifest))
        terminal.console.print(f"[green]✓[/] {built.packed or built.path}", highlight=False)
    return 0


def _numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    from edgeconv.errors import UsageError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} {text!r} is no list of numbers.", "Write 0.5 or 0.485,0.456,0.406.") from None
