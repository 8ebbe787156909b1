"""What `trtexec` prints.  Part of the device agent: Python 3.8, standard library only.

The lines are those of NVIDIA/TensorRT `samples/common/sampleReporting.cpp`, `sampleDevice.cpp` and `logger.cpp`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Dict, List, Optional

from edgeconv.benchmarks.agent.trtexec.version import Version, parse_version

__all__ = ["Log", "Metric", "parse_log"]

_LINE = re.compile(r"^(?:\[[0-9/]+-[0-9:]+\] )?(?:\[TRT\] )?\[(?P<level>[IWE])\] ?(?P<text>.*)$")
_VERDICT = re.compile(r"^&&&& (?P<verdict>PASSED|FAILED|WAIVED) TensorRT\.trtexec\b")
_METRIC = re.compile(
    r"^(?P<name>[A-Z][A-Za-z0-9\- ]+): min = (?P<min>\S+) ms, max = (?P<max>\S+) ms, mean = (?P<mean>\S+) ms, "
    r"median = (?P<median>\S+) ms(?P<rest>.*)$"
)
_PERCENTILE = re.compile(r"percentile\((?P<percent>[0-9.]+)%\) = (?P<value>\S+) ms")
_THROUGHPUT = re.compile(r"^Throughput: (\S+) qps$")
_SECONDS = {
    "build": re.compile(r"^Engine built in (\S+) sec\.$"),
    "load": re.compile(r"^Engine (?:deserialized|loaded) in (\S+) sec\.$"),
}
_DEVICE = (
    "Selected Device",
    "Compute Capability",
    "SMs",
    "Device Global Memory",
    "Memory Bus Width",
    "Application Compute Clock Rate",
    "Application Memory Clock Rate",
    "Compute Clock Rate",
    "Memory Clock Rate",
    "TensorRT version",
)
# What trtexec says around the line that tells the cause.
_CONSEQUENCES = (
    "Engine set up failed",
    "Engine could not be created from network",
    "Building engine failed",
    "Failed to create engine from model or file.",
    "Failed to parse onnx file",
    "Parsing model failed",
    "Engine deserialization failed",
    "Building serialized engine failed",
    "--- Begin node ---",
    "--- End node ---",
)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A line of the performance summary, in milliseconds; percentiles by their percent."""

    min_ms: float
    max_ms: float
    mean_ms: float
    median_ms: float
    percentiles_ms: Dict[float, float]


@dataclasses.dataclass(frozen=True)
class Log:
    """A whole log; `version` is None where no `trtexec` spoke, `passed` where it gave no verdict."""

    version: Optional[Version]
    passed: Optional[bool]
    errors: List[str]
    warnings: List[str]
    device: Dict[str, str]
    metrics: Dict[str, Metric]
    throughput_qps: Optional[float]
    build_seconds: Optional[float]
    load_seconds: Optional[float]

    @property
    def cause(self) -> Optional[str]:
        """The last error that says why, else the last one; None without any."""
        told = [error for error in self.errors if not any(words in error for words in _CONSEQUENCES)]
        return next(reversed(told or self.errors), None)


def parse_log(text: str) -> Log:
    """Everything of use in a log; lines of others between are passed over."""
    errors: List[str] = []
    warnings: List[str] = []
    device: Dict[str, str] = {}
    metrics: Dict[str, Metric] = {}
    seconds: Dict[str, float] = {}
    throughput: Optional[float] = None
    passed: Optional[bool] = None
    in_error = False  # an error may go on in lines without a level
    for line in text.splitlines():
        verdict = _VERDICT.match(line)
        if verdict is not None:
            passed = verdict.group("verdict") == "PASSED"
        match = _LINE.match(line.rstrip())
        if match is None:
            in_error = in_error and bool(line.strip()) and not line.startswith("&&&&")
            if in_error:
                errors[-1] += f" {line.strip()}"
            continue
        words = match.group("text").strip()
        in_error = match.group("level") == "E"
        if in_error:
            errors.append(words)
        elif match.group("level") == "W":
            warnings.append(words)
        else:
            throughput = _number(_THROUGHPUT.match(words)) or throughput
            metric = _METRIC.match(words)
            if metric is not None:
                metrics[metric.group("name")] = _metric(metric)
            for name, pattern in _SECONDS.items():
                found = _number(pattern.match(words))
                if found is not None:
                    seconds.setdefault(name, found)
            key, colon, value = words.partition(": ")
            if colon and key in _DEVICE:
                device[key] = value.strip()
    return Log(
        parse_version(text),
        passed,
        errors,
        _joined(warnings),
        device,
        metrics,
        throughput,
        seconds.get("build"),
        seconds.get("load"),
    )


def _metric(match: re.Match[str]) -> Metric:
    percentiles = {
        float(found.group("percent")): float(found.group("value"))
        for found in _PERCENTILE.finditer(match.group("rest"))
    }
    values = [float(match.group(name)) for name in ("min", "max", "mean", "median")]
    return Metric(values[0], values[1], values[2], values[3], percentiles)


def _number(match: Optional[re.Match[str]]) -> Optional[float]:
    return None if match is None else float(match.group(1))


def _joined(warnings: List[str]) -> List[str]:
    """A warning of the summary begins with "* " and may go on in the next lines."""
    joined: List[str] = []
    in_summary = False
    for warning in warnings:
        if warning.startswith("* "):
            joined.append(warning[2:])
            in_summary = True
        elif in_summary and not warning.startswith("["):
            joined[-1] += f" {warning}"
        else:
            joined.append(warning)
            in_summary = False
    return joined
