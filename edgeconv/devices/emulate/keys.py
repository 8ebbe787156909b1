"""The keys of an image: the guest's host key and the one key that logs in. Made with it, and only good for it."""

from __future__ import annotations

from pathlib import Path

from edgeconv.devices.emulate.tools import run_tool

__all__ = ["make_key"]


def make_key(path: Path, comment: str) -> str:
    """A new Ed25519 key without a passphrase at `path` (0600); its public half, which is also at `path`.pub."""
    run_tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], timeout_seconds=60)
    return path.with_suffix(".pub").read_text()
