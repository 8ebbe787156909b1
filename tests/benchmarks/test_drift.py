from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.benchmarks.drift import (
    IDENTICAL,
    compare_outputs,
    compare_ports,
    drift_by_port,
    golden_outputs,
    worst_drift,
    worst_port,
)
from edgeconv.errors import DataError

ARRAYS = hnp.arrays(
    np.float32, (3, 4), elements=st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)
)


def drift_of(golden, outputs, precision, *reference):
    return worst_drift(drift_by_port(golden, outputs, precision, *reference))


def test_identical_outputs_have_no_figure_for_sqnr():
    outputs = {"y": np.arange(6, dtype=np.float32)}
    assert compare_outputs(outputs, {"y": outputs["y"].copy()}) == IDENTICAL


def test_figures_are_those_of_their_formulas():
    part = compare_outputs({"y": np.array([3.0, -4.0])}, {"y": np.array([3.0, -3.0])})
    assert part.max_abs == 1.0
    assert part.mean_abs == 0.5
    assert part.sqnr_db == pytest.approx(10 * math.log10(25))
    assert part.cosine == pytest.approx(21 / (5 * math.sqrt(18)))


def test_cases_are_pooled_and_not_averaged():
    reference = np.array([[100.0] * 10, [1.0] * 10])
    part = compare_outputs({"y": reference}, {"y": reference + np.array([[0.0], [1.0]])})
    assert part.sqnr_db == pytest.approx(10 * math.log10((10 * 1e4 + 10) / 10))
    assert part.mean_abs == 0.5


def test_a_port_with_large_values_does_not_hide_another_that_is_wrong():
    reference = {"large": np.full(10, 1e5), "small": np.linspace(0.1, 0.9, 10)}
    outputs = {"large": reference["large"] + 1, "small": 1 - reference["small"]}
    parts = compare_ports(reference, outputs)
    assert parts["large"].sqnr_db == pytest.approx(100)
    assert parts["small"] == compare_outputs({"y": reference["small"]}, {"y": outputs["small"]})
    assert compare_outputs(reference, outputs) == parts["small"]


def test_a_silent_port_is_given_the_scale_of_the_quietest_other_one():
    reference = {"loud": np.full(4, 1e5), "quiet": np.full(8, 2.0), "silent": np.zeros(4)}
    outputs = {**reference, "silent": np.full(4, 0.02)}
    assert compare_ports(reference, outputs)["silent"].sqnr_db == pytest.approx(40)
    assert compare_outputs(reference, dict(reference)) == IDENTICAL


@given(ARRAYS, st.floats(0.125, 8, width=32), ARRAYS)
def test_sqnr_and_cosine_do_not_depend_on_the_unit(reference, unit, noise):
    power_of_two = 2.0 ** round(math.log2(unit))
    other = reference + noise * np.float32(0.01)
    first = compare_outputs({"y": reference}, {"y": other})
    second = compare_outputs({"y": reference * power_of_two}, {"y": other * power_of_two})
    assert second.max_abs == pytest.approx(first.max_abs * power_of_two)
    assert second.sqnr_db == pytest.approx(first.sqnr_db) if first.sqnr_db is not None else second.sqnr_db is None
    assert second.cosine == pytest.approx(first.cosine)


@given(st.floats(1e-6, 1e-2))
def test_sqnr_of_a_relative_error_is_its_square_in_decibels(relative):
    reference = np.random.default_rng(0).normal(size=1000)
    part = compare_outputs({"y": reference}, {"y": reference * (1 + relative)})
    assert part.sqnr_db == pytest.approx(-20 * math.log10(relative), abs=1e-6)


def test_a_silent_reference_gives_a_finite_figure():
    part = compare_outputs({"y": np.zeros(4)}, {"y": np.ones(4)})
    assert part.sqnr_db is not None
    assert part.sqnr_db < -1000
    assert part.cosine == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_before_any_figure_is_made(value):
    good, bad = np.ones((2, 2)), np.array([[1.0, value], [1.0, 1.0]])
    with pytest.raises(DataError, match=r"'y' has 1 NaN or infinite values of 4"):
        compare_outputs({"y": good}, {"y": bad})
    with pytest.raises(DataError, match="NaN"):
        compare_outputs({"y": bad}, {"y": bad})


def test_what_is_not_finite_is_told_with_its_place_and_count():
    bad = np.zeros((3, 1, 2, 4, 5), np.float32)
    bad[1, 0, 1, 2, 3], bad[2, 0, 0, 0, :2] = np.nan, np.inf
    where = r"3 NaN or infinite values of 120 \(1 NaN\), the first in case 1 at \[0, 1, 2, 3\]"
    with pytest.raises(DataError, match=where):
        compare_outputs({"y": np.zeros_like(bad)}, {"y": bad})


@pytest.mark.parametrize("dtype", [np.int8, np.bool_, np.complex64])
def test_outputs_that_are_no_floats_are_refused(dtype):
    with pytest.raises(DataError, match=f"'y' is {np.dtype(dtype)}, expected floats"):
        compare_outputs({"y": np.ones(2, np.float32)}, {"y": np.ones(2, dtype)})


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(DataError, match=r"'y' has shape \[2, 1\], expected \[1, 2\]"):
        compare_outputs({"y": np.ones((1, 2))}, {"y": np.ones((2, 1))})
    with pytest.raises(DataError, match="z were returned, y were expected"):
        compare_outputs({"y": np.ones(1)}, {"z": np.ones(1)})


@pytest.fixture
def golden():
    rng = np.random.default_rng(0)
    torch = rng.normal(size=(2, 1, 4)).astype(np.float32)
    return {
        "input.x": np.zeros((2, 1)),
        "torch.y": torch,
        "onnx.y": torch + np.float32(1e-6),
        "qdq.y": np.round(torch * 16) / 16,
        "target": np.zeros(2),
    }


def test_drift_of_int8_starts_from_the_qdq_reference(golden):
    drift = drift_of(golden, {"y": golden["qdq.y"]}, "int8")
    assert drift.runtime == IDENTICAL
    assert drift.total == drift.reference
    assert drift.export.sqnr_db > 100
    assert drift.quantisation.sqnr_db < 40


def test_drift_of_an_artefact_of_another_scheme_starts_from_its_own_reference(golden):
    golden["qdq-symmetric.y"] = golden["qdq.y"] + np.float32(0.5)
    outputs = {"y": golden["qdq-symmetric.y"]}
    assert drift_of(golden, outputs, "int8", "qdq-symmetric").runtime == IDENTICAL
    assert drift_of(golden, outputs, "int8").runtime != IDENTICAL
    del golden["qdq-symmetric.y"]
    with pytest.raises(DataError, match="qdq-symmetric reference"):
        drift_of(golden, outputs, "int8", "qdq-symmetric")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_drift_of_a_float_artefact_has_no_quantisation_part(precision, golden):
    del golden["qdq.y"]
    drift = drift_of(golden, {"y": golden["onnx.y"]}, precision)
    assert drift.quantisation == drift.runtime == IDENTICAL
    assert drift.total == drift.export == drift.reference


def test_int8_without_its_reference_is_refused(golden):
    del golden["qdq.y"]
    with pytest.raises(DataError, match="qdq"):
        drift_of(golden, {"y": golden["torch.y"]}, "int8")
    assert list(golden_outputs(golden, "torch")) == ["y"]


def test_each_part_of_the_drift_is_that_of_the_port_which_it_is_worst_in(golden):
    golden = {**golden, "torch.z": golden["torch.y"] * 1000, "onnx.z": golden["torch.y"] * 1000}
    golden["qdq.z"] = np.round(golden["torch.z"])
    outputs = {"y": golden["qdq.y"], "z": golden["qdq.z"] + np.float32(300)}
    ports = drift_by_port(golden, outputs, "int8")
    assert ports["y"] == drift_of(
        {name: golden[name] for name in golden if ".z" not in name}, {"y": outputs["y"]}, "int8"
    )
    drift = drift_of(golden, outputs, "int8")
    assert worst_port(ports, "export") == worst_port(ports, "quantisation") == "y"
    assert worst_port(ports, "total") == worst_port(ports, "runtime") == "z"
    assert (drift.export, drift.quantisation) == (ports["y"].export, ports["y"].quantisation)
    assert (drift.runtime, drift.total, drift.reference) == (
        ports["z"].runtime,
        ports["z"].total,
        ports["z"].reference,
    )
