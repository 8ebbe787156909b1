from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeconv.errors import BundleError, UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.decide import start_choices
from edgeconv.export.options import ExportOptions


def _start(**fields: Any) -> Choices:
    return start_choices(ExportOptions("vessels", **fields))


def test_defaults_decide_where_nothing_is_asked_for() -> None:
    assert _start() == Choices()
    assert _start(quality="best") == Choices()


def test_ranges_are_those_asked_for() -> None:
    assert _start(ranges="minmax") == Choices(ranges="minmax")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quality": "finest"}, "No quality is called 'finest'"),
        ({"ranges": "minimax"}, "no range estimator 'minimax'"),
        ({"ranges": "minmax", "quality": "best"}, "--ranges and --quality best exclude each other"),
        ({"recipe": Path("r.json"), "quality": "best"}, "--recipe and --quality best exclude each other"),
        ({"recipe": Path("r.json"), "ranges": "mse"}, "--recipe and --ranges exclude each other"),
        ({"gate_rank": 3}, "--gate-rank is how many terms an expression has"),
        ({"gate_rank": 3, "gates": "reduced"}, "--gate-rank is how many terms an expression has"),
    ],
)
def test_options_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _start(**fields)


def test_missing_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no recipe at"):
        _start(recipe=tmp_path / "recipe.json")
