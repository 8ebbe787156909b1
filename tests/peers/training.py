"""Training throughput of our layers beside the authors' formulations written plainly in torch, in the same run.

Run as ``python tests/peers/training.py``; it refuses a busy machine.  A ratio above 1 means that ours is faster.  The
last row is the share of a training step that the singular-value-equalisation loss takes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from machine import QUIET_CORES, foreign_cores_now
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.layers.nmf import NMF
from edgeconv.layers.sfconv import SFConv2d
from edgeconv.layers.sve import sve_loss
from edgeconv.models import UNet

_ROUNDS = 15
_EPSILON = 1e-6


class PlainSfconv(nn.Module):
    """The authors' way: two matrices, viewed as kernels in every call."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.randn(channels * 3, rank) / rank**0.5)
        self.q = nn.Parameter(torch.randn(rank, channels * 3) / (3 * channels) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.channels, self.rank = channels, rank

    def forward(self, x: Tensor) -> Tensor:
        horizontal = self.q.view(self.rank, self.channels, 3, 1).permute(0, 1, 3, 2)
        vertical = self.p.T.view(self.rank, self.channels, 3, 1).permute(1, 0, 2, 3)
        return F.conv2d(F.conv2d(x, horizontal, padding=(0, 1)), vertical, self.bias, padding=(1, 0))


class PlainNmf(nn.Module):
    """The authors' way: HALS with columns written in place of a copy."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("u0", torch.rand(rows, rank))
        self.register_buffer("v0", torch.rand(columns, rank))

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.u0.expand(*x.shape[:-2], -1, -1), self.v0.expand(*x.shape[:-2], -1, -1)
        for _ in range(5):
            u = self._update(x, u, v)
            v = self._update(x.transpose(-1, -2), v, u)
        return torch.einsum("...mr,...nr->...mn", u, v)

    @staticmethod
    def _update(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        a, b = torch.einsum("...mn,...nr->...mr", x, v), torch.einsum("...nr,...ns->...rs", v, v)
        if u.shape[-1] == 1:
            return F.relu((a + _EPSILON) / (b + _EPSILON))
        columns = list(u.unbind(-1))
        for r in range(len(columns)):
            others = [s for s in range(len(columns)) if s != r]
            rest = sum(columns[s] * b[..., s, r].unsqueeze(-1) for s in others)
            columns[r] = F.relu((a[..., r] - rest + _EPSILON) / (b[..., r, r].unsqueeze(-1) + _EPSILON))
        return torch.stack(columns, -1)


def step(module: nn.Module, x: Tensor, extra: Callable[[], Tensor] | None = None) -> Callable[[], None]:
    """One forward and backward pass."""

    def run() -> None:
        module.zero_grad()
        loss = module(x).square().mean()
        if extra is not None:
            loss = loss + extra()
        loss.backward()

    return run


def interleaved(runs: list[Callable[[], None]]) -> list[float]:
    """Median seconds of each, taking turns."""
    times: list[list[float]] = [[] for _ in runs]
    for round_number in range(_ROUNDS + 2):
        for index, run in enumerate(runs):
            start = time.perf_counter()
            run()
            if round_number >= 2:
                times[index].append(time.perf_counter() - start)
    return [statistics.median(samples) for samples in times]


def main() -> int:
    """Print the table; 1 when a bound is not met, 2 on a busy machine."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if foreign_cores_now() > QUIET_CORES:
        print("The machine is busy; nothing was measured.", file=sys.stderr)
        return 2
    good = True
    print("| what | ours, ms | plain torch, ms | throughput, ours / plain | bound |\n|---|---|---|---|---|")
    for channels, side in ((32, 128), (64, 64), (128, 32)):
        x = torch.randn(4, channels, side, side, requires_grad=True)
        rank = channels // 4
        ours, plain = SFConv2d(channels, channels, 3, padding=1, rank=rank), PlainSfconv(channels, rank)
        good &= row(f"SFConv {channels} channels, rank {rank}, {side}x{side}", step(ours, x), step(plain, x))
    for rank in (1, 2):
        x = torch.rand(512, 8, 64, requires_grad=True)
        good &= row(f"NMF 8x64, rank {rank}, 512 windows", step(NMF(8, 64, rank), x), step(PlainNmf(8, 64, rank), x))
    model, image = UNet(rank_scale=0.25), torch.randn(2, 3, 256, 256)
    with_loss, without = interleaved([step(model, image, lambda: 0.1 * sve_loss(model)), step(model, image)])
    share = with_loss / without - 1
    good &= share <= 0.15
    print(
        f"| SVE loss, U-Net of rank scale 0.25, 2 images of 256x256 | {with_loss * 1e3:.0f} | {without * 1e3:.0f} "
        f"without it | {share:.1%} more | <= 15 % |"
    )
    return 0 if good else 1


def row(name: str, ours: Callable[[], None], plain: Callable[[], None]) -> bool:
    """One line of the table, and whether ours is no slower (3 % are noise)."""
    mine, theirs = interleaved([ours, plain])
    print(f"| {name} | {mine * 1e3:.2f} | {theirs * 1e3:.2f} | {theirs / mine:.2f} | >= 1 |")
    return theirs / mine >= 0.97


if __name__ == "__main__":
    sys.exit(main())
