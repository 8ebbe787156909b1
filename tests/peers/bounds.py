"""What edgeconv must reach beside its peers, and the figures that show whether it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from results import Bound, DemoTimes, Measurement, ModelResult

__all__ = ["OURS", "bounds_of_demo", "bounds_of_model", "int8_measurement", "latency_ratio"]

OURS = "edgeconv"
_EXPORT_SECONDS, _DEMO_SECONDS, _HELP_SECONDS = 45.0, 360.0, 0.3
_RESAMPLES = 2000
_SEED = 20240301


@dataclasses.dataclass(frozen=True)
class _LatencyBound:
    """Our int8 artefact of `runtime` may take at most `limit` times as long as that of `peer`."""

    runtime: str
    peer: str
    limit: float


_LATENCY_BOUNDS = (
    _LatencyBound("litert", "litert-torch + ai-edge-quantizer", 1.0),
    _LatencyBound("onnxruntime", "ORT static", 1.0),
    _LatencyBound("openvino", "NNCF", 1.1),
    _LatencyBound("openvino", "NNCF, mixed", 1.1),
)


def bounds_of_model(result: ModelResult) -> Iterator[Bound]:
    """Export time and int8 latencies of one model."""
    export = next(c for c in result.conversions if c.converter == OURS)
    seconds = None if export.failure else export.seconds
    yield Bound(result.model, "export, all runtimes and precisions", seconds, _EXPORT_SECONDS, "s")
    for bound in _LATENCY_BOUNDS:
        ours, peer = (int8_measurement(result, bound.runtime, converter) for converter in (OURS, bound.peer))
        what = f"{bound.runtime} int8 latency ÷ {bound.peer}"
        if ours is None or peer is None:
            yield Bound(result.model, what, None, bound.limit, "×")
            continue
        ratio, interval = latency_ratio(ours, peer)
        yield Bound(result.model, what, ratio, bound.limit, "×", interval)


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
    return next(
        (
            m
            for m in result.measurements
            if (m.converter, m.runtime, m.precision) == (converter, runtime, "int8") and m.rounds_ns
        ),
        None,
    )
