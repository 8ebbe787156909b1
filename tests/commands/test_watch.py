from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.benchmarks.live import LiveRun
from edgeconv.commands.watch import watch
from edgeconv.errors import UsageError

_WATCH = "import sys; from edgeconv.commands.watch import watch; sys.exit(watch({}))"


@pytest.fixture(autouse=True)
def _state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def _run(name: str) -> LiveRun:
    return LiveRun(name, model="vessels", device="pi", target="ssh://pi")


@pytest.fixture
def running() -> Iterator[LiveRun]:
    with _run("20261120-a") as live:
        live.update({"done": 2, "total": 7, "artifact": "[litert] int8", "phase": "timing"})
        yield live


def _watcher(arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _WATCH.format(arguments)], stdout=subprocess.PIPE, text=True)


def test_plain_lines_follow_a_run_of_another_process_to_its_end() -> None:
    with _run("20261120-a") as live:
        live.update({"done": 2, "total": 7, "artifact": "[litert] int8", "phase": "warm-up"})
        watcher = _watcher("")
        assert watcher.stdout is not None
        first = watcher.stdout.readline()
        live.update({"phase": "timing", "samples": 12, "p50_ns": 8_790_000, "temperature_celsius": 61.25})
        second = watcher.stdout.readline()
    rest, _ = watcher.communicate(timeout=30)
    assert "vessels for pi on ssh://pi  3 of 7 [litert] int8  warm-up" in first
    assert "timing  12 samples  8.79 ms  61.2 °C" in second
    assert "Run 20261120-a has ended." in rest
    assert watcher.returncode == 0


def test_json_streams_each_state_as_a_line_and_a_failed_run_is_exit_code_1() -> None:
    live = _run("20261120-a").__enter__()
    watcher = _watcher("json=True")
    assert watcher.stdout is not None
    first = json.loads(watcher.stdout.readline())
    live.__exit__(KeyError, KeyError(), None)
    rest, _ = watcher.communicate(timeout=30)
    assert first["run_id"] == "20261120-a"
    assert json.loads(rest.splitlines()[-1])["ended"] == "failed"
    assert watcher.returncode == 1


def test_terminal_shows_a_table_and_keeps_it(
    running: LiveRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = threading.Thread(target=lambda: (time.sleep(0.3), running.__exit__(None, None, None)))
    ended.start()
    assert watch() == 0
    ended.join()
    shown = capsys.readouterr().out
    assert "3 of 7 [litert] int8" in shown
    assert "has ended" in shown


def test_nothing_running_and_unknown_runs_are_told(running: LiveRun) -> None:
    with pytest.raises(UsageError, match="No run called 'x'"):
        watch("x")
    running.__exit__(None, None, None)
    with pytest.raises(UsageError, match=r"No benchmark is running here\. edgeconv bench starts one"):
        watch()


def test_several_runs_need_a_name_or_last(running: LiveRun, capsys: pytest.CaptureFixture[str]) -> None:
    with _run("20261120-b"):
        with pytest.raises(UsageError, match=r"2 runs are at work: 20261120-a, 20261120-b\..*--last"):
            watch()
        with pytest.raises(UsageError, match="2 runs"):
            watch("20261120")
    assert watch(last=True) == 0  # it has ended by now, but not long ago
    assert "20261120-b has ended" in capsys.readouterr().out
