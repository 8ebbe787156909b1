"""`edgeconv export` with the dials of quality: what is left in float, and how far pairs are truncated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.bundles import load_bundle
from edgeconv.cli import run
from edgeconv.export.mixed.report import read_mixed
from edgeconv.export.recipe import read_choices
from edgeconv.graph import load_graph

_NET = """g (float[1,8,16,16] x, float[24,8,1,3] w1, float[16,24,3,1] w2, float[16] b2, float[2,16,3,3] w3)
=> (float[1,2,16,16] y)
{ a = Conv<pads = [0,1,0,1]>(x, w1) b = Conv<pads = [1,0,1,0]>(a, w2, b2) r = Relu(b)
y = Conv<pads = [1,1,1,1]>(r, w3) }"""


@pytest.fixture
def export(build_graph: Callable[..., ir.Model], tmp_path: Path) -> Callable[..., int]:
    """Export a network with one pair, with 24 channels between, for ONNX Runtime."""
    rng = np.random.default_rng(3)
    model = build_graph(
        _NET,
        w1=rng.normal(0, 0.3, (24, 8, 1, 3)).astype(np.float32),
        w2=rng.normal(0, 0.3, (16, 24, 3, 1)).astype(np.float32),
        b2=rng.normal(0, 0.1, 16).astype(np.float32),
        w3=rng.normal(0, 0.3, (2, 16, 3, 3)).astype(np.float32),
    )
    onnx.save(ir.to_proto(model), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=rng.random((6, 8, 16, 16), np.float32))
    base = ["export", str(tmp_path / "net.onnx"), "--calibration", str(tmp_path / "data.npz"), "--name", "net"]
    base += ["--runtime", "onnxruntime", "-o", str(tmp_path / "out")]
    return lambda *flags: run([*base, *flags])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rank-energy", "1.5"), "--rank-energy 1.5 means nothing"),
        (("--rank-energy", "0"), "--rank-energy 0 means nothing"),
        (("--macs-budget", "-2"), "--macs-budget -2 means nothing"),
        (("--rank-energy", "0.9", "--macs-budget", "0.5"), "exclude each other"),
        (("--macs-budget", "0.01"), "Ask for 0."),
        (("--min-sqnr", "-1"), "--min-sqnr -1 means nothing"),
        (("--max-drop", "dice"), "names no metric and value"),
        (("--max-drop", "dice=x"), "is no number"),
        (("--max-drop", "nosuch=0.1"), "No metric is called 'nosuch'"),
        (("--max-drop", "dice=0.1"), "the golden cases have no targets"),
        (("--min-sqnr", "much"), "--min-sqnr"),
    ],
)
def test_flags_that_mean_nothing_are_refused_before_anything_is_written(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], words: str
) -> None:
    assert export(*flags) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_quality_out_of_reach_is_a_failed_verdict_with_the_best_that_was_reached(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--min-sqnr", "120") == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "No golden case below 120 dB cannot be reached" in text
    assert "the best was" in text
    assert not (tmp_path / "out").exists()


def test_a_quality_that_int8_has_leaves_all_as_it_is_and_says_so(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--min-sqnr", "5") == 0
    assert "nothing was left in float" in " ".join(capsys.readouterr().out.split())
    bundle = load_bundle(tmp_path / "out" / "net-host")
    report = read_mixed(bundle.directory)
    assert report is not None
    assert report.rescues == ()
    assert read_choices(bundle.directory).float_nodes == ()


def test_a_truncated_pair_is_approximated_recorded_and_repeated(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--rank-energy", "0.7") == 0
    bundle = load_bundle(tmp_path / "out" / "net-host")
    assert bundle.manifest.model.equivalence == "approximated"
    (applied,) = [rewrite for rewrite in bundle.manifest.rewrites if rewrite.name == "truncate_pairs"]
    assert applied.sqnr_db is not None
    ranks = read_choices(bundle.directory).ranks
    assert list(ranks.values()) in ([8], [16])
    (fp32,) = [a for a in bundle.manifest.artifacts if a.precision == "fp32"]
    first = next(iter(load_graph(bundle.directory / fp32.path).graph))
    weights = next(value for value in first.inputs if value is not None and value.is_initializer())
    assert weights.shape is not None
    assert weights.shape.numpy()[0] == next(iter(ranks.values()))
    capsys.readouterr()

    recipe = tmp_path / "recipe.json"
    recipe.write_bytes((bundle.directory / "recipe.json").read_bytes())
    assert export("--recipe", str(recipe), "--force") == 0
    again = load_bundle(tmp_path / "out" / "net-host")
    assert [a.sha256 for a in again.manifest.artifacts] == [a.sha256 for a in bundle.manifest.artifacts]
    assert export("--recipe", str(recipe), "--rank-energy", "0.9", "--force") == 2
    assert "recipe has chosen ranks already" in " ".join(capsys.readouterr().err.split())
    assert json.loads(recipe.read_text())["choices"]["ranks"] == dict(ranks)


def test_a_quality_is_asked_of_the_graph_of_symmetric_activations_too(
    export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenVINO on a Raspberry Pi 5 has symmetric activations, in which nothing is left in float."""
    board = ("--device", "raspberry-pi-5", "--runtime", "openvino")
    assert export(*board, "--min-sqnr", "5") == 0
    first = read_mixed(tmp_path / "out" / "net-raspberry-pi-5")
    assert first is not None
    (other,) = first.others
    assert (other.scheme, other.runtimes, other.met) == ("symmetric-outputs", ("openvino",), True)
    assert "does not meet it" not in " ".join(capsys.readouterr().out.split())
