"""What `benchmark_model` prints; newer builds begin each line with "INFO: ", older ones do not."""

from __future__ import annotations

import dataclasses
import re

from edgeconv.records import ToolSummary

__all__ = ["Report", "parse_report"]

TOOL = "benchmark_model"
_PREFIX = re.compile(r"^(?:(?:INFO|VERBOSE|WARNING|ERROR): )")
_COUNT = re.compile(r"^count=(?P<count>\d+)\b(?P<rest>.*)$")
_PAIR = re.compile(r"\b(\w+)=([-+0-9.eE]+)")
_TIMINGS = re.compile(r"^Inference timings in us: Init: (?P<init>[0-9.eE+]+), First inference: (?P<first>[0-9.eE+]+),")
_FOOTPRINT = re.compile(
    r"^(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    r"init=(?P<init>[-0-9.eE+]+) overall=(?P<overall>[-0-9.eE+]+)"
)
_DELEGATE = re.compile(r"Replacing (?P<replaced>\d+) out of (?P<total>\d+) node\(s\) with delegate \((?P<name>\w+)\)")
_APPLIED = re.compile(r"Explicitly applied (?P<name>\w+) delegate, and the model graph will be completely executed")
_NS_PER_US = 1000


@dataclasses.dataclass(frozen=True)
class Report:
    """What the tool told; None where it did not.

    `summary` is of the regular runs: the tool keeps no samples.  The memory figures are how far the tool's own
    resident set had grown since it began, after the model was loaded and at the end, in MB.
    """

    summary: ToolSummary
    init_ns: int | None
    first_ns: int | None
    init_megabytes: float | None
    overall_megabytes: float | None
    delegates: dict[str, tuple[int, int]]  # nodes that it runs, nodes that there were
    applied: str | None  # a delegate that runs the whole graph


def parse_report(text: str) -> Report | None:
    """The tool's report; None when `text` is none, or has no timed run."""
    summary: ToolSummary | None = None
    init = first = None
    loaded = overall = None
    delegates: dict[str, tuple[int, int]] = {}
    applied: str | None = None
    for raw in text.splitlines():
        line = _PREFIX.sub("", raw.strip())
        if match := _COUNT.match(line):
            summary = _summary(int(match["count"]), match["rest"]) or summary  # the last is of the regular runs
        elif match := _TIMINGS.match(line):
            init, first = (round(float(match[name]) * _NS_PER_US) for name in ("init", "first"))
        elif match := _FOOTPRINT.match(line):
            loaded, overall = float(match["init"]), float(match["overall"])
        elif match := _DELEGATE.search(line):
            delegates[match["name"]] = int(match["replaced"]), int(match["total"])
        elif match := _APPLIED.search(line):
            applied = match["name"]
    if summary is None or init is None:  # it prints the timings last: without them it did not end well
        return None
    return Report(summary, init, first, loaded, overall, delegates, applied)


def _summary(count: int, rest: str) -> ToolSummary | None:
    """Of ``count=50 first=… curr=… min=… max=… avg=… std=…``, ``count=3 curr=5 (all same)`` or ``count=1 curr=5``."""
    values = {name: float(value) for name, value in _PAIR.findall(rest)}
    same = values.get("curr")
    if count < 1 or (same is None and "avg" not in values):
        return None
    least, most, mean = (values.get(name, same) for name in ("min", "max", "avg"))
    if least is None or most is None or mean is None:
        return None
    std = values.get("std", 0.0)
    return ToolSummary(TOOL, count, *(round(value * _NS_PER_US) for value in (least, most, mean, std)))
