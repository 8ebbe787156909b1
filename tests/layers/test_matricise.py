from __future__ import annotations

import pytest
import torch

from edgeconv.errors import UsageError
from edgeconv.layers.matricise import Matricise


def test_the_authors_shape():
    layer = Matricise(32, (128, 128, 128), 8, (8, 8, 8))
    assert layer(torch.empty(1, 32, 128, 128, 128, device="meta")).shape == (4, 4096, 8, 512)
    swin = Matricise(32, (128, 128, 128), 8, (8, 8, 8), shifts=(0, 4))
    assert swin(torch.empty(1, 32, 128, 128, 128, device="meta")).shape == (8, 4096, 8, 512)


@pytest.mark.parametrize("size", [(8, 12), (4, 8, 12)])
@pytest.mark.parametrize("shifts", [(0,), (0, 2), (1, 2, 3)])
def test_the_inverse_gives_the_map_back(size, shifts):
    x = torch.arange(2 * 6 * torch.Size(size).numel(), dtype=torch.float64).reshape(2, 6, *size)
    layer = Matricise(6, size, 3, (4,) * len(size), shifts)
    assert torch.allclose(layer.inverse(layer(x)), x)


def test_a_matrix_holds_one_window_of_one_head():
    x = torch.randn(1, 4, 6, 6)
    matrices = Matricise(4, (6, 6), 2, (3, 3))(x)
    assert torch.equal(matrices[1, 2], x[0, 2:4, 3:6, 0:3].reshape(2, 9))


def test_global_is_one_window():
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(Matricise(4, (6, 6), 4, (6, 6))(x), x.reshape(2, 1, 4, 36))


def test_copies_are_averaged():
    layer = Matricise(2, (4, 4), 2, (4, 4), shifts=(0, 1))
    x = torch.randn(1, 2, 4, 4)
    matrices = layer(x)
    matrices[1] = 0
    assert torch.allclose(layer.inverse(matrices), x / 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((6, (8, 8), 4, (4, 4)), "multiple of head_dim"),
        ((6, (8, 9), 3, (4, 4)), "multiple of the window"),
        ((6, (8,), 3, (4,)), "2 or 3 axes"),
        ((6, (8, 8), 3, (4, 4), ()), "at least one shift"),
    ],
)
def test_bad_sizes_are_named(arguments, words):
    with pytest.raises(UsageError, match=words):
        Matricise(*arguments)


def test_another_map_is_refused():
    with pytest.raises(UsageError, match="expected"):
        Matricise(4, (4, 4), 2, (2, 2))(torch.zeros(1, 4, 4, 8))
