"""What the answers of our int8 artefacts must reach beside those of the peers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from peers import PEERS
from results import BEST, OURS, Bound, ModelResult, Quality

__all__ = ["quality_bounds"]

_GAIN_DB, _BEST_GAIN_DB = 2.0, 3.5  # over the best peer, where a model is made of SFConv and CoordGate
_T = TypeVar("_T")
_PEERS = tuple(peer.name for peer in PEERS)


def quality_bounds(result: ModelResult) -> Iterator[Bound]:
    """SQNR above the best peer's, and a task metric that is not further from PyTorch's than the best peer's.

    Ours is the worst of our runtimes. The best peer is the one with the highest SQNR on those inputs, in any runtime:
    of a dozen, one or other with a large error has PyTorch's metric by chance.
    """
    gains = {OURS: _GAIN_DB, BEST: _BEST_GAIN_DB} if result.separable else {OURS: 0.0}
    peers = _figures(result, _PEERS, lambda quality: quality.sqnr_db)
    for converter, gain in gains.items():
        ours = _figures(result, (converter,), lambda quality: quality.sqnr_db)
        value = min(ours) - max(peers) if ours and peers else None
        yield Bound(result.model, f"SQNR of {converter} above the best peer's", value, gain, "dB", at_least=True)
        for shifted, where in ((False, ""), (True, ", shifted inputs")):
            yield _metric_bound(result, converter, shifted, where)


def _metric_bound(result: ModelResult, converter: str, shifted: bool, where: str) -> Bound:
    wanted = result.shifted_torch_metric if shifted else result.torch_metric

    def distance(quality: Quality) -> float:
        return abs(quality.metric - wanted)

    ours = _figures(result, (converter,), distance, shifted)
    peers = _figures(result, _PEERS, lambda quality: (quality.sqnr_db, -distance(quality)), shifted)
    what = f"{result.metric} of {converter}, distance from PyTorch's{where}"
    return Bound(result.model, what, max(ours, default=None), -max(peers)[1] if peers else math.inf, "")


def _figures(
    result: ModelResult, converters: tuple[str, ...], figure: Callable[[Quality], _T], shifted: bool = False
) -> list[_T]:
    """One for each int8 artefact that was measured."""
    chosen = [m for m in result.measurements if m.converter in converters and m.precision == "int8"]
    qualities = (m.shifted if shifted else m.quality for m in chosen)
    return [figure(quality) for quality in qualities if quality is not None]
