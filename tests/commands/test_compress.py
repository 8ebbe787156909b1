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

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
    def forward(self, x, y):
        return self.conv(x) + y

class Keyword(Two):
    def forward(self, *, x):
        return self.conv(x)

class Branch(Two):
    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x

class Several(Two):
    def forward(self, x):
        return self.conv(x), x
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
        (["--calibration-count", "0"], "at least 1"),
        (["--budget", "0"], "A budget of 0"),
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


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("factory", "1x1x16x24", "refuses inputs of shape"),
        ("Keyword", "1x3x16x24", "by keyword only"),
        ("Branch", "1x3x16x24", "control flow that depends on the data"),
        ("Several", "1x3x16x24", "not one tensor"),
    ],
)
def test_a_model_that_cannot_be_compressed_is_told_in_a_sentence(net, capsys, name, shape, words):
    assert run(["compress", f"net.py:{name}", "--input-shape", shape, "--finetune", "1"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_several_inputs_have_a_shape_each(net, capsys):
    shapes = ["--input-shape", "x=1x3x16x24", "--input-shape", "y=1x16x16x24"]
    assert run(["compress", "net.py:Two", *shapes, "--budget", "0.6", "-o", "two.pt2"]) == 0


def test_the_data_of_a_task_have_one_shape(net, capsys):
    assert run(["compress", "vessels", "--input-shape", "1x1x128x128", "--energy", "0.9"]) == 2
    assert "--input-shape asks for 1x1x128x128" in " ".join(capsys.readouterr().err.split())
