from __future__ import annotations

import json

import pytest

from edgeconv.cli import run

NET = """
import torch
from torch import nn

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return ["compress", "net.py:factory", "--input-shape", "1x3x16x24"]


def test_the_result_is_a_model_that_loads(net, tmp_path, capsys):
    assert run([*net, "--budget", "0.5", "-o", "half.pt2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["macs_after"] <= 0.5 * report["macs_before"]
    from edgeconv.models import load_model

    program = load_model("half.pt2").exported_program
    assert sum(p.numel() for p in program.parameters()) == report["parameters_after"]


def test_the_table_names_every_layer(net, capsys):
    assert run([*net, "--budget", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "16x3x3x3" in shown
    assert "factory-sfconv.pt2" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--energy", "2"], "share"),
        (["--budget", "0.001"], "cannot be met"),
        (["--energy", "0.9", "--budget", "0.5"], "not both"),
        (["-o", "net.onnx"], "must end in .pt2"),
        (["--calibration", "absent"], "absent"),
    ],
)
def test_bad_input_writes_nothing(net, tmp_path, capsys, arguments, words):
    assert run([*net, *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("*.pt2"))


def test_an_existing_file_is_kept(net, tmp_path, capsys):
    (tmp_path / "factory-sfconv.pt2").write_text("mine")
    assert run(net) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "factory-sfconv.pt2").read_text() == "mine"


def test_a_traced_graph_is_refused(tmp_path, capsys):
    assert run(["compress", str(tmp_path / "net.onnx")]) == 2
