from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.benchmarks.agent.trtexec.parse import parse_log
from edgeconv.benchmarks.agent.trtexec.version import Version, parse_version

Sample = Callable[[str], str]


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("&&&& PASSED TensorRT.trtexec [TensorRT v8400] # trtexec --loadEngine=mnist16.trt --batch=16", (8, 4, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # trtexec --onnx=a.onnx --fp16", (8, 6, 1)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # /usr/src/tensorrt/bin/trtexec --int8", (10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b11] # trtexec", (10, 16, 2)),
        ("TensorRT.trtexec [TensorRT v110100] [b106]", (11, 1, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v11.1.0.106] [b48] # trtexec", (11, 1, 0)),
    ],
)
def test_the_banner_tells_the_version(banner: str, version: tuple[int, int, int]) -> None:
    assert parse_version(f"noise\n{banner}\n") == Version(*version)


def test_a_log_of_another_program_has_no_version() -> None:
    assert parse_version("trtexec: command not found") is None


def test_the_summary_of_8_4(sample: Sample) -> None:
    log = parse_log(sample("xavier-8.4.log"))
    assert log.passed
    assert log.version == (8, 4, 0)
    assert log.throughput_qps == 41087.7
    latency = log.metrics["Latency"]
    assert (latency.min_ms, latency.max_ms, latency.mean_ms, latency.median_ms) == (
        0.387207,
        0.447357,
        0.402238,
        0.401947,
    )
    assert latency.percentiles_ms == {99.0: 0.420288}
    assert set(log.metrics) == {"Latency", "Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency"}


def test_the_summary_before_8_4_has_the_end_to_end_line(sample: Sample) -> None:
    log = parse_log(sample("xavier-nx-8.2.log"))
    assert log.metrics["End-to-End Host Latency"].median_ms == 0.585938
    assert log.metrics["Latency"].median_ms == 0.572998
    assert log.passed is None  # the excerpt ends before the verdict, and nothing is guessed


def test_the_summary_of_10_has_three_percentiles(sample: Sample) -> None:
    log = parse_log(sample("desktop-10.log"))
    assert log.metrics["Latency"].percentiles_ms == {90.0: 10.2996, 95.0: 10.8698, 99.0: 12.9675}


def test_the_device_block(sample: Sample) -> None:
    log = parse_log(sample("orin-10.16-device.log"))
    assert log.device["Selected Device"] == "Orin"
    assert log.device["Compute Capability"] == "8.7"
    assert log.device["Device Global Memory"] == "15536 MiB"
    assert log.device["Application Compute Clock Rate"] == "1.173 GHz"
    assert log.device["TensorRT version"] == "10.16.2"


def test_the_cause_of_a_failure_is_not_its_consequence(sample: Sample) -> None:
    log = parse_log(sample("int32-bias.log"))
    assert log.errors[-1] == "Parsing model failed"
    assert log.cause is not None
    assert "476_DequantizeLinear: only activation types allowed as input to this layer." in log.cause


def test_an_engine_of_another_version_is_told(sample: Sample) -> None:
    assert "Version tag does not match" in (parse_log(sample("deserialization.log")).cause or "")


def test_warnings_of_the_summary_go_on_in_the_next_line() -> None:
    # As sampleReporting.cpp writes them.
    log = parse_log(
        "[10/03/2024-10:47:59] [W] [TRT] onnx2trt_utils.cpp:374: Your ONNX model has INT64 weights.\n"
        "[10/03/2024-10:47:59] [W] * GPU compute time is unstable, with coefficient of variance = 16.2%.\n"
        "[10/03/2024-10:47:59] [W]   If not already in use, locking GPU clock frequency or adding --useSpinWait may"
        " improve the stability.\n"
    )
    assert len(log.warnings) == 2
    assert log.warnings[1].startswith("GPU compute time is unstable, with coefficient of variance = 16.2%. If not")


@given(st.text(max_size=400))
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_log(text)
