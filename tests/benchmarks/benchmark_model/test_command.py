from __future__ import annotations

import pytest

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.benchmark_model.command import output_command, timing_command
from edgeconv.errors import BundleError, UsageError
from edgeconv.manifest import TensorSpec

SPECS = [
    TensorSpec("image", "serving_default_image:0", [1, 24, 32, 3], "NHWC", "int8", 0.0039, -128),
    TensorSpec("mask", "mask", [1, 7], "as-is", "float32"),
]
PROTOCOL = LatencyProtocol(min_seconds=1.8, min_count=44, warmup_seconds=0.25)
FILES = ["/data/local/tmp/edgeconv/0-0.bin", "/data/local/tmp/edgeconv/0-1.bin"]
COMMON = [
    "/data/local/tmp/edgeconv/benchmark_model",
    "--graph=/data/local/tmp/edgeconv/model.tflite",
    "--num_threads=4",
    "--input_layer=serving_default_image:0,mask",
    "--input_layer_shape=1,24,32,3:1,7",
    "--input_layer_value_files=serving_default_image::0:/data/local/tmp/edgeconv/0-0.bin,"
    "mask:/data/local/tmp/edgeconv/0-1.bin",
]


def test_timing() -> None:
    argv = timing_command(COMMON[0], COMMON[1].partition("=")[2], SPECS, FILES, 4, PROTOCOL, {"use_gpu": "true"})
    assert argv == [
        *COMMON,
        "--use_gpu=true",
        "--num_runs=44",
        "--min_secs=1.8",
        "--max_secs=150",
        "--warmup_runs=1",
        "--warmup_min_secs=0.25",
    ]


def test_a_long_run_is_not_cut_off_at_the_tools_own_limit() -> None:
    protocol = LatencyProtocol(mode="sustained", min_seconds=600, extra_seconds=0)
    assert "--max_secs=1200" in timing_command("b", "g", SPECS, FILES, 1, protocol, {})


def test_outputs() -> None:
    argv = output_command(COMMON[0], COMMON[1].partition("=")[2], SPECS, FILES, 4, {}, "/data/local/tmp/out.bin")
    assert argv == [
        *COMMON,
        "--num_runs=1",
        "--min_secs=0",
        "--warmup_runs=1",
        "--warmup_min_secs=0",
        "--output_filepath=/data/local/tmp/out.bin",
    ]


@pytest.mark.parametrize("name", ["graph", "num_threads", "output_filepath", "", "a b", "--use_gpu"])
def test_options_that_are_ours_or_none_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="not for you to set"):
        timing_command("b", "g", SPECS, FILES, 1, LatencyProtocol(), {name: "x"})


def test_names_and_paths_that_the_flags_cannot_hold_are_refused() -> None:
    with pytest.raises(BundleError, match="'a,b'"):
        output_command("b", "g", [TensorSpec("x", "a,b", [1], "as-is", "float32")], ["/f"], 1, {}, "o")
    with pytest.raises(UsageError, match="'/f:1'"):
        output_command("b", "g", SPECS[1:], ["/f:1"], 1, {}, "o")
