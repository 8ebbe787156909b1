"""Non-negative matrix factorisation as a layer: ``X ~= U V^T`` with ``U, V >= 0``, a few unrolled descent steps.

After Ashtari et al., "Factorizer: A scalable interpretable approach to context modeling" (arXiv 2202.12295): the
factors start from fixed random buffers that are stored in the checkpoint and shared by all matrices, then block
coordinate descent updates U first and V with the new U.  Columns are kept apart and concatenated, never written in
place, so that an exported graph has no Scatter and no Gather.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError

__all__ = ["MIN_EPSILON", "NMF", "default_rank", "nmf_flops", "solver_names"]

MIN_EPSILON = 1e-6  # exporters drop an addition of 1e-8 or less as a no-op, and fp16 cannot hold it: 0 / 0 follows
_Update = Callable[[Tensor, Tensor, Tensor, float], Tensor]


class NMF(nn.Module):
    """(…, M, N) non-negative in, its non-negative approximation of rank R out.

    Args:
        rows: M.
        columns: N.
        rank: R; `default_rank` when None.
        iterations: T, updates of both factors; may be changed after training, as a dial.
        solver: "hals" (hierarchical alternating least squares) or "mu" (multiplicative updates).
        num_grad_steps: gradients flow through the last so many iterations only; through all when None.
        epsilon: keeps divisions finite; at least 1e-6.
        seed: of the buffers U0 and V0, uniform on [0, 1).

    Raises:
        UsageError: an argument is out of its range.
    """

    u0: Tensor
    v0: Tensor

    def __init__(
        self,
        rows: int,
        columns: int,
        rank: int | None = None,
        *,
        iterations: int = 5,
        solver: str = "hals",
        num_grad_steps: int | None = None,
        epsilon: float = MIN_EPSILON,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(rows, columns) < 1:
            raise UsageError(f"NMF: a {rows} x {columns} matrix has nothing to factor.")
        self.rank = default_rank(rows, columns) if rank is None else rank
        if not 1 <= self.rank <= min(rows, columns):
            raise UsageError(f"NMF: rank must be from 1 to {min(rows, columns)} for {rows} x {columns}, found {rank}.")
        if solver not in _SOLVERS:
            raise UsageError(f"NMF: no solver is called {solver!r}.", f"There are: {', '.join(_SOLVERS)}.")
        if not epsilon >= MIN_EPSILON or not math.isfinite(epsilon):
            raise UsageError(
                f"NMF: epsilon is {epsilon}, expected at least {MIN_EPSILON}.",
                "A smaller one is dropped by exporters and underflows in fp16; an all-zero patch then gives NaN.",
            )
        if iterations < 0 or (num_grad_steps is not None and num_grad_steps < 0):
            raise UsageError("NMF: iterations and num_grad_steps must not be negative.")
        self.iterations, self.num_grad_steps = iterations, num_grad_steps
        self.solver, self.epsilon = solver, epsilon
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("u0", torch.rand(rows, self.rank, generator=generator))
        self.register_buffer("v0", torch.rand(columns, self.rank, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """The approximation ``U V^T``.

        Raises:
            UsageError: outside of tracing, a value is negative or NaN, or the last two sizes are not M x N.
        """
        u, v = self.factors(x)
        return u @ v.transpose(-1, -2)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """U (…, M, R) and V (…, N, R): the components that can be looked at."""
        if not torch.compiler.is_compiling():
            self._check(x)
        u, v = self.u0, self.v0
        detached = 0 if self.num_grad_steps is None else max(self.iterations - self.num_grad_steps, 0)
        for step in range(self.iterations):
            with torch.no_grad() if step < detached else contextlib.nullcontext():
                u, v = self._iterate(x, u, v)
        return (u, v) if self.iterations else (u.expand(*x.shape[:-2], -1, -1), v.expand(*x.shape[:-2], -1, -1))

    def _iterate(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        update = _SOLVERS[self.solver]
        u = update(x, u, v, self.epsilon)
        return u, update(x.transpose(-1, -2), v, u, self.epsilon)

    def _check(self, x: Tensor) -> None:
        expected = (len(self.u0), len(self.v0))
        if tuple(x.shape[-2:]) != expected:
            raise UsageError(f"NMF: matrices of {expected[0]} x {expected[1]} were expected, found {list(x.shape)}.")
        if not x.is_meta and not bool((x >= 0).all()):  # which is false of NaN, too
            raise UsageError("NMF: the matrix has values that are negative or NaN.", "Put a ReLU in front of it.")


def _hals(x: Tensor, u: Tensor, v: Tensor, epsilon: float) -> Tensor:
    """Each column in turn is set to its non-negative least-squares optimum, later ones seeing the new earlier ones."""
    products, gram = x @ v, v.transpose(-1, -2) @ v
    rank = u.shape[-1]
    columns = [u[..., r : r + 1] for r in range(rank)]
    for r in range(rank):
        value = products[..., r : r + 1]
        for j in range(rank):
            if j != r:
                value = value - columns[j] * gram[..., j : j + 1, r : r + 1]
        columns[r] = torch.relu((value + epsilon) / (gram[..., r : r + 1, r : r + 1] + epsilon))
    return columns[0] if rank == 1 else torch.cat(columns, dim=-1)


def _multiplicative(x: Tensor, u: Tensor, v: Tensor, epsilon: float) -> Tensor:
    """Lee and Seung 2001."""
    return (u * (x @ v) + epsilon) / (u @ (v.transpose(-1, -2) @ v) + epsilon)


_SOLVERS: dict[str, _Update] = {"hals": _hals, "mu": _multiplicative}


def solver_names() -> list[str]:
    """The solvers that `NMF` knows."""
    return list(_SOLVERS)


def default_rank(rows: int, columns: int) -> int:
    """``ceil(M N / (10 (M + N)))``: a tenth of the matrix's values."""
    return math.ceil(rows * columns / (10 * (rows + columns)))


def nmf_flops(rows: int, columns: int, rank: int, iterations: int) -> tuple[int, int]:
    """Additions and multiplications of the multiplicative updates and of the reconstruction, linear in M N."""

    def update(m: int, n: int) -> int:
        return 2 * rank * (m * n + n * rank + m * rank + 2 * m)

    return iterations * (update(rows, columns) + update(columns, rows)), 2 * rows * columns * rank
