"""Segmentation of blood vessels in fundus photographs, learnt from procedurally grown ones."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.manifest import Normalisation
from edgeconv.training.tasks.base import CHECKPOINTS, IMAGE_NORMALISATION, Images, Recipe, Targets, sample_rng
from edgeconv.training.tasks.fundus import fundus_image

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["VesselsTask"]

# First key of every sample's generator: the three uses of the data never share an image.
_TRAINING, _CALIBRATION, _EVALUATION = 101, 102, 103
_TRAINING_IMAGES = 768  # each seen in eight orientations and any exposure
_RECIPE = Recipe(steps=2000, batch_size=4, learning_rate=3e-3, weight_decay=1e-4, sve_weight=0.1, bfloat16=True)


@dataclasses.dataclass(frozen=True)
class VesselsTask:
    """Green channel in, one logit a pixel out (vessel where positive); see `Task`."""

    name: str = "vessels"
    metric: str = "dice"
    input_shape: tuple[int, int, int, int] = (1, 1, 256, 256)
    normalisation: Normalisation = IMAGE_NORMALISATION
    recipe: Recipe = _RECIPE
    checkpoint_path: Path = CHECKPOINTS / "vessels.safetensors"

    def build_model(self, height: int = 256, width: int = 256, *, gates: bool = True) -> nn.Module:
        """U-Net of widths 16-32-64-128 with SFConv pairs of half the rank."""
        from edgeconv.models.small_unet import SmallUNet

        return SmallUNet(
            in_channels=1,
            out_channels=1,
            widths=(16, 32, 64, 128),
            height=height,
            width=width,
            rank_scale=0.5,
            gates=gates,
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy plus soft Dice."""
        from edgeconv.training.losses import bce_dice_loss

        return bce_dice_loss(outputs, targets)

    def training_batch(self, rng: np.random.Generator, size: int) -> tuple[Images, Targets]:
        """Images drawn from a fixed set, mirrored, turned and exposed at random."""
        pairs = [_augment(rng, *_sample(_TRAINING, int(rng.integers(_TRAINING_IMAGES)))) for _ in range(size)]
        return _stack([image for image, _ in pairs]), _stack([mask for _, mask in pairs]).astype(np.float32)

    def calibration(self, count: int, seed: int = 0) -> Images:
        """Synthetic fundus images of their own."""
        return _stack([fundus_image(sample_rng(_CALIBRATION, seed, k))[0] for k in range(count)])

    def evaluation(self, count: int) -> tuple[Images, Targets]:
        """Synthetic fundus images and the masks of their vessels (0 or 1)."""
        pairs = [fundus_image(sample_rng(_EVALUATION, k)) for k in range(count)]
        return _stack([image for image, _ in pairs]), _stack([mask for _, mask in pairs]).astype(np.float32)


@functools.lru_cache(maxsize=_TRAINING_IMAGES)
def _sample(split: int, index: int) -> tuple[Images, Images]:
    return fundus_image(sample_rng(split, index))


def _augment(rng: np.random.Generator, image: Images, mask: Images) -> tuple[Images, Images]:
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if mirrored:
        image, mask = image[:, ::-1], mask[:, ::-1]
    levels = np.linspace(0, 1, 256) ** rng.uniform(0.8, 1.25) * rng.uniform(0.8, 1.25)
    exposure = np.clip(np.rint(255 * levels), 0, 255).astype(np.uint8)
    return exposure[image], mask


def _stack(images: list[Images]) -> Images:
    return np.stack(images)[:, None]
