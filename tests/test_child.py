from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgeconv.child import child_command

SHADOWED = ("json", "onnx", "runpy", "rich")


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules of the user's that are called like others."""
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("own_modules")
def test_modules_of_the_working_directory_are_not_taken_for_others() -> None:
    child = subprocess.run(child_command("edgeconv", "--version"), capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.strip()


def test_arguments_arrive_as_they_are() -> None:
    child = subprocess.run(
        child_command("edgeconv", "devices", "no such 'device'"), capture_output=True, text=True, check=False
    )
    assert child.returncode == 2
    assert "no such 'device'" in child.stderr
