"""PyTorch against its export, module by module."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeconv.bundles import load_bundle
from edgeconv.errors import ModelError
from edgeconv.export.onnx import to_onnx
from edgeconv.models.factory import call_factory
from edgeconv.parity.locate.modules import _recorded, compare_modules, locate_in_export

FEEDS = {"image": np.random.default_rng(5).random((1, 3, 16, 24), np.float32)}


def traced(module):
    return to_onnx(module, {name: torch.from_numpy(array) for name, array in FEEDS.items()})


def test_a_faithful_trace_agrees_in_every_module(net):
    module = call_factory(f"{net}:factory").eval()
    readings = compare_modules(_recorded(module, FEEDS), traced(module), FEEDS)
    assert [path for path, _, _ in readings] == ["first.conv", "first", "second.conv", "second", "last", ""]
    assert all(db is None or db > 100 for _, _, db in readings)


def test_the_module_whose_graph_departs_is_the_first_that_is_off(net):
    """What a wrong translation does: the graph computes another second convolution than PyTorch."""
    module, wrong = (call_factory(f"{net}:factory").eval() for _ in range(2))
    with torch.no_grad():
        wrong.second.conv.weight[3] *= 1.01
    readings = compare_modules(_recorded(module, FEEDS), traced(wrong), FEEDS)
    off = [path for path, _, db in readings if db is not None and db < 90]
    assert off[0] == "second.conv"
    assert "first" not in off


def test_of_an_export_that_holds_the_rest_is_blamed(exported, net):
    location = locate_in_export(load_bundle(exported), "litert", "fp32", f"{net}:factory", None)
    assert not location.found
    assert location.stage == "export"
    assert "reproduces PyTorch in all 6 modules" in location.message


def test_another_model_than_the_bundles_is_refused(exported, net, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(net.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    with pytest.raises(ModelError, match="is not the model of this bundle"):
        locate_in_export(load_bundle(exported), "litert", "fp32", f"{other}:factory", None)
