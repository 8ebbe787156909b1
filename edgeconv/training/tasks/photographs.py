"""Grey crops of the real photographs that ship inside scikit-image's wheel, split by photograph."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError

__all__ = ["TEST_PHOTOGRAPHS", "TRAIN_PHOTOGRAPHS", "crop", "photograph", "photograph_file"]

# The two eyes of the stereo pair show one scene, so they stay on one side of the split.
TRAIN_PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "cell.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
    "retina.jpg",
    "text.png",
)
TEST_PHOTOGRAPHS = ("camera.png", "chelsea.png", "coffee.png", "gravel.png", "rocket.jpg")

_SCALES = (1.0, 0.7, 0.5)


@functools.lru_cache(maxsize=64)
def photograph(name: str, scale: float = 1.0) -> npt.NDArray[np.uint8]:
    """The grey 8-bit photograph `name`, its sides times `scale`."""
    from PIL import Image

    with Image.open(photograph_file(name)) as image:
        grey = image.convert("L")
        size = (round(grey.width * scale), round(grey.height * scale))
        return np.asarray(grey.resize(size, Image.Resampling.LANCZOS) if scale != 1 else grey, dtype=np.uint8)


def crop(rng: np.random.Generator, names: tuple[str, ...], size_px: int) -> npt.NDArray[np.float32]:
    """A random square crop of a random photograph, scaled, mirrored and turned at random, in 0..1.

    A photograph is scaled only as long as it covers the crop; the few smaller ones are continued by their mirror image.
    """
    name = names[rng.integers(len(names))]
    whole = min(photograph(name).shape)
    pixels = photograph(name, float(rng.choice([s for s in _SCALES if s == 1 or s * whole >= size_px])))
    short = [max(0, size_px - side) for side in pixels.shape]
    pixels = np.pad(pixels, [(s // 2, s - s // 2) for s in short], mode="symmetric")
    top, left = (rng.integers(side - size_px + 1) for side in pixels.shape)
    patch = np.rot90(pixels[top : top + size_px, left : left + size_px], k=int(rng.integers(4)))
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    return np.asarray(np.ascontiguousarray(patch) / 255, dtype=np.float32)


def photograph_file(name: str) -> Path:
    """Where scikit-image keeps the photograph `name`; nothing is ever downloaded.

    Raises:
        DataError: scikit-image is not installed or has no such file.
    """
    specification = importlib.util.find_spec("skimage")
    if specification is None or specification.origin is None:
        raise DataError("Photographs are taken from scikit-image, which is missing.", "pip install 'edgeconv[train]'")
    path = Path(specification.origin).parent / "data" / name
    if not path.is_file():
        raise DataError(
            f"The photograph {name} is not in the installed scikit-image ({path} is missing).",
            "Install scikit-image 0.24 or newer from its wheel: pip install 'edgeconv[train]'.",
        )
    return path
