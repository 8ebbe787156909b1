"""The pictures of the documentation, drawn with the packaged checkpoints.

Run ``python -m edgeconv.training.pictures docs/pictures``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from edgeconv.files import atomic_write_bytes
from edgeconv.training.tasks import get_task
from edgeconv.training.tasks.photographs import photograph_file
from edgeconv.training.trainer import load_trained

__all__ = ["deblur_picture", "retina_green_channel", "retina_picture", "vessel_probability"]

_Rgb = npt.NDArray[np.uint8]
_VESSEL_COLOUR = np.array([64, 255, 160], dtype=np.float32)
_DEBLUR_SAMPLE = 3  # of the held-out ones


def retina_green_channel(size_px: int = 256) -> npt.NDArray[np.uint8]:
    """The green channel of the fundus photograph that scikit-image ships, reduced to `size_px` squared."""
    with Image.open(photograph_file("retina.jpg")) as image:
        green = image.getchannel("G").resize((size_px, size_px), Image.Resampling.BOX)
    return np.asarray(green, dtype=np.uint8)


def vessel_probability(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Probability of a vessel in each pixel of a 256x256 8-bit green channel, by the packaged network."""
    model = load_trained(get_task("vessels"))
    with torch.inference_mode():
        logits = model(torch.from_numpy(image.copy())[None, None].float() / 255)
    return np.asarray(torch.sigmoid(logits)[0, 0].numpy(), dtype=np.float32)


def retina_picture() -> _Rgb:
    """Real fundus photograph | vessel probability | the vessels drawn over the photograph."""
    image = retina_green_channel()
    probability = vessel_probability(image)
    shown = _rgb(np.clip(1.6 * image.astype(np.float32) / 255, 0, 1))
    opacity = 0.75 * np.where(probability > 0.5, 1.0, 0.0)[..., None]
    overlay = (1 - opacity) * shown + opacity * _VESSEL_COLOUR
    return _row([shown, _rgb(probability), overlay.astype(np.uint8)], enlarge=2)


def deblur_picture() -> _Rgb:
    """Blurred | restored | original of a held-out photograph, and below the same corner of each enlarged."""
    task = get_task("deblur")
    inputs, targets = task.evaluation(_DEBLUR_SAMPLE + 1)
    blurred, sharp = inputs[-1, 0].astype(np.float32) / 255, targets[-1, 0]
    with torch.inference_mode():
        restored = load_trained(task)(torch.from_numpy(blurred)[None, None])[0, 0].numpy()
    views = [blurred, np.clip(restored, 0, 1), sharp]
    corner = (slice(160, 256), slice(160, 256))
    top, bottom = _row([_rgb(v) for v in views], enlarge=1), _row([_rgb(_fit(v[corner])) for v in views], enlarge=1)
    return np.vstack([top, np.full((4, top.shape[1], 3), 255, np.uint8), bottom])


def _fit(view: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    pixels = Image.fromarray((255 * view).astype(np.uint8)).resize((256, 256), Image.Resampling.NEAREST)
    return np.asarray(np.asarray(pixels) / 255, dtype=np.float32)


def _rgb(grey: npt.NDArray[np.float32]) -> _Rgb:
    return np.repeat(np.rint(255 * grey).astype(np.uint8)[..., None], 3, axis=2)


def _row(panels: list[_Rgb], enlarge: int) -> _Rgb:
    gap = np.full((panels[0].shape[0], 4 // enlarge, 3), 255, np.uint8)
    row = np.hstack([part for panel in panels for part in (panel, gap)][:-1])
    return np.repeat(np.repeat(row, enlarge, axis=0), enlarge, axis=1)


def _save(picture: _Rgb, path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    atomic_write_bytes(path, buffer.getvalue())


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where retina.png and deblur.png go, e.g. docs/pictures")
    folder = parser.parse_args().folder
    _save(retina_picture(), folder / "retina.png")
    _save(deblur_picture(), folder / "deblur.png")


if __name__ == "__main__":
    _main()
