"""Makes the int8 graph that given choices lead to and measures it on images that it was not calibrated with."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.errors import DataError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Array, Sample
from edgeconv.export.executor import open_session
from edgeconv.export.golden import normalised
from edgeconv.export.graphs import quantisation_scheme
from edgeconv.export.jobs import ASYMMETRIC
from edgeconv.export.prepare import PreparedGraph, adapt_graph
from edgeconv.export.search.cost import estimate_latency_ms
from edgeconv.export.search.shift import shifted
from edgeconv.manifest import Port

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.calibrate import Statistics
    from edgeconv.export.quantize import QuantisationResult, QuantisationScheme

__all__ = ["TIE_DB", "Calibrated", "Figures", "Images", "Trials", "finite", "held_images", "split_held"]

TIE_DB = 0.2
"""Rounding is chaotic: two graphs whose SQNR is closer than this are equal."""

_SHARED = 4  # the first samples also serve the sequential pass of the export itself; none of them is held back
_STRIDE = 3
_MAX_CALIBRATION = 12
_MAX_HELD = 8
_SHIFTED_CALIBRATION = 100  # seed of the noise: another than that of the images held back
_MAX_KEPT = 3  # adapted graphs, which hold the weights and gates of the whole model each


@dataclasses.dataclass(frozen=True)
class Figures:
    """SQNR in dB against the fp32 graph on the images held back and on their shifted copies, infinite where equal."""

    sqnr_db: float
    shifted_db: float


class Images:
    """Normalised images with the outputs of the fp32 graph on them."""

    def __init__(self, fp32: ir.Model, inputs: Sequence[Mapping[str, Array]]) -> None:
        self._inputs = inputs
        session = open_session(fp32, optimise=True)
        self._expected: list[list[Array]] = [session.run(None, dict(sample)) for sample in inputs]

    def sqnr_db(self, model: ir.Model) -> float:
        """Of `model`, computed as it is written; pooled over the images, of the worst output."""
        session = open_session(model, optimise=False)
        signal = np.zeros(len(self._expected[0]))
        noise = np.zeros_like(signal)
        for sample, expected in zip(self._inputs, self._expected, strict=True):
            for index, (wanted, found) in enumerate(zip(expected, session.run(None, dict(sample)), strict=True)):
                reference = wanted.astype(np.float64)
                signal[index] += np.square(reference).sum()
                noise[index] += np.square(found - reference).sum()
        if not noise.any():
            return math.inf
        with np.errstate(divide="ignore"):
            return float(np.min(10 * np.log10(signal[noise > 0] / noise[noise > 0])))


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """An adapted fp32 graph with the statistics of its tensors."""

    model: ir.Model
    statistics: Statistics


class Trials:
    """Measures choices on a part of the calibration samples that they are not calibrated with.

    Every third sample from the fifth on is held back, up to 8; up to 12 others calibrate. With fewer than five samples
    all of them serve both.

    Args:
        prepared: the graph that all choices start from.
        ports: its inputs.
        samples: raw calibration samples.

    Raises:
        DataError: there is no sample.
    """

    def __init__(self, prepared: PreparedGraph, ports: Sequence[Port], samples: Iterable[Sample]) -> None:
        # The export checks its rewrites on real images as well; here the synthetic one is enough.
        self._prepared, self._ports = dataclasses.replace(prepared, probes=()), ports
        calibration, held = split_held(samples)
        if not calibration:
            raise DataError("There is no calibration sample to search with.", "Give at least five.")
        self._raw = calibration
        self.calibration = [normalised(sample, ports) for sample in calibration]
        self._held, self._shifted = held_images(prepared.model, ports, held)
        self.held_samples = len(held)
        self._calibrated: dict[str, Calibrated] = {}

    def shifted_calibration(self, count: int) -> list[Mapping[str, Array]]:
        """Shifted copies of the first `count` calibration samples."""
        return _shifted_copies(self._raw[:count], self._ports, _SHIFTED_CALIBRATION)

    def measure(self, choices: Choices) -> Figures:
        """Quantise with `choices` as an export does, and measure.

        Raises:
            ExportError: the int8 graph cannot be made.
        """
        model = self.quantise(choices).model
        return Figures(self._held.sqnr_db(model), self._shifted.sqnr_db(model))

    def quantise(self, choices: Choices) -> QuantisationResult:
        """The int8 graph that an export with `choices` would have if it had these calibration samples only."""
        from edgeconv.export.quantize import quantize

        calibrated = self.calibrated(choices)
        return quantize(calibrated.model, calibrated.statistics, iter(self.calibration), scheme=self.scheme(choices))

    def scheme(self, choices: Choices) -> QuantisationScheme:
        """How the asymmetric int8 graph is quantised with `choices`."""
        return quantisation_scheme(ASYMMETRIC, self._ports, choices)

    def latency_ms(self, choices: Choices) -> float:
        """Estimated; see `estimate_latency_ms`."""
        return estimate_latency_ms(self.calibrated(choices).model)

    def calibrated(self, choices: Choices) -> Calibrated:
        """The adapted graph; one that differs in ranges alone from one of the last three is not made again."""
        from edgeconv.export.calibrate import collect_statistics
        from edgeconv.export.quantize import observed_tensors

        key = repr(dataclasses.replace(choices, ranges="", tensor_ranges={}))
        found = self._calibrated.pop(key, None)
        if found is None:
            model = adapt_graph(self._prepared, lambda: iter(self.calibration), choices).model
            observed = observed_tensors(model, kept_float=choices.float_nodes)
            found = Calibrated(model, collect_statistics(model, self.calibration, tensors=observed))
        self._calibrated[key] = found
        if len(self._calibrated) > _MAX_KEPT:
            del self._calibrated[next(iter(self._calibrated))]
        return found


def finite(value: float) -> float | None:
    """`value`, None where it is infinite or no number: what JSON can say."""
    return value if math.isfinite(value) else None


def held_images(fp32: ir.Model, ports: Sequence[Port], held: Sequence[Sample]) -> tuple[Images, Images]:
    """The raw samples `held`, and their shifted copies."""
    as_they_are = [normalised(sample, ports) for sample in held]
    return Images(fp32, as_they_are), Images(fp32, _shifted_copies(held, ports))


def _shifted_copies(samples: Sequence[Sample], ports: Sequence[Port], seed: int = 0) -> list[Mapping[str, Array]]:
    inputs = [{port.name: sample[port.name] for port in ports} for sample in samples]
    return [normalised(shifted(sample, seed + index), ports) for index, sample in enumerate(inputs)]


def split_held(samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """The samples to calibrate with, and those to measure on; see `Trials`. A stream is read up to the 28th."""
    calibration: list[Sample] = []
    held: list[Sample] = []
    for index, sample in enumerate(itertools.islice(samples, _SHARED + _STRIDE * _MAX_HELD)):
        is_held = index >= _SHARED and (index - _SHARED) % _STRIDE == 0
        (held if is_held else calibration).append(sample)
    return calibration[:_MAX_CALIBRATION], held or calibration
