from __future__ import annotations

import pytest

from edgeconv.devices.fit import refuse_misfit
from edgeconv.devices.transports import TargetSystem
from edgeconv.errors import DeviceError


def system(machine="aarch64", bits=64, android_abis=None):
    return TargetSystem(machine, "Linux", bits, "boot", "3.11.2", android_abis)


@pytest.mark.parametrize(
    ("found", "device"),
    [
        (system(), "raspberry-pi-5"),
        (system("arm64"), "raspberry-pi-5"),
        (system(bits=None), "raspberry-pi-4"),
        (system(android_abis="arm64-v8a"), "pixel-8"),
        (system("riscv64"), "a-board-of-my-own"),
    ],
)
def test_what_fits_is_not_refused(found, device):
    refuse_misfit("adb:X", found, device)


@pytest.mark.parametrize(
    ("found", "device", "message", "hint"),
    [
        (system("armv7l", 32), "raspberry-pi-4", "armv7l, a 32-bit ARM system", "64-bit system"),
        (system("armv6l", None), "raspberry-pi-4", "32-bit ARM system", "64-bit system"),
        (system("aarch64", 32), "raspberry-pi-4", "64-bit kernel (aarch64) with 32-bit programs", "64-bit system"),
        (system(android_abis=""), "android-arm64", "no 64-bit programs", "another phone"),
        (system("armv8l", 32, ""), "android-arm64", "no 64-bit programs", "another phone"),
        (system("x86_64"), "raspberry-pi-5", "for raspberry-pi-5 (aarch64); adb:X is x86_64", "edgeconv export MODEL"),
        (system("riscv64"), "raspberry-pi-5", "adb:X is riscv64", "FILE.toml"),
    ],
)
def test_a_misfit_is_told_with_what_to_do(found, device, message, hint):
    with pytest.raises(DeviceError) as caught:
        refuse_misfit("adb:X", found, device)
    assert message in caught.value.message
    assert hint in caught.value.hint
