from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.parity.export_options import read_options


def test_options_are_taken_as_a_test_writes_them():
    given = {
        "devices": "raspberry-pi-5",
        "runtimes": ["onnxruntime"],
        "input_shapes": "1x1x9x9",
        "mean": 0.5,
        "std": np.array([0.25, 0.5]),
        "recipe": "recipe.json",
        "weights": Path("w.pt"),
        "calibration": Path("data.npz"),
        "calibration_count": np.int64(8),
        "learn_seconds": 3,
        "with_wheels": False,
        "metric": None,
    }
    assert read_options(given) == {
        "devices": ("raspberry-pi-5",),
        "runtimes": ("onnxruntime",),
        "input_shapes": ("1x1x9x9",),
        "mean": (0.5,),
        "std": (0.25, 0.5),
        "recipe": Path("recipe.json"),
        "weights": Path("w.pt"),
        "calibration": "data.npz",
        "calibration_count": 8,
        "learn_seconds": 3.0,
        "with_wheels": False,
        "metric": None,
    }


def test_every_default_of_an_export_can_be_given():
    defaults = {f.name: f.default for f in dataclasses.fields(ExportOptions) if f.default is not dataclasses.MISSING}
    given = {name: value for name, value in defaults.items() if name not in ("output", "force", "pack")}
    assert read_options(given) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"calibratoin": "x"}, "No export option is called 'calibratoin'"),
        ({"output": "x"}, "No export option is called 'output'"),
        ({"devices": ("host", "raspberry-pi-5")}, "one is judged; devices names host, raspberry-pi-5"),
        ({"devices": 3}, "devices is 3, expected text, or a tuple of such"),
        ({"mean": "0.5"}, "mean is '0.5', expected a number, or a tuple of such"),
        ({"recipe": 3}, "recipe is 3, expected a path"),
        ({"calibration": np.zeros(3)}, "calibration is .*, expected text"),
        ({"calibration_count": 2.5}, "calibration_count is 2.5, expected a whole number"),
        ({"min_sqnr_db": True}, "min_sqnr_db is True, expected a number"),
        ({"with_wheels": "no"}, "with_wheels is 'no', expected True or False"),
        ({"quality": None}, "quality is None, expected text"),
    ],
)
def test_options_of_another_form_are_told(given, message):
    with pytest.raises(UsageError, match=message):
        read_options(given)
