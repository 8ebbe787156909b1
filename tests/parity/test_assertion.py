"""The assertion itself, with real exports: a model by name, and a module in hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.manifest import Tolerance
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
        return ParityAssertion(tmp_path / "goldens", BundleCache(folder), update, figures.__setitem__, [].append)

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


FACTORY = """
import torch

def factory():
    torch.manual_seed(0)
    return torch.nn.Conv2d(3, 2, 3)
"""


@pytest.fixture
def conv(asserting, tmp_path) -> Callable[..., object]:
    """Assert the parity of one convolution with the golden file `g`; each call is a session of its own."""
    (tmp_path / "net.py").write_text(FACTORY)

    def call(update: bool = False, *, shape: str = "1x3x8x8", **more: object) -> object:
        given = {"input_shapes": shape, "golden": "g", "runtime": "onnxruntime", "precision": "fp32", **more}
        for name in {"calibration", "evaluation"} & set(given):
            np.savez(tmp_path / f"{name}.npz", **given[name])
            given[name] = str(tmp_path / f"{name}.npz")
        for folder in tmp_path.glob("bundles-*"):
            shutil.rmtree(folder)
        return asserting(update)(f"{tmp_path / 'net.py'}:factory", **given)

    return call


def images(seed: int, size: int = 8, dtype: type = np.float32) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).random((4, 1, 3, size, size)) * (255 if dtype is np.uint8 else 1)
    return {"input": values.astype(dtype)}


def test_data_of_another_kind_or_shape_are_told_with_the_golden_file_and_renewed(conv, tmp_path):
    conv(True, calibration=images(0))
    assert conv(calibration=images(1)), "the inputs of the golden file stay"
    with pytest.raises(
        ParityError, match=r"g.npz: input 'input' is uint8 .*in the golden file float32.*edgeconv-update"
    ):
        conv(calibration=images(0, dtype=np.uint8))
    with pytest.raises(ParityError, match=r"g.npz: input 'input' is float32 \[.*9, 9\], in the golden file"):
        conv(calibration=images(0, 9), shape="1x3x9x9")
    conv(True, calibration=images(0, 9), shape="1x3x9x9")
    assert conv(calibration=images(0, 9), shape="1x3x9x9")
    conv(True, calibration=images(0, 9), shape="1x3x9x9", evaluation=images(3, 9))
    renewed = read_golden(tmp_path / "goldens/g.npz")
    assert renewed is not None
    assert np.array_equal(renewed.arrays["input.input"], images(3, 9)["input"])


def test_targets_that_a_golden_file_lacks_come_with_the_evaluation_data(conv, tmp_path):
    given = {"calibration": images(0), "evaluation": {**images(3), "target": np.ones((4, 1, 2, 6, 6), np.float32)}}
    conv(True, calibration=images(0))
    with pytest.raises(UsageError, match="metric iou needs targets"):
        conv(calibration=images(0), metric="iou")
    with pytest.raises(ParityError, match=r"g.npz: input 'input' is float32 \[4, .*in the golden file float32 \[1, "):
        conv(**given, metric="iou")
    conv(True, **given, metric="iou")
    assert any(finding.bound == "iou drop" for finding in conv(**given, metric="iou").findings)


def test_a_golden_file_that_cannot_be_used_is_told_and_renewed(conv, tmp_path):
    conv(True, calibration=images(0))
    path = tmp_path / "goldens/g.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **{**arrays, "input.input": arrays["input.input"] * np.nan})
    with pytest.raises(ParityError, match=r"g.npz cannot be used: input 'input' has NaN"):
        conv(calibration=images(0))
    assert conv(True, calibration=images(0))
    assert conv(calibration=images(0))


def test_a_golden_file_is_not_written_where_parity_does_not_hold(asserting, tiny_bundle, tmp_path):
    given = {"runtime": "onnxruntime", "precision": "fp32", "locate": False}
    with pytest.raises(ParityError, match="It was not written now, for parity does not hold"):
        asserting(True)(tiny_bundle, tolerance="fp32.total_min_sqnr_db=250", **given)
    assert not (tmp_path / "goldens").exists()
    asserting(True)(tiny_bundle, **given)
    assert (tmp_path / "goldens/tiny.npz").is_file()


def test_a_metric_that_cannot_be_taken_is_no_parity(asserting, tiny_bundle, tmp_path):
    (tmp_path / "mine.py").write_text("def wordy(outputs, targets):\n    return 'good'\n")
    given = {"runtime": "onnxruntime", "precision": "fp32", "locate": False}
    with pytest.raises(ParityError, match=r"the task metric .*wordy was not taken: .*good"):
        asserting(True)(tiny_bundle, metric=f"{tmp_path / 'mine.py'}:wordy", **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tolerance": 3.0}, "3.0 is neither words nor a Tolerance"),
        ({"tolerance": [Tolerance("fp23", None, None, 1.0, None, None)]}, "no precision is called 'fp23'"),
        ({"runtime": []}, r"runtime is \[\], expected a name or several"),
        ({"precision": 8}, "precision is 8, expected a name or several"),
        ({"on": None}, "on is None, expected text"),
        ({"metric": len}, "metric is .*, expected text"),
        ({"golden": 3}, "golden is 3, expected text"),
    ],
)
def test_arguments_of_another_form_are_told(asserting, tiny_bundle, given, message):
    with pytest.raises(UsageError, match=message):
        asserting()(tiny_bundle, **given)
