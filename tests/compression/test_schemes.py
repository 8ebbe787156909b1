from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from edgeconv.cli import run
from edgeconv.compression.schemes import compare_schemes, scheme_names
from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.factorised import DepthwiseSeparable


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 4, 1))


def test_every_plain_convolution_has_a_row_and_grouped_ones_have_none():
    rows = compare_schemes(net(), 0.5)
    assert [row.name for row in rows] == ["0", "2"]
    assert set(rows[0].cells) == set(scheme_names())
    assert "depthwise" not in rows[1].cells  # a 1x1 is not made smaller by it


def test_a_kernel_of_zeros_is_met_by_every_scheme():
    conv = nn.Conv2d(8, 16, 3)
    nn.init.zeros_(conv.weight)
    (row,) = compare_schemes(conv, 0.5)
    assert {cell.kernel_error for cell in row.cells.values()} == {0.0}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_no_scheme_takes_more_than_its_share(share):
    for row in compare_schemes(net(), share):
        assert all(0 < cell.weight_share <= share for cell in row.cells.values())


def test_a_layer_that_is_depthwise_separable_is_recognised():
    model = net()
    with torch.no_grad():
        model[0].weight.copy_(DepthwiseSeparable.from_conv(model[0]).merge().weight)
    cells = compare_schemes(model, 0.5)[0].cells
    assert cells["depthwise"].kernel_error < 1e-6
    assert min(cells, key=lambda scheme: cells[scheme].kernel_error) == "depthwise"


def test_more_weights_lose_less():
    little, much = (compare_schemes(net(), share)[0].cells for share in (0.2, 0.6))
    assert all(much[scheme].kernel_error <= little[scheme].kernel_error for scheme in little)


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="share of 0"):
        compare_schemes(net(), 0)
    with pytest.raises(ModelError, match="no plain Conv2d"):
        compare_schemes(nn.Linear(2, 2))


def test_the_verb_prints_a_table_and_json(capsys):
    assert run(["inspect", "vessels", "--schemes", "--share", "0.5"]) == 0
    assert "tucker-2" in capsys.readouterr().out
    assert run(["inspect", "vessels", "--schemes", "--share", "0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["kernel"]
