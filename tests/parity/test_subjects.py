from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeconv.bundles import load_bundle
from edgeconv.errors import BundleError, EdgeconvError, UsageError
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
        (torch.nn.ReLU(), {"inputs": {"x": torch.zeros(1, 2)}}, "ReLU takes input; inputs has x"),
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
    assert as_names(None) is None
    assert as_names("litert") == ["litert"]
    assert as_names(("litert", "openvino")) == ["litert", "openvino"]
