"""`benchmark_model` in the place of the bundle's agent: a target needs no Python for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeconv.benchmarks.benchmark_model import measure_with_benchmark_model
from edgeconv.benchmarks.target_agent import Measurement, Outputs
from edgeconv.bundles import Bundle
from edgeconv.devices.fit import refuse_misfit
from edgeconv.devices.probe import Findings, probe_target
from edgeconv.devices.transports import Transport
from edgeconv.devices.transports.local import LocalTransport
from edgeconv.records import Host, Result

__all__ = ["ToolAgent", "host_of"]

_QEMU_BOARD = "linux,dummy-virt"


class ToolAgent:
    """Measures LiteRT artefacts with the user's own binary of the tool.

    Args:
        transport: of the target.
        target: its name.
        bundle: what is measured.
        binary: the tool, for the target's processor.
        on_progress: called when an artefact is begun; the tool itself tells nothing while it runs.

    Raises:
        DeviceError: the bundle is for another kind of machine.
    """

    def __init__(
        self,
        transport: Transport,
        target: str,
        bundle: Bundle,
        binary: Path,
        on_progress: Callable[[Mapping[str, Any]], None] = lambda line: None,
    ) -> None:
        if not isinstance(transport, LocalTransport):
            refuse_misfit("The target", transport.system, bundle.manifest.device)
        self._transport, self._target, self._bundle, self._binary = transport, target, bundle, binary
        self._on_progress = on_progress

    def host(self) -> Host:
        """The target as a shell tells it."""
        return host_of(probe_target(self._transport, self._target).findings, self._transport.system.boot_id)

    def measure(self, measurement: Measurement) -> tuple[Result, Outputs]:
        """One artefact; the outputs are empty where it failed."""
        self._on_progress({"phase": "benchmark_model"})
        return measure_with_benchmark_model(
            self._transport,
            self._binary,
            self._bundle,
            measurement.artifact,
            measurement.threads,
            measurement.protocol,
            measurement.options,
        )


def host_of(findings: Findings, boot_id: str | None) -> Host:
    """What a record says of a machine, by what a shell on it found out."""
    return Host(
        machine=findings.machine,
        system=f"{findings.system} {findings.kernel}".strip(),
        cpu_model=findings.cpu_model or findings.board,
        cpu_flags=findings.isa,
        cpus=findings.cpus or 1,
        governor=None,
        memory_bytes=findings.memory_bytes,
        python="not used",
        emulated=_QEMU_BOARD in (findings.board, *findings.compatible),
        clock="wall",
        board=findings.board,
        distribution=findings.os,
        libc=f"{findings.libc} {findings.libc_version}".strip() or None,
        page_bytes=findings.page_bytes,
        cpu_parts=findings.cpu_parts,
        boot_id=boot_id,
    )
