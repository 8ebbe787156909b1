"""`edgeconv bench` and `edgeconv tune` on the small bundle, parsed as from a shell."""

from __future__ import annotations

import functools
import json

import pytest
from cyclopts import App

from edgeconv.benchmarks.live import live_runs
from edgeconv.benchmarks.store import query
from edgeconv.benchmarks.tune import read_tuning, tune_bundle
from edgeconv.commands.bench import bench
from edgeconv.commands.tune import tune
from edgeconv.errors import RecordError, UsageError
from edgeconv.records import read_record

QUICK = ["--count", "8"]
LITERT = ["--runtime", "litert", "--precision", "int8"]


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.sqlite"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def run(*arguments):
    app = App(result_action="return_value")
    app.command(bench)
    app.command(tune)
    return app([str(argument) for argument in arguments], exit_on_error=False, print_error=False)


def test_a_run_is_written_shown_and_kept(tiny_bundle, homes, capsys):
    path = homes / "run.json"
    assert run("bench", tiny_bundle, *LITERT, *QUICK, "--json", path) == 0
    record = read_record(path)
    (stored,) = query()
    assert stored.run_id == record.run_id
    assert record.settings["min_count"] == 8
    assert "litert int8" in capsys.readouterr().out
    (live,) = live_runs()
    assert (live.run_id, live.ended, live.done) == (record.run_id, "done", 1)


def test_a_run_is_not_kept_when_it_is_not_to_be(tiny_bundle, homes):
    assert run("bench", tiny_bundle, *LITERT, *QUICK, "--no-history") == 0
    assert not (homes / "history.sqlite").exists()
    assert read_record(tiny_bundle.parent / "RUN-tiny-host.json").results


def test_a_history_that_cannot_be_written_costs_no_record(tiny_bundle, homes, monkeypatch, capsys):
    (homes / "history.sqlite").mkdir()
    assert run("bench", tiny_bundle, *LITERT, *QUICK, "--json", homes / "run.json") == 0
    assert "Not kept in the history" in capsys.readouterr().out
    assert read_record(homes / "run.json").results


def test_options_and_threads_reach_the_runtime(tiny_bundle, homes):
    path = homes / "run.json"
    arguments = ["--threads", "2", "--option", "litert.xnnpack=off", "--json", path]
    assert run("bench", tiny_bundle, *LITERT, *QUICK, *arguments) == 0
    (result,) = read_record(path).results
    assert (result.threads, result.options, result.provider) == (2, {"xnnpack": "off"}, "built-in kernels")


def test_what_tune_wrote_is_what_bench_takes(tiny_bundle, homes, capsys):
    tuned, path = homes / "tuned.json", homes / "run.json"
    assert run("tune", tiny_bundle, *LITERT, "--seconds", "0.3", "-o", tuned) == 0
    (entry,) = read_tuning(tuned).entries
    assert "threads=" in capsys.readouterr().out
    assert run("bench", tiny_bundle, *LITERT, *QUICK, "--tuned", tuned, "--json", path) == 0
    (result,) = read_record(path).results
    assert result.tuning == entry.tuning
    assert str(result.threads) == entry.tuning.options["threads"]


def test_tune_prints_json_and_nothing_else(tiny_bundle, homes, capsys):
    assert run("tune", tiny_bundle, *LITERT, "--seconds", "0.2", "-o", homes / "t.json", "--json") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((homes / "t.json").read_text())


def test_bench_can_tune_first(tiny_bundle, homes, monkeypatch):
    monkeypatch.setattr("edgeconv.benchmarks.tune.tune_bundle", functools.partial(tune_bundle, seconds=0.2))
    assert run("bench", tiny_bundle, *LITERT, *QUICK, "--tune", "--json", homes / "run.json") == 0
    (result,) = read_record(homes / "run.json").results
    assert result.tuning.trials


def test_settings_that_were_tuned_for_other_artefacts_are_refused(tiny_bundle, homes):
    tuned = homes / "tuned.json"
    assert run("tune", tiny_bundle, *LITERT, "--seconds", "0.2", "-o", tuned) == 0
    document = json.loads(tuned.read_text())
    document["entries"][0]["artifact_sha256"] = "0" * 64
    tuned.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="other artefacts"):
        run("bench", tiny_bundle, "--tuned", tuned)
    with pytest.raises(RecordError, match="no result of edgeconv tune"):
        run("bench", tiny_bundle, "--tuned", homes / "missing.json")


def test_clean_removes_what_was_put_on_the_target(tiny_bundle, homes, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(homes / "cache"))
    ours, theirs = homes / "cache/edgeconv/local/environment", homes / "cache/other"
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
    assert run("bench", tiny_bundle, *LITERT, *QUICK, "--clean", "--no-history") == 0
    assert not ours.exists()
    assert theirs.exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--tune", "--tuned", "x.json"],
        ["--sustained", "1", "--burst", "5"],
        ["--option", "provider=cuda"],
        ["--option", "onyx.provider=cuda"],
        ["--rounds", "0"],
        ["--threads", "0"],
        ["--cool-down", "nan"],
    ],
)
def test_flags_that_mean_nothing_are_told_before_anything_runs(flags, tiny_bundle, homes):
    with pytest.raises(UsageError):
        run("bench", tiny_bundle, *flags)
    assert not list(tiny_bundle.parent.glob("RUN-*"))


def test_a_bundle_that_one_stands_in_keeps_its_files(tiny_bundle, monkeypatch):
    monkeypatch.chdir(tiny_bundle)
    for _ in range(2):
        assert run("bench", ".", *LITERT, *QUICK) == 0
    assert read_record(tiny_bundle.parent / "RUN-tiny-host.json").results


@pytest.mark.parametrize(("verb", "flag"), [("bench", "--json"), ("tune", "--output")])
def test_a_place_for_the_result_is_refused_before_anything_is_measured(tiny_bundle, homes, verb, flag):
    (homes / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        run(verb, tiny_bundle, flag, homes / "file" / "run.json")
    with pytest.raises(UsageError, match="inside the bundle"):
        run(verb, tiny_bundle, flag, tiny_bundle / "run.json")
    assert not (homes / "history.sqlite").exists()


@pytest.mark.parametrize("flag", ["--burst", "--rounds", "--cool-down"])
def test_what_another_tool_does_not_do_is_refused(tiny_bundle, flag):
    with pytest.raises(UsageError, match="benchmark_model has none of them"):
        run("bench", tiny_bundle, "--benchmark-model", "tool", flag, "5")
