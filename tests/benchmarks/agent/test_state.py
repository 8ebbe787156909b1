from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.host import int8_instructions, read_host
from edgeconv.benchmarks.agent.memory import peak_rss_bytes, rss_bytes
from edgeconv.benchmarks.agent.state import read_state, throttling
from edgeconv.benchmarks.agent.usage import Usage, crowding, read_usage


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


PI = {
    "proc/loadavg": "0.52 0.58 0.59 1/123 4567\n",
    "proc/uptime": "350.25 1000.00\n",
    "proc/meminfo": "MemTotal:        8245000 kB\nMemFree: 100 kB\nMemAvailable:    7000000 kB\n",
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd asimddp fphp\nCPU implementer\t: 0x41\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "1500000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2400000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48650\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
}


def test_state_of_a_raspberry_pi_is_read(tmp_path):
    state = read_state(put(tmp_path, PI))
    assert state.load_average == 0.52
    assert state.available_bytes == 7_000_000 * 1024
    assert state.uptime_seconds == 350.25
    assert state.temperatures_celsius == {"thermal_zone0 cpu-thermal": 48.65}
    assert state.throttled == "0x50000"
    (policy,) = state.policies
    assert (policy.governor, policy.current_khz, policy.min_khz, policy.max_khz) == (
        "ondemand",
        1500000,
        1500000,
        2400000,
    )


def test_state_is_unknown_where_the_system_tells_nothing(tmp_path):
    state = read_state(tmp_path)
    assert dataclasses.astuple(state) == (None, None, None, [], {}, "unknown")
    assert throttling(state, state) is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("0x0", "0x0", None),
        ("0x50000", "0x50000", None),  # held some time since boot, not in this run
        ("0x0", "0x4", "throttled"),
        ("0x4", "0x0", "throttled"),
        ("0x0", "0x10000", "under-voltage"),  # held and over again within the run
        ("0x10000", "0x90000", "soft temperature limit"),
        ("unknown", "0x4", None),
    ],
)
def test_throttling_counts_only_what_held_during_the_run(before, after, words, tmp_path):
    state = read_state(tmp_path)
    first, last = (dataclasses.replace(state, throttled=flags) for flags in (before, after))
    found = throttling(first, last)
    assert found is None if words is None else found == f"the board was throttled: {words}"


def test_host_of_a_raspberry_pi_is_read(tmp_path):
    host = read_host(put(tmp_path, PI))
    assert host.cpu_model == "Raspberry Pi 5 Model B Rev 1.0"
    assert host.cpu_flags == ["fp", "asimd", "asimddp", "fphp"]
    assert host.governor == "ondemand"
    assert host.memory_bytes == 8_245_000 * 1024
    assert not host.emulated
    assert host.clock == "wall"


def test_host_is_emulated_on_the_virtual_board_of_qemu(tmp_path):
    assert read_host(put(tmp_path, {"proc/device-tree/model": "linux,dummy-virt\0"})).emulated


def test_host_says_none_where_the_system_tells_nothing(tmp_path):
    host = read_host(tmp_path)
    assert (host.cpu_model, host.cpu_flags, host.governor, host.memory_bytes) == (None, [], None, None)


@pytest.mark.parametrize(
    ("flags", "found"),
    [(["avx2"], "none"), (["avx512_vnni", "avx_vnni"], "avx512_vnni, avx_vnni"), (["asimd", "asimddp"], "asimddp")],
)
def test_int8_instructions_are_named(flags, found):
    assert int8_instructions(flags) == found


def test_memory_is_read_in_bytes_and_none_when_the_system_does_not_tell(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython3\nVmPeak:\t 999999 kB\nVmHWM:\t   60000 kB\nVmRSS:\t   50000 kB\n")
    assert peak_rss_bytes(status) == 60_000 * 1024
    assert rss_bytes(status) == 50_000 * 1024
    assert peak_rss_bytes(tmp_path / "absent") is None
    assert 0 < rss_bytes() <= peak_rss_bytes()


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
