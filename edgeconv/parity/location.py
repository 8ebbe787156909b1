"""Where a failing artefact first breaks."""

from __future__ import annotations

import dataclasses

from edgeconv.records import LayerDrift

__all__ = ["NOT_FINITE_DB", "Location"]

NOT_FINITE_DB = -300.0
"""Stands for the SQNR of a tensor with NaN or infinite values, which has none."""


@dataclasses.dataclass(frozen=True)
class Location:
    """The first operator of an artefact that departs from the reference.

    `stage` is the part of the drift that was looked into: "export", "quantisation" or "runtime".  `operator` and
    `module` are empty where no single operator is to blame, or none could be looked at; `message` says why.  SQNR is in
    dB, None where identical: `before_db` of what the operator reads, `after_db` of what it writes in the running
    network, `alone_db` of what it writes when it is fed with the reference's own input.  `layers` has every operator.
    """

    runtime: str
    precision: str
    stage: str
    operator: str
    module: str
    tensor: str
    before_db: float | None
    after_db: float | None
    alone_db: float | None
    message: str
    layers: list[LayerDrift]

    @property
    def found(self) -> bool:
        """Whether an operator is named."""
        return bool(self.operator)
