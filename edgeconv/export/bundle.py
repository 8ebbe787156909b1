"""Writing a bundle: models, golden cases, agent, README, manifest, all hashed, moved into place as a whole."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeconv.benchmarks.agent_archive import build_agent
from edgeconv.bundles import GOLDEN_PATH, bundle_entries
from edgeconv.export.golden import GoldenArrays
from edgeconv.files import atomic_directory, atomic_write_bytes, sha256_bytes
from edgeconv.manifest import MANIFEST_NAME, Artifact, FileEntry, Manifest
from edgeconv.schema import to_json

__all__ = ["pack_bundle", "place_artifact", "write_bundle"]

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same bundle packs to the same bytes
_AGENT_PATH, _README_PATH, _MODELS = "agent.pyz", "README.md", "models"


def place_artifact(artifact: Artifact) -> Artifact:
    """The artefact with its paths under the bundle's `models/`."""
    return Artifact(
        f"{_MODELS}/{artifact.path}",
        artifact.sha256,
        artifact.bytes,
        artifact.runtime,
        artifact.precision,
        artifact.inputs,
        artifact.outputs,
        [FileEntry(f"{_MODELS}/{c.path}", c.sha256, c.bytes) for c in artifact.companions],
        artifact.facts,
    )


def write_bundle(
    path: Path, manifest: Manifest, sources: Mapping[str, Path], golden: GoldenArrays, *, force: bool = False
) -> Manifest:
    """Write the bundle `path` and return its completed manifest.

    Args:
        manifest: complete but for `files`; its artefacts are placed (`place_artifact`).
        sources: where each artefact's files lie now, by their path in the bundle.
        golden: arrays of `golden/cases.npz`, stacked over cases.

    Raises:
        UsageError: `path` exists and `force` is false.
    """
    own_files = {GOLDEN_PATH: _npz(golden), _AGENT_PATH: build_agent(), _README_PATH: _readme(manifest).encode()}
    files = [FileEntry(name, sha256_bytes(data), len(data)) for name, data in own_files.items()]
    complete = Manifest(**{**vars(manifest), "files": files})
    with atomic_directory(path, force) as directory:
        for name, data in own_files.items():
            atomic_write_bytes(directory / name, data)
        (directory / _AGENT_PATH).chmod(0o755)
        for artifact in manifest.artifacts:
            for name in [artifact.path, *(companion.path for companion in artifact.companions)]:
                (directory / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(sources[name], directory / name)
        atomic_write_bytes(directory / MANIFEST_NAME, to_json(complete).encode())
    return complete


def pack_bundle(directory: Path, manifest: Manifest) -> Path:
    """The same bundle as one `.zip` beside the directory; the same content gives the same bytes."""
    path = directory.with_name(directory.name + ".zip")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted([MANIFEST_NAME, *(entry.path for entry in bundle_entries(manifest))]):
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.external_attr = (0o755 if name == _AGENT_PATH else 0o644) << 16
            archive.writestr(info, (directory / name).read_bytes(), zipfile.ZIP_DEFLATED)
    atomic_write_bytes(path, stream.getvalue())
    return path


def _npz(arrays: GoldenArrays) -> bytes:
    """`np.savez_compressed` without its time stamps."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE), member.getvalue(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _readme(manifest: Manifest) -> str:
    rows = "\n".join(
        f"| `{a.path}` | {a.runtime} | {a.precision} | {a.total_bytes / 1e6:.2f} MB |" for a in manifest.artifacts
    )
    first = manifest.artifacts[0]
    ports = "\n".join(
        f"- `{p.name}`: {p.dtype} {'x'.join(map(str, p.shape))} {p.layout}"
        + (
            f", then (x * {p.normalisation.scale:.6g} - {p.normalisation.mean}) / {p.normalisation.std}"
            if p.normalisation
            else ""
        )
        for p in manifest.inputs
    )
    failed = "\n".join(f"- {f.runtime} {f.precision}: {f.reason}" for f in manifest.failures)
    return f"""# {manifest.name}

{manifest.model.name} for {manifest.device}, exported by edgeconv. `manifest.json` has every hash, tool version and the
command that makes this bundle again.

| file | runtime | precision | size |
|---|---|---|---|
{rows}

Inputs (the agent normalises, transposes and quantises them itself):

{ports}

## Measure by hand on the device

Python 3.8 or later, numpy and the runtime are all it takes; nothing is installed and nothing is sent anywhere.

    python3 agent.pyz list
    python3 agent.pyz run --runtime {first.runtime} --precision {first.precision} \\
        --threads 1 --json result.json --outputs outputs.npz

From the host, with drift and verdict: `edgeconv bench BUNDLE --on TARGET`, then `edgeconv check RUN.json`.
{f"{chr(10)}## Not in this bundle{chr(10)}{chr(10)}{failed}{chr(10)}" if failed else ""}"""
