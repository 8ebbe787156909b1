"""One virtual environment a peer, made from its pinned requirements and kept as long as these stay the same."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["MAIN", "EnvironmentFailedError", "ensure_environment", "installed_versions"]

MAIN = "edgeconv"
"""The environment that runs this; it needs no making."""

_HERE = Path(__file__).resolve().parent
_STAMP = ".requirements.sha256"
_LIST = """
import json
from importlib.metadata import distributions
print(json.dumps({package.name: package.version for package in distributions()}))
"""


class EnvironmentFailedError(Exception):
    """A peer's environment could not be made; the message is pip's last line."""


def ensure_environment(name: str, directory: Path) -> Path:
    """The Python interpreter of environment `name`, made under `directory` from `NAME.txt` unless it is there already.

    Raises:
        EnvironmentFailedError: pip could not install the requirements.
    """
    if name == MAIN:
        return Path(sys.executable)
    requirements = _HERE / f"{name}.txt"
    environment = directory / f"env-{name}"
    python = environment / "bin" / "python"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = environment / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    _call(sys.executable, "-m", "venv", str(environment))
    _call(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements))
    stamp.write_text(digest)
    return python


def installed_versions(python: Path) -> dict[str, str]:
    """Name to version of every package of an environment."""
    listed = subprocess.run([python, "-c", _LIST], capture_output=True, text=True, check=True).stdout
    return dict(sorted(json.loads(listed).items()))


def _call(*command: str) -> None:
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        lines = [line for line in child.stderr.splitlines() if line.strip()]
        raise EnvironmentFailedError(lines[-1] if lines else f"{command[0]} ended with exit code {child.returncode}")
