from __future__ import annotations

import pytest

from edgeconv.benchmarks.agent.host import int8_instructions, read_host
from edgeconv.schema import from_dict, to_dict

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"


def test_host_of_a_raspberry_pi_is_read(tree, sample):
    tree.put(
        {
            "proc/cpuinfo": sample("cpuinfo-pi5.txt"),
            "proc/meminfo": "MemTotal:        8245000 kB\n",
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
            "proc/sys/kernel/random/boot_id": "1d2e0c3b-0000-4000-8000-000000000000\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            f"{POLICY}/scaling_governor": "ondemand\n",
        }
    )
    host = read_host(tree.root)
    assert host.cpu_model == host.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert "asimddp" in host.cpu_flags
    assert host.cpu_parts == ["Cortex-A76"]
    assert host.governor == "ondemand"
    assert host.memory_bytes == 8_245_000 * 1024
    assert host.distribution == "Debian GNU/Linux 12 (bookworm)"
    assert host.boot_id == "1d2e0c3b-0000-4000-8000-000000000000"
    assert not host.emulated
    assert host.clock == "wall"


def test_cores_are_told_by_their_registers_where_they_can_be_read(tree):
    for i, register in enumerate(["0x00000000411fd461", "0x00000000411fd4d0", "0x00000000411fd4e0"]):
        tree.put({f"sys/devices/system/cpu/cpu{i}/regs/identification/midr_el1": f"{register}\n"})
    assert read_host(tree.root).cpu_parts == ["Cortex-A510", "Cortex-A715", "Cortex-X3"]


def test_a_jetson_tells_its_linux(tree, sample):
    tree.put({"etc/nv_tegra_release": sample("nv_tegra_release-r36.txt")})
    assert read_host(tree.root).facts == {"l4t": "R36.4.3"}


def test_a_phone_is_told_by_its_properties(tree):
    properties = (
        "[ro.build.version.release]: [15]\n[ro.build.version.sdk]: [35]\n[ro.product.manufacturer]: [Google]\n"
        "[ro.product.model]: [Pixel 8]\n[ro.soc.model]: [Tensor G3]\n[persist.empty]: []\n"
    )
    host = read_host(tree.tool("getprop", {"": properties}, folder="system/bin").root)
    assert (host.board, host.distribution) == ("Google Pixel 8", "Android 15")
    assert host.facts == {"android": "15", "android sdk": "35", "soc": "Tensor G3"}


@pytest.mark.parametrize(
    ("files", "emulated"),
    [
        ({"proc/device-tree/model": "linux,dummy-virt\0"}, True),
        ({"proc/device-tree/compatible": "linux,dummy-virt\0"}, True),
        ({"proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0"}, False),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n", CLOCKS: "tsc hpet acpi_pm\n"}, True),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n", CLOCKS: "kvm-clock tsc acpi_pm\n"}, False),
        ({"sys/class/dmi/id/sys_vendor": "LENOVO\n", CLOCKS: "tsc hpet\n"}, False),
    ],
)
def test_emulated_is_what_translates_instructions(tree, files, emulated):
    assert read_host(tree.put(files).root).emulated == emulated


@pytest.mark.parametrize(
    ("line", "clock"),
    [
        ("root=/dev/vda edgeconv.clock=virtual quiet\n", "virtual"),
        ("root=/dev/vda\n", "wall"),
        ("xedgeconv.clock=virtual", "wall"),
    ],
)
def test_the_clock_is_virtual_when_the_kernel_was_told_so(tree, line, clock):
    assert read_host(tree.put({"proc/cmdline": line}).root).clock == clock


def test_host_says_none_where_the_system_tells_nothing(tree):
    host = read_host(tree.root)
    assert (host.cpu_model, host.cpu_flags, host.governor, host.memory_bytes) == (None, [], None, None)
    assert (host.board, host.distribution, host.cpu_parts, host.boot_id, host.facts) == (None, None, [], None, {})


def test_this_machine_is_read():
    host = read_host()
    assert host.page_bytes in (4096, 16384, 65536)
    assert host.libc is not None
    assert host.boot_id is not None
    assert not host.emulated
    assert from_dict(type(host), to_dict(host)) == host


@pytest.mark.parametrize(
    ("flags", "found"),
    [(["avx2"], "none"), (["avx512_vnni", "avx_vnni"], "avx512_vnni, avx_vnni"), (["asimd", "asimddp"], "asimddp")],
)
def test_int8_instructions_are_named(flags, found):
    assert int8_instructions(flags) == found
