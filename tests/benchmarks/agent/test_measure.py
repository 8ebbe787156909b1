"""Whether what ran is what was asked for; whole measurements in real processes are in test_main and test_run."""

from __future__ import annotations

import pytest

from edgeconv.benchmarks.agent.measure import _not_as_asked, _with_int8_share
from edgeconv.benchmarks.agent.usage import Usage
from edgeconv.manifest import Int8Proof
from edgeconv.records import Execution
from edgeconv.runtimes.kernels import Kernels

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


class Told:
    """A session that says this of its kernels."""

    def __init__(self, kernels):
        self.kernels = lambda inputs: kernels


def proof(**changes):
    facts = {"machine": "any", "mac_share": 0.75, "float_macs": ["b"], "macs": {"a": 30, "b": 10}}
    return Int8Proof(**{**facts, "unfused": 0, "float_operators": [], "layout_changes": 0, **changes})


@pytest.mark.parametrize(
    ("proof", "kernels", "share", "in_float"),
    [
        (proof(machine="x86_64"), Kernels(frozenset("b"), ("a",), (), 0), 0.25, ["a"]),
        (proof(), Kernels(frozenset("ab"), (), (), 0), 1.0, []),
        (proof(), None, 0.75, ["b"]),  # the types in the file hold everywhere
        (proof(machine="x86_64"), None, None, []),
        (proof(macs={}), Kernels(frozenset("b"), ("a",), (), 0), None, []),  # a bundle of before
        (None, Kernels(frozenset("b"), ("a",), (), 0), None, []),
    ],
)
def test_the_share_of_int8_is_that_of_the_kernels_here_or_of_the_file(proof, kernels, share, in_float):
    execution = _with_int8_share(Execution("CPU", "CPU"), proof, Told(kernels), [])
    assert (execution.int8_mac_share, execution.float_macs) == (share, in_float)
