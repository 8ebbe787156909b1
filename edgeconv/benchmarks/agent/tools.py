"""Runtimes that are measured by a tool of their own instead of in the agent's process.

Part of the device agent: Python 3.8.  A new one is one function and one line here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Protocol, Tuple

from edgeconv.benchmarks.agent.progress import Progress
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.agent.trtexec import measure_tensorrt
from edgeconv.manifest import Artifact, Manifest
from edgeconv.records import Result

if TYPE_CHECKING:
    from edgeconv.runtimes.base import Array

__all__ = ["TOOLS", "Tool", "ToolMeasure"]


class ToolMeasure(Protocol):
    """Measures one artefact of the bundle in `directory`, whose files have been verified."""

    def __call__(
        self,
        directory: Path,
        manifest: Manifest,
        artifact: Artifact,
        threads: int,
        protocol: LatencyProtocol,
        progress: Optional[Progress] = None,
    ) -> Tuple[Result, Dict[str, Array]]:
        """The result, without drift and task metric, and the outputs of all golden cases by port."""
        ...


@dataclasses.dataclass(frozen=True)
class Tool:
    """How a runtime is measured, and how long that may take beyond the timed part."""

    measure: ToolMeasure
    overhead_seconds: float


TOOLS: Mapping[str, Tool] = {"tensorrt": Tool(measure_tensorrt, overhead_seconds=2 * 3600.0)}
