"""What `edgeconv drift` found: end to end for each artefact, and layer by layer; plain data, JSON as it stands."""

from __future__ import annotations

import dataclasses

from edgeconv.records import Drift, TaskMetric

__all__ = ["SCHEMA_VERSION", "ArtifactDrift", "DriftReport", "LayerError", "NetworkError", "OnTarget", "Parts"]

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Parts:
    """SQNR in dB with only the weights in int8 and with only the activations; None where nothing changes by it.

    "Weights" is everything constant that a layer reads: weights, its corrected bias, the map of a gate.
    """

    weights_db: float | None
    activations_db: float | None


@dataclasses.dataclass(frozen=True)
class NetworkError:
    """The whole network against fp32: all weights in int8, all activations, both."""

    alone: Parts
    both_db: float | None


@dataclasses.dataclass(frozen=True)
class OnTarget:
    """A layer as a runtime on the target computes it.

    `cumulative_db` is the SQNR of its output in the running int8 network against fp32, where the runtime has that
    tensor (`read`). `max_steps` is how many steps of its quantiser the operator is off when it is fed with the
    reference's own integers, and `differing` the fraction of values that differ at all; None where it was not checked.
    """

    runtime: str
    read: bool
    cumulative_db: float | None
    max_steps: int | None
    differing: float | None


@dataclasses.dataclass(frozen=True)
class LayerError:
    """One operator with its fused activation.

    `at_output` and `own` are with this layer alone in int8, all others in fp32: the SQNR of the network's output and of
    its own. `share` is its part of all output errors that single layers make (noise power, weights and activations
    added up), 0 to 1. `cumulative_db` is the SQNR of its output in the whole int8 network, as the Q/DQ graph says.
    """

    number: int
    tensor: str
    operator: str
    module: str
    is_int8: bool
    at_output: Parts
    own: Parts
    share: float
    cumulative_db: float | None
    on_target: list[OnTarget]

    @property
    def label(self) -> str:
        """The module and the operator, else the tensor."""
        return f"{self.module} {self.operator}" if self.module else f"{self.operator} {self.tensor}"


@dataclasses.dataclass(frozen=True)
class ArtifactDrift:
    """One artefact end to end on the target; `drift` is None where it gave no outputs, and `reason` says why."""

    runtime: str
    precision: str
    drift: Drift | None
    task: TaskMetric | None
    reason: str


@dataclasses.dataclass(frozen=True)
class DriftReport:
    """`cases` are the indices of the golden cases; `scheme` the Q/DQ graph that `network` and `layers` are of.

    Without layers `network` is None. `notes` say what could not be measured, and why.
    """

    schema_version: int
    bundle: str
    manifest_sha256: str
    target: str
    cases: list[int]
    artifacts: list[ArtifactDrift]
    scheme: str
    network: NetworkError | None
    layers: list[LayerError]
    notes: list[str]

    @property
    def ranked(self) -> list[LayerError]:
        """The layers that have a share of the output's error, the largest first."""
        return sorted((layer for layer in self.layers if layer.share), key=lambda layer: -layer.share)
