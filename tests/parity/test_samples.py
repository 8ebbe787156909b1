from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeconv.errors import EdgeconvError
from edgeconv.parity.samples import module_samples


class One(torch.nn.Module):
    def forward(self, x, y=None):
        return x


class Two(torch.nn.Module):
    def forward(self, x, y):
        return x + y


X = torch.full((1, 3), 0.5)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (One(), X),
        (One(), (X,)),
        (One(), {"x": X.numpy()}),
        (One(), [X.clone().requires_grad_(), X.bfloat16(), X.half(), X.double(), X.numpy().astype(np.float64)]),
        (Two(), (X, X)),
        (Two(), [{"y": X, "x": X}, (X, X)]),
    ],
)
def test_samples_are_arrays_by_input_in_float32(module, inputs):
    for sample in module_samples(module, inputs):
        assert list(sample) == (["x", "y"] if isinstance(module, Two) else ["x"])
        assert all(array.dtype == np.float32 and np.array_equal(array, X.numpy()) for array in sample.values())


def test_images_stay_as_they_are():
    assert module_samples(One(), torch.ones(1, 3, dtype=torch.uint8))[0]["x"].dtype == np.uint8


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (One(), (X, X), "One takes x; sample 0 has 2 arrays"),
        (One(), [X, (X, X)], "One takes x; sample 1 has 2 arrays"),
        (One(), {"x": X, "y": X}, "One takes x; sample 0 has x, y"),
        (Two(), X, r"Two takes x, y; sample 0 has 1 array\."),
        (Two(), [{"x": X, "y": X}, {"x": X}], "Two takes x, y; sample 1 has x"),
        (One(), [X, torch.zeros(1, 4)], r"float32 \[1, 4\] in sample 1, float32 \[1, 3\] in sample 0"),
        (One(), [X, X.to(torch.uint8)], r"uint8 \[1, 3\] in sample 1"),
        (One(), X.long(), "Input 'x' of sample 0 is int64, expected floats or uint8 images"),
        (One(), "x.npy", "Input 'x' of sample 0 is str, expected floats"),
        (One(), (X for _ in range(2)), "Input 'x' of sample 0 is generator, expected floats"),
        (One(), [[[1.0], [1.0, 2.0]]], "Input 'x' of sample 0 is no array"),
        (One(), X * float("nan"), "Input 'x' of sample 0 has NaN or infinite values"),
    ],
)
def test_samples_that_do_not_fit_are_told(module, inputs, message):
    with pytest.raises(EdgeconvError, match=message):
        module_samples(module, inputs)
