"""What the calibration data were: how many samples, and a hash of every value in them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from edgeconv.export.data import Sample

__all__ = ["CalibrationData", "Fingerprint"]


@dataclasses.dataclass(frozen=True)
class CalibrationData:
    """`source` is what the user named; `sha256` is of the raw inputs of all samples, with names, shapes and order.

    The same images in another folder have the same hash.
    """

    source: str
    samples: int
    sha256: str


class Fingerprint:
    """Hashes samples as they pass by, so that no data are read twice for it.

    Args:
        source: what the user named.
        inputs: names of the model's inputs; whatever else a sample holds is left out.
    """

    def __init__(self, source: str, inputs: Sequence[str]) -> None:
        self._source, self._inputs = source, sorted(inputs)
        self._digest, self._samples = hashlib.sha256(), 0

    def through(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The same samples."""
        for sample in samples:
            for name in self._inputs:
                array = sample[name]
                self._digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
                self._digest.update(np.ascontiguousarray(array).tobytes())
            self._samples += 1
            yield sample

    def data(self) -> CalibrationData:
        """Of the samples that have passed."""
        return CalibrationData(self._source, self._samples, self._digest.hexdigest())
