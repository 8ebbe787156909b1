"""The assertion itself, with real exports: a model by name, and a module in hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.parity.assertion import ParityAssertion, ParityError
from edgeconv.parity.goldens import read_golden
from edgeconv.parity.subjects import BundleCache

NET = """
import torch
from torch import nn

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
"""
ONLY = {"runtimes": ("onnxruntime",)}  # of the export: the others are measured elsewhere


@pytest.fixture
def figures() -> dict[str, object]:
    return {}


@pytest.fixture
def asserting(tmp_path: Path, figures) -> Callable[..., ParityAssertion]:
    def make(update: bool = False) -> ParityAssertion:
        folder = tmp_path / f"bundles-{update}"
        folder.mkdir(exist_ok=True)
        return ParityAssertion(tmp_path / "goldens", BundleCache(folder), update, figures.__setitem__, [])

    return make


def test_a_model_by_name_keeps_its_golden_and_one_that_changed_does_not(asserting, tmp_path, figures):
    net, data = tmp_path / "net.py", tmp_path / "data.npz"
    net.write_text(NET)
    np.savez(data, input=np.random.default_rng(0).random((8, 1, 3, 12, 16), np.float32))
    given = {"runtime": "onnxruntime", "input_shapes": ("1x3x12x16",), "calibration": str(data), **ONLY}

    verdict = asserting(update=True)(f"{net}:factory", precision="fp32", **given)
    assert verdict.passed
    assert float(figures["onnxruntime fp32: export SQNR dB"]) > 90
    golden = read_golden(tmp_path / "goldens/factory.npz")
    assert golden is not None
    assert golden.arrays["input.input"].shape[1:] == (1, 3, 12, 16)

    again = asserting()
    for precision in ("fp32", "int8"):
        assert again(f"{net}:factory", precision=precision, **given).passed
    assert len(list((tmp_path / "bundles-False").iterdir())) == 1, "exported once"

    net.write_text(NET.replace("manual_seed(0)", "manual_seed(1)"))
    with pytest.raises(ParityError, match=r"PyTorch's outputs differ from .*factory.npz"):
        again(f"{net}:factory", precision="fp32", **given)
    assert len(list((tmp_path / "bundles-False").iterdir())) == 2, "the changed file was exported anew"


def test_a_module_in_hand_is_judged_with_its_inputs(asserting, tmp_path):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    inputs = [torch.rand(1, 3, 12, 16) for _ in range(8)]
    verdict = asserting(update=True)(module, golden="mine", inputs=inputs, **ONLY)
    assert {finding.precision for finding in verdict.findings} == {"fp32", "int8"}
    assert (tmp_path / "goldens/mine.npz").is_file()
