"""Second moments of the tensors between factor pairs, over the calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.calibrate import with_outputs
from edgeconv.export.executor import Array, ahead, open_session
from edgeconv.rewrite.equalise_bottlenecks import bottleneck

__all__ = ["collect_moments"]


def collect_moments(
    model: ir.Model, samples: Iterable[Mapping[str, Array]], *, centred: bool = True
) -> dict[str, Array]:
    """The channels x channels second moments of every bottleneck (axis 1), by value name, in fp64.

    Memory does not grow with the number of samples. They are about the mean, or about zero when not `centred`.
    """
    names = _bottleneck_names(model)
    if not names:
        return {}
    session = open_session(with_outputs(model, names), optimise=True)
    sums = {name: np.zeros(0) for name in names}
    products = {name: np.zeros((0, 0)) for name in names}
    positions = dict.fromkeys(names, 0)
    for arrays in ahead(lambda sample: session.run(names, dict(sample)), samples):
        for name, array in zip(names, arrays, strict=True):
            channels = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1).astype(np.float64)
            if not positions[name]:
                sums[name], products[name] = np.zeros(len(channels)), np.zeros((len(channels),) * 2)
            sums[name] += channels.sum(axis=1)
            products[name] += channels @ channels.T
            positions[name] += channels.shape[1]
    about_zero = {name: products[name] / max(positions[name], 1) for name in names}
    if not centred:
        return about_zero
    means = {name: sums[name] / max(positions[name], 1) for name in names}
    return {name: about_zero[name] - np.outer(means[name], means[name]) for name in names}


def _bottleneck_names(model: ir.Model) -> list[str]:
    """The tensors between two convolutions with nothing else between them."""
    values = [value for node in model.graph for value in node.outputs if bottleneck(value) is not None]
    return [str(value.name) for value in values]
