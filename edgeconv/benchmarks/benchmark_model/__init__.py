"""LiteRT's own `benchmark_model`, a binary that the user names: the figures that Android people expect."""

from __future__ import annotations

from edgeconv.benchmarks.benchmark_model.measure import measure_with_benchmark_model

__all__ = ["measure_with_benchmark_model"]
