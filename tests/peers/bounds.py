"""What edgeconv must reach in time, size and memory, and the figures that show whether it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from calibration_memory import COUNTS
from results import OURS, PLAIN, Bound, CalibrationMemory, DemoTimes, Measurement, ModelResult

__all__ = ["bounds_of_calibration", "bounds_of_demo", "bounds_of_model", "int8_measurement", "latency_ratio"]

_EXPORT_SECONDS, _DEMO_SECONDS, _HELP_SECONDS = 45.0, 360.0, 0.3
_DEMO_MODELS = ("vessels", "deblur")
_SECONDS_OVER_PLAIN = 10.0
_MEMORY_RATIO = 1.05
_PACKED_MB = {"unet-1m": 1.7}
_RESAMPLES = 2000
_SEED = 20240301


@dataclasses.dataclass(frozen=True)
class _LatencyBound:
    """Our int8 artefact of `runtime` may take at most `limit` times as long as that of `other`."""

    runtime: str
    other: str
    limit: float


_LATENCY_BOUNDS = (
    _LatencyBound("litert", PLAIN, 0.85),
    _LatencyBound("openvino", PLAIN, 0.85),
    _LatencyBound("onnxruntime", PLAIN, 0.85),
    _LatencyBound("litert", "litert-torch + ai-edge-quantizer", 0.75),
    _LatencyBound("onnxruntime", "ORT static", 0.7),
    _LatencyBound("openvino", "NNCF", 1.1),
    _LatencyBound("openvino", "NNCF, mixed", 1.1),
)


def bounds_of_model(result: ModelResult) -> Iterator[Bound]:
    """Export time, int8 latencies and the size of one model."""
    seconds = {c.converter: None if c.failure else c.seconds for c in result.conversions}
    ours, plain = seconds[OURS], seconds[PLAIN]
    if result.model in _DEMO_MODELS:
        yield Bound(result.model, "export, all runtimes and precisions", ours, _EXPORT_SECONDS, "s")
    more = None if ours is None or plain is None else ours - plain
    yield Bound(result.model, "export, longer than the plain lowering's by", more, _SECONDS_OVER_PLAIN, "s")
    for bound in _LATENCY_BOUNDS:
        measured, other = (int8_measurement(result, bound.runtime, converter) for converter in (OURS, bound.other))
        what, limit = f"{bound.runtime} int8 latency ÷ {bound.other}", bound.limit
        if measured is None or other is None:
            yield Bound(result.model, what, None, limit, "×")
            continue
        ratio, interval = latency_ratio(measured, other)
        yield Bound(result.model, what, ratio, limit, "×", interval)
    if result.model in _PACKED_MB:
        packed = [m.packed_bytes for m in result.measurements if _is_int8(m, "litert", OURS)]
        megabytes = packed[0] / 1e6 if packed and packed[0] is not None else None
        yield Bound(result.model, "litert int8 in the packed bundle", megabytes, _PACKED_MB[result.model], "MB")


def bounds_of_calibration(memory: CalibrationMemory) -> Iterator[Bound]:
    """Memory does not grow with the images."""
    few, many = (memory.peak_bytes.get(str(count)) for count in COUNTS)
    ratio = None if few is None or many is None else many / few
    size = f"{memory.size_px}×{memory.size_px}"
    what = f"peak memory of calibrating with {COUNTS[1]} images of {size} ÷ with {COUNTS[0]}"
    yield Bound("", what, ratio, _MEMORY_RATIO, "×")


def bounds_of_demo(demo: DemoTimes) -> Iterator[Bound]:
    """Time to the first report, and to the first help text."""
    total = demo.quickstart_seconds + (demo.install_seconds or 0.0)
    what = "make demo" if demo.install_seconds is not None else "make demo, environment made before"
    yield Bound("both", what, None if demo.quickstart_exit_code else total, _DEMO_SECONDS, "s")
    yield Bound("", "edgeconv --help, best of 10", demo.help_seconds, _HELP_SECONDS, "s")


def latency_ratio(measurement: Measurement, other: Measurement) -> tuple[float, list[float]]:
    """Median over the rounds of the ratio in each round, with the 95 % interval of resampled rounds.

    In pairs because the clock of a virtual machine's host, which changes within seconds, is the same in one round.
    """
    ratios = np.median(measurement.rounds_ns, axis=1) / np.median(other.rounds_ns, axis=1)
    rng = np.random.default_rng(_SEED)
    resampled = np.median(ratios[rng.integers(len(ratios), size=(_RESAMPLES, len(ratios)))], axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(np.median(ratios)), [float(low), float(high)]


def int8_measurement(result: ModelResult, runtime: str, converter: str) -> Measurement | None:
    """The int8 artefact that `converter` made for `runtime`, None where it was not timed."""
    return next((m for m in result.measurements if _is_int8(m, runtime, converter) and m.rounds_ns), None)


def _is_int8(measurement: Measurement, runtime: str, converter: str) -> bool:
    return (measurement.converter, measurement.runtime, measurement.precision) == (converter, runtime, "int8")
