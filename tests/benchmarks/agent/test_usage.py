from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.usage import Usage, crowding, others_share, parse_processor_times, read_usage

SECOND = 1_000_000_000
HZ = os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("share", "switches", "inferences", "busy"),
    [(1.0, 500, 100, False), (0.5, 10, 100, False), (0.5, 50, 100, True), (3.9, 500, 100, False)],
)
def test_crowding_needs_a_low_share_and_half_of_the_inferences_interrupted(share, switches, inferences, busy):
    found = crowding(Usage(1_000_000, int(share * 1_000_000), switches), inferences)
    assert (found is not None) == busy
    if busy:
        assert "50% of a core" in found


def test_usage_grows():
    first = read_usage()
    sum(range(100_000))
    spent = read_usage() - first
    assert spent.wall_ns > 0
    assert spent.cpu_ns > 0
    assert spent.involuntary_switches >= 0
    assert spent.begin_ns == first.end_ns
    assert 0 <= spent.busy_ticks <= spent.all_ticks


def test_the_work_of_a_child_that_has_ended_is_our_own():
    first = read_usage()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert (read_usage() - first).cpu_ns > 10_000_000


def test_processor_times_of_the_whole_machine():
    text = "cpu  100 5 20 1000 50 1 2 3 40 0\ncpu0 1 2 3 4\n"
    assert parse_processor_times(text) == (131, 1181)  # idle and iowait are not busy, guest time is in user already


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu 1 2\n", "intr 1 2 3 4 5 6 7 8\n", "cpu a b c d e f g h\n"])
def test_processor_times_are_unknown_where_the_system_does_not_tell(text):
    assert parse_processor_times(text) == (None, None)


@given(st.text())
def test_processor_times_take_any_text(text):
    parse_processor_times(text)


def test_usage_without_proc_stat_is_unknown(tmp_path):
    assert read_usage(tmp_path / "stat").busy_ticks is None
    assert others_share(read_usage(tmp_path / "stat")) is None


@pytest.mark.parametrize(
    ("busy", "every", "share"),
    [
        (4 * HZ, 8 * HZ, 0.25),
        (2 * HZ, 8 * HZ, 0.0),
        (1 * HZ, 8 * HZ, 0.0),
        (8 * HZ, 8 * HZ, 0.75),
        (1, 2, None),
        (0, 0, None),
    ],
)
def test_share_of_others_is_what_was_busy_without_us(busy, every, share):
    assert others_share(Usage(2 * SECOND, 2 * SECOND, 0, busy, every)) == share


def test_a_busy_neighbour_is_seen():
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        busy.stdout.readline()
        first = read_usage()
        for _ in range(100):
            spent = read_usage() - first
            if spent.busy_ticks > HZ // 4:
                break
            subprocess.run(["sleep", "0.05"], check=True)
        busy.kill()
    assert others_share(spent) > 0
