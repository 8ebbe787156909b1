"""What folded gate maps cost in bytes, and what their other forms would cost and lose.

Said at export where the maps are more than the weights, so that a file is more than twice as large as its weights.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.macs import count_weights
from edgeconv.export.quantize import Grid
from edgeconv.manifest import GATES_FACT, Artifact
from edgeconv.rewrite.compress_gates import FOLDED, GATE_FORMS, CompressedGate, compressed
from edgeconv.rewrite.normalise_gates import gate_of

__all__ = ["GatePrices", "StoredGates", "folds_constants", "gate_maps", "with_gate_prices"]

_Array = npt.NDArray[Any]
_LIMIT = 2  # times the weights
_DEFLATE_LEVEL = 6  # half the time of 9, and as small within 1 %
_WEIGHT_BYTES = {"int8": 1, "fp16": 2, "fp32": 4}
_TOLD = "int8"  # whoever counts bytes takes that; deflating float maps takes seconds
_FOLD_NOTHING = ("litert", "tflite_runtime")


@dataclasses.dataclass(frozen=True)
class StoredGates:
    """All gates of a graph in one form and precision; `sqnr_db` is that of the worst map, None where none changed.

    `packed_bytes` is what deflate leaves of them.
    """

    bytes: int
    packed_bytes: int
    sqnr_db: float | None


def gate_maps(graph: ir.Graph) -> dict[str, _Array]:
    """The constant gate maps (channel, height, width) of a graph, by the name of the Mul that applies them."""
    gates = ((str(node.name), gate_of(node)) for node in graph)
    return {name: gate[1] for name, gate in gates if gate is not None and gate[1][0].size > 1}


def folds_constants(runtime: str) -> bool:
    """Whether a runtime computes what depends on constants alone when it loads a file, instead of with each inference.

    The converters of those that do not write down results, but for an enlarging Resize.
    """
    return runtime not in _FOLD_NOTHING


class GatePrices:
    """The gates of an fp32 graph in all their forms; each is made once, when it is asked for.

    Args:
        graph: after all rewrites, gates folded.
        rank: of the expressions.
    """

    def __init__(self, graph: ir.Graph, rank: int) -> None:
        self.weights = sum(count_weights(node) for node in graph)
        self._maps = gate_maps(graph)
        self._rank = rank
        self._made: dict[str, Mapping[str, CompressedGate | None]] = {FOLDED: {}}
        self._stored: dict[tuple[str, str, bool], StoredGates] = {}

    @property
    def exceed(self) -> bool:
        """Whether the maps make a file larger than twice its weights, in whatever precision."""
        return sum(values.size for values in self._maps.values()) > (_LIMIT - 1) * self.weights > 0

    def stored(self, form: str, precision: str, *, channels_last: bool = False) -> StoredGates:
        """All gates in a form ("folded" or one of `GATE_FORMS`); those that the form does not suit stay maps.

        With `channels_last` the channels of a map are interleaved, which deflates a third as well.
        """
        key = (form, precision, channels_last)
        if key not in self._stored:
            self._stored[key] = self._store(*key)
        return self._stored[key]

    def _store(self, form: str, precision: str, channels_last: bool) -> StoredGates:
        if form not in self._made:
            self._made[form] = {name: compressed(values, form, self._rank) for name, values in self._maps.items()}
        made = self._made[form]
        arrays, worst = list[_Array](), list[float]()
        for name, values in self._maps.items():
            gate = made.get(name)
            arrays += [values] if gate is None else gate.stored
            worst += [] if gate is None else [gate.sqnr_db]
        if channels_last:
            arrays = [np.moveaxis(array, -3, -1) for array in arrays]
        data = [_in_precision(array, precision).tobytes() for array in arrays]
        packed = sum(len(zlib.compress(one, _DEFLATE_LEVEL)) for one in data)
        return StoredGates(sum(map(len, data)), packed, min(worst, default=None))


def with_gate_prices(artifacts: Sequence[Artifact], prices: GatePrices) -> list[Artifact]:
    """The artefacts; to the int8 ones is added what folded gates cost, where files are larger than twice the weights.

    Latencies are not among the prices: only the target knows them.
    """
    described = []
    for artifact in artifacts:
        if not prices.exceed or artifact.precision != _TOLD:
            described.append(artifact)
            continue
        # An expression is written down as the map that it makes where nothing is computed at load: nothing is saved.
        names = [FOLDED, *(form for form in GATE_FORMS if form == "reduced" or folds_constants(artifact.runtime))]
        interleaved = any(spec.layout == "NHWC" for spec in artifact.inputs)
        forms = {name: prices.stored(name, artifact.precision, channels_last=interleaved) for name in names}
        fact = _sentence(artifact, forms, prices.weights * _WEIGHT_BYTES[artifact.precision])
        described.append(dataclasses.replace(artifact, facts={**artifact.facts, GATES_FACT: fact}))
    return described


def _sentence(artifact: Artifact, forms: Mapping[str, StoredGates], weight_bytes: int) -> str:
    folded = forms[FOLDED]
    parts = [
        f"{_megabytes(folded.bytes)} of {_megabytes(artifact.total_bytes)} MB are folded gate maps "
        f"({_megabytes(folded.packed_bytes)} deflated), {_megabytes(weight_bytes)} MB weights"
    ]
    for name, form in forms.items():
        if form.sqnr_db is None or form.bytes >= folded.bytes:
            continue
        size = artifact.total_bytes - folded.bytes + form.bytes
        parts.append(
            f"--gates {name}: about {_megabytes(size)} MB (maps {_megabytes(form.packed_bytes)} deflated), "
            f"worst map {form.sqnr_db:.0f} dB"
        )
    return "; ".join([*parts, "latency not measured: edgeconv tune --graphs"])


def _in_precision(array: _Array, precision: str) -> _Array:
    if array.dtype == np.float16:  # factors, in every precision
        return array
    if precision == "int8":
        return np.asarray(Grid.covering(float(array.min()), float(array.max())).quantise(array))
    return array.astype(np.float16 if precision == "fp16" else np.float32)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f}"
