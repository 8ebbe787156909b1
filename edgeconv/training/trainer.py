"""Training of a task: a seeded loop, its checkpoint and the record of what made it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.files import atomic_write_bytes, check_writable, sha256_bytes
from edgeconv.layers.sve import sve_loss
from edgeconv.manifest import Normalisation
from edgeconv.models.checkpoint import load_weights
from edgeconv.parity.metrics import get_metric
from edgeconv.training.regularisers import weight_at
from edgeconv.training.tasks import Recipe, Task
from edgeconv.training.tasks.base import sample_rng

__all__ = ["TrainingResult", "evaluate", "load_trained", "train"]

EVALUATION_SAMPLES = 32
_WARM_UP = 0.04  # share of the steps
_GRADIENT_NORM = 1.0
_BATCHES = 301  # key of the training batches' generator


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A finished training: where it lies and how good it is on held-out samples."""

    task: str
    checkpoint: Path
    record: Path
    metric: str
    value: float
    untrained: float | None  # the metric of the input itself, where input and output are both images
    final_loss: float
    steps: int
    seed: int
    seconds: float


def train(
    task: Task,
    *,
    output: Path,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    gates: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> TrainingResult:
    """Train `task` and write its weights to `output` (.safetensors) and the record beside it (.json).

    The same seed, steps and thread count give the same weights on the same machine.  Nothing is written before the end.
    `progress` is told (step, steps, loss in words) after every step.

    Raises:
        UsageError: `output` has another suffix or exists, `steps` < 1, no such device.
        ModelError: the loss or a weight became infinite or NaN.
    """
    recipe = task.recipe if steps is None else dataclasses.replace(task.recipe, steps=steps)
    record_path = _check_request(output, recipe.steps, seed)
    target = _device(device)
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = task.build_model(*task.input_shape[2:], gates=gates)
        model = model.to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
        final_loss = _fit(model, task, recipe, seed, target, progress)
    model = model.to("cpu")
    weights = _serialise(model)

    values = evaluate(model, task, EVALUATION_SAMPLES)
    seconds = time.monotonic() - started
    result = TrainingResult(
        task=task.name,
        checkpoint=output,
        record=record_path,
        metric=task.metric,
        value=float(np.mean(values)),
        untrained=_metric_of_input(task),
        final_loss=final_loss,
        steps=recipe.steps,
        seed=seed,
        seconds=seconds,
    )
    record = _record(result, recipe, values, gates=gates, device=target, weights=weights, model=model)
    atomic_write_bytes(output, weights)
    atomic_write_bytes(record_path, (json.dumps(record, indent=2) + "\n").encode())
    return result


def evaluate(model: nn.Module, task: Task, count: int) -> list[float]:
    """The task's metric of each of the first `count` held-out samples, in evaluation mode on the CPU."""
    metric = get_metric(task.metric)
    inputs, targets = task.evaluation(count)
    model.eval()
    values = []
    with torch.inference_mode():
        for image, target in zip(inputs, targets, strict=True):
            output = model(_normalised(image[None], task.normalisation)).numpy()
            values.append(metric(output, target[None]))
    return values


def load_trained(task: Task, checkpoint: Path | None = None, *, gates: bool = True) -> nn.Module:
    """The task's model with its packaged weights (or `checkpoint`'s), in evaluation mode.

    Raises:
        CheckpointError: the file is missing or does not fit the model.
    """
    model = task.build_model(*task.input_shape[2:], gates=gates)
    load_weights(model, task.checkpoint_path if checkpoint is None else checkpoint)
    return model.eval()


def _fit(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int, str], None] | None,
) -> float:
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate_factor(step, recipe.steps))
    rng = sample_rng(_BATCHES, seed)
    value = math.nan
    model.train()
    for step in range(1, recipe.steps + 1):
        inputs, targets = task.training_batch(rng, recipe.batch_size)
        x = _normalised(inputs, task.normalisation).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
            outputs = model(x)
        loss = task.loss(outputs.float(), torch.from_numpy(targets).to(device))
        if recipe.sve_weight:
            loss = loss + weight_at(step, recipe.steps, recipe.sve_weight, recipe.sve_schedule) * sve_loss(model)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise ModelError(
                f"Training of {task.name} diverged: at step {step} of {recipe.steps} the loss is {value} "
                f"and the gradient's norm {float(norm)}.",
                "Nothing was written. Try another --seed, or more --steps (a longer warm-up).",
            )
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, recipe.steps, f"loss {value:.4f}")
    return value


def _learning_rate_factor(step: int, steps: int) -> float:
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _normalised(images: np.ndarray[Any, Any], normalisation: Normalisation) -> Tensor:
    mean = torch.tensor(normalisation.mean).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
    return (torch.from_numpy(images).float() * normalisation.scale - mean) / std


def _check_request(output: Path, steps: int, seed: int) -> Path:
    if output.suffix != ".safetensors":
        raise UsageError(f"The output {output} must end in .safetensors.", f"For example -o {output.stem}.safetensors")
    if steps < 1:
        raise UsageError(f"A training needs at least one step, not {steps}.", "Use --steps 1 or more.")
    if not 0 <= seed < 2**63:
        raise UsageError(f"The seed {seed} is none: it must be at least 0 and below 2^63.")
    record = output.with_suffix(".json")
    for path in (output, record):
        if path.exists():
            raise UsageError(f"{path} exists already and is kept as it is.", "Move it away, or choose another -o.")
        check_writable(path)
    return record


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # which the meta device refuses
    except (RuntimeError, AssertionError) as error:  # torch asserts that CUDA was compiled in
        reason = str(error).splitlines()[0]
        raise UsageError(f"PyTorch cannot use the device {name!r}: {reason}", "Use --device cpu.") from error
    return device


def _serialise(model: nn.Module) -> bytes:
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ModelError(f"After training, {bad[0]} (of {len(bad)} tensors) is not finite.", "Try another --seed.")
    return save(state)


def _metric_of_input(task: Task) -> float | None:
    if task.metric != "psnr":
        return None
    inputs, targets = task.evaluation(EVALUATION_SAMPLES)
    return get_metric(task.metric)(_normalised(inputs, task.normalisation).numpy(), targets)


def _record(
    result: TrainingResult,
    recipe: Recipe,
    values: list[float],
    *,
    gates: bool,
    device: torch.device,
    weights: bytes,
    model: nn.Module,
) -> dict[str, Any]:
    flags = "" if gates else " --without-gates"
    held_out: dict[str, Any] = {"metric": result.metric, "samples": len(values), "value": round(result.value, 4)}
    if result.untrained is not None:
        held_out["value_of_input"] = round(result.untrained, 4)
    held_out["values"] = [round(value, 4) for value in values]
    return {
        "task": result.task,
        "command": f"edgeconv train {result.task} --steps {result.steps} --seed {result.seed}{flags} "
        f"--device {device} -o {result.checkpoint.name}",
        "seed": result.seed,
        "gates": gates,
        **dataclasses.asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "final_loss": round(result.final_loss, 5),
        "seconds": round(result.seconds),
        "threads": torch.get_num_threads(),
        "versions": {p: importlib.metadata.version(p) for p in ("torch", "numpy", "scipy", "scikit-image", "pillow")},
        "sha256": sha256_bytes(weights),
        "held_out": held_out,
    }
