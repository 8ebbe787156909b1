from __future__ import annotations

import pytest

from edgeconv.benchmarks.agent.trtexec.command import (
    build_command,
    output_command,
    profile_command,
    timing_command,
)
from edgeconv.benchmarks.agent.trtexec.version import Version
from edgeconv.errors import BundleError, RuntimeUnavailableError

V82, V85, V86, V10, V11 = Version(8, 2, 1), Version(8, 5, 2), Version(8, 6, 1), Version(10, 3, 0), Version(11, 1, 0)
INPUTS = {"images:0": "input0.bin", "mask": "input1.bin"}
ON_ENGINE = ["trtexec", "--loadEngine=e", "--loadInputs=images:0:input0.bin,mask:input1.bin"]


@pytest.mark.parametrize(
    ("version", "precision", "flags"),
    [
        (Version(8, 0, 1), "fp16", ["--fp16", "--noTF32", "--workspace=1024", "--buildOnly"]),
        (V82, "int8", ["--int8", "--noTF32", "--profilingVerbosity=detailed", "--workspace=1024", "--buildOnly"]),
        (V85, "int8", ["--int8", "--noTF32", "--profilingVerbosity=detailed", "--buildOnly"]),
        (V86, "fp16", ["--fp16", "--noTF32", "--profilingVerbosity=detailed", "--skipInference"]),
        (V10, "fp32", ["--noTF32", "--profilingVerbosity=detailed", "--skipInference"]),
        (V10, "int8", ["--int8", "--noTF32", "--profilingVerbosity=detailed", "--skipInference"]),
        (V11, "int8", ["--noTF32", "--profilingVerbosity=detailed", "--skipInference"]),
        (V11, "fp16", ["--noTF32", "--profilingVerbosity=detailed", "--skipInference"]),
    ],
)
def test_building(version: Version, precision: str, flags: list[str]) -> None:
    assert build_command("trtexec", version, precision, "m.onnx", "e") == [
        "trtexec",
        "--onnx=m.onnx",
        "--saveEngine=e",
        *flags,
    ]


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        (V82, ["--useCudaGraph", "--useSpinWait"]),
        (V10, ["--useCudaGraph", "--useSpinWait"]),
        (V11, ["--includeDataTransfers"]),
    ],
)
def test_every_version_times_copies_a_graph_and_spinning(version: Version, flags: list[str]) -> None:
    assert timing_command("trtexec", version, "e", INPUTS, "t.json", 250, 1.8, 44) == [
        *ON_ENGINE,
        *flags,
        "--warmUp=250",
        "--duration=2",
        "--iterations=44",
        "--exportTimes=t.json",
    ]


@pytest.mark.parametrize(
    ("version", "flags", "described"),
    [
        (Version(8, 0, 1), [], []),
        (V85, [], ["--exportLayerInfo=l.json"]),
        (V11, ["--includeDataTransfers", "--noCudaGraph"], ["--exportLayerInfo=l.json"]),
    ],
)
def test_the_profile_is_a_run_of_its_own_without_a_graph(
    version: Version, flags: list[str], described: list[str]
) -> None:
    assert profile_command("trtexec", version, "e", INPUTS, "p.json", "l.json") == [
        *ON_ENGINE,
        *flags,
        "--warmUp=0",
        "--duration=0",
        "--iterations=20",
        "--exportProfile=p.json",
        *described,
    ]


def test_outputs_are_those_of_one_query() -> None:
    assert output_command("trtexec", V10, "e", INPUTS, "o.json") == [
        *ON_ENGINE,
        "--warmUp=0",
        "--duration=0",
        "--iterations=1",
        "--exportOutput=o.json",
    ]


@pytest.mark.parametrize("version", [Version(7, 1, 3), Version(9, 3, 0), Version(12, 0, 0)])
def test_a_version_that_is_not_known_is_not_guessed_at(version: Version) -> None:
    with pytest.raises(RuntimeUnavailableError, match=f"TensorRT {version}.*8, 10 and 11"):
        build_command("trtexec", version, "int8", "m.onnx", "e")


@pytest.mark.parametrize("name", ["a,b", "a'b", ""])
def test_an_input_name_that_the_option_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="input name"):
        output_command("trtexec", V10, "e", {name: "input0.bin"}, "o.json")
