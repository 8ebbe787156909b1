"""SVE: does it flatten spectra, does it help the task, does it help int8?  A proxy on synthetic images.

Low-contrast discs on smooth clutter, 64 x 64; a factored U-Net of widths 16-32-64 and rank scale 0.25.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from edgeconv.layers.sfconv import SFConv2d
from edgeconv.layers.sve import spectrum_kl, sve_loss
from edgeconv.models.small_unet import SmallUNet
from edgeconv.parity.metrics import dice
from edgeconv.reproduce.claims import HOLDS, IN_PART, Row, register, verdict
from edgeconv.training.losses import bce_dice_loss

__all__ = ["discs", "train_discs"]

_SIZE, _TRAINING, _TEST = 64, 512, 200
_STEPS, _BATCH, _LEARNING_RATE = 700, 16, 3e-3
_SEEDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What one training gave: Dice on test images, mean KL of the factors, SQNR with int8 weights per tensor."""

    dice: float
    kl: float
    int8_sqnr_db: float


@functools.lru_cache(maxsize=8)
def discs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(count, 1, 64, 64) images of one to three faint discs on smooth clutter, and their masks."""
    rng = np.random.default_rng(seed)
    axis = np.arange(_SIZE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    images = np.empty((count, 1, _SIZE, _SIZE), np.float32)
    masks = np.zeros_like(images)
    for k in range(count):
        clutter = ndimage.gaussian_filter(rng.standard_normal((_SIZE, _SIZE)), 5, mode="wrap")
        clutter *= 0.5 / clutter.std()
        for _ in range(int(rng.integers(1, 4))):
            row, column, radius = rng.uniform(8, 56), rng.uniform(8, 56), rng.uniform(3, 9)
            masks[k, 0][(y - row) ** 2 + (x - column) ** 2 < radius**2] = 1
        images[k, 0] = clutter + 0.35 * masks[k, 0] + 0.25 * rng.standard_normal((_SIZE, _SIZE))
    return torch.from_numpy(images), torch.from_numpy(masks)


def train_discs(weight: float, seed: int, steps: int = _STEPS, test_count: int = _TEST) -> Trained:
    """Train with this weight of the equalisation loss and judge the result."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallUNet(1, 1, widths=(16, 32, 64), height=_SIZE, width=_SIZE, rank_scale=0.25, gates=False)
        images, masks = discs(_TRAINING, 10 + seed)
        optimiser = torch.optim.Adam(model.parameters(), _LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            chosen = torch.randint(_TRAINING, (_BATCH,))
            loss = bce_dice_loss(model(images[chosen]), masks[chosen])
            if weight:
                loss = loss + weight * sve_loss(model)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        test, targets = discs(test_count, 999)
        model.eval()
        with torch.no_grad():
            outputs = model(test)
            kl = torch.stack([spectrum_kl(f) for m in _factored(model) for f in m.factors()]).mean()
            _round_weights(model)
            noise = (model(test) - outputs).square().sum()
        sqnr = 10 * torch.log10(outputs.square().sum() / noise)
        return Trained(dice(outputs.numpy(), targets.numpy()), float(kl), float(sqnr))


def _factored(model: nn.Module) -> list[SFConv2d]:
    return [module for module in model.modules() if isinstance(module, SFConv2d)]


def _round_weights(model: nn.Module) -> None:
    """Every factor to int8 with one scale."""
    for layer in _factored(model):
        for conv in (layer.horizontal, layer.vertical):
            scale = conv.weight.abs().max() / 127
            conv.weight.copy_((conv.weight / scale).round() * scale)


@register("sve", "SVE flattens spectra and lifts accuracy", slow=True)
def equalisation() -> list[Row]:
    """Three weights of the loss, three seeds each."""
    found = {weight: [train_discs(weight, seed) for seed in _SEEDS] for weight in (0.0, 0.1, 1.0)}

    def mean(weight: float, field: str) -> float:
        return float(np.mean([getattr(trained, field) for trained in found[weight]]))

    def spread(weight: float) -> float:
        return float(np.std([trained.dice for trained in found[weight]], ddof=1))

    rows = []
    for weight, (dice_before, kl_before, sqnr_before) in {
        0.0: (0.650, 0.0143, 34.4),
        0.1: (0.665, 0.0088, 34.4),
        1.0: (0.687, 0.0015, 32.2),
    }.items():
        values = f"Dice {mean(weight, 'dice'):.3f} +- {spread(weight):.3f}, KL {mean(weight, 'kl'):.4f}"
        expected = f"Dice {dice_before}, KL {kl_before}, {sqnr_before} dB"
        condition = f"lambda {weight}, 3 seeds, our own discs"
        rows.append(
            Row("a proxy of the claim", condition, expected, f"{values}, {mean(weight, 'int8_sqnr_db'):.1f} dB", "–")
        )
    flatter = mean(1.0, "kl") < 0.5 * mean(0.0, "kl")
    gain = mean(1.0, "dice") - mean(0.0, "dice")
    noise = max(spread(0.0), spread(1.0))
    lifted = HOLDS if gain > 2 * noise else IN_PART if gain > 0 else "does not hold"
    sqnr_gain = mean(1.0, "int8_sqnr_db") - mean(0.0, "int8_sqnr_db")
    kl_words = f"{mean(0.0, 'kl'):.4f} to {mean(1.0, 'kl'):.4f}"
    rows += [
        Row("spectra become flat", "lambda 0 to 1", "KL falls", kl_words, verdict(flatter)),
        Row("accuracy rises", "lambda 0 to 1", "Dice rises", f"{gain:+.3f}, noise {noise:.3f}", lifted),
        Row("int8 weights lose less", "lambda 0 to 1", "SQNR rises", f"{sqnr_gain:+.1f} dB", verdict(sqnr_gain > 0.5)),
    ]
    return rows
