"""`--exportOutput`: the outputs of the last query.  Part of the device agent: Python 3.8, numpy."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from edgeconv.benchmarks.agent.trtexec.exported import read_json
from edgeconv.errors import RuntimeUnavailableError
from edgeconv.manifest import TensorSpec
from edgeconv.runtimes.base import Array

__all__ = ["parse_outputs"]


def parse_outputs(text: str, specs: Sequence[TensorSpec]) -> List[Array]:
    """The outputs in the order of `specs`; they are printed with six digits, which is -110 dB or so of a float.

    Raises:
        RuntimeUnavailableError: it is no such file, or an output is missing or has another size.
    """
    document = read_json(text, "outputs")
    entries = document if isinstance(document, list) else [document]
    found: Dict[str, Any] = {str(entry.get("name")): entry for entry in entries if isinstance(entry, dict)}
    return [_array(found, spec) for spec in specs]


def _array(found: Dict[str, Any], spec: TensorSpec) -> Array:
    entry = found.get(spec.name)
    if entry is None:
        raise RuntimeUnavailableError(f"trtexec wrote outputs {', '.join(found)}, not {spec.name}.")
    expected = "x".join(map(str, spec.shape))
    if entry.get("dimensions") != expected:
        raise RuntimeUnavailableError(
            f"trtexec wrote output {spec.name} of {entry.get('dimensions')}, expected {expected}."
        )
    values = np.asarray(entry.get("values"))
    if values.dtype.kind not in "iuf" or values.size != np.prod(spec.shape, dtype=np.int64):
        raise RuntimeUnavailableError(f"trtexec wrote {values.size} values of output {spec.name}, expected {expected}.")
    return np.ascontiguousarray(values.reshape(spec.shape), np.dtype(spec.dtype))
