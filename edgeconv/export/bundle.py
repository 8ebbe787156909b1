"""Writing a bundle: models, golden cases, agent, README, manifest, all hashed, moved into place as a whole."""

from __future__ import annotations

import dataclasses
import io
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgeconv.benchmarks.agent_archive import build_agent
from edgeconv.bundles import AGENT_PATH, GOLDEN_PATH, MODELS_PATH
from edgeconv.export.bundle_readme import bundle_readme
from edgeconv.export.golden import GoldenArrays
from edgeconv.export.mixed.report import MIXED_PATH, MixedReport
from edgeconv.export.recipe import RECIPE_PATH, BundleRecipe
from edgeconv.files import ZIP_DATE, atomic_directory, atomic_write_bytes, sha256_bytes, sha256_file
from edgeconv.manifest import MANIFEST_NAME, SCHEMA_VERSION, Artifact, FileEntry, Manifest, ModelIdentity, Port
from edgeconv.schema import to_json

__all__ = ["Supply", "bare_manifest", "place_artifact", "write_bundle"]

Supply = Mapping[str, Path | bytes]  # what --with-wheels adds, by path in the bundle: a file to copy, or its contents

_README_PATH = "README.md"


def place_artifact(artifact: Artifact) -> Artifact:
    """The artefact with its paths under the bundle's `models/`."""
    return dataclasses.replace(
        artifact,
        path=f"{MODELS_PATH}/{artifact.path}",
        companions=[FileEntry(f"{MODELS_PATH}/{c.path}", c.sha256, c.bytes) for c in artifact.companions],
    )


def bare_manifest(
    name: str, source: str, device: str, inputs: Sequence[Port], outputs: Sequence[Port], artifacts: Sequence[Artifact]
) -> Manifest:
    """Of a bundle that lives as long as a measurement: of no model but `source`, judged by nothing."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        model=ModelIdentity(name, source, None, 0, None, "exact"),
        device=device,
        inputs=list(inputs),
        outputs=list(outputs),
        artifacts=list(artifacts),
        files=[],
        failures=[],
        rewrites=[],
        tolerances=[],
        metric=None,
        quantisation={},
        tools={},
        reproduce=[],
    )


def write_bundle(
    path: Path,
    manifest: Manifest,
    sources: Mapping[str, Path],
    golden: GoldenArrays,
    supply: Supply = MappingProxyType({}),
    *,
    recipe: BundleRecipe | None = None,
    mixed: MixedReport | None = None,
    force: bool = False,
) -> Manifest:
    """Write the bundle `path` and return its completed manifest.

    Args:
        manifest: complete but for `files`; its artefacts are placed (`place_artifact`).
        sources: where each artefact's files lie now, by their path in the bundle.
        golden: arrays of `golden/cases.npz`, stacked over cases.
        supply: wheels, or a Python, for the device.
        recipe: what was decided; None for a bundle that no export made.
        mixed: what was left in float for a quality; None where none was asked for.
        force: replace `path` where it exists.

    Raises:
        UsageError: `path` exists and `force` is false.
    """
    own_files: dict[str, Path | bytes] = {
        GOLDEN_PATH: _npz(golden),
        AGENT_PATH: build_agent(),
        _README_PATH: bundle_readme(manifest, list(supply)).encode(),
        **({} if recipe is None else {RECIPE_PATH: to_json(recipe).encode()}),
        **({} if mixed is None else {MIXED_PATH: to_json(mixed).encode()}),
        **supply,
    }
    files = [_entry(name, contents) for name, contents in own_files.items()]
    complete = Manifest(**{**vars(manifest), "files": files})
    with atomic_directory(path, force) as directory:
        for name, contents in own_files.items():
            if isinstance(contents, Path):
                (directory / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(contents, directory / name)
            else:
                atomic_write_bytes(directory / name, contents)
        (directory / AGENT_PATH).chmod(0o755)
        for artifact in manifest.artifacts:
            for name in artifact.paths:
                (directory / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(sources[name], directory / name)
        atomic_write_bytes(directory / MANIFEST_NAME, to_json(complete).encode())
    return complete


def _entry(name: str, contents: Path | bytes) -> FileEntry:
    if isinstance(contents, Path):
        return FileEntry(name, sha256_file(contents), contents.stat().st_size)
    return FileEntry(name, sha256_bytes(contents), len(contents))


def _npz(arrays: GoldenArrays) -> bytes:
    """`np.savez_compressed` without its time stamps."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", ZIP_DATE), member.getvalue(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()
