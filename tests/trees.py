"""Folders that hold another system's files, for code that reads /proc, /sys and /etc."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path


class Tree:
    """Another system's files and tools below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, files: Mapping[str, str]) -> Tree:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self

    def tool(self, name: str, answers: Mapping[str, str], folder: str = "usr/bin") -> Tree:
        """A tool that prints what is given for its arguments, and fails for others."""
        cases = "".join(f"{shlex.quote(key)}) printf %s {shlex.quote(text)} ;;\n" for key, text in answers.items())
        self.put({f"{folder}/{name}": f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1 ;;\nesac\n'})
        (self.root / folder / name).chmod(0o755)
        return self
