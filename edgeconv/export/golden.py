"""The golden cases of a bundle: real inputs, PyTorch's outputs, and the two references that split the drift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.errors import ModelError
from edgeconv.export.data import TARGET_KEY, Array, Sample
from edgeconv.export.jobs import qdq_reference
from edgeconv.manifest import Port

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["GoldenArrays", "Reference", "golden_arrays", "normalised", "quantised_references"]

GoldenArrays = dict[str, Array]
Reference = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def golden_arrays(
    samples: Sequence[Sample], ports: Iterable[Port], references: Mapping[str, Reference]
) -> GoldenArrays:
    """Arrays of `golden/cases.npz`: `input.<port>`, `<reference>.<port>` and `target`, stacked over the cases.

    Args:
        samples: raw samples; a `target` is kept when every sample has one.
        ports: the input ports, whose normalisation is applied before a reference is run.
        references: name ("torch", "onnx", "qdq") to a function from normalised inputs to outputs by port.

    Raises:
        ModelError: a reference returned NaN or infinite values.
    """
    ports = list(ports)
    arrays: GoldenArrays = {f"input.{port.name}": np.stack([sample[port.name] for sample in samples]) for port in ports}
    if f"input.{TARGET_KEY}" not in arrays and all(TARGET_KEY in sample for sample in samples):
        arrays[TARGET_KEY] = np.stack([sample[TARGET_KEY] for sample in samples])
    for name, reference in references.items():
        cases = [reference(normalised(sample, ports)) for sample in samples]
        for port in cases[0]:
            stacked = np.stack([np.asarray(case[port], np.float32) for case in cases])
            if not np.isfinite(stacked).all():
                raise ModelError(
                    f"Output {port!r} of the {name} model has NaN or infinite values on the golden cases.",
                    "Look at the model on that data before exporting it.",
                )
            arrays[f"{name}.{port}"] = stacked
    return arrays


def normalised(sample: Sample, ports: Iterable[Port]) -> dict[str, Array]:
    """What the model is fed for `sample`, by port."""
    return {port.name: normalise(sample[port.name], port) for port in ports}


def quantised_references(graphs: Mapping[str, ir.Model]) -> dict[str, Reference]:
    """Of the Q/DQ graph of each scheme, as it is and, where they can be, with its outputs in float."""
    from edgeconv.export.float_outputs import free_outputs
    from edgeconv.export.reference import ReferenceRunner

    references: dict[str, Reference] = {}
    for scheme, model in graphs.items():
        references[qdq_reference(scheme)] = ReferenceRunner(model).run
        freed = model.clone()
        if free_outputs(freed):
            references[qdq_reference(scheme, float_outputs=True)] = ReferenceRunner(freed).run
    return references
