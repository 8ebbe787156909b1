"""`edgeconv tune --graphs` and `--cost-model` on the command line."""

from __future__ import annotations

import json

import pytest

from edgeconv.commands.tune import tune
from edgeconv.errors import UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.recipe import read_choices
from edgeconv.export.variants import command
from edgeconv.export.variants.report import GraphTrial, GraphTuning, VariantResult
from edgeconv.export.variants.table import graphs_table
from edgeconv.schema import from_dict


def test_calibration_data_without_graphs_are_refused(exported):
    with pytest.raises(UsageError, match="other graphs"):
        tune(exported.directory, calibration="images/")


def test_missing_calibration_data_are_asked_for_before_anything_is_measured(exported):
    with pytest.raises(UsageError, match="calibration data are not at hand"):
        tune(exported.directory, graphs=True)


def test_the_cost_model_writes_a_recipe_where_another_graph_is_better(exported, samples_path, tmp_path, capsys):
    assert tune(exported.directory, cost_model=True, calibration=str(samples_path), output=tmp_path / "t.json") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "not measured" in text
    assert "gates expression" in text
    recipe = tmp_path / "t-recipe.json"
    assert recipe.is_file() != ("own graph is kept" in text)
    if recipe.is_file():
        assert read_choices(recipe).merged_pairs == ("v/Conv",)
    written = from_dict(GraphTuning, json.loads((tmp_path / "t.json").read_text()))
    assert written.changed == recipe.is_file()
    assert "not measured" in written.basis


@pytest.mark.parametrize("asked", [{"on": "ssh://pi@board"}, {"seconds": 3.0}])
def test_the_cost_model_measures_nothing_anywhere(exported, samples_path, asked):
    with pytest.raises(UsageError, match="--cost-model measures nothing"):
        tune(exported.directory, cost_model=True, calibration=str(samples_path), **asked)


def test_a_recipe_of_an_earlier_run_does_not_stay_where_nothing_is_better(
    exported, samples_path, tmp_path, monkeypatch
):
    stale = tmp_path / "t-recipe.json"
    stale.write_text("{}")
    found = GraphTuning("not measured", [], Choices())
    monkeypatch.setattr(command, "estimate_graphs", lambda *_: found)
    assert tune(exported.directory, cost_model=True, calibration=str(samples_path), output=tmp_path / "t.json") == 0
    assert not stale.exists()


def test_the_table_says_what_was_taken_and_why_not(capsys):
    from rich.console import Console

    from edgeconv.benchmarks.ratios import Ratio

    row = VariantResult("litert", "int8", 290_000, 3_480_000, Ratio(1.11, 1.1, 1.12), 1.0, 40.1, None)
    trial = GraphTrial("gates reduced", Choices(gates="reduced"), [row], False, "slower in litert int8 (1.110)")
    Console(width=140).print(graphs_table(GraphTuning("measured on local:", [trial], Choices())))
    text = capsys.readouterr().out
    assert "Other graphs, measured on local:" in text
    assert "1.110 (1.100 … 1.120)" in text
    assert "gates reduced: not taken, slower in litert int8 (1.110)" in text
