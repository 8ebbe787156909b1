"""`edgeconv tune --graphs` and `--cost-model` on the command line."""

from __future__ import annotations

import pytest

from edgeconv.commands.tune import tune
from edgeconv.errors import UsageError
from edgeconv.export.recipe import read_choices
from edgeconv.export.variants.report import GraphTrial, GraphTuning, VariantResult
from edgeconv.export.variants.table import graphs_table


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


def test_the_table_says_what_was_taken_and_why_not(capsys):
    from rich.console import Console

    from edgeconv.benchmarks.ratios import Ratio
    from edgeconv.export.choices import Choices

    row = VariantResult("litert", "int8", 290_000, 3_480_000, Ratio(1.11, 1.1, 1.12), 1.0, 40.1, None)
    trial = GraphTrial("gates reduced", Choices(gates="reduced"), [row], False, "slower in litert int8 (1.110)")
    Console(width=140).print(graphs_table(GraphTuning("measured on local:", [trial], Choices())))
    text = capsys.readouterr().out
    assert "Other graphs, measured on local:" in text
    assert "1.110 (1.100 … 1.120)" in text
    assert "gates reduced: not taken, slower in litert int8 (1.110)" in text
