from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeconv.bundles import load_bundle
from edgeconv.errors import BundleError, EdgeconvError, UsageError
from edgeconv.parity.goldens import Golden
from edgeconv.parity.subjects import BundleCache, as_names, model_name


@pytest.fixture
def cache(tmp_path: Path) -> BundleCache:
    return BundleCache(tmp_path)


def opened(cache: BundleCache, model: object, inputs: object = None, **options: object) -> str:
    with cache.open(model, inputs, options) as bundle:
        return bundle.manifest.name


def test_a_bundle_is_taken_as_it_is(cache, tiny_bundle):
    assert opened(cache, tiny_bundle) == opened(cache, str(tiny_bundle)) == "tiny-host"
    assert opened(cache, load_bundle(tiny_bundle)) == "tiny-host"


def test_a_bundle_that_was_changed_is_refused(cache, tiny_bundle):
    (tiny_bundle / "models/model.fp32.onnx").write_bytes(b"changed")
    with pytest.raises(BundleError, match="has been changed since the export"):
        opened(cache, tiny_bundle)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Path("gone"), {}, "There is no bundle at gone"),
        ("gone.zip", {}, "There is no bundle at gone.zip"),
        ("gone", {}, "There is no model named 'gone'"),
        (3, {"inputs": [torch.zeros(1)]}, "Parity of int means nothing"),
        (torch.nn.ReLU(), {}, "needs inputs"),
        (torch.nn.ReLU(), {"inputs": []}, "empty list"),
        (torch.nn.ReLU(), {"inputs": {"x": torch.zeros(1, 2)}}, "ReLU takes input; sample 0 has x"),
        ("vessels", {"inputs": torch.zeros(1)}, r"inputs go with a torch.nn.Module"),
        ("vessels", {"calibratoin": "x"}, "No export option is called 'calibratoin'"),
    ],
)
def test_what_cannot_be_exported_is_told(cache, model, options, message):
    with pytest.raises(EdgeconvError, match=message):
        opened(cache, model, **options)


def test_options_of_an_export_do_not_go_with_a_bundle(cache, tiny_bundle):
    with pytest.raises(UsageError, match="weights has no meaning for it"):
        opened(cache, tiny_bundle, weights="w.pt")


def test_the_golden_file_is_called_after_the_model(tiny_bundle):
    assert model_name("net.py:factory") == "factory"
    assert model_name("nets/unet.onnx") == "unet"
    assert model_name("vessels") == "vessels"
    assert model_name(torch.nn.ReLU()) == "ReLU"
    assert model_name(load_bundle(tiny_bundle)) == "tiny"
    assert model_name(tiny_bundle) == ""


def test_one_name_or_several():
    assert as_names("runtime", None) is None
    assert as_names("runtime", "litert") == ["litert"]
    assert as_names("runtime", ("litert", "openvino")) == ["litert", "openvino"]


@pytest.mark.parametrize("value", [[], (), 3, ["litert", 3]])
def test_no_name_at_all_is_refused(value):
    with pytest.raises(UsageError, match=r"runtime is .*, expected a name or several"):
        as_names("runtime", value)


class Scaled(torch.nn.Module):
    """Weights alone do not tell what it computes."""

    def __init__(self, scale: float, doubled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.scale, self.doubled = torch.nn.Conv2d(3, 4, 3), scale, doubled

    def forward(self, x):
        y = self.conv(x) * self.scale
        return y + y if self.doubled else y


def test_a_module_is_exported_once_and_anew_where_it_computes_something_else(cache, tmp_path):
    samples = [torch.rand(1, 3, 8, 8) for _ in range(2)]

    def exported(module: torch.nn.Module) -> int:
        opened(cache, module, samples, runtimes="onnxruntime")
        return len(list(tmp_path.iterdir()))

    module = Scaled(1.0)
    assert [exported(module), exported(module), exported(Scaled(1.0))] == [1, 1, 1]
    assert [exported(Scaled(2.0)), exported(Scaled(1.0, doubled=True))] == [2, 3]
    module.scale = 5.0
    assert exported(module) == 4


@pytest.fixture
def fitting(tmp_path: Path):
    """Export a module by name with the golden file's inputs given, and tell which inputs the bundle has."""
    (tmp_path / "net.py").write_text("import torch\ndef factory():\n    return torch.nn.Conv2d(3, 2, 3)\n")

    def inputs(golden: np.ndarray, data: np.ndarray | None, name: str = "input") -> np.ndarray:
        given = {"input_shapes": "1x3x8x8"}
        if data is not None:
            np.savez(tmp_path / "data.npz", input=data)
            given |= {"calibration": str(tmp_path / "data.npz"), "runtimes": "onnxruntime"}
        kept = Golden("factory", {f"input.{name}": golden, "torch.output": np.zeros((len(golden), 1, 2, 6, 6))})
        (tmp_path / "made").mkdir()
        with BundleCache(tmp_path / "made").open(f"{tmp_path / 'net.py'}:factory", None, given, "g", kept) as bundle:
            return bundle.golden_arrays()["input.input"]

    return inputs


FLOATS, IMAGES = np.full((2, 1, 3, 8, 8), 0.25, np.float32), np.full((2, 1, 3, 8, 8), 7, np.uint8)


@pytest.mark.parametrize(
    ("golden", "data"), [(FLOATS, FLOATS + 1), (FLOATS, FLOATS.astype(np.float64)), (IMAGES, None)]
)
def test_inputs_of_a_golden_file_that_fit_are_the_golden_cases(fitting, golden, data):
    assert np.array_equal(fitting(golden, data), golden)


@pytest.mark.parametrize(
    ("golden", "data", "name"),
    [(FLOATS, IMAGES, "input"), (IMAGES, FLOATS, "input"), (FLOATS[..., :7], FLOATS, "input"), (FLOATS, FLOATS, "x")],
)
def test_inputs_of_a_golden_file_that_do_not_fit_are_left_out(fitting, golden, data, name):
    found = fitting(golden, data, name)
    assert found.dtype == data.dtype
    assert np.array_equal(found[0], data[0])
