"""What a built-in task is: data, a network, a loss and a metric under one name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from edgeconv.manifest import Normalisation

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CHECKPOINTS", "IMAGE_NORMALISATION", "Recipe", "Task", "sample_rng"]

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"

IMAGE_NORMALISATION = Normalisation(scale=1 / 255, mean=[0.0], std=[1.0])
"""8-bit grey images to 0..1."""

Images = npt.NDArray[np.uint8]
Targets = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a task's checkpoint was trained: AdamW, linear warm-up, then a cosine down to zero."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    sve_weight: float  # lambda of the singular-value-equalisation loss; 0 leaves it out
    bfloat16: bool  # convolutions in bfloat16 during training (weights, loss and evaluation stay float32)
    sve_schedule: str = "constant"  # of that lambda, see `regularisers.weight_at`


class Task(Protocol):
    """A task by name.  Inputs are raw uint8 NCHW images, which the runner turns into the model's by `normalisation`."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def metric(self) -> str:
        """ "dice" (outputs are logits, threshold 0) or "psnr" (peak 1, dB); the greater the better."""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW of the checkpoint's model."""

    @property
    def normalisation(self) -> Normalisation:
        """What turns the raw input into the model's."""

    @property
    def recipe(self) -> Recipe:
        """The training that made the checkpoint."""

    @property
    def checkpoint_path(self) -> Path:
        """The packaged weights; the record beside it has the suffix ``.json``."""

    def build_model(self, height: int = 256, width: int = 256, *, gates: bool = True) -> nn.Module:
        """The checkpoint's architecture, untrained, for images of this size."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The scalar that training makes small."""

    def training_batch(self, rng: np.random.Generator, size: int) -> tuple[Images, Targets]:
        """`size` images to train on and their targets, both NCHW."""

    def calibration(self, count: int, seed: int = 0) -> Images:
        """`count` images to calibrate with: like those trained on, but others."""

    def evaluation(self, count: int) -> tuple[Images, Targets]:
        """The first `count` held-out images and their targets: always the same ones, never seen in training."""


def sample_rng(*key: int) -> np.random.Generator:
    """The generator of one sample; keys of different samples give independent streams."""
    return np.random.default_rng(np.random.SeedSequence(key))
