from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeconv.errors import CheckpointError
from edgeconv.models.checkpoint import check_finite, load_weights, read_state_dict


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))


def trained_state() -> dict[str, Tensor]:
    torch.manual_seed(7)
    return network().state_dict()


def assert_loaded(module: nn.Module, state: dict[str, Tensor]) -> None:
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_safetensors_are_loaded(tmp_path: Path) -> None:
    state, module = trained_state(), network()
    save_file(state, tmp_path / "w.safetensors")
    load_weights(module, tmp_path / "w.safetensors")
    assert_loaded(module, state)


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": state, "loss": 0.25},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.{name}": value for name, value in state.items()}},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
    ],
    ids=["plain", "state_dict", "model", "model_state_dict", "DataParallel", "compiled", "both", "the other way"],
)
def test_torch_checkpoints_are_loaded_however_they_are_wrapped(tmp_path: Path, wrap: Any, suffix: str) -> None:
    state, module = trained_state(), network()
    torch.save(wrap(state), tmp_path / f"w{suffix}")
    load_weights(module, tmp_path / f"w{suffix}")
    assert_loaded(module, state)


def test_prefix_is_kept_where_it_is_the_models_own(tmp_path: Path) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = network()

    source, target = Wrapper(), Wrapper()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert_loaded(target, source.state_dict())


def test_checkpoint_of_an_old_torch_may_lack_the_batch_counters(tmp_path: Path) -> None:
    state = {name: value for name, value in trained_state().items() if "num_batches" not in name}
    torch.save(dict(state), tmp_path / "w.pt")
    load_weights(network(), tmp_path / "w.pt")


def test_every_misfit_is_listed(tmp_path: Path) -> None:
    state = trained_state()
    del state["0.bias"]
    state["3.weight"] = torch.zeros(1)
    state["2.weight"] = torch.zeros(1, 3, 1, 1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_weights(network(), tmp_path / "w.safetensors")
    assert caught.value.message == (
        f"{tmp_path}/w.safetensors does not fit Sequential: 1 missing (0.bias); 1 unexpected (3.weight); "
        "1 of another shape (2.weight is 1x3x1x1, expected 1x2x1x1)."
    )


def test_long_lists_end_after_ten_with_the_number_of_the_others(tmp_path: Path) -> None:
    torch.save({f"extra.{k}": torch.zeros(1) for k in range(25)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"25 unexpected \(extra.0, .*extra.9 and 15 more\)") as caught:
        load_weights(network(), tmp_path / "w.pt")
    assert "extra.10" not in caught.value.message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    state = trained_state()
    state["2.weight"][0, 1] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"w.safetensors are not finite: 1 with NaN or infinity \(2.weight\)"):
        load_weights(network(), tmp_path / "w.safetensors")


def test_mask_of_minus_infinity_is_no_broken_weight() -> None:
    check_finite([], [("mask", torch.tensor([0.0, float("-inf")])), ("steps", torch.tensor(3))], "a model")


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_numbers_of_another_kind_are_no_weights(tmp_path: Path, kind: torch.dtype) -> None:
    state = trained_state()
    name = next(iter(state))
    torch.save({**state, name: state[name].to(kind)}, tmp_path / "w.pt")
    module = network()
    with pytest.raises(CheckpointError, match=f"1 of another type .*{name} is {str(kind)[6:]}, expected float32"):
        load_weights(module, tmp_path / "w.pt")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no weights file"):
        read_state_dict(tmp_path / "w.pt")


def test_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"Known suffixes are \.pt, \.pth, \.safetensors"):
        read_state_dict(tmp_path / "w.h5")


class _Dangerous:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickled_code_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    torch.save({"a": _Dangerous(trace)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"torch\.save\(model\.state_dict\(\)"):
        read_state_dict(tmp_path / "w.pt")
    (tmp_path / "v.pt").write_bytes(pickle.dumps(_Dangerous(trace)))
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / "v.pt")
    assert not trace.exists()


def test_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds a list, expected tensors by name"),
        ({}, "holds a dict, expected tensors by name"),
        ({"weight": torch.zeros(2), "epoch": 3}, r"1 no tensors \(epoch \(int\)\)"),
        ({"state_dict": {}}, "expected tensors by name"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_gives_tensors_or_a_checkpoint_error(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = tmp_path / f"w{suffix}"
    state = {"a": torch.ones(3, 2), "b": torch.zeros(4)}
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        state = read_state_dict(path)
    except CheckpointError:
        return
    assert all(isinstance(value, Tensor) for value in state.values())
