"""The programs that an emulated board is made with: finding them, running them, and saying how to install them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgeconv.errors import DeviceError

__all__ = ["find_tool", "require_tools", "run_tool"]

_INSTALLERS = ("apt-get", "dnf", "brew")
# Package of each program, by installer; "" where there is none.
_PACKAGES: dict[str, tuple[str, str, str]] = {
    "adb": ("adb", "android-tools", "android-platform-tools"),
    "debugfs": ("e2fsprogs", "e2fsprogs", "e2fsprogs"),
    "mke2fs": ("e2fsprogs", "e2fsprogs", "e2fsprogs"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap", ""),
    "qemu-system-aarch64": ("qemu-system-arm", "qemu-system-aarch64", "qemu"),
    "ssh": ("openssh-client", "openssh-clients", "openssh"),
    "ssh-keygen": ("openssh-client", "openssh-clients", "openssh"),
}
_ERROR_LINES = 8


def find_tool(name: str) -> str | None:
    """The program's path; the folders of administrators' tools are searched too, for they are in few users' PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))


def require_tools(*names: str) -> None:
    """See that programs are installed.

    Raises:
        DeviceError: one is missing; the hint is the command that installs it.
    """
    missing = [name for name in names if find_tool(name) is None]
    if missing:
        raise DeviceError(
            f"An emulated board needs {', '.join(missing)}: not installed, or not in PATH.",
            _install_hint(missing),
        )


def run_tool(command: Sequence[str | Path], *, timeout_seconds: float, stdin: str = "") -> str:
    """Run a program whose first word is a name that `find_tool` knows; its standard output.

    Raises:
        DeviceError: it is missing, failed (with the last lines it printed), or took longer than `timeout_seconds`.
    """
    name = str(command[0])
    require_tools(name)
    argv = [str(find_tool(name)), *map(str, command[1:])]
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"{name} did not end within {timeout_seconds:.0f} s.", "Is the network slow? Try again."
        ) from None
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_ERROR_LINES:])
        raise DeviceError(f"{name} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


def _install_hint(missing: Sequence[str]) -> str:
    preferred = "brew" if platform.system() == "Darwin" else next((i for i in _INSTALLERS if shutil.which(i)), "")
    lines = []
    for index, installer in enumerate(_INSTALLERS):
        packages = [_PACKAGES[name][index] for name in missing if name in _PACKAGES]
        if not all(packages) or (preferred and installer != preferred):
            continue
        sudo = "" if installer == "brew" else "sudo "
        lines.append(f"{sudo}{installer} install {' '.join(dict.fromkeys(packages))}")
    if not lines:
        return "There is no package of it for this system: build the image on a Debian or Ubuntu machine or container."
    return f"Install with: {' or: '.join(lines)}"
