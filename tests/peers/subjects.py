"""The models that are compared: the two demo models and three that `trained.py` trains into the output folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nets import DenseVesselsTask, MillionVesselsTask, PhotographsTask

from edgeconv.training.tasks import Task, get_task

__all__ = ["SUBJECTS", "Subject", "find_subject"]

_NETS = Path(__file__).with_name("nets.py")


@dataclasses.dataclass(frozen=True)
class Subject:
    """One model.

    separable: whether it is made of SFConv pairs and CoordGates.
    factory: in nets.py; None where the package has the model and its weights.
    evaluation_images: that quality is judged on.
    """

    name: str
    task: Task
    separable: bool
    factory: str | None = None
    evaluation_images: int = 32

    @property
    def spec(self) -> str:
        """What `edgeconv export` calls the model."""
        return self.name if self.factory is None else f"{_NETS}:{self.factory}"

    def weights(self, output: Path) -> Path | None:
        """The file of the trained weights under `output`; None where they are the package's."""
        return None if self.factory is None else output / "weights" / f"{self.name}.safetensors"


SUBJECTS = (
    Subject("vessels", get_task("vessels"), separable=True),
    Subject("deblur", get_task("deblur"), separable=True),
    Subject("unet-1m", MillionVesselsTask(), separable=True, factory="million_unet"),
    Subject("unet-dense", DenseVesselsTask(), separable=False, factory="dense_unet"),
    Subject("resnet18", PhotographsTask(), separable=False, factory="resnet18", evaluation_images=256),
)


def find_subject(name: str) -> Subject:
    """The model of this name."""
    return next(subject for subject in SUBJECTS if subject.name == name)
