"""Gradient descent on the parameters of a Q/DQ graph, towards the outputs of the fp32 graph."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from edgeconv.export.executor import Array
from edgeconv.export.learn.interpreter import Interpreter
from edgeconv.export.learn.parameters import Parameters

__all__ = ["learn_parameters", "plan_steps"]

_TIMED_STEPS = 3
_WARM_UP_STEPS = 20
_LEAST_RATE = 0.02  # of the full rate, at the end
_BETAS = (0.9, 0.99)


def learn_parameters(
    model: ir.Model, inputs: Sequence[Mapping[str, Array]], targets: Sequence[Sequence[Array]], steps: int
) -> None:
    """Learn the Q/DQ graph `model` in place: one sample a step, Adam, its rate falling as a cosine.

    The loss is the energy of the difference from `targets` over theirs, summed over the outputs. The same arguments
    give the same bytes on the same machine.

    Args:
        model: the Q/DQ graph.
        inputs: normalised samples.
        targets: for each sample what the float outputs should be, in the graph's order.
        steps: how many updates.
    """
    parameters = Parameters(model)
    with _repeatable():
        _run(model, parameters, inputs, targets, steps)
    parameters.store()


def plan_steps(
    model: ir.Model, inputs: Sequence[Mapping[str, Array]], targets: Sequence[Sequence[Array]], seconds: float
) -> int:
    """How many steps `seconds` are enough for on this machine now, at least one; the graph is not changed."""
    parameters = Parameters(model)
    with _repeatable():
        _run(model, parameters, inputs, targets, 1)  # the first one allocates
        start = time.perf_counter()
        _run(model, parameters, inputs, targets, _TIMED_STEPS)
        taken = (time.perf_counter() - start) / _TIMED_STEPS
    return max(1, int(seconds / taken))


def _run(
    model: ir.Model,
    parameters: Parameters,
    inputs: Sequence[Mapping[str, Array]],
    targets: Sequence[Sequence[Array]],
    steps: int,
) -> None:
    network = Interpreter(model, parameters.replaced)
    energies = [np.mean([np.square(t[i], dtype=np.float64).mean() for t in targets]) for i in range(len(targets[0]))]
    optimiser = torch.optim.Adam(parameters.groups(), betas=_BETAS)
    full = [group["lr"] for group in optimiser.param_groups]
    order = np.random.default_rng(0)
    for step in range(steps):
        for group, rate in zip(optimiser.param_groups, full, strict=True):
            group["lr"] = rate * _rate(step, steps)
        index = int(order.integers(len(inputs)))
        found = network.run(inputs[index], parameters.values())
        loss = _loss(found, targets[index], energies)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        parameters.clip()


def _rate(step: int, steps: int) -> float:
    falling = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * max(falling, _LEAST_RATE)


def _loss(found: Sequence[Tensor], wanted: Sequence[Array], energies: Sequence[float]) -> Tensor:
    losses = [
        (ours - torch.from_numpy(theirs)).square().mean() / max(float(energy), 1e-30)
        for ours, theirs, energy in zip(found, wanted, energies, strict=True)
        if ours.dtype.is_floating_point
    ]
    return torch.stack(losses).sum()


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """One thread and deterministic kernels, as they were before afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
