"""The README.md of a bundle: what is in it, and how to measure with it by hand."""

from __future__ import annotations

from collections.abc import Collection

from edgeconv.bundles import LOCK_PATH, PACK_PATH
from edgeconv.manifest import Manifest

__all__ = ["bundle_readme"]

# The command that starts Python, and what is to be done before.
_OWN_PYTHON = "python3", "Python 3.8 or later, numpy and the runtime are all it takes."
_BROUGHT = {
    LOCK_PATH: (
        "env/bin/python3",
        """\
The wheels are in the bundle; this unpacks them into a folder, checks their hashes, and uses no network:

    python3 agent.pyz install --into env""",
    ),
    PACK_PATH: (
        "python/run",
        """\
A Python with all that is needed is in the bundle:

    mkdir python && gzip -dc pack/python.tar.gz | tar -x -f - -C python""",
    ),
}


def bundle_readme(manifest: Manifest, supplied: Collection[str]) -> str:
    """README.md; `supplied` are the paths in the bundle of what --with-wheels added."""
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
    python, preparation = next((words for path, words in _BROUGHT.items() if path in supplied), _OWN_PYTHON)
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

Nothing is sent anywhere. {preparation}

    {python} agent.pyz list
    {python} agent.pyz run --runtime {first.runtime} --precision {first.precision} \\
        --threads 1 --json ../result.json --outputs ../outputs.npz

From the host, with drift and verdict: `edgeconv bench BUNDLE --on TARGET`, then `edgeconv check RUN.json`.
{f"{chr(10)}## Not in this bundle{chr(10)}{chr(10)}{failed}{chr(10)}" if failed else ""}"""
