"""What edgeconv must reach beside its peers, and the figures that show whether it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from results import Bound, DemoTimes, Measurement, ModelResult

__all__ = ["OURS", "bounds_of_demo", "bounds_of_model", "latency_ratio"]

OURS = "edgeconv"
_EXPORT_SECONDS, _DEMO_SECONDS, _HELP_SECONDS = 45.0, 360.0, 0.3
_RESAMPLES = 2000
_SEED = 20240301


@dataclasses.dataclass(frozen=True)
class _LatencyBound:
    """Our int8 artefact of `runtime` may take at most `limit` times the fastest of `peers`."""

    runtime: str
    peers: tuple[str, ...]
    limit: float


_LATENCY_BOUNDS = (
    _LatencyBound("litert", ("litert-torch + ai-edge-quantizer",), 1.0),
    _LatencyBound("onnxruntime", ("ORT static",), 1.0),
    _LatencyBound("openvino", ("NNCF", "NNCF, mixed"), 1.1),
)


def bounds_of_model(result: ModelResult) -> Iterator[Bound]:
    """Export time and int8 latencies of one model."""
    ours = next(c for c in result.conversions if c.converter == OURS)
    seconds = None if ours.failure else ours.seconds
    yield Bound(result.model, "export, all runtimes and precisions", seconds, _EXPORT_SECONDS, "s")
    for bound in _LATENCY_BOUNDS:
        own = _measured(result.measurements, bound.runtime, (OURS,))
        peers = _measured(result.measurements, bound.runtime, bound.peers)
        what = f"{bound.runtime} int8 latency"
        if not own or not peers:
            yield Bound(result.model, f"{what} ÷ {bound.peers[0]}", None, bound.limit, "×")
            continue
        fastest = min(peers, key=lambda measurement: measurement.median_ns or np.inf)
        ratio, interval = latency_ratio(own[0], fastest)
        yield Bound(result.model, f"{what} ÷ {fastest.converter}", ratio, bound.limit, "×", interval)


def bounds_of_demo(demo: DemoTimes) -> Iterator[Bound]:
    """Time to the first report, and to the first help text."""
    total = demo.quickstart_seconds + (demo.install_seconds or 0.0)
    what = "make demo" if demo.install_seconds is not None else "make demo, environment made before"
    yield Bound("both", what, None if demo.quickstart_exit_code else total, _DEMO_SECONDS, "s")
    yield Bound("", "edgeconv --help, best of 10", demo.help_seconds, _HELP_SECONDS, "s")


def latency_ratio(ours: Measurement, peer: Measurement) -> tuple[float, list[float]]:
    """Ratio of the median latencies with its 95 % interval, from resampled rounds.

    The rounds are resampled in pairs because what disturbs one artefact in a round disturbs its neighbours as well.
    """
    own, other = np.array(ours.rounds_ns), np.array(peer.rounds_ns)
    rng = np.random.default_rng(_SEED)
    picks = rng.integers(len(own), size=(_RESAMPLES, len(own)))
    ratios = np.median(own[picks], axis=(1, 2)) / np.median(other[picks], axis=(1, 2))
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(np.median(own) / np.median(other)), [float(low), float(high)]


def _measured(measurements: Iterable[Measurement], runtime: str, converters: tuple[str, ...]) -> list[Measurement]:
    return [
        m
        for m in measurements
        if (m.runtime, m.precision) == (runtime, "int8") and m.converter in converters and m.median_ns is not None
    ]
