"""Run records of the shape that a benchmark writes, for tests of how they are shown."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from edgeconv.benchmarks.agent.percentiles import make_latency
from edgeconv.manifest import Failure
from edgeconv.records import (
    DeviceState,
    Drift,
    DriftPart,
    Execution,
    Host,
    Latency,
    LayerDrift,
    Memory,
    Result,
    RunRecord,
    StateSample,
    TaskMetric,
    ToolSummary,
    Trial,
    Tuning,
)

METHOD = "VmHWM of a fresh process; baseline: VmRSS with the runtime imported"
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
        latency_ns=make_latency(samples, [int(median_ms * 1.4e6)] * 10, rounds=[count // 2, count - count // 2]),
        import_ns=180_000_000,
        load_ns=int(median_ms * 2.1e6),
        first_inference_ns=int(median_ms * 1.7e6),
        memory=Memory(int((52 + added_mb) * 1e6), 52_000_000, METHOD, int((52 + 0.8 * added_mb) * 1e6)),
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
        schema_version=2,
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


def device_state(seconds: int = 30, start: float = 52.0, throttled_from: int | None = None) -> DeviceState:
    """A board that warms up while it works and, from some second on, is throttled for as long as it works."""
    samples = []
    for at in range(seconds + 1):
        hot = throttled_from is not None and at >= throttled_from
        samples.append(
            StateSample(
                at_seconds=float(at),
                load_average=1.0 + at / 100,
                available_bytes=3_000_000_000,
                frequencies_khz={"policy0": 1_500_000 if hot else 2_400_000},
                temperatures_celsius={"cpu-thermal": min(start + 1.1 * at, 85.0), "rp1": 48.0},
                throttled=["frequency capped now"] if hot else [],
                power_watts={"EXT5V": 3.0 + (1.2 if hot else 2.6) * (at > 1)},
            )
        )
    hot = throttled_from is not None
    reasons = [f"throttled from {throttled_from} s on"] if hot else []
    return DeviceState(
        governors={"policy0": "performance"},
        power_mode=None,
        affinity=[0, 1, 2, 3],
        samples=samples,
        others_cpu_share=0.012,
        energy_joules=91.3,
        verdict="throttled" if hot else "clean",
        reasons=reasons,
        facts={"get_throttled": "0x80008" if hot else "0x0"},
    )


def layer_drifts(count: int = 24) -> list[LayerDrift]:
    """A network whose gates lose most, one of them identical to the reference."""
    found = []
    for index in range(count):
        gate = index % 6 == 4
        alone = None if index == 2 else 34.0 if gate else 52.0 - index / 4
        operator = "Mul" if gate else "Conv"
        found.append(
            LayerDrift(f"encoder.stages.{index // 6}.{operator.lower()}{index}", operator, alone, 48 - index * 0.7)
        )
    return found


IN_FLOAT = ["encoder.0.conv1.vertical/Conv", *(f"gate.{index}/Mul" for index in range(4))]


def tuning() -> Tuning:
    settings = [{"threads": str(count), "xnnpack": use} for count in (1, 2, 4) for use in ("on", "off")]
    trials = [Trial(options, int((18 - 3 * index) * 1e6), 20, 0) for index, options in enumerate(settings)]
    trials += [Trial(settings[5], 3_100_000, 80, 1), Trial(settings[4], 5_900_000, 80, 1)]
    return Tuning(settings[5], trials)


def execution(share: float = 1.0, **changes: object) -> Execution:
    ran = Execution("XNNPACK", "XNNPACK", {"XNNPACK": 61, "CPU": 2}, share, "f32", 1)
    return dataclasses.replace(ran, **changes)  # type: ignore[arg-type]


def told_result() -> Result:
    """What a tool without samples reported."""
    summary = ToolSummary("benchmark_model", 91, 15_900_000, 21_400_000, 16_700_000, 410_000)
    return result("litert", "fp16", 17.0, latency_ns=Latency([], None, None, None, [], summary=summary))


def board_record(**changes: object) -> RunRecord:
    """A Raspberry Pi 5 with everything that a record can hold: device state, tuning, layers, a failure."""
    results = full_results(slower=2.0)[:4]
    with_state = [
        dataclasses.replace(results[0], state=device_state(20), tuning=tuning(), layers=layer_drifts()),
        dataclasses.replace(
            results[1],
            state=device_state(24, 60.0),
            execution=execution(0.968, int8_mac_share=0.881, float_macs=IN_FLOAT),
        ),
        dataclasses.replace(
            results[2],
            state=device_state(30, 66.0, throttled_from=17),
            valid=False,
            invalid_reasons=["the device was throttled from 17 s on"],
        ),
        dataclasses.replace(results[3], state=device_state(28, 58.0), execution=execution()),
        told_result(),
    ]
    board = host(
        machine="aarch64",
        cpu_model="BCM2712",
        cpu_parts=["Cortex-A76"],
        cpu_flags=["asimd", "asimddp", "asimdhp"],
        cpus=4,
        memory_bytes=8_300_000_000,
        board="Raspberry Pi 5 Model B Rev 1.0",
        distribution="Debian GNU/Linux 12",
        libc="glibc 2.36",
    )
    built = record(
        with_state,
        host=board,
        device="raspberry-pi-5",
        target="ssh://pi@pi5.local",
        bundle="vessels-raspberry-pi-5",
        manifest_sha256="41d2e8b4" * 8,
        run_id="20261121-081500-aa01",
        model_sha256="c0ffee00" * 8,
        tools={"onnx": "1.22.0", "onnxruntime": "1.31.1"},
        settings={"min_seconds": 2.0, "min_count": 90.0, "rounds": 3.0},
        failures=[Failure("openvino", "fp16", "operator <Foo> at encoder.1 is unknown")],
    )
    return dataclasses.replace(built, **changes)


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
def make_board_record() -> Callable[..., RunRecord]:
    return board_record


@pytest.fixture
def make_host() -> Callable[..., Host]:
    return host


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
