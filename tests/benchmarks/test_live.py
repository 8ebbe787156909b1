from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.benchmarks.live import LiveRun, LiveState, is_running, live_directory, live_runs

# A run of another process that tells its first event and then waits for a line.
_OTHER = """
import sys
from pathlib import Path
from edgeconv.benchmarks.live import LiveRun
with LiveRun("other", model="vessels", device="pi", target="ssh://pi", directory=Path(sys.argv[1])) as live:
    live.update({"done": 1, "total": 7, "artifact": "litert int8", "phase": "timing", "samples": 90})
    print("ready", flush=True)
    sys.stdin.readline()
"""


def _run(directory: Path, name: str = "run") -> LiveRun:
    return LiveRun(name, model="vessels", device="host", target="local:", directory=directory)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_directory_is_in_the_state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert live_directory() == tmp_path / "edgeconv" / "live"


def test_state_of_another_process_is_seen_while_it_runs_and_when_it_has_ended(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    (state,) = live_runs(tmp_path)
    assert (state.run_id, state.target, state.done, state.total) == ("other", "ssh://pi", 1, 7)
    assert (state.artifact, state.phase, state.samples, state.ended) == ("litert int8", "timing", 90, "")
    assert is_running(state)
    other.communicate("go\n", timeout=30)
    (state,) = live_runs(tmp_path)
    assert state.ended == "done"
    assert not is_running(state)


def test_killed_run_is_noticed_and_its_file_removed_when_it_is_old(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait(timeout=30)
    (state,) = live_runs(tmp_path)
    assert not is_running(state)
    _write(tmp_path, dataclasses.replace(state, heartbeat_seconds=state.heartbeat_seconds - 120))
    assert live_runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_process_of_the_same_number_that_began_later_is_another_run(tmp_path: Path) -> None:
    with _run(tmp_path):
        (state,) = live_runs(tmp_path)
        assert is_running(state)
        assert not is_running(dataclasses.replace(state, pid_started="1"))
        assert not is_running(dataclasses.replace(state, pid=2**40))


def test_run_of_another_machine_counts_until_it_is_silent(tmp_path: Path) -> None:
    with _run(tmp_path):
        (state,) = live_runs(tmp_path)
    state = dataclasses.replace(state, node="elsewhere", pid=1, ended="")
    assert is_running(state)
    assert not is_running(dataclasses.replace(state, heartbeat_seconds=state.heartbeat_seconds - 601))


def test_next_artefact_forgets_the_figures_of_the_one_before(tmp_path: Path) -> None:
    with _run(tmp_path) as live:
        live.update({"artifact": "a", "phase": "timing", "samples": 5, "p50_ns": 7, "temperature_celsius": 51.5})
        live.update({"artifact": "b", "done": 1})
        (state,) = live_runs(tmp_path)
    assert (state.artifact, state.phase, state.samples, state.p50_ns) == ("b", "", None, None)
    assert state.temperature_celsius == 51.5


def test_unknown_and_mistyped_values_of_an_event_are_left_out(tmp_path: Path) -> None:
    with _run(tmp_path) as live:
        live.update({"phase": 3, "samples": "many", "pid": 1, "other": {}, "p50_ns": 5, "temperature_celsius": 40})
        (state,) = live_runs(tmp_path)
    assert (state.phase, state.samples, state.p50_ns, state.temperature_celsius) == ("", None, 5, 40.0)
    assert state.pid == os.getpid()


def test_run_that_raises_is_told_as_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), _run(tmp_path):
        raise KeyError
    assert [state.ended for state in live_runs(tmp_path)] == ["failed"]


def test_state_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with _run(tmp_path / "file" / "live") as live:
        live.update({"phase": "timing"})
    assert live_runs(tmp_path / "file" / "live") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": 3}', b"\xff", b"[" * 100_000])
def test_damaged_files_are_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert live_runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def _write(directory: Path, state: LiveState) -> None:
    (directory / f"{state.run_id}.json").write_text(json.dumps(dataclasses.asdict(state)))
