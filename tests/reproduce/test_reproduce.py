"""The quick experiments in full; of the slow ones the data, and a training short enough to see the direction."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from edgeconv.cli import run
from edgeconv.errors import UsageError
from edgeconv.layers import SFConv2d
from edgeconv.reproduce import dials, get_experiments, run_experiments
from edgeconv.reproduce.claims import HOLDS, NOT, UNAVAILABLE
from edgeconv.reproduce.deblurring import blobs, blur, train_deblurring
from edgeconv.reproduce.equalisation import discs, train_discs
from edgeconv.reproduce.spatially_varying import CoordinateCnn, GatedFilters, kernel_bank, relative_error

EXACT = ["sfconv-parameters", "coordgate-parameters", "factorizer-parameters", "factorizer-cost", "depthwise-cost"]


def rows_of(name):
    (outcome,) = run_experiments(get_experiments([name]))
    return outcome.rows


@pytest.mark.parametrize("name", EXACT)
def test_counts_are_met_exactly(name):
    wrong = [row for row in rows_of(name) if row.expected.replace(",", "").isdigit() and row.verdict != HOLDS]
    assert wrong == []


def test_claims_that_do_not_hold_say_so():
    verdicts = {(row.claim, row.condition): row.verdict for row in rows_of("sfconv-parameters")}
    assert verdicts["over 40x fewer", "lowest scale of the public code, 0.1"] == NOT
    assert verdicts["over 40x fewer", "rank scale 0.04"] == HOLDS
    misprint = next(row for row in rows_of("sfconv-parameters") if row.claim == "a network of 0.10 MB")
    assert misprint.verdict == NOT
    assert "0.1008074" in misprint.found


def test_separability_of_the_hexagon_is_thirteen_not_fourteen():
    verdicts = {
        row.condition: (row.found, row.verdict) for row in rows_of("separability") if row.claim == "terms needed"
    }
    assert verdicts["circle"] == ("14", HOLDS)
    assert verdicts["hexagon"] == ("13", NOT)


def test_what_needs_other_data_is_said_to_need_it():
    assert {row.verdict for row in rows_of("medical-data")} == {UNAVAILABLE}


def test_fewer_iterations_change_little():
    assert [row.verdict for row in rows_of("factorizer-iterations")] == [HOLDS] * 3


def test_a_dense_convolution_and_a_pair_are_timed_in_the_same_runtime():
    dense = torch.nn.Conv2d(4, 4, 3, padding=1).eval()
    assert dials._ratio(dense, SFConv2d.from_conv(dense, 2), torch.randn(1, 4, 16, 16)) > 0


def test_the_kernel_banks_have_the_printed_singular_values():
    width = np.linalg.svd(kernel_bank("width"), compute_uv=False)
    shift = np.linalg.svd(kernel_bank("shift"), compute_uv=False)
    assert width[:5] == pytest.approx([5.142, 1.355, 0.392, 0.108, 0.020], abs=5e-4)
    assert shift == pytest.approx([4.03, 3.83, 2.91, 2.00, 1.26, 0.72, 0.39, 0.12, 0.09], abs=5e-3)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (lambda: GatedFilters(9), 1_517),
        (lambda: GatedFilters(4), 1_297),
        (lambda: CoordinateCnn(1, 16, coordinate=False), 305),
        (lambda: CoordinateCnn(4, 32, coordinate=False), 28_353),
        (lambda: CoordinateCnn(1, 16, coordinate=True), 449),
        (lambda: CoordinateCnn(4, 32, coordinate=True), 28_641),
    ],
)
def test_the_one_dimensional_models_have_the_printed_sizes(model, parameters):
    assert sum(p.numel() for p in model().parameters()) == parameters


def test_a_gate_learns_a_varying_kernel_that_a_shared_one_cannot():
    gated = relative_error(lambda: GatedFilters(9), "width", steps=200)
    shared = relative_error(lambda: CoordinateCnn(1, 16, coordinate=False), "width", steps=200)
    assert gated < 0.5 * shared


@pytest.mark.slow
def test_the_regression_bounds_of_the_seeds():
    assert relative_error(lambda: GatedFilters(9), "width") < 1e-3
    assert relative_error(lambda: CoordinateCnn(4, 32, coordinate=False), "width") > 1e-2
    assert relative_error(lambda: GatedFilters(9, activation=False), "width") > 5e-3


def test_equalisation_flattens_spectra():
    assert train_discs(1.0, 0, steps=12, test_count=8).kl < train_discs(0.0, 0, steps=12, test_count=8).kl


def test_discs_are_faint():
    images, masks = discs(20, 0)
    contrast = images[masks > 0].mean() - images[masks == 0].mean()
    assert 0.2 < float(contrast) < 0.5
    assert float(contrast) < float(images.std())


def test_the_blur_is_stronger_in_the_corners():
    points = torch.zeros(1, 1, 64, 64)
    points[0, 0, 32, 32] = points[0, 0, 8, 8] = 1
    blurred = blur(points, 0)
    assert float(blurred[0, 0, 32, 32]) > 2 * float(blurred[0, 0, 8, 8])
    assert float(blobs(3, 0).max()) <= 1


def test_a_few_steps_of_deblurring_give_a_score():
    psnr, ssim = train_deblurring(lambda: torch.nn.Conv2d(1, 1, 3, padding=1), steps=5)
    assert psnr > 0
    assert ssim <= 1


def test_unknown_experiments_are_refused_with_the_near_ones():
    with pytest.raises(UsageError, match="separability"):
        get_experiments(["separabilty"])


def test_the_verb_lists_and_writes_a_table(tmp_path, capsys):
    assert run(["reproduce", "--list"]) == 0
    assert "coordgate-1d" in capsys.readouterr().out
    assert run(["reproduce", "depthwise-cost", "-o", str(tmp_path / "t.md"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcomes"][0]["rows"][1]["found"] == "8,768"
    assert "| dense weights |" in (tmp_path / "t.md").read_text()
    assert run(["reproduce", "nothing"]) == 2


def test_the_page_is_no_other_file_and_says_how_it_was_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("x = 1")
    assert run(["reproduce", "sfconv-parameters", "-o", "mine.py"]) == 2
    assert run(["reproduce", "sfconv-parameters", "-o", "mine.py/page.md"]) == 2
    assert (tmp_path / "mine.py").read_text() == "x = 1"
    assert run(["reproduce", "sfconv-parameters", "-o", "page.md"]) == 0
    assert run(["reproduce", "sfconv-parameters", "-o", "page.md"]) == 2
    assert run(["reproduce", "sfconv-parameters", "-o", "page.md", "--force"]) == 0
    assert "Made by `edgeconv reproduce sfconv-parameters -o page.md`." in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("flag", ["--all", "--list"])
def test_names_and_a_choice_of_experiments_are_not_both(flag, capsys):
    assert run(["reproduce", "sfconv-parameters", flag]) == 2
    assert flag in capsys.readouterr().err
