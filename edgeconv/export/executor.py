"""Runs an ONNX graph in ONNX Runtime: whole, or piece by piece while only the tensors still to be read are kept."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy.typing as npt
import onnx_ir as ir

from edgeconv.graph import to_bytes
from edgeconv.runtimes.onnxruntime import import_onnxruntime

__all__ = ["Array", "GraphStepper", "Piece", "ahead", "cut", "open_session"]

Array = npt.NDArray[Any]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def open_session(model: ir.Model, *, optimise: bool) -> Any:
    """An `onnxruntime.InferenceSession` on one core; without `optimise` it computes each node exactly as written.

    One thread, so that the same machine gives the same bits whatever else it does.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    return ort.InferenceSession(to_bytes(model), sess_options=options, providers=["CPUExecutionProvider"])


def ahead(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """`map`, computing the next result in a thread while the consumer works on the one before.

    At most two results are held. An error comes in its turn.
    """
    with ThreadPoolExecutor(1) as pool:
        pending: Future[_Result] | None = None
        for item in items:
            following = pool.submit(function, item)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()


def cut(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> ir.Model:
    """A copy of the part of `model` that computes the tensors `outputs` from the tensors `inputs` and constants."""
    return ir.Model(ir.convenience.extract(model.graph, inputs, outputs), ir_version=model.ir_version)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a graph by the names of the tensors that it reads and of those that it computes."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class GraphStepper:
    """Computes a graph piece by piece for several samples side by side.

    `values` holds, for each tensor that a later piece reads, one array for each sample; a tensor is dropped after its
    last reader. A caller may replace entries between two steps, and change constants of pieces not yet computed.
    """

    def __init__(self, model: ir.Model, pieces: Iterable[Piece], samples: Sequence[Mapping[str, Array]]) -> None:
        self._model = model
        self._readers = Counter(name for piece in pieces for name in piece.inputs)
        self.values: dict[str, list[Array]] = {
            name: [sample[name] for sample in samples]
            for name in (str(value.name) for value in model.graph.inputs)
            if self._readers[name]
        }
        self._count = len(samples)

    def step(self, piece: Piece) -> dict[str, list[Array]]:
        """Compute `piece` on every sample and return its outputs; those with readers are in `values` as well."""
        session = open_session(cut(self._model, piece.inputs, piece.outputs), optimise=False)
        computed: dict[str, list[Array]] = {name: [] for name in piece.outputs}
        for index in range(self._count):
            feeds = {name: self.values[name][index] for name in piece.inputs}
            for name, array in zip(piece.outputs, session.run(list(piece.outputs), feeds), strict=True):
                computed[name].append(array)
        for name in piece.inputs:
            self._readers[name] -= 1
            if not self._readers[name]:
                del self.values[name]
        self.values.update((name, arrays) for name, arrays in computed.items() if self._readers[name])
        return computed
