"""Statistics of every activation over the calibration data, collected in a stream.

The fp32 graph runs in ONNX Runtime with the wanted tensors as outputs, one sample at a time; what is kept of a tensor
is a few numbers, or one for each channel, and a bounded histogram. Memory does not grow with the number of samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.errors import DataError, ExportError
from edgeconv.export.executor import Array, ahead, open_session
from edgeconv.export.histogram import Histogram
from edgeconv.graph import constant_value, describe

__all__ = [
    "Spread",
    "Statistics",
    "TensorStatistics",
    "check_sample",
    "collect_channel_ranges",
    "collect_statistics",
    "with_outputs",
]

_PEAKS = 16


@dataclasses.dataclass
class Spread:
    """Mean and standard deviation of numbers that come one by one (Welford's recurrence)."""

    count: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        """Take in one number."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self._squares += step * (value - self.mean)

    @property
    def deviation(self) -> float:
        """Of the population that they are drawn from; 0 of a single one."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 0.0


@dataclasses.dataclass
class TensorStatistics:
    """What is known of one activation after `count` values; `lowest` and `highest` are of the samples' extremes."""

    low: float = float("inf")
    high: float = float("-inf")
    histogram: Histogram = dataclasses.field(default_factory=Histogram)
    lowest: Spread = dataclasses.field(default_factory=Spread)
    highest: Spread = dataclasses.field(default_factory=Spread)

    @property
    def count(self) -> int:
        """The number of values seen."""
        return self.histogram.total

    def add(self, values: Array, low: float, high: float) -> None:
        """Take in the float32 `values` of one sample, between their finite extremes `low` and `high`."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.lowest.add(low)
        self.highest.add(high)
        self.histogram.add(values, low, high)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Statistics by tensor name, and the number of samples they rest on.

    `peaks` has for each of the first 16 samples the largest magnitude of the graph's outputs, as far as observed.
    """

    tensors: Mapping[str, TensorStatistics]
    samples: int
    peaks: Sequence[float] = ()

    def __getitem__(self, name: str) -> TensorStatistics:
        """The statistics of tensor `name`.

        Raises:
            ExportError: the tensor was not observed.
        """
        if name not in self.tensors:
            raise ExportError(
                f"The calibration statistics have no tensor {name!r}.", "Collect them on the graph that is quantised."
            )
        return self.tensors[name]


def collect_statistics(
    model: ir.Model, samples: Iterable[Mapping[str, Array]], *, tensors: Collection[str] | None = None
) -> Statistics:
    """Run `model` on each sample and collect the statistics of its float activations.

    Args:
        model: the fp32 graph with static shapes.
        samples: for each sample the normalised float32 array of every graph input, batch included. Iterated once.
        tensors: the names of the tensors to observe; every float activation without it.

    Raises:
        DataError: no sample at all; a sample that does not fit the inputs; a sample or an activation that is not
            finite (the sample's index, the tensor, its node and module path are named).
    """
    observed = _observed_values(model, tensors)
    statistics = {name: TensorStatistics() for name in observed}
    outputs = {str(value.name) for value in model.graph.outputs}
    peaks = np.zeros(_PEAKS)
    count = 0
    for index, name, array, low, high in _activations(model, samples, observed):
        lowest, highest = float(low.min()), float(high.max())
        statistics[name].add(array, lowest, highest)
        if name in outputs and index < _PEAKS:
            peaks[index] = max(peaks[index], -lowest, highest)
        count = index + 1
    return Statistics(statistics, count, peaks[:count].tolist())


def collect_channel_ranges(
    model: ir.Model, samples: Iterable[Mapping[str, Array]], *, tensors: Collection[str] | None = None
) -> dict[str, Array]:
    """The largest magnitude in each channel (axis 1) of the activations of rank 2 and more, by tensor name.

    The arguments and errors are those of `collect_statistics`, which takes several times as long.
    """
    observed = _observed_values(model, tensors)
    ranges: dict[str, Array] = {}
    for _, name, array, low, high in _activations(model, samples, observed):
        if array.ndim > 1:
            largest = np.maximum(np.abs(low), np.abs(high))
            ranges[name] = np.maximum(ranges[name], largest) if name in ranges else largest
    return ranges


def _activations(
    model: ir.Model, samples: Iterable[Mapping[str, Array]], observed: Mapping[str, ir.Value]
) -> Iterator[tuple[int, str, Array, Array, Array]]:
    """(sample's index, tensor, its values, minimum and maximum of each channel) of what is not empty."""
    inner = [name for name, value in observed.items() if value.producer() is not None]
    session = open_session(with_outputs(model, inner), optimise=True)

    def run(numbered: tuple[int, Mapping[str, Array]]) -> tuple[int, dict[str, Array], dict[str, Array]]:
        feeds = check_sample(model, numbered[1], numbered[0])
        return numbered[0], feeds, dict(zip(inner, session.run(inner, feeds), strict=True)) if inner else {}

    index = -1
    for index, feeds, arrays in ahead(run, enumerate(samples)):
        for name, value in observed.items():
            array = arrays.pop(name) if name in arrays else feeds[name]
            if array.size == 0:
                continue
            low, high = _channel_extremes(array)
            if not (np.isfinite(low).all() and np.isfinite(high).all()):  # NaN survives minimum and maximum
                raise _not_finite(value, index)
            yield index, name, array, low, high
    if index < 0:
        raise DataError("There is no calibration sample.", "Give at least one; four are enough.")


def check_sample(model: ir.Model, sample: Mapping[str, Array], index: int) -> dict[str, Array]:
    """The arrays of `sample` for the graph inputs of `model`; extra entries such as targets are left out.

    Raises:
        DataError: an input is missing, has another shape or dtype, or is not finite.
    """
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        name = str(value.name)
        if name not in sample:
            raise DataError(f"Calibration sample {index} has no array for input {name!r}; it has {sorted(sample)}.")
        array = sample[name]
        shape = tuple(value.shape.numpy()) if value.shape is not None else array.shape
        dtype = value.dtype.numpy() if value.dtype is not None else array.dtype
        if array.shape != shape or array.dtype != dtype:
            raise DataError(
                f"Calibration sample {index}: input {name!r} is {array.dtype} of shape {array.shape}, "
                f"expected {dtype} of shape {shape}."
            )
        if not np.isfinite(array).all():
            raise DataError(
                f"Calibration sample {index}: input {name!r} has NaN or infinite values.",
                "Remove or repair that sample.",
            )
        feeds[name] = array
    return feeds


def _observed_values(model: ir.Model, tensors: Collection[str] | None) -> dict[str, ir.Value]:
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs if output.name)]
    floats = {
        str(value.name): value
        for value in values
        if value.dtype in (ir.DataType.FLOAT, None) and constant_value(value) is None
    }
    if tensors is None:
        return floats
    unknown = sorted(set(tensors) - set(floats))
    if unknown:
        raise ExportError(f"The graph has no float activation {unknown[0]!r} to observe.")
    return {name: value for name, value in floats.items() if name in tensors}


def with_outputs(model: ir.Model, names: list[str]) -> ir.Model:
    """A copy of `model` whose outputs are the tensors `names`."""
    copy = model.clone()
    values = {output.name: output for node in copy.graph for output in node.outputs}
    if names:
        copy.graph.outputs[:] = [values[name] for name in names]
    return copy


def _not_finite(value: ir.Value, index: int) -> DataError:
    producer = value.producer()
    where = f", computed by {describe(producer)}," if producer is not None else ""
    return DataError(
        f"Calibration sample {index} makes tensor {value.name!r}{where} NaN or infinite.",
        "Check the sample's normalisation and the model's weights.",
    )


def _channel_extremes(values: Array) -> tuple[Array, Array]:
    """Minimum and maximum of each channel (axis 1), or of all values when the rank is below 2."""
    if values.ndim < 2:
        return values.reshape(-1).min(keepdims=True), values.reshape(-1).max(keepdims=True)
    flat = values.reshape(*values.shape[:2], -1)
    return flat.min(axis=2).min(axis=0), flat.max(axis=2).max(axis=0)
