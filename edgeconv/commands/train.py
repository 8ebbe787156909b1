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
    without_gates: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train a built-in task from nothing and write its checkpoint with the held-out metric beside it.

    Example: `edgeconv train vessels --seed 0 -o vessels.safetensors`.

    Parameters
    ----------
    task
        vessels or deblur.
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
    path = output or Path(f"{task}.safetensors")
    with terminal.steps(f"train {task}") as progress:
        result = run(
            chosen, steps=steps, seed=seed, output=path, device=device, gates=not without_gates, progress=progress
        )
    terminal.console.print(result)
    return 0
