"""`--exportLayerInfo` and `--exportProfile`: in which precision the layers run, and for how long.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Dict, List, Optional

from edgeconv.benchmarks.agent.trtexec.exported import read_json
from edgeconv.errors import RuntimeUnavailableError

__all__ = ["Layers", "parse_layers", "slowest_layers"]

_MOVES_DATA = ("Reformat", "Constant", "NoOp", "Signal", "Wait", "Shuffle")
_PRECISIONS = (
    ("int8", re.compile(r"\bint8\b", re.IGNORECASE)),
    ("bf16", re.compile(r"\bbf(loat)?16\b", re.IGNORECASE)),
    ("fp8", re.compile(r"\bfp8", re.IGNORECASE)),
    ("fp16", re.compile(r"\bfp16\b|\bhalf\b", re.IGNORECASE)),
    ("fp32", re.compile(r"\bfp32\b|\bfloat\b", re.IGNORECASE)),
    ("integer", re.compile(r"\bint(32|64)\b|\bbool\b", re.IGNORECASE)),
)


@dataclasses.dataclass(frozen=True)
class Layers:
    """Layers by the precision in which they compute; those that only move data are not among them.

    `weighted` counts the layers with weights alone.  Both are empty where the engine does not tell.
    """

    computing: Dict[str, int]
    weighted: Dict[str, int]

    def share(self, precision: str) -> Optional[float]:
        """The part of the layers with weights that computes in `precision`; None: not told."""
        total = sum(self.weighted.values())
        return self.weighted.get(precision, 0) / total if total else None


def parse_layers(text: str) -> Layers:
    """The layers of a file of `--exportLayerInfo`, the JSON of TensorRT's engine inspector.

    A layer computes in the type of its weights; without weights in that of its first input.  An engine that was not
    built with detailed verbosity has only names.

    Raises:
        RuntimeUnavailableError: it is no such file.
    """
    document = read_json(text, "layers")
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise RuntimeUnavailableError('trtexec wrote layers that cannot be read: there is no list of "Layers".')
    computing: Dict[str, int] = {}
    weighted: Dict[str, int] = {}
    for layer in layers:
        if not isinstance(layer, dict) or layer.get("LayerType") in _MOVES_DATA:
            continue
        weights = layer.get("Weights")
        kind = _precision(weights.get("Type")) if isinstance(weights, dict) else None
        if kind is not None:
            weighted[kind] = weighted.get(kind, 0) + 1
        else:
            inputs = layer.get("Inputs")
            kind = _precision(_datatype(inputs[0])) if isinstance(inputs, list) and inputs else None
        if kind is not None:
            computing[kind] = computing.get(kind, 0) + 1
    return Layers(computing, weighted)


def slowest_layers(text: str, count: int) -> List[str]:
    """The layers that take longest, with their share of the time, of a file of `--exportProfile`.

    Raises:
        RuntimeUnavailableError: it is no such file.
    """
    rows = read_json(text, "a profile")
    if not isinstance(rows, list):
        raise RuntimeUnavailableError("trtexec wrote a profile that cannot be read: it is no list.")
    layers = [row for row in rows if isinstance(row, dict) and isinstance(row.get("percentage"), (int, float))]
    layers.sort(key=lambda row: float(row["percentage"]), reverse=True)
    return [f"{row.get('name')} {row['percentage']:.1f} %" for row in layers[:count]]


def _datatype(tensor: Any) -> Optional[str]:
    if not isinstance(tensor, dict):
        return None
    told = [tensor.get(key) for key in ("Datatype", "DataType", "Format/Datatype", "Format")]
    return next((word for word in told if isinstance(word, str)), None)


def _precision(words: Optional[str]) -> Optional[str]:
    return next((name for name, pattern in _PRECISIONS if words and pattern.search(words)), None)
