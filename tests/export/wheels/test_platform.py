from __future__ import annotations

import pytest

from edgeconv.devices.profile import load_profile
from edgeconv.errors import ExportError
from edgeconv.export.wheels.elf import LibraryNeeds
from edgeconv.export.wheels.platform import WheelPlatform, profile_platform

FOCAL = WheelPlatform("jetpack-5", "aarch64", "3.8", (2, 31))


def needs(glibc=(2, 17), glibcxx=(), machine="aarch64"):
    return LibraryNeeds(glibc, glibcxx, frozenset({machine}))


# What was read from the wheels of the registry: version, glibc, GLIBCXX; their tags all say 2.17 or 2.27.
@pytest.mark.parametrize(
    ("glibc", "glibcxx", "misfit"),
    [
        ((2, 29), (3, 4, 26), None),  # ai-edge-litert 1.1.2
        ((2, 30), (3, 4, 26), None),  # ai-edge-litert 2.1.0
        ((2, 34), (3, 4, 30), "needs glibc 2.34"),  # ai-edge-litert 2.1.2 and later, openvino 2026.4.1
        ((2, 28), (3, 4, 22), None),  # onnxruntime 1.31.1
        ((2, 27), (3, 4, 30), "needs libstdc++ with GLIBCXX_3.4.30"),
    ],
)
def test_a_wheel_fits_by_its_symbols(glibc, glibcxx, misfit):
    assert FOCAL.misfit(needs(glibc, glibcxx)) == misfit


def test_a_library_for_another_machine_does_not_fit_whatever_its_tag_says():
    assert FOCAL.misfit(needs(machine="x86_64")) == "is compiled for x86_64"


def test_a_pure_wheel_fits_everywhere():
    assert FOCAL.misfit(LibraryNeeds((), (), frozenset())) is None


def test_tags_prefer_what_suits_the_glibc_and_end_with_those_that_may_overstate_it():
    tags = FOCAL.tags
    assert tags[0] == "manylinux_2_31_aarch64"
    assert (
        tags.index("manylinux_2_17_aarch64") < tags.index("manylinux2014_aarch64") < tags.index("manylinux_2_5_aarch64")
    )
    assert (
        tags.index("manylinux_2_5_aarch64")
        < tags.index("manylinux_2_32_aarch64")
        < tags.index("manylinux_2_35_aarch64")
    )
    assert len(tags) == len(set(tags))


@pytest.mark.parametrize(
    ("glibc", "glibcxx"), [((2, 12), ()), ((2, 31), (3, 4, 28)), ((2, 36), (3, 4, 30)), ((2, 99), (3, 4, 33))]
)
def test_the_libstdcxx_is_that_of_the_distributions_with_the_glibc(glibc, glibcxx):
    assert WheelPlatform("x", "aarch64", "3.11", glibc).glibcxx == glibcxx


def test_a_profile_says_what_is_needed():
    platform = profile_platform(load_profile("raspberry-pi-5"))
    assert (platform.machine, platform.python, platform.glibc) == ("aarch64", "3.11", (2, 36))
    assert str(platform) == "raspberry-pi-5 (aarch64, Python 3.11, glibc 2.36)"


@pytest.mark.parametrize("glibc", ["", "musl", "2.", "2.x"])
def test_a_profile_without_glibc_is_refused(glibc):
    import dataclasses

    profile = dataclasses.replace(load_profile("raspberry-pi-5"), glibc=glibc)
    with pytest.raises(ExportError, match="names no glibc"):
        profile_platform(profile)
