"""What a board is, what it has, what it lacks, and which profile is for it: `edgeconv devices probe`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from edgeconv.devices.probe.advice import Lack, find_lacks, usable_python
from edgeconv.devices.probe.findings import Findings, FoundPython, parse_findings
from edgeconv.devices.probe.proposal import Proposal, fitted_profile, propose
from edgeconv.devices.transports import Transport
from edgeconv.errors import DeviceError

__all__ = [
    "Findings",
    "FoundPython",
    "Lack",
    "Probe",
    "Proposal",
    "find_lacks",
    "fitted_profile",
    "parse_findings",
    "probe_target",
    "propose",
    "usable_python",
]

_SCRIPT = Path(__file__).parent / "look.sh"
_SECONDS = 120.0
_ROOT_VARIABLE = "EDGECONV_SYSROOT"


@dataclasses.dataclass(frozen=True)
class Probe:
    """All of it."""

    target: str
    findings: Findings
    lacks: list[Lack]
    proposal: Proposal


def probe_target(transport: Transport, target: str) -> Probe:
    """Look at a target, with nothing but POSIX sh there.

    Raises:
        DeviceError: the target cannot be reached, does not answer in time, or not as a POSIX system does.
    """
    script = _SCRIPT.read_text(encoding="utf-8")
    root = os.environ.get(_ROOT_VARIABLE, "")
    done = transport.run(
        ["sh", "-c", script, "look", transport.folder],
        environment={_ROOT_VARIABLE: root} if root else {},
        timeout_seconds=_SECONDS,
    )
    if done.returncode is None:
        raise DeviceError(f"{target} did not answer within {_SECONDS:.0f} s.", "Is it overloaded? Try again.")
    findings = parse_findings(done.stdout)
    if not findings.system and not findings.machine:
        words = (done.stderr or done.stdout).strip()[:200]
        raise DeviceError(
            f"{target} does not answer as a POSIX system does: {words!r}.",
            "It needs sh, as every Linux and Android has.",
        )
    proposal = propose(findings)
    return Probe(target, findings, find_lacks(findings, proposal.profile), proposal)
