"""Other Pythons of this machine: installed ones, and pyenv's, which are not in the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["VERSIONS", "find_python"]

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")  # what the agent is for
_SECONDS = 60


def find_python(version: str) -> Path:
    """The program that is Python `version`; without one the test is skipped, with EDGECONV_NO_SKIP=1 it fails."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    named = shutil.which(f"python{version}")
    candidates = [Path(sys.executable), *([Path(named)] if named else [])]
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    for candidate in candidates:
        if _version(candidate) == version:
            return candidate
    words = f"needs Python {version}: uv python install {version}, pyenv install {version} or apt-get"
    if os.environ.get("EDGECONV_NO_SKIP") == "1":
        pytest.fail(words)
    pytest.skip(words)


def _version(python: Path) -> str:
    """ "3.8", or what a shim says that stands for no Python."""
    command = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout.strip()
