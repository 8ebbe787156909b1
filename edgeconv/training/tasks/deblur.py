"""Restoration of photographs that a lens blurred differently in every part of the field."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.manifest import Normalisation
from edgeconv.training.tasks.base import CHECKPOINTS, IMAGE_NORMALISATION, Images, Recipe, Targets, sample_rng
from edgeconv.training.tasks.photographs import TEST_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS, crop
from edgeconv.training.tasks.psf import PSF_RADIUS_PX, blur

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["DeblurTask"]

_CALIBRATION, _EVALUATION = 202, 203
_NOISE = 0.01  # standard deviation, of full scale
_SIZE_PX = 256
_RECIPE = Recipe(steps=2000, batch_size=2, learning_rate=3e-3, weight_decay=1e-4, sve_weight=0.0, bfloat16=False)


@dataclasses.dataclass(frozen=True)
class DeblurTask:
    """Blurred and noisy photograph in, restored photograph out, both in 0..1; see `Task`."""

    name: str = "deblur"
    metric: str = "psnr"
    input_shape: tuple[int, int, int, int] = (1, 1, _SIZE_PX, _SIZE_PX)
    normalisation: Normalisation = IMAGE_NORMALISATION
    recipe: Recipe = _RECIPE
    checkpoint_path: Path = CHECKPOINTS / "deblur.safetensors"

    def build_model(self, height: int = 256, width: int = 256, *, gates: bool = True) -> nn.Module:
        """U-Net of widths 16-32-64 with SFConv pairs; it adds a correction to its input."""
        from edgeconv.models.small_unet import SmallUNet

        return SmallUNet(
            in_channels=1,
            out_channels=1,
            widths=(16, 32, 64),
            height=height,
            width=width,
            rank_scale=0.5,
            gates=gates,
            residual=True,
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Charbonnier's smooth absolute error."""
        from edgeconv.training.losses import charbonnier_loss

        return charbonnier_loss(outputs, targets)

    def training_batch(self, rng: np.random.Generator, size: int) -> tuple[Images, Targets]:
        """Crops of the training photographs."""
        return _batch([_degraded(rng, TRAIN_PHOTOGRAPHS) for _ in range(size)])

    def calibration(self, count: int, seed: int = 0) -> Images:
        """Crops of the training photographs, other ones than trained on."""
        return _batch([_degraded(sample_rng(_CALIBRATION, seed, k), TRAIN_PHOTOGRAPHS) for k in range(count)])[0]

    def evaluation(self, count: int) -> tuple[Images, Targets]:
        """Crops of the test photographs and what they were before the lens."""
        return _batch([_degraded(sample_rng(_EVALUATION, k), TEST_PHOTOGRAPHS) for k in range(count)])


def _degraded(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[Images, Targets]:
    margin = PSF_RADIUS_PX
    scene = crop(rng, names, _SIZE_PX + 2 * margin)
    light = blur(scene)
    light += _NOISE * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(np.rint(255 * light), 0, 255).astype(np.uint8), scene[margin:-margin, margin:-margin]


def _batch(pairs: list[tuple[Images, Targets]]) -> tuple[Images, Targets]:
    return np.stack([image for image, _ in pairs])[:, None], np.stack([scene for _, scene in pairs])[:, None]
