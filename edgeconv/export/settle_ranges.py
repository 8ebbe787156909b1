"""Whether a network can do without its rare peaks, by what is measured."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.export.choices import Choices
from edgeconv.export.data import Array
from edgeconv.export.search.trials import Images
from edgeconv.manifest import Port

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.export.calibrate import Statistics

__all__ = ["settle_ranges"]

_MEASURED = 2
_MARGIN_DB = 3.0  # biases and weights are not refined here, which is worth more to the finer grid
_WHOLE, _WHOLE_AND_MORE = "minmax", "peaks"


def settle_ranges(
    model: ir.Model,
    statistics: Statistics,
    samples: Iterable[Mapping[str, Array]],
    ports: Sequence[Port],
    start: Choices,
) -> Choices:
    """`start`, with ranges for peaks where minima and maxima beat its own ranges by more than 3 dB.

    Clipping one value in ten thousand makes every grid finer, which is worth 0 to 3 dB to a network whose peaks are
    noise. In a classifier they are the answer, in one image of many: there it costs 8 dB. So it is measured on those
    two of up to 16 calibration samples whose outputs are largest; on samples held back, chance would decide. Where the
    peaks that were seen count, so do larger ones of other images: the ranges leave room for them.

    Args:
        model: the fp32 graph that is quantised.
        statistics: of its tensors, those that an asymmetric scheme observes.
        samples: the normalised calibration samples, in the order that the statistics were collected in.
        ports: the inputs.
        start: what decides otherwise.

    Raises:
        ExportError: the graph cannot be quantised.
    """
    from edgeconv.export.graphs import quantisation_scheme
    from edgeconv.export.jobs import ASYMMETRIC
    from edgeconv.export.quantize import quantize

    largest = set(np.argsort(statistics.peaks, kind="stable")[::-1][:_MEASURED].tolist())
    taken = [s for index, s in enumerate(itertools.islice(samples, len(statistics.peaks))) if index in largest]
    images = Images(model, taken)

    def sqnr_db(choices: Choices) -> float:
        scheme = dataclasses.replace(quantisation_scheme(ASYMMETRIC, ports, choices), bias_correction=False)
        return images.sqnr_db(quantize(model, statistics, taken, scheme=scheme).model)

    whole = dataclasses.replace(start, ranges=_WHOLE)
    with ThreadPoolExecutor(2) as pool:
        of_whole, of_start = pool.map(sqnr_db, (whole, start))
    return dataclasses.replace(start, ranges=_WHOLE_AND_MORE) if of_whole > of_start + _MARGIN_DB else start
