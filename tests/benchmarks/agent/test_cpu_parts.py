from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.cpu_parts import core_name, midr_part, parts_of_cpuinfo


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cpuinfo-pi5.txt", ["Cortex-A76"]),
        ("cpuinfo-pi4-32bit.txt", ["Cortex-A72"]),
        ("cpuinfo-pixel-8.txt", ["Cortex-A510", "Cortex-A715", "Cortex-X3"]),
    ],
)
def test_cores_of_genuine_boards(sample, name, parts):
    assert parts_of_cpuinfo(sample(name)) == parts


def test_midr_of_a_pi_5():
    assert core_name(*midr_part(0x414FD0B1)) == "Cortex-A76"


def test_a_core_without_a_name_keeps_its_numbers():
    assert core_name(0x41, 0xFFF) == "implementer 0x41 part 0xfff"


@given(st.text())
def test_cpuinfo_may_be_anything(text):
    parts_of_cpuinfo(text)
