"""Variants of a small exported network: made, run and judged for real; what they win by is made up or estimated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.errors import UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.recipe import read_choices, read_recipe
from edgeconv.export.variants.candidates import candidates, combined
from edgeconv.export.variants.decide import decide, gain
from edgeconv.export.variants.material import open_material
from edgeconv.export.variants.recipe import write_tuned_recipe
from edgeconv.export.variants.report import GraphTuning, VariantResult
from edgeconv.export.variants.tuning import estimate_graphs, tune_graphs

INT8 = ("onnxruntime", "int8")


@pytest.fixture(scope="session")
def material(exported, samples_path):
    return open_material(exported, str(samples_path))


@pytest.fixture(scope="session")
def found(material):
    return candidates(material.subject.trace().graph, material.start, material.exported)


@pytest.fixture(scope="session")
def measured(exported, material):
    artifact = exported.manifest.artifact(*INT8)
    return tune_graphs(exported, material, [artifact], "local:", seconds=0.4)


def result(ratio, *, objection="", size=100, low=None, high=None):
    interval = Ratio(ratio, ratio - 0.01 if low is None else low, ratio + 0.01 if high is None else high)
    return VariantResult("litert", "int8", size, 100, interval, 1.0, 40.0, 41.0, objection)


def test_candidates_are_the_forms_of_the_gates_and_the_pairs(found):
    assert [one.name for one in found] == ["gates expression", "gates reduced", "merged v/Conv"]


def test_gates_that_are_no_maps_any_more_are_no_candidates(material):
    compressed = dataclasses.replace(material.exported, gates="expression")
    names = [one.name for one in candidates(material.subject.trace().graph, material.start, compressed)]
    assert names == ["merged v/Conv"]


def test_an_exported_graph_is_not_adapted_twice(material):
    assert (material.start.balancing, material.start.equalisation) == (False, 0.0)
    assert material.exported == Choices()


def test_changes_are_combined_with_one_form_of_gates(found, material):
    joint = combined(found, material.start, material.exported)
    assert joint.name == "gates expression, merged v/Conv"
    assert (joint.exported.gates, joint.exported.merged_pairs) == ("expression", ("v/Conv",))
    assert joint.exported.equalisation == Choices().equalisation


def test_a_merged_pair_takes_along_what_was_said_about_its_bottleneck(material):
    told = dataclasses.replace(
        material.exported, tensor_ranges={"h": (-1.0, 1.0), "r": (0.0, 2.0)}, float_nodes=("h/Conv", "y/Conv")
    )
    merged = candidates(material.subject.trace().graph, told, told)[-1]
    assert merged.exported.tensor_ranges == {"r": (0.0, 2.0)}
    assert merged.exported.float_nodes == ("y/Conv",)


def test_every_variant_is_measured_beside_the_own_graph(measured):
    assert measured.basis == "measured on local:"
    for trial in measured.trials:
        (row,) = trial.results
        assert row.ratio.low <= row.ratio.value <= row.ratio.high
        assert row.objection == ""
        assert row.sqnr_db > 28
        assert row.base_sqnr_db > 30
    by_name = {trial.name: trial.results[0] for trial in measured.trials}
    assert by_name["gates expression"].bytes < 0.5 * by_name["gates expression"].base_bytes
    assert by_name["gates reduced"].bytes < by_name["gates expression"].bytes


def test_what_is_taken_becomes_the_choices(measured):
    taken = [trial for trial in measured.trials if trial.taken]
    assert len(taken) <= 1
    assert measured.choices == (taken[0].choices if taken else Choices())


def test_the_cost_model_says_that_it_measured_nothing(exported, material):
    tuning = estimate_graphs(exported, material, [exported.manifest.artifact(*INT8)])
    assert "not measured" in tuning.basis
    (expression, reduced, merged, *_) = tuning.trials
    assert [row.ratio for trial in tuning.trials for row in trial.results] == [None] * len(tuning.trials)
    assert expression.results[0].estimate == reduced.results[0].estimate == pytest.approx(1.0)
    assert merged.results[0].estimate != pytest.approx(1.0)


def test_a_tuned_recipe_is_read_as_the_choices(exported, tmp_path):
    choices = Choices(gates="reduced", merged_pairs=("v/Conv",))
    write_tuned_recipe(exported, GraphTuning("measured on local:", [], choices), tmp_path / "tuned-recipe.json")
    assert read_choices(tmp_path / "tuned-recipe.json") == choices


def test_calibration_is_as_much_as_the_export_took_and_no_golden_case(exported, samples_path, tmp_path):
    more = np.random.default_rng(7).random((4, *np.load(samples_path).shape[1:])).astype(np.float32)
    np.save(tmp_path / "more.npy", np.concatenate([np.load(samples_path), more]))
    material = open_material(exported, str(tmp_path / "more.npy"))
    golden = {sample["x"].tobytes() for sample in material.subject.golden}
    taken = [sample["x"].tobytes() for sample in material.subject.calibration]
    assert len(golden) == 2
    assert taken == [image.tobytes() for image in np.load(samples_path) if image.tobytes() not in golden]
    assert len(taken) == read_recipe(exported.directory).calibration.samples == 6


def test_where_all_samples_are_golden_cases_they_serve_both(exported, material, tmp_path):
    np.save(tmp_path / "golden.npy", np.stack([sample["x"] for sample in material.subject.golden]))
    few = open_material(exported, str(tmp_path / "golden.npy"))
    assert len(list(few.subject.calibration)) == 2


def test_a_bundle_of_unknown_data_asks_for_them(exported):
    with pytest.raises(UsageError, match="calibration data are not at hand"):
        open_material(exported)


def test_a_bundle_without_a_float_graph_makes_no_variants(exported, samples_path):
    kept = [a for a in exported.manifest.artifacts if a.precision == "int8"]
    bundle = dataclasses.replace(exported, manifest=dataclasses.replace(exported.manifest, artifacts=kept))
    with pytest.raises(UsageError, match="no onnxruntime fp32"):
        open_material(bundle, str(samples_path))


def test_certainly_faster_somewhere_and_slower_nowhere_is_better():
    assert decide([result(0.9), result(1.0)]) == (True, "faster in litert int8 (0.900)")
    assert not decide([result(0.9), result(1.1)])[0]
    assert not decide([result(0.9, high=1.02)])[0]
    assert not decide([result(0.98)])[0]


def test_a_variant_with_wrong_outputs_is_not_better():
    assert decide([result(0.5, objection="its outputs are wrong")]) == (False, "litert int8: its outputs are wrong")


def test_what_is_as_fast_and_smaller_is_said():
    assert decide([result(1.0, size=30)]) == (False, "not certainly faster, but takes 70% fewer bytes")


def test_ratios_without_noise_need_no_interval():
    sharp = result(0.95, low=0.95, high=0.95)
    assert decide([sharp], exact=True)[0]
    assert gain([sharp]) == pytest.approx(-np.log(0.95))
