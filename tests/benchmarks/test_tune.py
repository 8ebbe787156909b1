"""Which setting is chosen, by outcomes that are made up; and one real tuning of the small bundle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeconv.benchmarks import tune as module
from edgeconv.benchmarks.agent.tune import FinalTrial, TuningOutcome, candidates_of
from edgeconv.benchmarks.judging import Judge
from edgeconv.benchmarks.tune import read_tuning, tune_bundle, write_tuning
from edgeconv.bundles import load_bundle
from edgeconv.errors import RecordError, UsageError
from edgeconv.records import Trial

MS = 1_000_000
DEFAULT, FAST, FASTEST = {"threads": "1"}, {"threads": "2"}, {"threads": "2", "xnnpack": "off"}
RUNTIME = ("litert", "fp32")


@pytest.fixture(scope="module")
def bundle(tiny_bundle_master):
    return load_bundle(tiny_bundle_master)


@pytest.fixture(scope="module")
def right(bundle):
    """Outputs as the reference has them."""
    return np.load(bundle.golden)["onnx.y"]


def trial(options, milliseconds, *, noise=0.005):
    rng = np.random.default_rng(len(options))
    slices = rng.normal(milliseconds, milliseconds * noise, (4, 50)) * MS
    return FinalTrial(options, [[round(value) for value in one] for one in slices])


def choose(bundle, finalists, outputs, *, exact=False, refused=()):
    artifact = bundle.manifest.artifact(*RUNTIME)
    trials = [Trial(finalist.options, 1, 1, 0) for finalist in finalists]
    outcome = TuningOutcome(DEFAULT, trials, finalists, list(refused))
    named = {f"{place}.y": array for place, array in enumerate(outputs)}
    return module._choose(artifact, outcome, named, Judge(bundle), None, exact)


def test_what_is_certainly_faster_with_the_same_outputs_wins(bundle, right):
    entry = choose(bundle, [trial(FAST, 6), trial(DEFAULT, 10)], [right, right])
    assert entry.tuning.options == FAST
    assert entry.ratio.value == pytest.approx(0.6, rel=0.01)
    assert entry.ratio.high < 1
    assert len(entry.tuning.trials) == 2
    assert entry.passed_over == []


def test_the_default_is_kept_when_nothing_is_faster(bundle, right):
    entry = choose(bundle, [trial(DEFAULT, 10), trial(FAST, 11)], [right, right])
    assert (entry.tuning.options, entry.ratio) == (DEFAULT, None)


def test_the_default_is_kept_when_the_difference_may_be_noise(bundle, right):
    entry = choose(bundle, [trial(FAST, 9.6, noise=0.4), trial(DEFAULT, 10, noise=0.4)], [right, right])
    assert entry.tuning.options == DEFAULT
    assert "threads=2: not certainly faster" in entry.passed_over[0]


def test_the_default_is_kept_when_the_gain_is_not_worth_it(bundle, right):
    entry = choose(bundle, [trial(FAST, 9.9, noise=0.0001), trial(DEFAULT, 10, noise=0.0001)], [right, right])
    assert entry.tuning.options == DEFAULT


def test_wrong_outputs_lose_to_the_next_one_that_is_right(bundle, right):
    finalists = [trial(FASTEST, 4), trial(FAST, 6), trial(DEFAULT, 10)]
    entry = choose(bundle, finalists, [right * np.float32(1.01), right, right])
    assert entry.tuning.options == FAST
    assert "threads=2, xnnpack=off: its outputs are not within the tolerance" in entry.passed_over[0]


def test_outputs_that_are_not_finite_never_win(bundle, right):
    broken = right.copy()
    broken[0, 0, 0, 0, 0] = np.nan
    entry = choose(bundle, [trial(FAST, 6), trial(DEFAULT, 10)], [broken, right])
    assert entry.tuning.options == DEFAULT
    assert "NaN" in entry.passed_over[0]


def test_a_virtual_clock_needs_no_statistics(bundle, right):
    exact = [FinalTrial(FAST, [[9 * MS]]), FinalTrial(DEFAULT, [[10 * MS]])]
    assert choose(bundle, exact, [right, right], exact=True).tuning.options == FAST


def test_without_a_running_default_the_fastest_right_one_wins(bundle, right):
    entry = choose(bundle, [trial(FAST, 6)], [right], refused=["threads=1: it crashed"])
    assert entry.tuning.options == FAST
    assert entry.passed_over == ["threads=1: it crashed"]


def test_candidates_change_one_option_at_a_time_at_each_number_of_threads():
    found = candidates_of({"provider": ["cpu"], "spinning": ["on", "off"], "level": ["a", "b", "c"]}, 6)
    assert found[0] == {"threads": "1"}
    assert {options["threads"] for options in found} == {"1", "2", "4", "6"}
    assert len(found) == 4 * (1 + 1 + 2) == len({tuple(sorted(options.items())) for options in found})
    assert all(len(options) <= 2 for options in found)
    assert candidates_of({}, 1) == [{"threads": "1"}]


@pytest.fixture(scope="module")
def report(bundle):
    return tune_bundle(bundle, precisions=["fp32"], runtimes=["litert", "onnxruntime"], seconds=0.5)


def test_a_real_tuning_names_artefact_host_and_what_was_beaten(report, bundle, tmp_path):
    assert report.bundle == bundle.manifest.name
    assert report.host.cpus >= 1
    assert [entry.runtime for entry in report.entries] == ["litert", "onnxruntime"]
    for entry in report.entries:
        assert entry.artifact_sha256 == bundle.manifest.artifact(entry.runtime, "fp32").sha256
        assert entry.tuning.options["threads"]
        assert DEFAULT in [trial.options for trial in entry.tuning.trials]
        assert all(trial.median_ns > 0 and trial.count >= 3 for trial in entry.tuning.trials)
    write_tuning(report, tmp_path / "tuned.json")
    assert read_tuning(tmp_path / "tuned.json") == report
    assert set(report.tuned()) == {entry.artifact_sha256 for entry in report.entries}


def test_an_artefact_that_runs_with_no_setting_is_an_entry_without_one(tiny_bundle):
    from edgeconv.files import sha256_file
    from edgeconv.schema import to_json

    bundle = load_bundle(tiny_bundle)
    path = tiny_bundle / bundle.manifest.artifact(*RUNTIME).path
    path.write_bytes(b"no model")
    artifacts = [
        dataclasses.replace(a, sha256=sha256_file(path), bytes=8) if tiny_bundle / a.path == path else a
        for a in bundle.manifest.artifacts
    ]
    (tiny_bundle / "manifest.json").write_text(to_json(dataclasses.replace(bundle.manifest, artifacts=artifacts)))
    (entry,) = tune_bundle(load_bundle(tiny_bundle), runtimes=["litert"], precisions=["fp32"], seconds=0.2).entries
    assert entry.tuning is None
    assert "litert does not load" in entry.passed_over[0]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_tuning_for_no_time_is_refused(seconds, bundle):
    with pytest.raises(UsageError, match="more than 0"):
        tune_bundle(bundle, seconds=seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no result"), ("{", "no result"), ("[]", "no result"), ('{"schema_version": 99}', "Update edgeconv")],
)
def test_a_file_that_is_no_tuning_is_refused(text, words, tmp_path):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(RecordError, match=words):
        read_tuning(tmp_path / "t.json")
    with pytest.raises(RecordError, match="no result"):
        read_tuning(tmp_path / "missing.json")
