"""Run records of the shape that a benchmark writes, for tests of how they are shown."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from edgeconv.benchmarks.agent.memory import METHOD
from edgeconv.benchmarks.agent.percentiles import percentile
from edgeconv.records import Drift, DriftPart, Host, Latency, Memory, Result, RunRecord, TaskMetric

IDENTICAL = DriftPart(max_abs=0.0, mean_abs=0.0, sqnr_db=None, cosine=1.0)


def part(sqnr_db: float) -> DriftPart:
    return DriftPart(10 ** (-sqnr_db / 20) * 4, 10 ** (-sqnr_db / 20) * 0.3, sqnr_db, 1 - 10 ** (-sqnr_db / 10) / 2)


def samples_ns(median_ms: float, count: int, seed: int) -> list[int]:
    """A latency sample as a busy Linux machine gives it: a narrow body, a tail to the right, a few interruptions."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        value = median_ms * (1 + abs(source.gauss(0, 0.015)) + (source.random() < 0.02) * source.uniform(0.1, 0.9))
        found.append(int(value * 1e6))
    return found


def result(
    runtime: str = "litert",
    precision: str = "int8",
    median_ms: float = 16.4,
    count: int = 600,
    megabytes: float = 8.8,
    added_mb: float = 31.0,
    total_db: float = 31.3,
    metric: float | None = 0.7791,
    **changes: object,
) -> Result:
    samples = samples_ns(median_ms, count, seed=int(median_ms * 100))
    quantised = part(31.4) if precision == "int8" else IDENTICAL
    built = Result(
        runtime=runtime,
        precision=precision,
        valid=True,
        invalid_reasons=[],
        artifact_sha256=f"{abs(int(median_ms * 1e6)):064x}",
        artifact_bytes=int(megabytes * 1e6),
        latency_ns=Latency(
            samples, *(percentile(samples, rank) for rank in (50, 90, 99)), warmup=[int(median_ms * 1.4e6)] * 10
        ),
        import_ns=180_000_000,
        load_ns=int(median_ms * 2.1e6),
        first_inference_ns=int(median_ms * 1.7e6),
        memory=Memory(int((52 + added_mb) * 1e6), 52_000_000, METHOD),
        drift=Drift(part(124.8), quantised, part(total_db + 14), part(total_db), part(total_db + 0.1)),
        task=TaskMetric("Dice", 0.7812, metric) if metric is not None else None,
        provider={"onnxruntime": "CPUExecutionProvider", "litert": "XNNPACK"}.get(runtime, "CPU"),
        threads=1,
        evidence={"version": "1.31.1", "precision hint": "f32"},
    )
    return dataclasses.replace(built, **changes)


def host(**changes: object) -> Host:
    built = Host(
        machine="x86_64",
        system="Linux 6.1.0",
        cpu_model="Intel(R) Xeon(R) Platinum 8488C",
        cpu_flags=["sse4_2", "avx2", "avx512f", "avx512_vnni", "amx_int8"],
        cpus=2,
        governor="performance",
        memory_bytes=25_000_000_000,
        python="3.11.7",
        emulated=False,
        clock="wall",
    )
    return dataclasses.replace(built, **changes)


def record(results: list[Result] | None = None, **changes: object) -> RunRecord:
    built = RunRecord(
        schema_version=1,
        run_id="20261120-134455-7f3a",
        started_at="2026-11-20T13:44:55Z",
        edgeconv_version="0.1.0",
        target="local:",
        bundle="vessels-host",
        manifest_sha256="9f3c5a17" * 8,
        model="vessels",
        device="host",
        host=host(),
        results=full_results() if results is None else results,
    )
    return dataclasses.replace(built, **changes)


def full_results(slower: float = 1.0) -> list[Result]:
    """Three runtimes, their precisions, one of them invalid; `slower` scales the latencies."""
    return [
        result("litert", "int8", 16.4 * slower, 1200),
        result("onnxruntime", "int8", 33.8 * slower, 420, 8.8, 44.0, 31.3, 0.7790),
        result("openvino", "int8", 20.1 * slower, 90, 8.7, 68.0, 31.1, 0.7788),
        result("litert", "fp32", 63.0 * slower, 240, 34.7, 92.0, 124.1, 0.7812),
        result("onnxruntime", "fp32", 52.2 * slower, 300, 34.7, 88.0, 124.8, 0.7812),
        result(
            "openvino",
            "fp16",
            49.5 * slower,
            40,
            17.4,
            120.0,
            57.9,
            0.7812,
            valid=False,
            invalid_reasons=["the CPU was throttled during the run (bit 2, throttled now)", "latency is not steady"],
        ),
    ]


def empty_result() -> Result:
    """A runtime that could be started and gave nothing."""
    return result(
        metric=None,
        valid=False,
        invalid_reasons=["the runtime refused the file"],
        latency_ns=Latency([], None, None, None, []),
        import_ns=None,
        load_ns=None,
        first_inference_ns=None,
        memory=Memory(None, None, "none"),
        drift=None,
        provider=None,
        evidence={},
    )


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return result


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    return record


@pytest.fixture
def nothing_measured() -> Result:
    return empty_result()


@pytest.fixture
def two_devices() -> list[RunRecord]:
    """The same model on a Xeon and on a Raspberry Pi 4 that has no dot product."""
    pi = host(
        machine="aarch64",
        cpu_model="Cortex-A72",
        cpu_flags=["fp", "asimd"],
        cpus=4,
        governor="ondemand",
        memory_bytes=4_000_000_000,
    )
    return [
        record(),
        record(
            full_results(slower=9.0)[:5],
            host=pi,
            device="raspberry-pi-4",
            target="ssh://pi@raspberrypi.local",
            bundle="vessels-raspberry-pi-4",
            manifest_sha256="17d2e8b4" * 8,
        ),
    ]
