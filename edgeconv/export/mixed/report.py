"""What was left in float to reach a quality: what each part gained, and what it costs. `mixed.json` in the bundle."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

from edgeconv.benchmarks.ratios import Ratio
from edgeconv.errors import BundleError
from edgeconv.schema import SchemaError, from_dict, refuse_newer

__all__ = [
    "MIXED_PATH",
    "SCHEMA_VERSION",
    "MixedReport",
    "Price",
    "Quality",
    "Rescue",
    "SchemeQuality",
    "quality_told",
    "read_mixed",
]

MIXED_PATH = "mixed.json"
SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Quality:
    """Of a graph on the golden cases, against PyTorch; an SQNR in dB is None where nothing differs.

    `sqnr_db` is pooled over all cases, `worst_db` that of the worst case; `metric` is None without targets.
    """

    sqnr_db: float | None
    worst_db: float | None
    metric: float | None = None

    @property
    def worst(self) -> float:
        """`worst_db` as a number that can be compared."""
        return math.inf if self.worst_db is None else self.worst_db


@dataclasses.dataclass(frozen=True)
class Price:
    """The artefact of one runtime on the machine that exported: one thread, median latency, model files.

    `ratio` is its latency over that of the int8 artefact, with the 99 % interval.
    Quality is that of what the runtime itself returned. `remark` says why a figure is missing or shaky.
    """

    runtime: str
    latency_ms: float | None
    ratio: Ratio | None
    bytes: int
    quality: Quality | None
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Rescue:
    """Operators that were left in float together; `quality` and `prices` are with them and all rescues before."""

    name: str
    kind: str  # "operator" | "tensor" | "concat" | "head"
    operators: tuple[str, ...]
    quality: Quality
    prices: tuple[Price, ...] = ()


@dataclasses.dataclass(frozen=True)
class SchemeQuality:
    """The int8 graph of another quantisation scheme, which `runtimes` get; nothing can be left in float in it.

    `met` says whether it meets the target all the same.
    """

    scheme: str
    runtimes: tuple[str, ...]
    quality: Quality
    met: bool


@dataclasses.dataclass(frozen=True)
class MixedReport:
    """The way from the int8 graph to the one that meets the target.

    `torch_metric` is the task metric of PyTorch's outputs. `candidates` were tried; `dropped` names operators that
    were accepted and then found to be superfluous. Without `rescues` the int8 graph met the target as it was, and
    nothing was priced. `machine` is what the prices are of; `not_priced` says which runtimes it lacks.
    All that is of the graph with asymmetric activations; `others` are those of symmetric ones that a bundle has. Where
    no bundle has the former, `int8` is the first of these.
    """

    schema_version: int
    target: str
    metric: str | None
    torch_metric: float | None
    cases: int
    candidates: int
    machine: str
    int8: Quality
    int8_prices: tuple[Price, ...]
    rescues: tuple[Rescue, ...]
    dropped: tuple[str, ...] = ()
    not_priced: tuple[str, ...] = ()
    others: tuple[SchemeQuality, ...] = ()

    @property
    def missed(self) -> list[str]:
        """For people: the runtimes whose int8 artefacts do not have the quality that was asked for."""
        return [
            f"{', '.join(one.runtimes)} does not meet it: its int8 graph has {one.scheme} activations, in which "
            f"nothing is left in float, and {quality_told(one.quality, self.metric)}"
            for one in self.others
            if not one.met
        ]

    @property
    def reached(self) -> Quality:
        """The quality of the graph that was exported."""
        return self.rescues[-1].quality if self.rescues else self.int8

    def steps(self) -> list[tuple[Rescue, Quality, tuple[Price, ...]]]:
        """Each rescue with quality and prices of the graph without it and those after it."""
        befores = [(self.int8, self.int8_prices), *((r.quality, r.prices) for r in self.rescues)]
        return [(rescue, *before) for rescue, before in zip(self.rescues, befores, strict=False)]

    def curve(self, runtime: str) -> list[tuple[float, float, int]]:
        """(latency in ms, SQNR of the runtime's outputs in dB, number of rescues) of each graph that has both."""
        points = []
        for number, prices in enumerate([self.int8_prices, *(rescue.prices for rescue in self.rescues)]):
            for price in prices:
                sqnr_db = None if price.quality is None else price.quality.sqnr_db
                if price.runtime == runtime and price.latency_ms is not None and sqnr_db is not None:
                    points.append((price.latency_ms, sqnr_db, number))
        return points


def quality_told(quality: Quality, metric: str | None) -> str:
    """For people: the worst case, and the task metric of that name where there are targets."""
    words = "no difference" if quality.worst_db is None else f"{quality.worst_db:.1f} dB in the worst case"
    return words if quality.metric is None else f"{words}, {metric} {quality.metric:.4f}"


def read_mixed(directory: Path) -> MixedReport | None:
    """The report in a verified bundle; None where nothing was asked of its quality.

    Raises:
        BundleError: it is no such document, or of a newer schema.
    """
    path = directory / MIXED_PATH
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        refuse_newer(document, SCHEMA_VERSION, str(path), BundleError)
        return from_dict(MixedReport, document)
    except (SchemaError, ValueError, OSError, RecursionError) as error:
        raise BundleError(f"{path} is damaged or foreign: {error}.", "Export the bundle again.") from error
