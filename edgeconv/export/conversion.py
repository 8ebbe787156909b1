"""From an ONNX file to one runtime's file, each in a child process of its own.

A converter that crashes, hangs or refuses is a `Failure` with its reason; it never takes the export down, and no two
frameworks ever share a process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgeconv.child import child_command
from edgeconv.errors import EdgeconvError, ExportError
from edgeconv.export.jobs import ConversionJob, ConversionKey, ConvertedFile, qdq_reference
from edgeconv.export.proof import with_proof
from edgeconv.files import atomic_write_bytes, sha256_file
from edgeconv.manifest import Artifact, Failure, FileEntry
from edgeconv.schema import from_dict, to_json

__all__ = ["CONVERTERS", "convert_all", "main", "run_job"]

_TIMEOUT_S = 900
_FAILED = 3


# Each module has one function, ``convert(job) -> ConvertedFile``; a new runtime is one file and one line here.
CONVERTERS = {
    "litert": "edgeconv.export.litert",
    "onnxruntime": "edgeconv.export.onnxruntime",
    "openvino": "edgeconv.export.openvino",
    "tensorrt": "edgeconv.export.tensorrt",
    "tflite_runtime": "edgeconv.export.litert",  # the same file: LiteRT's predecessor
}


def convert_all(
    jobs: Iterable[ConversionJob], progress: Callable[[ConversionJob, Artifact | Failure], None]
) -> dict[ConversionKey, Artifact | Failure]:
    """Run every job in a fresh process, as many at once as there are cores; a failing job is a `Failure`."""
    unique = {job.key: job for job in jobs}

    def convert(job: ConversionJob) -> Artifact | Failure:
        outcome = _in_child(job)
        progress(job, outcome)
        return outcome

    with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
        return dict(zip(unique, pool.map(convert, unique.values()), strict=True))


def run_job(job: ConversionJob) -> Artifact:
    """Convert in this process and hash what came out.

    Raises:
        EdgeconvError: the converter refuses the model, or made no file.
    """
    made: ConvertedFile = importlib.import_module(CONVERTERS[job.runtime]).convert(job)
    directory = Path(job.directory)
    main_file, *companions = (_entry(directory, path) for path in [made.path, *made.companions])
    return Artifact(
        main_file.path,
        main_file.sha256,
        main_file.bytes,
        job.runtime,
        job.precision,
        made.inputs,
        made.outputs,
        companions,
        made.facts,
        qdq_reference(job.scheme, float_outputs=made.float_outputs),
    )


def main(argv: list[str]) -> int:
    """The child process: ``python -m edgeconv.export.conversion JOB.json RESULT.json``."""
    job = from_dict(ConversionJob, json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    try:
        result = to_json(with_proof(run_job(job), job))
    except EdgeconvError as error:
        print(error, file=sys.stderr)
        return _FAILED
    atomic_write_bytes(Path(argv[1]), result.encode())
    return 0


def _in_child(job: ConversionJob) -> Artifact | Failure:
    with tempfile.TemporaryDirectory(prefix="edgeconv-convert-") as temporary:
        job_path, result_path = Path(temporary) / "job.json", Path(temporary) / "result.json"
        job_path.write_text(to_json(job), encoding="utf-8")
        command = child_command("edgeconv.export.conversion", str(job_path), str(result_path))
        try:
            child = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=_quiet(), check=False
            )
        except subprocess.TimeoutExpired:
            return Failure(job.runtime, job.precision, f"conversion took longer than {_TIMEOUT_S} s and was ended")
        if child.returncode == 0:
            return from_dict(Artifact, json.loads(result_path.read_text(encoding="utf-8")))
        return Failure(job.runtime, job.precision, _reason(child))


def _reason(child: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in child.stderr.strip().splitlines() if line.strip()]
    if child.returncode == _FAILED:
        return "\n".join(lines)
    if child.returncode < 0:
        return f"the converter was killed by signal {-child.returncode}"
    return lines[-1] if lines else f"the converter ended with exit code {child.returncode}"


def _quiet() -> dict[str, str]:
    """The environment of a child: no telemetry of any converter, one thread each because they run side by side."""
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}


def _entry(directory: Path, relative: str) -> FileEntry:
    path = directory / relative
    if not path.is_file():
        raise ExportError(f"The converter did not write {relative}.")
    return FileEntry(relative, sha256_file(path), path.stat().st_size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
