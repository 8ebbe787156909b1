"""What the runtimes returned for the first golden cases, in a file beside the run record: a report's pictures."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import RecordError
from edgeconv.files import atomic_write_bytes
from edgeconv.records import RunRecord

__all__ = ["MAX_CASES", "RunOutputs", "outputs_path", "read_outputs", "write_outputs"]

MAX_CASES = 3
RunOutputs = Mapping[tuple[str, str], Mapping[str, npt.NDArray[Any]]]  # (runtime, precision) -> port -> (cases, ...)
_RUN_ID = "run_id"


def outputs_path(record: Path) -> Path:
    """Where the outputs of the run in `record` are: run.json has run.outputs.npz."""
    return record.with_name(f"{record.name.removesuffix('.json')}.outputs.npz")


def write_outputs(path: Path, run_id: str, outputs: RunOutputs) -> None:
    """Write the first `MAX_CASES` cases of every artefact that returned something, whole or not at all."""
    arrays: dict[str, Any] = {_RUN_ID: np.array(run_id)}
    arrays |= {
        f"{runtime}/{precision}/{port}": array[:MAX_CASES]
        for (runtime, precision), ports in outputs.items()
        for port, array in ports.items()
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    atomic_write_bytes(path, stream.getvalue())


def read_outputs(path: Path, record: RunRecord) -> dict[tuple[str, str], dict[str, npt.NDArray[Any]]]:
    """What `write_outputs` wrote for the run of `record`.

    Raises:
        RecordError: it cannot be read, or is of another run.
    """
    found: dict[tuple[str, str], dict[str, npt.NDArray[Any]]] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            run_id = str(archive[_RUN_ID])
            for name in archive.files:
                if name != _RUN_ID:
                    runtime, precision, port = name.split("/", 2)
                    found.setdefault((runtime, precision), {})[port] = archive[name]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} cannot be read: {error}.", "Run the benchmark again, or remove it.") from error
    if run_id != record.run_id:
        raise RecordError(f"{path} has the outputs of run {run_id}, the record is of {record.run_id}.", "Remove it.")
    return found
