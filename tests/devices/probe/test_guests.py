"""The same look and the same readers on real arm64 systems, over real ssh and adb."""

from __future__ import annotations

import json

import pytest

from edgeconv.benchmarks.agent_archive import build_agent
from edgeconv.devices.probe import probe_target
from edgeconv.devices.transports import open_transport
from tests.devices.probe import systems
from tests.trees import Tree

pytestmark = pytest.mark.device


@pytest.mark.usefixtures("pi5")
def test_an_emulated_raspberry_pi_is_probed_over_ssh():
    transport = open_transport("emulated:pi5")
    try:
        found = probe_target(transport, "emulated:pi5")
    finally:
        transport.close()
    findings = found.findings
    assert (findings.machine, findings.program_bits, findings.libc) == ("aarch64", 64, "glibc")
    assert (findings.cpu_parts, findings.isa) == (["Cortex-A76"], ["neon", "fp16", "dotprod"])
    assert findings.page_bytes == 4096
    assert findings.disk_free_bytes > 0
    assert [python.version for python in findings.pythons] != []
    assert (found.proposal.profile, found.proposal.exact) == ("raspberry-pi-5", True)
    assert not any(lack.fatal for lack in found.lacks)


@pytest.mark.usefixtures("android")
def test_an_android_like_guest_is_probed_over_adb_without_any_python():
    transport = open_transport("emulated:android")
    try:
        found = probe_target(transport, "emulated:android")
    finally:
        transport.close()
    assert found.findings.os.startswith("Android")
    assert found.findings.pythons == []
    assert found.findings.isa == ["neon", "fp16", "dotprod"]
    assert found.proposal.profile == "android-arm64"
    assert any("Python" in lack.what for lack in found.lacks)


@pytest.mark.usefixtures("pi5")
def test_the_agent_reads_a_throttled_board_on_arm64(tmp_path):
    tree = Tree(tmp_path / "system")
    node = "sys/devices/platform/soc/soc:firmware/get_throttled"
    systems.pi_5(tree).put({node: "50005\n"})
    (tree.root / "usr/bin/vcgencmd").unlink()
    agent = tmp_path / "agent.pyz"
    agent.write_bytes(build_agent())
    transport = open_transport("emulated:pi5")
    try:
        root, program = transport.push(tree.root), transport.push(agent)
        command = [*transport.python, program, "state", "--json"]
        done = transport.run(command, environment={"EDGECONV_SYSROOT": root}, timeout_seconds=60)
        host = transport.run([*transport.python, program, "host"], environment={}, timeout_seconds=60)
    finally:
        transport.close()
    reading = json.loads(done.stdout)["reading"]
    assert reading["throttled"] == ["under-voltage", "throttled"]
    assert reading["temperatures_celsius"] == {"thermal_zone0": 48.65}
    told = json.loads(host.stdout)
    assert (told["emulated"], told["clock"], told["cpu_parts"]) == (True, "wall", ["Cortex-A76"])
