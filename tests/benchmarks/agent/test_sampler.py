from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.sampler import Sampler, device_state, parse_looks
from edgeconv.benchmarks.agent.state import Look, Reading, StateReader
from edgeconv.benchmarks.agent.state.rules import Limits
from edgeconv.benchmarks.agent.usage import Usage, read_usage
from edgeconv.schema import from_dict, to_dict

LONG_SECONDS = 20.0  # of a shared machine; a wait that is over earlier ends earlier


def wait_for(condition):
    deadline = time.monotonic() + LONG_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_looks_are_taken_before_during_and_after():
    with Sampler(interval_seconds=0.1) as sampler:
        assert len(sampler.looks()) >= 1
        began = read_usage()
        wait_for(lambda: len(sampler.looks()) >= 3)
        usage = read_usage() - began
        state = sampler.finish(usage, 100)
    times = [sample.at_seconds for sample in state.samples]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert len(times) >= 4
    assert state.samples[0].load_average is not None
    assert state.affinity == sorted(os.sched_getaffinity(0))
    assert state.verdict in ("clean", "throttled", "busy", "unknown")
    assert from_dict(type(state), to_dict(state)) == state


def test_where_the_clock_counts_instructions_only_the_first_and_the_last_look_are_taken(tree):
    tree.put({"proc/cmdline": "edgeconv.clock=virtual\n"})
    with Sampler(tree.root, interval_seconds=0.05) as sampler:
        began = read_usage()
        time.sleep(0.5)
        state = sampler.finish(read_usage() - began, 100)
    assert len(state.samples) == 2


def test_a_board_that_is_throttled_in_the_middle_is_told(tree):
    tree.put({"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"})
    node = "sys/devices/platform/soc/soc:firmware/get_throttled"
    tree.put({node: "0\n"})
    with Sampler(tree.root, interval_seconds=0.1) as sampler:
        began = read_usage()
        tree.put({node: "40000\n"})  # came and went: only the flag "since boot" is left
        seen = len(sampler.looks())
        wait_for(lambda: len(sampler.looks()) >= seen + 2)
        usage = read_usage() - began
        state = sampler.finish(usage, 100)
    assert state.verdict == "throttled"
    assert "the device says: throttled" in state.reasons
    assert state.facts == {"throttled": "0x40000", "throttled at start": "0x0"}


def test_energy_of_the_timed_span_is_integrated(tree):
    ina = "sys/class/hwmon/hwmon1"
    tree.put({"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3", f"{ina}/name": "ina3221"})
    tree.put({f"{ina}/in1_label": "VDD_IN", f"{ina}/in1_input": "5000", f"{ina}/curr1_input": "2000"})
    with Sampler(tree.root, interval_seconds=0.1) as sampler:
        began = read_usage()
        wait_for(lambda: len(sampler.looks()) >= 3)
        usage = read_usage() - began
        state = sampler.finish(usage, 100)
    assert state.energy_joules == pytest.approx(10.0 * usage.wall_ns / 1e9)
    assert state.facts["energy of"] == "VDD_IN"


def test_a_watcher_that_is_killed_leaves_what_it_saw():
    with Sampler(interval_seconds=0.1) as sampler:
        began = read_usage()
        wait_for(lambda: len(sampler.looks()) >= 2)
        os.kill(sampler._child.pid, signal.SIGKILL)
        sampler._child.wait(LONG_SECONDS)
        state = sampler.finish(read_usage() - began, 100)
    assert len(state.samples) >= 2
    assert state.verdict in ("unknown", "busy", "throttled")


def test_a_watcher_whose_tools_hang_does_not_hold_the_measurement_up(tree):
    tree.put({"usr/bin/vcgencmd": "#!/bin/sh\nsleep 1000\n", "proc/device-tree/model": "Raspberry Pi 5\0"})
    (tree.root / "usr/bin/vcgencmd").chmod(0o755)
    with Sampler(tree.root, interval_seconds=0.1) as sampler:
        began = read_usage()
        state = sampler.finish(read_usage() - began, 100)
    assert state.samples[0].throttled is None
    assert not alive(sampler._child.pid)


def test_a_stopped_watcher_is_ended(monkeypatch):
    monkeypatch.setattr("edgeconv.benchmarks.agent.sampler._STOP_SECONDS", 0.2)
    with Sampler(interval_seconds=0.1) as sampler:
        os.kill(sampler._child.pid, signal.SIGSTOP)
        sampler.finish(read_usage() - read_usage(), 1)
    assert not alive(sampler._child.pid)


def test_leaving_early_ends_the_watcher():
    with pytest.raises(ZeroDivisionError), Sampler(interval_seconds=0.1) as sampler:
        raise ZeroDivisionError
    assert not alive(sampler._child.pid)


def test_the_watcher_ends_with_its_parent_even_when_that_is_killed():
    code = (
        "from edgeconv.benchmarks.agent.sampler import Sampler\n"
        "import time\n"
        "with Sampler(interval_seconds=0.1) as s:\n"
        "    print(s._child.pid, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_for(lambda: not alive(pid))


def test_without_an_interpreter_to_start_the_device_is_not_watched(monkeypatch):
    monkeypatch.setattr("edgeconv.benchmarks.agent.sampler.agent_command", lambda *_: ["/nowhere/python3"])
    with Sampler() as sampler:
        state = sampler.finish(Usage(1, 1, 0), 1)
    assert (state.samples, state.verdict) == ([], "unknown")
    assert "the device was not watched" in state.reasons


def test_a_line_that_was_cut_off_is_left_out():
    import json

    line = json.dumps(to_dict(StateReader().look()))
    assert len(parse_looks(f"{line}\n{line}\n{line[:-20]}")) == 2


@given(st.text())
def test_looks_take_any_text(text):
    assert parse_looks(text) == []


def test_governors_are_those_of_the_start_and_the_power_mode_that_of_the_end():
    looks = [
        Look(0, Reading(governors={"policy0": "ondemand"}, power_mode="15W")),
        Look(1, Reading(governors={"policy0": "performance"}, power_mode="MAXN")),
    ]
    state = device_state(looks, Usage(1, 1, 0, end_ns=1), 1, Limits())
    assert (state.governors, state.power_mode) == ({"policy0": "ondemand"}, "MAXN")
