"""`edgeconv compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from edgeconv.compression import CompressionReport

__all__ = ["compress"]

_Flag = Parameter(negative="", show_default=False)


def compress(
    model: str,
    /,
    *,
    weights: Path | None = None,
    input_shape: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (),
    calibration: str | None = None,
    calibration_count: int = 16,
    energy: float | None = None,
    budget: float | None = None,
    multiple: int = 1,
    finetune: int = 0,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    force: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Turn a trained dense CNN into an SFConv network and say what was lost.

    Every dense convolution becomes a horizontal and a vertical one where that saves work. With --calibration the
    ranks and the factors are those that keep most of what each layer really computes. The result is a .pt2 file, which
    `edgeconv export` takes as a model.

    Example: `edgeconv compress net.py:factory --weights w.safetensors --input-shape 1x3x160x224
    --calibration images/ --budget 0.5 -o net-half.pt2`.

    Parameters
    ----------
    model
        A built-in name, file.py:factory or package.module:factory.
    weights
        Checkpoint: .safetensors, .pt or .pth.
    input_shape
        Like 1x3x160x224, of several inputs NAME=1x3x160x224, one option each; a built-in task knows its own.
    calibration
        Folder of images, .npy, .npz or file.py:function; half of it judges. Without it the kernels alone decide, and
        noise judges.
    calibration_count
        At most so many samples are used.
    energy
        Each layer keeps this share of its output's energy (default 0.99 when there is no --budget).
    budget
        The convolutions keep this share of their multiply-accumulates.
    multiple
        Ranks are multiples of this; int8 kernels like 8.
    finetune
        Steps of distillation towards the dense model afterwards.
    output
        The .pt2 file; by default NAME-sfconv.pt2 here.
    force
        Replace the file if it exists.
    json
        Print the report as JSON.
    """
    from edgeconv.compression.command import compress_model

    terminal = Terminal(json)
    with terminal.stages("compress") as progress:
        path, report = compress_model(
            model,
            weights,
            input_shape,
            calibration,
            calibration_count,
            energy=0.99 if energy is None and budget is None else energy,
            budget=budget,
            multiple=multiple,
            finetune_steps=finetune,
            output=output,
            force=force,
            progress=progress,
        )
    if json:
        terminal.print_json(report)
        return 0
    terminal.console.print(_table(report))
    sqnr = "identical" if report.output_sqnr_db is None else f"{report.output_sqnr_db:.1f} dB"
    terminal.console.print(
        f"parameters {report.parameters_before:,} -> {report.parameters_after:,}, multiply-accumulates of the dense "
        f"convolutions {report.macs_before / 1e6:,.4g} -> {report.macs_after / 1e6:,.4g} million, "
        f"output against the dense model {sqnr}",
        highlight=False,
    )
    if finetune and not report.finetuned_steps:
        terminal.console.print("fine-tuning brought the output no nearer: the factors are as they were before it")
    terminal.done(str(path))
    return 0


def _table(report: CompressionReport) -> Table:
    from rich.markup import escape

    from edgeconv.tables import plain_table

    table = plain_table()
    for column in ("layer", "kernel", "rank", "break-even", "MACs", "energy lost", "why dense"):
        table.add_column(column, justify="left" if column in ("layer", "why dense") else "right")
    for layer in report.layers:
        table.add_row(
            escape(layer.name),
            "x".join(map(str, layer.kernel)),
            "dense" if layer.rank is None else str(layer.rank),
            str(layer.break_even_rank),
            f"{layer.macs_after / max(layer.macs_before, 1):.2f}",
            "–" if layer.rank is None else f"{layer.energy_lost:.2%}",
            layer.reason,
        )
    return table
