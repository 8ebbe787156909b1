"""Whether what ran is what was asked for; whole measurements in real processes are in test_main and test_run."""

from __future__ import annotations

import pytest

from edgeconv.benchmarks.agent.measure import _not_as_asked
from edgeconv.benchmarks.agent.usage import Usage
from edgeconv.records import Execution

SECOND = 1_000_000_000


def used(cores):
    return Usage(wall_ns=SECOND, cpu_ns=round(cores * SECOND), involuntary_switches=0)


@pytest.mark.parametrize(
    "execution",
    [
        Execution("XNNPACK", "XNNPACK", {"XNNPACK": 5}, 1.0),
        Execution("CUDA", "CUDA, CPU", {"CUDA": 5, "CPU": 2}, 5 / 7, threads=2),
        Execution("XNNPACK", "unknown"),
    ],
)
def test_what_ran_as_asked_even_in_part_or_cannot_be_known_is_no_fault(execution):
    assert _not_as_asked(execution, 2, used(1.9)) is None


@pytest.mark.parametrize(
    ("execution", "cores", "words"),
    [
        (
            Execution("XNNPACK", "built-in kernels", {"built-in kernels": 5}, 0.0),
            1,
            "XNNPACK was asked for and built-in",
        ),
        (Execution("CUDA", "", {}, None), 1, "CUDA was asked for and nothing ran"),
        (Execution("CPU", "CPU", {"CPU": 5}, 1.0, threads=4), 1, "2 threads were asked for and 4 were used"),
        (Execution("CPU", "CPU", {"CPU": 5}, 1.0), 3.4, "2 threads were asked for and 3.4 cores were kept busy"),
    ],
)
def test_what_ran_otherwise_is_told(execution, cores, words):
    assert words in _not_as_asked(execution, 2, used(cores))
