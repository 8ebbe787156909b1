"""The samples that a test hands over with a module: one array for each input of `forward`, all of one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Sample", "module_samples", "tensor_array"]

Sample = dict[str, npt.NDArray[Any]]


def module_samples(module: nn.Module, inputs: object) -> list[Sample]:
    """The samples by input, floats in float32 and images in uint8.

    Args:
        module: what they are samples of.
        inputs: a tensor, a tuple or dictionary of them, or a list of such.

    Raises:
        UsageError: there are none, inputs are missing or too many, or shapes or types differ or are none of ours.
        DataError: values are NaN or infinite.
    """
    from edgeconv.export.onnx import forward_parameters

    if inputs is None:
        raise UsageError(
            "A torch.nn.Module needs inputs to be traced and calibrated with.",
            "Give inputs=: a tensor, a tuple or dictionary of tensors, batch included, or a list of such samples.",
        )
    given = inputs if isinstance(inputs, list) else [inputs]
    if not given:
        raise UsageError("inputs is an empty list.", "Give at least one sample.")
    names = forward_parameters(module)
    samples = [_sample(one, names, type(module).__name__, f"sample {index}") for index, one in enumerate(given)]
    for index, sample in enumerate(samples):
        for name in names:
            first, array = samples[0][name], sample[name]
            if (array.shape, array.dtype) != (first.shape, first.dtype):
                raise UsageError(
                    f"Input {name!r} is {_form(array)} in sample {index}, {_form(first)} in sample 0.",
                    "All samples need one shape, and are images (uint8) or floats.",
                )
    return samples


def _sample(given: Any, names: tuple[str, ...], module: str, where: str) -> Sample:
    values = given if isinstance(given, tuple | Mapping) else (given,)
    fits = set(values) == set(names) if isinstance(values, Mapping) else len(values) == len(names)
    if not fits:
        found = (
            ", ".join(map(str, values))
            if isinstance(values, Mapping)
            else f"{len(values)} array{'' if len(values) == 1 else 's'}"
        )
        raise UsageError(
            f"{module} takes {', '.join(names) or 'nothing'}; {where} has {found or 'nothing'}.",
            "Give one array for each parameter of forward without a default; the others keep theirs.",
        )
    named = values if isinstance(values, Mapping) else dict(zip(names, values, strict=True))
    return {name: _array(named[name], f"Input {name!r} of {where}") for name in names}


def _array(value: Any, where: str) -> npt.NDArray[Any]:
    try:
        array = tensor_array(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{where} is no array: {error}.", "Give a tensor or a NumPy array.") from error
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype != np.uint8:
        kind = array.dtype if hasattr(value, "dtype") else type(value).__name__
        raise UsageError(f"{where} is {kind}, expected floats or uint8 images.", "Give a tensor or a NumPy array.")
    if not np.isfinite(array).all():
        raise DataError(f"{where} has NaN or infinite values.", "Remove or repair that sample.")
    return array


def tensor_array(value: Any) -> npt.NDArray[Any]:
    """A tensor, or whatever else NumPy takes, as an array."""
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value  # NumPy has no such type
    return np.asarray(value)


def _form(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
