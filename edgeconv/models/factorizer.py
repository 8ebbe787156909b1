"""Factorizer: a U-shaped network whose blocks mix positions by non-negative matrix factorisation.

After Ashtari et al. (arXiv 2202.12295) and the authors' code: pre-norm residual blocks, ``x += mixer(norm(x))`` and
``x += mlp(norm(x))``, where the mixer is a 1x1, the factorisation of windows of the map, and a 1x1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.matricise import Matricise
from edgeconv.layers.nmf import MIN_EPSILON, NMF
from edgeconv.models.registry import register

__all__ = ["ChannelNorm", "FactMixer", "Factorizer", "FactorizerBlock", "nmf_layers", "set_iterations"]

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_CONV_TRANSPOSE = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position, with a scale and a shift for each channel."""

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, …) to the same shape."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return centred / torch.sqrt(variance + self.epsilon) * self.weight.view(shape) + self.bias.view(shape)


class FactMixer(nn.Module):
    """1x1, ReLU, windows as matrices, factorisation, back, 1x1.

    Args:
        channels: C in and out.
        size: spatial sizes of the map.
        head_dim: rows of each matrix.
        window: spatial sizes of the window, cut to the map where it is smaller.
        shifts: of the windows' copies, see `Matricise`.
        rank: of the factorisation.
        iterations: of the factorisation.
        solver: of the factorisation.
        num_grad_steps: of the factorisation.
        epsilon: of the factorisation.
        seed: of the factorisation's start.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        *,
        head_dim: int = 8,
        window: Sequence[int],
        shifts: Sequence[int] = (0,),
        rank: int = 1,
        iterations: int = 5,
        solver: str = "hals",
        num_grad_steps: int | None = None,
        epsilon: float = MIN_EPSILON,
        seed: int = 0,
    ) -> None:
        super().__init__()
        conv = _CONV[len(size)]
        self.in_proj = conv(channels, channels, 1, bias=False)
        self.matricise = Matricise(
            channels, size, head_dim, [min(w, s) for w, s in zip(window, size, strict=True)], shifts
        )
        self.nmf = NMF(
            self.matricise.rows,
            self.matricise.columns,
            rank,
            iterations=iterations,
            solver=solver,
            num_grad_steps=num_grad_steps,
            epsilon=epsilon,
            seed=seed,
        )
        self.out_proj = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size) to the same shape."""
        return self.out_proj(self.matricise.inverse(self.nmf(self._matrices(x))))  # type: ignore[no-any-return]

    def components(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of every window: U (…, windows, d, R) over channels of a head, V (…, windows, positions, R) over pixels."""
        return self.nmf.factors(self._matrices(x))

    def _matrices(self, x: Tensor) -> Tensor:
        features = torch.relu(self.in_proj(x))  # right behind the 1x1, not the reshaping: the two are one int8 kernel
        return self.matricise(features)  # type: ignore[no-any-return]


class FactorizerBlock(nn.Module):
    """``x += mixer(norm(x)); x += mlp(norm(x))``; the MLP is 1x1, exact GELU, 1x1."""

    def __init__(self, channels: int, mixer: FactMixer, mlp_ratio: int, dimensions: int) -> None:
        super().__init__()
        conv = _CONV[dimensions]
        self.mixer_norm = ChannelNorm(channels)
        self.mixer = mixer
        self.mlp_norm = ChannelNorm(channels)
        hidden = channels * mlp_ratio
        self.mlp = nn.Sequential(conv(channels, hidden, 1), nn.GELU(), conv(hidden, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *size) to the same shape."""
        x = x + self.mixer(self.mixer_norm(x))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


@register("factorizer")
class Factorizer(nn.Module):
    """Stem 3x3, one block a stage, 2x2 strided down, 2x2 transposed up, skips joined by a 1x1, head 1x1.

    A learned positional embedding is added in the bottleneck only, so the size of the input is fixed.

    Args:
        in_channels: of the image or volume.
        out_channels: of the head.
        size: rows and columns in pixels, or depth, rows and columns; multiples of 2 ** (stages - 1).
        widths: channels of each stage, the full resolution first; multiples of `head_dim`.
        head_dim: rows of the factorised matrices.
        window: side of the windows in pixels; cut to the map where it is smaller.
        shifts: pixels by which copies of the windows are rolled; (0, window // 2) are shifted windows.
        mlp_ratio: hidden over outer width of the MLPs.
        rank: of the factorisations; no parameter depends on it.
        iterations: of the factorisations.
        solver: "hals" or "mu".
        num_grad_steps: see `NMF`.
        epsilon: see `NMF`.

    Raises:
        ModelError: the size cannot be halved as often as there are stages.
        UsageError: another argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        size: Sequence[int] = (128, 128),
        widths: Sequence[int] = (16, 32, 64),
        *,
        head_dim: int = 8,
        window: int = 8,
        shifts: Sequence[int] = (0, 4),
        mlp_ratio: int = 2,
        rank: int = 1,
        iterations: int = 5,
        solver: str = "hals",
        num_grad_steps: int | None = None,
        epsilon: float = MIN_EPSILON,
    ) -> None:
        super().__init__()
        dimensions, stages = len(size), len(widths)
        if dimensions not in _CONV or stages < 1:
            raise UsageError(
                f"Factorizer: size {list(size)} and widths {list(widths)}: expected 2 or 3 axes, 1+ stages."
            )
        if any(extent % 2 ** (stages - 1) for extent in size):
            raise ModelError(
                f"An input of {' x '.join(map(str, size))} cannot be halved {stages - 1} times.",
                f"Use sizes that are multiples of {2 ** (stages - 1)}.",
            )
        conv, conv_transpose = _CONV[dimensions], _CONV_TRANSPOSE[dimensions]
        sizes = [tuple(extent >> stage for extent in size) for stage in range(stages)]
        seeds = iter(range(2 * stages))

        def block(stage: int) -> FactorizerBlock:
            mixer = FactMixer(
                widths[stage],
                sizes[stage],
                head_dim=head_dim,
                window=[window] * dimensions,
                shifts=shifts,
                rank=rank,
                iterations=iterations,
                solver=solver,
                num_grad_steps=num_grad_steps,
                epsilon=epsilon,
                seed=next(seeds),
            )
            return FactorizerBlock(widths[stage], mixer, mlp_ratio, dimensions)

        upwards = range(stages - 2, -1, -1)
        self.stem = conv(in_channels, widths[0], 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(block(stage) for stage in range(stages))
        self.down = nn.ModuleList(conv(widths[s], widths[s + 1], 2, stride=2) for s in range(stages - 1))
        self.position = nn.Parameter(torch.randn(1, widths[-1], *sizes[-1]))
        self.up = nn.ModuleList(conv_transpose(widths[s + 1], widths[s], 2, stride=2) for s in upwards)
        self.join = nn.ModuleList(conv(2 * widths[s], widths[s], 1, bias=False) for s in upwards)
        self.decoder = nn.ModuleList(block(stage) for stage in upwards)
        self.head = conv(widths[0], out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *size) to (B, out_channels, *size)."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for block, down in zip(self.encoder, self.down, strict=False):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.encoder[-1](x + self.position)
        for up, join, block in zip(self.up, self.join, self.decoder, strict=True):
            x = block(join(torch.cat([skips.pop(), up(x)], dim=1)))
        return self.head(x)  # type: ignore[no-any-return]


def nmf_layers(model: nn.Module) -> dict[str, NMF]:
    """The factorisations of a model by module path."""
    return {name: module for name, module in model.named_modules() if isinstance(module, NMF)}


def set_iterations(model: nn.Module, iterations: int) -> None:
    """Let every factorisation of a trained model take so many iterations: fewer are faster and a little less exact.

    Raises:
        UsageError: fewer than one, or the model has no factorisation.
    """
    layers = nmf_layers(model)
    if iterations < 1:
        raise UsageError(f"{iterations} NMF iterations: expected at least 1.")
    if not layers:
        raise UsageError(
            f"{type(model).__name__} has no NMF layer whose iterations could be set.", "Leave --nmf-iterations out."
        )
    for layer in layers.values():
        layer.iterations = iterations
