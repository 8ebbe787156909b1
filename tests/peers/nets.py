"""The networks that are compared beside the two demo models, and what they are trained on.

Factories and tasks for `edgeconv export nets.py:FACTORY`; trained in minutes, because int8 needs trained weights, not
good ones.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.manifest import Normalisation
from edgeconv.models.resnet import ResNet18
from edgeconv.models.small_unet import SmallUNet
from edgeconv.training.tasks import Recipe
from edgeconv.training.tasks.base import IMAGE_NORMALISATION, sample_rng
from edgeconv.training.tasks.photographs import photograph_file
from edgeconv.training.tasks.vessels import VesselsTask

__all__ = ["DenseVesselsTask", "MillionVesselsTask", "PhotographsTask", "dense_unet", "million_unet", "resnet18"]

Images, Targets = Any, Any

_SIZE_PX = 256
_VESSELS_RECIPE = Recipe(steps=200, batch_size=2, learning_rate=3e-3, weight_decay=1e-4, sve_weight=0.0, bfloat16=True)
_PHOTOGRAPHS_RECIPE = dataclasses.replace(_VESSELS_RECIPE, batch_size=16, learning_rate=1e-3, weight_decay=1e-2)
_MILLION_WIDTHS, _DENSE_WIDTHS = (32, 64, 128, 256), (16, 32, 64, 128)


def million_unet(height: int = _SIZE_PX, width: int = _SIZE_PX) -> nn.Module:
    """SFConv pairs and CoordGates, 1.1 M parameters."""
    return SmallUNet(widths=_MILLION_WIDTHS, height=height, width=width)


def dense_unet(height: int = _SIZE_PX, width: int = _SIZE_PX) -> nn.Module:
    """A U-Net of plain 3x3 convolutions, no gates."""
    return SmallUNet(widths=_DENSE_WIDTHS, height=height, width=width, factored=False, gates=False)


def resnet18() -> nn.Module:
    """ResNet-18 with its plain convolutions, for crops of photographs."""
    return ResNet18(in_channels=3, classes=len(_PHOTOGRAPHS), rank_scale=None)


@dataclasses.dataclass(frozen=True)
class MillionVesselsTask(VesselsTask):
    """The vessels task for `million_unet`."""

    name: str = "vessels-1m"
    recipe: Recipe = _VESSELS_RECIPE

    def build_model(self, height: int = _SIZE_PX, width: int = _SIZE_PX, *, gates: bool = True) -> nn.Module:
        """See `million_unet`; always with gates."""
        return million_unet(height, width)


@dataclasses.dataclass(frozen=True)
class DenseVesselsTask(VesselsTask):
    """The vessels task for `dense_unet`."""

    name: str = "vessels-dense"
    recipe: Recipe = _VESSELS_RECIPE

    def build_model(self, height: int = _SIZE_PX, width: int = _SIZE_PX, *, gates: bool = True) -> nn.Module:
        """See `dense_unet`; never with gates."""
        return dense_unet(height, width)


_PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
_TRAINING_SHARE = 0.6  # of each photograph's width, from the left; held-out crops lie in the rest
_CROP_PX = 96
_CALIBRATION, _EVALUATION = 402, 403
_COLOUR_NORMALISATION = dataclasses.replace(IMAGE_NORMALISATION, mean=[0.0] * 3, std=[1.0] * 3)


@dataclasses.dataclass(frozen=True)
class PhotographsTask:
    """Which of the photographs that come with scikit-image is a crop from? For `resnet18`; see `Task`."""

    name: str = "photographs"
    metric: str = "top1"
    input_shape: tuple[int, int, int, int] = (1, 3, _CROP_PX, _CROP_PX)
    normalisation: Normalisation = _COLOUR_NORMALISATION
    recipe: Recipe = _PHOTOGRAPHS_RECIPE
    checkpoint_path: Path = Path("photographs.safetensors")

    def build_model(self, height: int = _CROP_PX, width: int = _CROP_PX, *, gates: bool = True) -> nn.Module:
        """See `resnet18`."""
        return resnet18()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy; targets are class numbers."""
        return F.cross_entropy(outputs, targets)

    def training_batch(self, rng: np.random.Generator, size: int) -> tuple[Images, Targets]:
        """Crops of the left parts in any orientation and exposure."""
        return _batch([_crop(rng, held_out=False) for _ in range(size)])

    def calibration(self, count: int, seed: int = 0) -> Images:
        """Crops of the left parts, other ones than trained on."""
        return _batch([_crop(sample_rng(_CALIBRATION, seed, k), held_out=False) for k in range(count)])[0]

    def evaluation(self, count: int) -> tuple[Images, Targets]:
        """Crops of the right parts and the numbers of their photographs."""
        return _batch([_crop(sample_rng(_EVALUATION, k), held_out=True) for k in range(count)])


def _crop(rng: np.random.Generator, *, held_out: bool) -> tuple[Images, int]:
    label = int(rng.integers(len(_PHOTOGRAPHS)))
    pixels = _pixels(_PHOTOGRAPHS[label])
    border = round(_TRAINING_SHARE * pixels.shape[1])
    part = pixels[:, border:] if held_out else pixels[:, :border]
    top, left = (int(rng.integers(side - _CROP_PX + 1)) for side in part.shape[:2])
    patch = np.rot90(part[top : top + _CROP_PX, left : left + _CROP_PX], k=int(rng.integers(4)))
    levels = 255 * np.clip(np.linspace(0, 1, 256) ** rng.uniform(0.7, 1.4) * rng.uniform(0.7, 1.2), 0, 1)
    return np.rint(levels).astype(np.uint8)[patch].transpose(2, 0, 1), label


@functools.lru_cache(maxsize=len(_PHOTOGRAPHS))
def _pixels(name: str) -> Images:
    with Image.open(photograph_file(name)) as image:
        return np.asarray(image.convert("RGB"))


def _batch(pairs: list[tuple[Images, int]]) -> tuple[Images, Targets]:
    return np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs], np.int64)
