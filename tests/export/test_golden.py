from __future__ import annotations

import numpy as np
import pytest

from edgeconv.errors import ModelError
from edgeconv.export.golden import golden_arrays, normalised
from edgeconv.manifest import Normalisation, Port

PORT = Port("x", [1, 1, 2, 2], "uint8", "NCHW", Normalisation(1 / 255, [0.0], [1.0]))
SAMPLES = [{"x": np.full((1, 1, 2, 2), 51 * i, np.uint8), "target": np.ones((1, 2, 2))} for i in range(3)]


def test_arrays_are_stacked_raw_and_references_see_normalised_inputs() -> None:
    arrays = golden_arrays(SAMPLES, [PORT], {"torch": lambda inputs: {"y": inputs["x"] * 2}})
    assert set(arrays) == {"input.x", "torch.y", "target"}
    assert (arrays["input.x"].dtype, arrays["input.x"].shape) == (np.uint8, (3, 1, 1, 2, 2))
    np.testing.assert_allclose(arrays["torch.y"][2], 2 * 102 / 255, rtol=1e-6)


def test_targets_are_left_out_unless_every_sample_has_one() -> None:
    some = [SAMPLES[0], {"x": SAMPLES[1]["x"]}]
    assert "target" not in golden_arrays(some, [PORT], {})


def test_an_input_that_is_called_target_is_none() -> None:
    port = Port("target", [1, 2, 2], "float32", "as-is")
    assert set(golden_arrays(SAMPLES, [PORT, port], {})) == {"input.x", "input.target"}


def test_a_reference_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ModelError, match="torch model has NaN"):
        golden_arrays(SAMPLES, [PORT], {"torch": lambda inputs: {"y": np.log(inputs["x"] - 0.1)}})


def test_normalised_applies_every_port() -> None:
    plain = Port("z", [1, 3], "float32", "as-is")
    sample = {"x": SAMPLES[1]["x"], "z": np.arange(3, dtype=np.float64)[None]}
    fed = normalised(sample, [PORT, plain])
    assert fed["x"].dtype == fed["z"].dtype == np.float32
    np.testing.assert_array_equal(fed["z"], [[0, 1, 2]])
