from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.devices import probe as probe_module
from edgeconv.devices.probe import find_lacks, fitted_profile, parse_findings, probe_target, propose
from edgeconv.devices.profile import format_profile, load_profile
from edgeconv.devices.transports import open_transport
from edgeconv.errors import DeviceError
from tests.devices.probe import systems
from tests.trees import Tree

SCRIPT = Path(probe_module.__file__).parent / "look.sh"
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["mksh"]) if shutil.which(shell[0])]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "system")


@pytest.fixture
def look(tree, monkeypatch):
    """The probe of a system below `tree`."""

    def run(system):
        system(tree)
        monkeypatch.setenv("EDGECONV_SYSROOT", str(tree.root))
        transport = open_transport("local:")
        try:
            return probe_target(transport, "local:")
        finally:
            transport.close()

    return run


def whats(found):
    return [lack.what for lack in found.lacks]


def test_a_raspberry_pi_5(look):
    found = look(systems.pi_5)
    findings = found.findings
    assert (findings.system, findings.kernel, findings.machine) == ("Linux", "6.6.51+rpt-rpi-2712", "aarch64")
    assert findings.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert findings.os == "Debian GNU/Linux 12 (bookworm)"
    assert (findings.cpu_parts, findings.cpus) == (["Cortex-A76"], 4)
    assert findings.isa == ["neon", "fp16", "dotprod"]
    assert (findings.libc, findings.libc_version) == ("glibc", "2.36")
    assert (findings.program_bits, findings.program_machine) == (64, "aarch64")
    assert findings.memory_bytes == 8_245_000 * 1024
    assert findings.disk_free_bytes > 0
    assert [python.version for python in findings.pythons] == ["3.11.2"]
    assert findings.pythons[0].packages == {"numpy": "1.24.2", "ai-edge-litert": "2.1.0"}
    assert findings.tools == {"vcgencmd": "/usr/bin/vcgencmd"}
    assert "/sys/class/thermal/thermal_zone0/temp" in findings.sensors
    assert found.lacks == []
    assert (found.proposal.profile, found.proposal.exact, found.proposal.differences) == ("raspberry-pi-5", True, [])


def test_32_bit_programs_under_a_64_bit_kernel_are_refused_with_the_next_step(look):
    found = look(systems.pi_os_32_bit)
    (lack,) = found.lacks
    assert lack.fatal
    assert lack.what == "The kernel is 64-bit (aarch64) but its programs are 32-bit."
    assert lack.mend == "Install Raspberry Pi OS (64-bit): no runtime here has 32-bit wheels."
    assert found.proposal.profile == "raspberry-pi-4"


def test_a_32_bit_kernel_is_refused(look, tree):
    def armv7(tree):
        systems.pi_os_32_bit(tree).put({"proc/sys/kernel/arch": "armv7l\n"})

    (lack,) = look(armv7).lacks
    assert lack.fatal
    assert lack.what == "The system is 32-bit (armv7l)."


def test_jetpack_6(look):
    found = look(systems.jetpack_6)
    findings = found.findings
    assert (findings.l4t, findings.cuda) == ("R36.4.3", "12.6.11")
    assert findings.packages == {
        "libnvinfer10": "10.3.0.30-1+cuda12.5",
        "libnvinfer-bin": "10.3.0.30-1+cuda12.5",
        "nvidia-jetpack": "6.2+b77",
    }  # libnvinfer8 was removed
    assert findings.tools == {"trtexec": "/usr/src/tensorrt/bin/trtexec", "nvpmodel": "/usr/sbin/nvpmodel"}
    assert findings.cpu_parts == ["Cortex-A78AE"]
    assert found.proposal.profile == "jetson-orin-nano"
    assert whats(found) == ["/usr/bin/python3 has no runtime."]
    assert found.lacks[0].mend.startswith("edgeconv export MODEL --device jetson-orin-nano --with-wheels")


def test_jetpack_5_has_an_old_glibc_and_an_old_python(look):
    found = look(systems.jetpack_5)
    assert found.proposal.profile == "jetson-agx-orin"
    assert found.proposal.differences == ["python: 3.8 instead of 3.10", "glibc: 2.31 instead of 2.35"]
    assert "glibc is 2.31; the newest ai-edge-litert needs 2.34, whatever its wheel's tag is." in whats(found)
    assert not any("onnxruntime needs" in what for what in whats(found))
    assert "TensorRT's trtexec is not installed." in whats(found)


def test_jetpack_4_has_a_python_that_is_too_old(look):
    found = look(systems.jetpack_4)
    assert found.findings.machine == "aarch64"  # told by its programs
    assert found.proposal.profile == "jetson-nano"
    assert found.proposal.differences == []
    lack = next(lack for lack in found.lacks if "Python" in lack.what)
    assert lack.what == "Python is 3.6.9, and the agent needs 3.8 or later."
    assert lack.mend == (
        "sudo apt-get install python3.8, or edgeconv export MODEL --device jetson-nano --with-wheels brings one along."
    )


def test_alpine_has_another_c_library(look):
    found = look(systems.alpine)
    assert found.findings.libc == "musl"
    assert "The C library is musl; the runtimes' wheels are built for glibc." in whats(found)
    assert "libc: musl instead of glibc" in found.proposal.differences
    profile = fitted_profile(found.findings, "mine")
    assert (profile.python, profile.glibc) == ("", "")  # so that a pack is made


def test_a_phone(look):
    found = look(systems.phone)
    findings = found.findings
    assert (findings.board, findings.os, findings.libc) == ("Pixel 8", "Android 15", "bionic")
    assert findings.cpu_parts == ["Cortex-A510", "Cortex-A715", "Cortex-X3"]
    assert findings.isa == ["neon", "fp16", "dotprod", "i8mm", "sve", "sve2"]
    assert (found.proposal.profile, found.proposal.exact) == ("pixel-8", True)
    assert whats(found) == ["Android has no Python."]
    assert found.lacks[0].mend == "edgeconv export MODEL --device pixel-8 --with-wheels brings one along."


def test_a_phone_with_32_bit_programs_only_is_refused(look):
    (lack,) = look(lambda tree: systems.phone(tree, abis="")).lacks
    assert lack.fatal
    assert lack.what == "This Android has no 64-bit programs."


def test_vcgencmd_without_permission_is_told(look):
    def locked(tree):
        systems.pi_5(tree).tool("vcgencmd", {"get_throttled": "Can't open device file: /dev/vcio\n"})

    (lack,) = look(locked).lacks
    assert "Can't open device file: /dev/vcio" in lack.what
    assert lack.mend.startswith("sudo usermod -aG video ")


def test_a_new_numpy_under_tflite_runtime_is_told(look):
    def tflite(tree):
        systems.python(systems.pi_5(tree), "3.11.2", {"numpy": "2.1.0", "tflite-runtime": "2.14.0"})

    (lack,) = look(tflite).lacks
    assert lack.mend == "/usr/bin/python3 -m pip install 'numpy<2'"


def test_a_system_without_python_is_told(look):
    def bare(tree):
        (systems.pi_5(tree).root / "usr/bin/python3").unlink()

    (lack,) = look(bare).lacks
    assert lack.what == "There is no Python 3."
    assert lack.mend.startswith("sudo apt-get install python3, or edgeconv export MODEL --device raspberry-pi-5")


def test_a_board_without_a_profile_gets_the_nearest(look):
    def rock(tree):
        systems.pi_5(tree).put(
            {
                "proc/device-tree/model": "Radxa ROCK 5B\0",
                "proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
            }
        )

    proposal = look(rock).proposal
    assert (proposal.profile, proposal.exact) == ("raspberry-pi-5", False)
    assert any(difference.startswith("board: Radxa ROCK 5B") for difference in proposal.differences)


def test_what_is_not_posix_is_an_error(look):
    with pytest.raises(DeviceError, match="does not answer as a POSIX system does"):
        look(lambda tree: tree.put({"unrelated": ""}))


def test_this_machine(monkeypatch):
    monkeypatch.delenv("EDGECONV_SYSROOT", raising=False)
    transport = open_transport("local:")
    try:
        found = probe_target(transport, "local:")
    finally:
        transport.close()
    versions = {python.version: python for python in found.findings.pythons}
    assert ".".join(map(str, sys.version_info[:3])) in versions
    assert found.findings.whole
    assert found.findings.libc == "glibc"
    assert (found.proposal.profile, found.proposal.exact) == ("host", True)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_every_shell_sees_the_same(shell, tree):
    systems.jetpack_6(tree)
    environment = {"EDGECONV_SYSROOT": str(tree.root), "PATH": "/usr/local/bin:/usr/bin:/bin"}

    def seen(command):
        done = subprocess.run([*command, SCRIPT, "/"], env=environment, capture_output=True, text=True, check=False)
        return dataclasses.replace(parse_findings(done.stdout), disk_free_bytes=None)  # others write meanwhile

    assert seen(shell) == seen(["sh"])
    assert seen(shell).packages["nvidia-jetpack"] == "6.2+b77"


def test_a_look_that_was_cut_off_says_so(tree):
    systems.pi_5(tree)
    done = subprocess.run(
        ["sh", SCRIPT, "/"],
        env={"EDGECONV_SYSROOT": str(tree.root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    findings = parse_findings(done.stdout[: done.stdout.index("@@edgeconv tools")])
    assert not findings.whole
    assert "The look was cut off" in find_lacks(findings, "raspberry-pi-5")[0].what


@given(st.text())
def test_findings_take_any_text(text):
    findings = parse_findings(text)
    find_lacks(findings, propose(findings).profile)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["kernel", "os", "cpuinfo", "midr", "program", "libc", "disk", "user", "pythons", "packages", "getprop"]
            ),
            st.lists(st.text(st.characters(codec="ascii"), max_size=30), max_size=5),
        )
    )
)
def test_findings_take_any_section(sections):
    text = "".join(f"\n@@edgeconv {name}\n" + "\n".join(lines) + "\n" for name, lines in sections)
    findings = parse_findings(text)
    find_lacks(findings, propose(findings).profile)


def test_the_proposed_profile_with_the_facts_of_the_board_can_be_used(look, tmp_path):
    found = look(systems.jetpack_5)
    path = tmp_path / "my-orin.toml"
    path.write_text(format_profile(fitted_profile(found.findings, "my-orin")), encoding="utf-8")
    profile = load_profile(str(path))
    assert (profile.name, profile.python, profile.glibc) == ("my-orin", "3.8", "2.31")
    assert profile.targets == load_profile("jetson-agx-orin").targets
    assert profile.requirements == load_profile("jetson-agx-orin").requirements


def test_a_saved_profile_is_for_the_machine_that_was_looked_at(monkeypatch):
    findings = dataclasses.replace(
        parse_findings(""), system="Linux", machine="x86_64", libc="glibc", libc_version="2.41.1"
    )
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    profile = fitted_profile(findings, "office")
    assert (profile.machine, profile.onnx_activations, profile.glibc) == ("x86_64", "uint8", "2.41")
    assert profile.description == "A system of x86_64"
