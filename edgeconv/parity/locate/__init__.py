"""Finding the first operator that departs from the reference: `locate_break`, in a process of its own.

A file that is broken may take its runtime down with it, so nothing of this runs in the caller's process.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from edgeconv.bundles import Bundle
from edgeconv.child import child_command
from edgeconv.parity.location import Location
from edgeconv.schema import from_dict

__all__ = ["locate_break"]

_TIMEOUT_S = 900
_NEEDED = "edgeconv[export]"


def locate_break(
    bundle: Bundle, runtime: str, precision: str, *, model: str | None = None, weights: Path | None = None
) -> Location:
    """Look for the first broken operator of one artefact on this machine.

    Args:
        bundle: as `load_bundle` returns it; one of its artefacts must be an ONNX graph, the reference.
        runtime: of the artefact.
        precision: of the artefact.
        model: what the bundle was exported from; with it PyTorch is compared with its export, module by module.
        weights: of `model`.

    Returns:
        What was found; where nothing can be looked at (the export's tools are not installed, the runtime died), its
        message says so.
    """
    with tempfile.TemporaryDirectory(prefix="edgeconv-locate-") as temporary:
        answer = Path(temporary) / "location.json"
        task = {
            "bundle": str(bundle.directory.resolve()),
            "runtime": runtime,
            "precision": precision,
            "model": model,
            "weights": str(weights) if weights else None,
            "answer": str(answer),
        }
        command = child_command("edgeconv.parity.locate.child", json.dumps(task))
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
        try:
            child = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            return nowhere(runtime, precision, f"looking for the first broken layer took longer than {_TIMEOUT_S} s")
        if child.returncode == 0:
            return from_dict(Location, json.loads(answer.read_text(encoding="utf-8")))
        return nowhere(runtime, precision, _reason(child))


def nowhere(runtime: str, precision: str, reason: str) -> Location:
    """A location that names no operator."""
    message = f"{runtime} {precision}: where it breaks cannot be told: {reason}."
    return Location(runtime, precision, "", "", "", "", None, None, None, message, [])


def _reason(child: subprocess.CompletedProcess[str]) -> str:
    if child.returncode < 0:
        return f"the runtime was ended by signal {-child.returncode} while its layers were looked at"
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    last = lines[-1].rstrip(".") if lines else f"exit code {child.returncode}"
    if last.startswith("ModuleNotFoundError"):
        return f"{last}; it needs the tools of an export host, pip install '{_NEEDED}'"
    return last
