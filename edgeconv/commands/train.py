"""`edgeconv train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["train"]


def train(
    task: str,
    /,
    *,
    steps: int | None = None,
    seed: int = 0,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    device: str = "cpu",
    without_gates: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Train a built-in task from nothing and write its checkpoint with the held-out metric beside it.

    Example: `edgeconv train vessels --seed 0 -o vessels.safetensors`.

    Parameters
    ----------
    task
        vessels, deblur or vessels-factorizer.
    steps
        Optimiser steps; by default the number that made the shipped checkpoint.
    seed
        Seed of the data, the weights and the order.
    output
        Checkpoint to write; by default TASK.safetensors here.
    device
        PyTorch device, for example cuda.
    without_gates
        The same network without its coordinate gates, for comparison.
    """
    from edgeconv.training.tasks import get_task
    from edgeconv.training.trainer import train as run

    terminal = Terminal()
    chosen = get_task(task)
    with terminal.steps(f"train {task}") as update:
        result = run(
            chosen,
            output=output or Path(f"{task}.safetensors"),
            steps=steps,
            seed=seed,
            device=device,
            gates=not without_gates,
            progress=update,
        )
    before = "" if result.untrained is None else f" (the input itself: {result.untrained:.3f})"
    terminal.done(
        f"{result.checkpoint}: held-out {result.metric} {result.value:.4f}{before}, "
        f"{result.steps} steps in {result.seconds:.0f} s; see {result.record.name}"
    )
    return 0
