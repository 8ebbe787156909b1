"""The golden cases through a session.  Part of the device agent: Python 3.8, numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

import numpy as np

from edgeconv.benchmarks.agent.feeds import make_inputs, order_specs, read_outputs
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.errors import BundleError
from edgeconv.manifest import Artifact, Manifest
from edgeconv.runtimes.base import Array, Session

__all__ = ["GOLDEN", "Replay"]

GOLDEN = "golden/cases.npz"


class Replay:
    """One artefact's session and the golden cases of its bundle."""

    def __init__(self, directory: Path, manifest: Manifest, artifact: Artifact, session: Session) -> None:
        self._golden, self._manifest, self._session = directory / GOLDEN, manifest, session
        self._inputs = order_specs(artifact.inputs, session.input_names)
        self._outputs = order_specs(artifact.outputs, session.output_names)

    def first_inputs(self) -> List[Array]:
        """What the artefact takes for the first case."""
        for case in read_cases(self._golden, self._manifest.inputs):
            return make_inputs(case, self._manifest.inputs, self._inputs)
        raise BundleError(f"{self._golden} has no case.")

    def outputs(self) -> Dict[str, Array]:
        """Every case's outputs by port, stacked."""
        stacked: Dict[str, List[Array]] = {}
        for case in read_cases(self._golden, self._manifest.inputs):
            returned = self._session.run(make_inputs(case, self._manifest.inputs, self._inputs))
            for port, array in read_outputs(returned, self._manifest.outputs, self._outputs).items():
                stacked.setdefault(port, []).append(array)
        return {port: np.stack(arrays) for port, arrays in stacked.items()}
