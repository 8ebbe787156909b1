"""Networks: the built-in ones by name, users' own by their code or file."""

from __future__ import annotations

from edgeconv.models.coordgate_unet import CoordGateUNet
from edgeconv.models.factorizer import Factorizer
from edgeconv.models.loading import LoadedModel, load_model
from edgeconv.models.macs import count_macs, count_parameters
from edgeconv.models.registry import build_model, model_names, register
from edgeconv.models.resnet import ResNet18
from edgeconv.models.small_unet import SmallUNet
from edgeconv.models.unet import UNet

__all__ = [
    "CoordGateUNet",
    "Factorizer",
    "LoadedModel",
    "ResNet18",
    "SmallUNet",
    "UNet",
    "build_model",
    "count_macs",
    "count_parameters",
    "load_model",
    "model_names",
    "register",
]
