"""What the tensors between factor pairs hold on calibration data: their second moments, or vectors drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.calibrate import with_outputs
from edgeconv.export.executor import Array, ahead, open_session
from edgeconv.rewrite.equalise_bottlenecks import bottleneck

__all__ = ["collect_moments", "draw_vectors"]

_POSITIONS = 4096  # of each sample, at most


def collect_moments(model: ir.Model, samples: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """The channels x channels second moments about zero of every bottleneck (axis 1), by value name, in fp64.

    Memory does not grow with the number of samples.
    """
    products: dict[str, Array] = {}
    positions: dict[str, int] = {}
    for name, vectors in _vectors(model, samples):
        exact = vectors.astype(np.float64)
        product = exact.T @ exact
        products[name] = products[name] + product if name in products else product
        positions[name] = positions.get(name, 0) + len(vectors)
    return {name: product / max(positions[name], 1) for name, product in products.items()}


def draw_vectors(model: ir.Model, samples: Iterable[Mapping[str, Array]]) -> dict[str, list[Array]]:
    """What stands in the channels of every bottleneck at random positions, by value name.

    Returns:
        For each sample a float64 array of positions x channels, with 4,096 positions or all there are.
    """
    rng = np.random.default_rng(0)
    drawn: dict[str, list[Array]] = {}
    for name, vectors in _vectors(model, samples):
        chosen = rng.choice(len(vectors), min(len(vectors), _POSITIONS), replace=False)
        drawn.setdefault(name, []).append(vectors[chosen].astype(np.float64))
    return drawn


def _vectors(model: ir.Model, samples: Iterable[Mapping[str, Array]]) -> Iterator[tuple[str, Array]]:
    """Each sample's bottlenecks one after the other as arrays of positions x channels, with their names."""
    values = [value for node in model.graph for value in node.outputs if bottleneck(value) is not None]
    names = [str(value.name) for value in values]
    if not names:
        return
    session = open_session(with_outputs(model, names), optimise=True)
    for arrays in ahead(lambda sample: session.run(names, dict(sample)), samples):
        for name, array in zip(names, arrays, strict=True):
            yield name, np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])
