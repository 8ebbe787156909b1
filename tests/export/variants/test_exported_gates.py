"""`edgeconv export --gates`: what the bundle says, and what the default says about the alternatives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundles import load_bundle
from edgeconv.cli import run
from edgeconv.errors import UsageError
from edgeconv.export.decide import start_choices
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.export.recipe import read_choices
from edgeconv.graph import save_graph
from edgeconv.manifest import GATES_FACT
from edgeconv.parity.tolerance import default_tolerances


@pytest.fixture(scope="module")
def reduced(network, samples_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reduced")
    save_graph(network, folder / "net.onnx")
    options = ExportOptions(
        model=str(folder / "net.onnx"),
        calibration=str(samples_path),
        runtimes=("onnxruntime",),
        gates="reduced",
        output=folder,
    )
    (built,) = build_bundle(options).bundles
    return load_bundle(Path(built.path))


def test_another_form_of_gates_is_an_approximation_with_its_error(reduced, exported):
    (rewrite,) = [rewrite for rewrite in reduced.manifest.rewrites if rewrite.name == "compress_gates"]
    assert (rewrite.equivalence, rewrite.changed) == ("approximated", 1)
    assert rewrite.details[0].endswith("2592 of 41472 values")
    assert " dB, " in rewrite.details[0]
    assert (reduced.manifest.model.equivalence, exported.manifest.model.equivalence) == ("approximated", "exact")
    assert reduced.manifest.tolerances == default_tolerances("approximated")


def test_the_recipe_knows_the_form(reduced):
    assert read_choices(reduced.directory).gates == "reduced"


def test_only_folded_gates_are_said_to_be_large(reduced, exported):
    said, small = (bundle.manifest.artifact("onnxruntime", "int8") for bundle in (exported, reduced))
    assert "--gates reduced" in said.facts[GATES_FACT]
    assert GATES_FACT not in small.facts
    assert small.total_bytes < 0.6 * said.total_bytes
    assert GATES_FACT not in exported.manifest.artifact("onnxruntime", "fp32").facts


def test_the_price_that_was_said_is_that_of_the_file(reduced, exported):
    said = exported.manifest.artifact("onnxruntime", "int8").facts[GATES_FACT]
    promised = float(said.partition("--gates reduced: about ")[2].partition(" MB")[0]) * 1e6
    assert abs(reduced.manifest.artifact("onnxruntime", "int8").total_bytes - promised) < 6000


@pytest.mark.parametrize("gates", ["expression", "reduced"])
def test_a_form_that_suits_no_map_is_said_to_have_changed_nothing(build_graph, gates, tmp_path, capsys):
    weights = np.random.default_rng(0).normal(0, 0.3, (2, 2, 3, 3)).astype(np.float32)
    text = "g (float[1,2,8,8] x, float[2,2,3,3] w) => (float[1,2,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    save_graph(build_graph(text, w=weights), tmp_path / "net.onnx")
    base = ["export", str(tmp_path / "net.onnx"), "--runtime", "onnxruntime", "-o", str(tmp_path / "out")]
    np.save(tmp_path / "data.npy", np.random.default_rng(1).random((4, 2, 8, 8), np.float32))
    base += ["--calibration", str(tmp_path / "data.npy")]
    assert run([*base, "--gates", gates]) == 0
    assert f"--gates {gates} changed nothing" in " ".join(capsys.readouterr().out.split())
    assert run([*base, "--force"]) == 0
    assert "changed nothing" not in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"learn_seconds": 5.0}, {"recipe": "recipe.json"}])
def test_factors_of_a_gate_are_not_learned_through(reduced, options, tmp_path):
    document = json.loads((reduced.directory / "recipe.json").read_text())
    document["choices"]["learn_steps"] = 30
    (tmp_path / "recipe.json").write_text(json.dumps(document))
    if "recipe" in options:
        options = {"recipe": tmp_path / "recipe.json"}
    assert start_choices(ExportOptions("net.onnx", gates="reduced", **options)).gates == "reduced"
    with pytest.raises(UsageError, match="--gates expression exclude each other"):
        start_choices(ExportOptions("net.onnx", gates="expression", **options))


@pytest.mark.parametrize(("gates", "rank"), [("rank", None), ("expression", 0)])
def test_what_means_nothing_is_refused_before_anything_is_loaded(gates, rank, tmp_path):
    with pytest.raises(UsageError):
        build_bundle(ExportOptions(model="not-there.onnx", gates=gates, gate_rank=rank, output=tmp_path))
