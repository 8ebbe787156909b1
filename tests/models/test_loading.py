from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeconv.errors import CheckpointError, ModelError, UsageError
from edgeconv.models import load_model
from edgeconv.training.tasks import get_task, task_names
from edgeconv.training.tasks.vessels import VesselsTask

SOURCE = """
import torch
from torch import nn


def factory():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())


def lazy():
    return nn.Sequential(nn.LazyConv2d(2, 3))


def hollow():
    return nn.Conv2d(1, 2, 3, device="meta")


def parallel():
    return nn.DataParallel(torch.compile(factory()))


def broken():
    model = factory()
    model[0].weight.data[0] = float("nan")
    return model
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def test_factory_gives_its_own_weights_in_evaluation_mode(net: Path) -> None:
    loaded = load_model(f"{net}:factory")
    assert isinstance(loaded.module, nn.Sequential)
    assert not any(part.training for part in loaded.module.modules())
    assert (loaded.name, loaded.source) == ("factory", f"{net}:factory")
    assert (loaded.onnx_path, loaded.exported_program, loaded.weights_sha256, loaded.task) == (None, None, None, None)


def test_factory_takes_the_weights_of_a_file(net: Path, tmp_path: Path) -> None:
    state = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
    weights = tmp_path / "w.safetensors"
    save_file(state, weights)
    loaded = load_model(f"{net}:factory", weights)
    assert loaded.module is not None
    assert all(torch.equal(value, state[name]) for name, value in loaded.module.state_dict().items())
    assert loaded.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert loaded.source == f"{net}:factory with the weights {weights}"


def test_factory_whose_weights_are_not_finite_is_refused(net: Path) -> None:
    with pytest.raises(CheckpointError, match=r"net.py:broken are not finite: 1 with NaN or infinity \(0.weight\)"):
        load_model(f"{net}:broken")


@pytest.mark.parametrize(
    ("name", "words"), [("lazy", "lazy modules: the shape of '0.weight'"), ("hollow", "meta device")]
)
def test_factory_whose_weights_have_no_values_is_refused(net: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(f"{net}:{name}")


def test_what_runs_a_model_on_several_devices_or_compiles_it_is_taken_off(net: Path) -> None:
    assert isinstance(load_model(f"{net}:parallel").module, nn.Sequential)


def test_built_in_network_is_loaded_by_its_name() -> None:
    loaded = load_model("small-unet")
    assert type(loaded.module).__name__ == "SmallUNet"
    assert (loaded.name, loaded.source) == ("small-unet", "built-in network small-unet")


@pytest.mark.parametrize("name", task_names())
def test_task_brings_its_model_and_its_data(name: str, tmp_path: Path) -> None:
    task = get_task(name)
    weights = tmp_path / "w.safetensors"
    save_file(task.build_model(*task.input_shape[2:]).state_dict(), weights)
    loaded = load_model(name, weights)
    assert loaded.task is task
    assert loaded.name == name
    assert loaded.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert loaded.source == f"built-in task {name} with the weights {weights}"
    assert loaded.module is not None
    assert not loaded.module.training


def test_task_without_its_trained_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = VesselsTask(checkpoint_path=tmp_path / "vessels.safetensors")
    monkeypatch.setattr("edgeconv.training.tasks.get_task", lambda name: task)
    with pytest.raises(CheckpointError, match=r"are not there: .*Train them with `edgeconv train vessels`"):
        load_model("vessels")


def test_weights_of_a_task_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit SmallUNet: \d+ missing .*; 2 unexpected \(bias, weight\)"):
        load_model("deblur", tmp_path / "w.safetensors")


def test_exported_program_is_loaded_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    model = nn.Linear(3, 2)
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3),)), path)
    loaded = load_model(str(path))
    assert loaded.exported_program is not None
    x = torch.randn(1, 3)
    torch.testing.assert_close(loaded.exported_program.module()(x), model(x))
    assert (loaded.name, loaded.module, loaded.onnx_path) == ("net", None, None)
    assert loaded.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_exported_program_whose_weights_are_not_finite_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    nn.init.constant_(model.bias, float("inf"))
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3),)), tmp_path / "net.pt2")
    with pytest.raises(CheckpointError, match=r"net.pt2 are not finite: 1 with NaN or infinity \(bias\)"):
        load_model(str(tmp_path / "net.pt2"))


@pytest.mark.parametrize("content", [b"", b"no program", b"PK\x03\x04 cut off"])
def test_file_that_is_no_exported_program_is_refused_quietly(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.pt2").write_bytes(content)
    with pytest.raises(ModelError, match="is no exported program that this torch"):
        load_model(str(tmp_path / "net.pt2"))
    assert capfd.readouterr() == ("", "")


def test_onnx_file_is_named_and_hashed_but_left_to_the_export(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a graph")
    loaded = load_model(str(path))
    assert (loaded.name, loaded.onnx_path, loaded.module) == ("net", path, None)
    assert loaded.weights_sha256 == hashlib.sha256(b"a graph").hexdigest()


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_missing_file_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ModelError, match="There is no model file"):
        load_model(str(tmp_path / f"net{suffix}"))


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_weights_beside_a_file_that_has_its_own_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match="has its weights in it"):
        load_model(str(tmp_path / f"net{suffix}"), tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("vesels", "Did you mean vessels"),
        ("sfconv-unett", "Did you mean sfconv-unet"),
        ("net.py", r"Name the factory in it: net\.py:factory"),
        ("w.safetensors", r"Weights need their model: net\.py:factory --weights w\.safetensors"),
        ("zzz", "Built in are deblur, vessels, .*small-unet; yours is file.py:factory"),
    ],
)
def test_name_of_nothing_is_refused_with_what_may_be_meant(spec: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        load_model(spec)
