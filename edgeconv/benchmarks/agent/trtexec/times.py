"""`--exportTimes`: one object for each query.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, List

from edgeconv.benchmarks.agent.trtexec.exported import read_json
from edgeconv.errors import RuntimeUnavailableError

__all__ = ["Queries", "parse_times"]

_PARTS = ("h2dMs", "computeMs", "d2hMs")
_OLD = "endToEndMs"  # those that have it hold the queries of the warm-up too
_ROUNDING = 2e-3  # of six printed digits in each of three parts, and of float32 sums


@dataclasses.dataclass(frozen=True)
class Queries:
    """Nanoseconds of every query in order: host to device copy + GPU compute + device to host copy."""

    warmup: List[int]
    timed: List[int]
    compute: List[int]  # of the timed ones, the part on the GPU


def parse_times(text: str, warmup_ms: float) -> Queries:
    """The queries of a file of `--exportTimes`.

    `latencyMs` is the sum of the two copies and the computation; waiting for the query before is not in it
    (sampleReporting.cpp).  Until 8.2 the file begins with the warm-up: the queries whose computation began before
    `warmup_ms`, which `trtexec` itself leaves out of its summary.

    Raises:
        RuntimeUnavailableError: it is no such file.
    """
    rows = read_json(text, "times")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _foreign("it is no list of objects")
    begun = 0
    if rows and _OLD in rows[0]:
        while begun < len(rows) and _value(rows[begun], "startComputeMs") < warmup_ms:
            begun += 1
    latencies = [_latency(row) for row in rows]
    compute = [_nanoseconds(_value(row, "computeMs")) for row in rows[begun:]]
    return Queries(latencies[:begun], latencies[begun:], compute)


def _latency(row: Any) -> int:
    latency, parts = _value(row, "latencyMs"), sum(_value(row, part) for part in _PARTS)
    if not math.isclose(latency, parts, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
        raise _foreign(f"latencyMs is {latency}, its parts sum up to {parts:.6g}")
    return _nanoseconds(latency)


def _value(row: Any, key: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _foreign(f"a query has {key} {value!r}")
    return float(value)


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1e6)


def _foreign(why: str) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(f"trtexec wrote times that cannot be read: {why}.")
