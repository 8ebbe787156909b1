"""Modules in a process of their own."""

from __future__ import annotations

import sys

__all__ = ["child_command"]

# `python -m` looks for modules in the working directory first: a user's own onnx.py would be taken for the package.
_START = "import sys; sys.path = [p for p in sys.path if p]; import runpy; runpy.run_module({!r}, run_name='__main__')"


def child_command(module: str, *arguments: str) -> list[str]:
    """The argv that runs `module` as a program with `arguments`, by this interpreter."""
    return [sys.executable, "-c", _START.format(module), *arguments]
