from __future__ import annotations

import json

import pytest

from edgeconv.cli import run
from edgeconv.devices.profile import load_profile, profile_names
from tests.devices.probe import systems
from tests.trees import Tree


@pytest.fixture
def board(tmp_path, monkeypatch):
    tree = Tree(tmp_path / "system")
    monkeypatch.setenv("EDGECONV_SYSROOT", str(tree.root))
    return tree


def test_list_names_every_device(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["devices", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in profile_names())
    assert "tensorrt int8/fp16, onnxruntime int8/fp32" in shown


def test_list_as_json_is_whole(capsys):
    assert run(["devices", "list", "--json"]) == 0
    profiles = json.loads(capsys.readouterr().out)["profiles"]
    assert [profile["name"] for profile in profiles] == profile_names()
    assert profiles[0]["requirements"]


def test_show_tells_what_a_device_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["devices", "show", "jetson-nano"]) == 0
    shown = capsys.readouterr().out
    for words in ("4 x Cortex-A57 at 1430 MHz", "glibc 2.27", "tensorrt fp16", "nvpmodel -q", "makes a pack"):
        assert words in shown


def test_show_as_json(capsys):
    assert run(["devices", "show", "jetson-agx-orin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["quantisation"] == "symmetric"


def test_probe_says_what_is_there_and_what_is_missing(capsys, board, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    systems.jetpack_5(board)
    assert run(["devices", "probe", "local:"]) == 0
    shown = capsys.readouterr().out
    assert "Jetson AGX Orin Developer Kit" in shown
    assert "sudo apt-get install libnvinfer-bin" in shown
    assert "profile jetson-agx-orin" in shown
    assert "python: 3.8 instead of 3.10" in shown


def test_probe_of_a_board_that_cannot_be_used_fails(capsys, board):
    systems.pi_os_32_bit(board)
    assert run(["devices", "probe", "local:"]) == 1
    assert "its programs are 32-bit" in capsys.readouterr().out


def test_probe_as_json(capsys, board):
    systems.pi_5(board)
    assert run(["devices", "probe", "local:", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["proposal"] == {"profile": "raspberry-pi-5", "exact": True, "differences": []}
    assert found["findings"]["cpu_parts"] == ["Cortex-A76"]
    assert found["lacks"] == []


def test_probe_saves_a_profile_of_this_board(capsys, board, tmp_path):
    systems.jetpack_5(board)
    path = tmp_path / "orin.toml"
    assert run(["devices", "probe", "local:", "--save", str(path)]) == 0
    assert (load_profile(str(path)).name, load_profile(str(path)).glibc) == ("orin", "2.31")
    capsys.readouterr()
    assert run(["devices", "probe", "local:", "--save", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["devices", "probe", "local:", "--save", str(path), "--force"]) == 0


@pytest.mark.parametrize("arguments", [["nowhere:x"], ["local:", "--save", "profile.json"]])
def test_probe_refuses_what_means_nothing(arguments, capsys):
    assert run(["devices", "probe", *arguments]) == 2
    assert capsys.readouterr().err.startswith("edgeconv: ")
