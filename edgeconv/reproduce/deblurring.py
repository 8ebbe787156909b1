"""CoordGate in two dimensions: random blobs under a point spread function that varies over the field.

64 x 64 images; width and shear of the Gaussian kernel grow smoothly from the centre to the corners, as of a simple
microscope.  Plain U-Nets of two to five levels, a U-Net of CoordConvs, and one of two levels with CoordGates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeconv.layers.coordconv import CoordConv2d
from edgeconv.layers.coordgate import coordinate_grid
from edgeconv.models.coordgate_unet import CoordGateUNet
from edgeconv.models.encoder_decoder import EncoderDecoder
from edgeconv.parity.metrics import get_metric
from edgeconv.reproduce.claims import Row, register, verdict

__all__ = ["blobs", "blur", "train_deblurring"]

_SIZE, _REACH = 64, 7
_TRAINING, _TEST = 512, 64
_STEPS, _BATCH, _LEARNING_RATE = 500, 8, 1e-3


def blobs(count: int, seed: int) -> Tensor:
    """(count, 1, 64, 64) images in 0…1 of a dozen bright spots of different sizes."""
    rng = np.random.default_rng(seed)
    axis = np.arange(_SIZE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    images = np.zeros((count, _SIZE, _SIZE))
    for image in images:
        for _ in range(12):
            row, column, radius = rng.uniform(0, _SIZE), rng.uniform(0, _SIZE), rng.uniform(0.8, 4)
            image += rng.uniform(0.3, 1) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2))
    return torch.from_numpy(np.clip(images, 0, 1)[:, None].astype(np.float32))


@functools.cache
def _kernels() -> Tensor:
    """(64 * 64, 15 * 15): the kernel of every pixel, taps summing to 1."""
    taps = np.arange(-_REACH, _REACH + 1)
    v, u = np.meshgrid(taps, taps, indexing="ij")
    bank = np.empty((_SIZE * _SIZE, v.size))
    for index, (row, column) in enumerate(coordinate_grid(_SIZE, _SIZE).reshape(-1, 2).numpy()):
        along, across, shear = 0.8 + 1.6 * row**2, 0.8 + 1.6 * column**2, 0.6 * row * column
        kernel = np.exp(-0.5 * ((v / along) ** 2 + (u / across) ** 2 - 2 * shear * (v / along) * (u / across)))
        bank[index] = (kernel / kernel.sum()).ravel()
    return torch.from_numpy(bank.astype(np.float32))


def blur(images: Tensor, seed: int) -> Tensor:
    """The images through the field of kernels, with noise of 0.01."""
    size, kernels = 2 * _REACH + 1, _kernels()
    blurred = torch.empty_like(images)
    for index, image in enumerate(images):  # one at a time: the patches are 225 times the image
        patches = nn.functional.unfold(nn.functional.pad(image[None], (_REACH,) * 4, mode="reflect"), size)
        blurred[index, 0] = (patches[0].T * kernels).sum(1).reshape(_SIZE, _SIZE)
    return blurred + 0.01 * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(seed))


@functools.cache
def _pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Blurred and sharp images."""
    sharp = blobs(count, seed)
    return blur(sharp, seed + 1), sharp


class _CoordConvBlock(nn.Sequential):
    """Two 3x3 CoordConvs, each with a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, height: int, width: int) -> None:
        super().__init__(
            CoordConv2d(in_channels, out_channels, 3, height, width, padding=1),
            nn.ReLU(),
            CoordConv2d(out_channels, out_channels, 3, height, width, padding=1),
            nn.ReLU(),
        )


def _coordconv_unet() -> nn.Module:
    return EncoderDecoder(1, 1, (64, 128), _SIZE, _SIZE, _CoordConvBlock, skip_first=True)


def _unet(levels: int, *, gates: bool) -> nn.Module:
    return CoordGateUNet(1, 1, levels, _SIZE, _SIZE, gates=gates)


def train_deblurring(build: Callable[[], nn.Module], steps: int = _STEPS, seed: int = 0) -> tuple[float, float]:
    """PSNR in dB and SSIM on held-out images after training by Adam with a cosine on the mean squared error."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        blurred, sharp = _pairs(_TRAINING, 1)
        optimiser = torch.optim.Adam(model.parameters(), _LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            chosen = torch.randint(_TRAINING, (_BATCH,))
            loss = nn.functional.mse_loss(model(blurred[chosen]), sharp[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        test, targets = _pairs(_TEST, 3)
        model.eval()
        with torch.no_grad():
            return _score(model(test).numpy(), targets.numpy())


def _score(images: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> tuple[float, float]:
    return get_metric("psnr")(images, targets), get_metric("ssim")(images, targets)


@register("coordgate-2d", "CoordGate: two gated levels against deeper U-Nets and CoordConv", slow=True)
def two_dimensions() -> list[Row]:
    """PSNR and SSIM of six networks on the same images."""
    test, targets = _pairs(_TEST, 3)
    before = _score(test.numpy(), targets.numpy())
    rows = [Row("the blurred image itself", "64 held-out images", "-", f"{before[0]:.2f} dB, {before[1]:.4f}", "–")]
    scores: dict[str, float] = {}
    models: dict[str, Callable[[], nn.Module]] = {
        "CoordGate U-Net, 2 levels": lambda: _unet(2, gates=True),
        "CoordConv U-Net, 2 levels": _coordconv_unet,
        **{f"U-Net, {n} levels": functools.partial(_unet, n, gates=False) for n in (2, 3, 4, 5)},
    }
    for name, build in models.items():
        psnr, ssim = train_deblurring(build)
        scores[name] = psnr
        parameters = sum(p.numel() for p in build().parameters())
        rows.append(Row(name, f"{parameters:,} parameters, {_STEPS} steps", "-", f"{psnr:.2f} dB, {ssim:.4f}", "–"))
    gated = scores["CoordGate U-Net, 2 levels"]
    for name, psnr in scores.items():
        if name != "CoordGate U-Net, 2 levels":
            rows.append(Row(f"beats {name}", "PSNR", "> 0 dB", f"{gated - psnr:+.2f} dB", verdict(gated > psnr)))
    return rows
