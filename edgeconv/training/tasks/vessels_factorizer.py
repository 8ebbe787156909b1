"""The vessel task on tiles, learnt by a Factorizer: position mixing by matrix factorisation instead of gates."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import UsageError
from edgeconv.training.tasks.base import CHECKPOINTS, Images, Recipe, Targets
from edgeconv.training.tasks.vessels import VesselsTask

if TYPE_CHECKING:
    from torch import nn

__all__ = ["VesselsFactorizerTask"]

_TILE = 128
_RECIPE = Recipe(steps=700, batch_size=4, learning_rate=3e-3, weight_decay=1e-4, sve_weight=0.0, bfloat16=False)


@dataclasses.dataclass(frozen=True)
class VesselsFactorizerTask(VesselsTask):
    """Tiles of 128 x 128 pixels of the images of `vessels`; see `Task`."""

    name: str = "vessels-factorizer"
    input_shape: tuple[int, int, int, int] = (1, 1, _TILE, _TILE)
    recipe: Recipe = _RECIPE
    checkpoint_path: Path = CHECKPOINTS / "vessels-factorizer.safetensors"

    def build_model(self, height: int = _TILE, width: int = _TILE, *, gates: bool = True) -> nn.Module:
        """Three stages of 16, 32 and 64 channels, shifted windows of 8 x 8, rank 1, five iterations.

        Raises:
            UsageError: `gates` is false; there are none to leave out.
        """
        from edgeconv.models.factorizer import Factorizer

        if not gates:
            raise UsageError(f"The task {self.name!r} has no gates to leave out.")
        return Factorizer(1, 1, (height, width), (16, 32, 64), window=8, shifts=(0, 4))

    def training_batch(self, rng: np.random.Generator, size: int) -> tuple[Images, Targets]:
        """A random tile of each augmented image."""
        images, masks = super().training_batch(rng, size)
        corners = rng.integers(0, images.shape[-1] - _TILE + 1, (size, 2))
        return _tiles(images, corners), _tiles(masks, corners)

    def calibration(self, count: int, seed: int = 0) -> Images:
        """The middle tile of images of their own."""
        images = super().calibration(count, seed)
        return _tiles(images, _middle(images))

    def evaluation(self, count: int) -> tuple[Images, Targets]:
        """The middle tile of the held-out images and of the masks of their vessels."""
        images, masks = super().evaluation(count)
        return _tiles(images, _middle(images)), _tiles(masks, _middle(masks))


def _middle(images: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.full((len(images), 2), (images.shape[-1] - _TILE) // 2)


def _tiles(images: npt.NDArray[Any], corners: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    return np.stack(
        [
            image[:, row : row + _TILE, column : column + _TILE]
            for image, (row, column) in zip(images, corners, strict=True)
        ]
    )
