"""Whether a network can do without its rare peaks: percentiles or minima and maxima, by what is measured."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgeconv.export.choices import Choices
from edgeconv.export.data import Array, Sample
from edgeconv.export.executor import open_session
from edgeconv.export.golden import normalised
from edgeconv.export.graphs import quantisation_scheme
from edgeconv.export.jobs import ASYMMETRIC
from edgeconv.export.prepare import PreparedGraph
from edgeconv.export.search.trials import Images
from edgeconv.manifest import Port

__all__ = ["settle_ranges"]

_CALIBRATING, _MEASURED = 16, 4
_MARGIN_DB = 1.0  # biases and weights are not refined here
_WHOLE = "minmax"


def settle_ranges(prepared: PreparedGraph, ports: Sequence[Port], samples: Iterable[Sample], start: Choices) -> Choices:
    """`start`, with minima and maxima where they beat its own ranges by more than 1 dB.

    Clipping one value in ten thousand makes every grid finer, which is worth 0 to 3 dB to a network whose peaks are
    noise. In a classifier they are the answer, in one image of many: there it costs 8 dB. So it is measured on those
    four of up to 16 calibration samples whose outputs are largest; on samples held back, chance would decide.

    Raises:
        ExportError: the graph cannot be quantised.
    """
    from edgeconv.export.calibrate import collect_statistics
    from edgeconv.export.quantize import observed_tensors, quantize

    taken = [normalised(sample, ports) for sample in itertools.islice(samples, _CALIBRATING)]
    if not taken:
        return start
    images = Images(prepared.model, _with_largest_outputs(prepared, taken))
    observed = observed_tensors(prepared.model, kept_float=start.float_nodes)
    statistics = collect_statistics(prepared.model, taken, tensors=observed)

    def sqnr_db(choices: Choices) -> float:
        scheme = dataclasses.replace(quantisation_scheme(ASYMMETRIC, ports, choices), bias_correction=False)
        return images.sqnr_db(quantize(prepared.model, statistics, taken, scheme=scheme).model)

    whole = dataclasses.replace(start, ranges=_WHOLE)
    return whole if sqnr_db(whole) > sqnr_db(start) + _MARGIN_DB else start


def _with_largest_outputs(prepared: PreparedGraph, samples: Sequence[Mapping[str, Array]]) -> list[Mapping[str, Array]]:
    session = open_session(prepared.model, optimise=True)
    largest = [max(float(np.abs(output).max()) for output in session.run(None, dict(s))) for s in samples]
    return [samples[index] for index in np.argsort(largest, kind="stable")[::-1][:_MEASURED]]
