"""How to start this agent once more, in a process of its own.  Part of the device agent: Python 3.8, stdlib only."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Dict, List

import edgeconv

__all__ = ["agent_command", "agent_environment"]

_PACKAGE_PARENT = Path(edgeconv.__file__).resolve().parents[1]  # the archive, or the folder that holds the package


def agent_command(*arguments: str) -> List[str]:
    """The argv that runs the agent with `arguments`: the same interpreter, the same code."""
    code = [str(_PACKAGE_PARENT)] if _PACKAGE_PARENT.is_file() else ["-m", "edgeconv.benchmarks.agent"]
    return [sys.executable, *code, *arguments]


def agent_environment() -> Dict[str, str]:
    """This process's environment, in which the package is found."""
    paths = [str(_PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
