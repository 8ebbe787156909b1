"""From raw golden arrays to what an artefact takes, and back.  Part of the device agent: Python 3.8, numpy.

The manifest declares normalisation, layout and quantisation; this is the one place that applies them.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence

import numpy as np

from edgeconv.errors import BundleError
from edgeconv.manifest import Port, TensorSpec
from edgeconv.runtimes.base import Array

__all__ = ["dequantise", "make_inputs", "normalise", "order_specs", "quantise", "read_outputs"]

# From the port's layout to the artefact's, and back.
_TO_ARTEFACT = {"NHWC": (0, 2, 3, 1)}
_TO_PORT = {"NHWC": (0, 3, 1, 2)}


def order_specs(specs: Sequence[TensorSpec], names: Sequence[str]) -> List[TensorSpec]:
    """The manifest's tensors in the order of the loaded model.

    Raises:
        BundleError: the model has other tensors than the manifest says.
    """
    by_name = {spec.name: spec for spec in specs}
    if sorted(by_name) != sorted(names):
        raise BundleError(f"The model has tensors {', '.join(names)}, the manifest says {', '.join(by_name)}.")
    return [by_name[name] for name in names]


def make_inputs(case: Mapping[str, Array], ports: Sequence[Port], specs: Sequence[TensorSpec]) -> List[Array]:
    """Normalise, transpose and quantise the raw arrays of one case, in the order of `specs`."""
    by_name = {port.name: port for port in ports}
    arrays: List[Array] = []
    for spec in specs:
        array = normalise(case[spec.port], by_name[spec.port])
        array = np.transpose(array, _TO_ARTEFACT[spec.layout]) if spec.layout in _TO_ARTEFACT else array
        array = array if spec.scale is None else quantise(array, spec)
        _check(array, spec.shape, f"Input {spec.name}")
        arrays.append(np.asarray(array, order="C"))  # ascontiguousarray would give a scalar an axis
    return arrays


def read_outputs(outputs: Sequence[Array], ports: Sequence[Port], specs: Sequence[TensorSpec]) -> Dict[str, Array]:
    """Dequantise and transpose what an artefact returned, in the order of `specs`, to float32 arrays of the ports."""
    by_name = {port.name: port for port in ports}
    arrays: Dict[str, Array] = {}
    for array, spec in zip(outputs, specs):
        _check(array, spec.shape, f"Output {spec.name}")
        if str(array.dtype) != spec.dtype:
            raise BundleError(f"Output {spec.name} is {array.dtype}, the manifest says {spec.dtype}.")
        array = array if spec.scale is None else dequantise(array, spec)
        array = np.transpose(array, _TO_PORT[spec.layout]) if spec.layout in _TO_PORT else array
        _check(array, by_name[spec.port].shape, f"Output {spec.name} as port {spec.port}")
        arrays[spec.port] = np.asarray(array, np.float32, order="C")
    return arrays


def normalise(raw: Array, port: Port) -> Array:
    """``(raw * scale - mean) / std`` in float32, mean and std per channel (axis 1)."""
    array = raw.astype(np.float32)
    if port.normalisation is None:
        return array
    shape = (1, -1) + (1,) * (array.ndim - 2)
    mean = np.asarray(port.normalisation.mean, np.float32).reshape(shape)
    std = np.asarray(port.normalisation.std, np.float32).reshape(shape)
    return np.asarray((array * np.float32(port.normalisation.scale) - mean) / std, np.float32)


def quantise(array: Array, spec: TensorSpec) -> Array:
    """As ONNX's QuantizeLinear: ``round(x / scale) + zero_point``, half to even, saturated."""
    limits = np.iinfo(spec.dtype)
    steps = np.rint(array / np.float32(spec.scale)) + np.float32(spec.zero_point or 0)
    return np.asarray(np.clip(steps, limits.min, limits.max), spec.dtype)


def dequantise(array: Array, spec: TensorSpec) -> Array:
    """As ONNX's DequantizeLinear: ``(q - zero_point) * scale`` in float32."""
    steps = array.astype(np.int32) - np.int32(spec.zero_point or 0)
    return np.asarray(steps.astype(np.float32) * np.float32(spec.scale or 0), np.float32)


def _check(array: Array, shape: Sequence[int], what: str) -> None:
    if list(array.shape) != list(shape):
        raise BundleError(f"{what} has shape {list(array.shape)}, the manifest says {list(shape)}.")
