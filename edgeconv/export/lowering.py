"""From graphs to the files of every runtime that is wanted, with the names that they will have in a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.bundle import place_artifact
from edgeconv.export.conversion import convert_all
from edgeconv.export.jobs import ConversionJob, ConversionKey
from edgeconv.manifest import Artifact, Failure

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Lowered", "lower"]

_INT8, _FLOAT = "int8", "float"


@dataclasses.dataclass(frozen=True)
class Lowered:
    """An artefact as a bundle will hold it; `files` says where each of its paths lies now."""

    artifact: Artifact
    files: Mapping[str, Path]


def lower(
    fp32: ir.Model | None,
    int8: Mapping[str, ir.Model],
    keys: Iterable[ConversionKey],
    folder: Path,
    *,
    no_int8: Mapping[str, str] | None = None,
    progress: Callable[[ConversionJob], None] = lambda job: None,
) -> dict[ConversionKey, Lowered | Failure]:
    """Convert the graphs to what `keys` ask for, side by side.

    Args:
        fp32: what float artefacts are lowered from; None where no key asks for one.
        int8: Q/DQ graphs by quantisation scheme.
        keys: which artefacts; twice the same is made once.
        folder: an existing one, for the files.
        no_int8: why there is no graph of a scheme that is not in `int8`.
        progress: called when a job is done.
    """
    from edgeconv.graph import save_graph

    graphs = {**int8, **({} if fp32 is None else {_FLOAT: fp32})}
    sources = {name: folder / f"source.{name}.onnx" for name in graphs}
    for name, path in sources.items():
        save_graph(graphs[name], path)
    jobs, lowered = [], dict[ConversionKey, Lowered | Failure]()
    for key in dict.fromkeys(keys):
        if key.precision == _INT8 and key.scheme not in int8:
            lowered[key] = Failure(key.runtime, key.precision, (no_int8 or {})[key.scheme])
            continue
        source = sources[key.scheme if key.precision == _INT8 else _FLOAT]
        directory = _directory(folder, key)
        directory.mkdir(exist_ok=True)
        jobs.append(ConversionJob(*key[:2], str(source), str(directory), *key[2:], float_outputs=True))
    for key, outcome in convert_all(jobs, lambda job, _: progress(job)).items():
        lowered[key] = outcome if isinstance(outcome, Failure) else _placed(outcome, _directory(folder, key))
    return lowered


def _directory(folder: Path, key: ConversionKey) -> Path:
    """Where a job writes: artefacts of the same name that differ in their activations are kept apart."""
    return folder / f"{key.scheme}-{key.activations}"


def _placed(converted: Artifact, directory: Path) -> Lowered:
    artifact = place_artifact(converted)
    return Lowered(artifact, dict(zip(artifact.paths, (directory / path for path in converted.paths), strict=True)))
