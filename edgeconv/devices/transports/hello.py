"""The first thing that is asked of a target: what it is, where our folder is, which Python it has."""

from __future__ import annotations

import dataclasses
import platform
import secrets
import shlex
import time

from edgeconv.devices.transports.base import TargetSystem
from edgeconv.devices.transports.problems import folder_problem
from edgeconv.errors import DeviceError

__all__ = ["Hello", "hello_script", "new_run_name", "parse_hello"]

# `find` removes what runs left behind whose host was switched off, but never this run's, for a clock may have jumped.
# The fifth byte of an ELF file says 32 or 64 bit.
_SCRIPT = """\
umask 077
root={root}
echo "folder=$root"
{{ mkdir -p "$root/runs/{run}" && chmod 700 "$root"; }} 2>&1 | sed 's/^/refused=/'
find "$root/runs" -mindepth 1 -maxdepth 1 ! -name {run} -mtime +1 -exec rm -rf {{}} + 2>/dev/null
echo "machine=$(uname -m)"
echo "kernel=$(uname -s)"
read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id && echo "boot_id=$boot"
class=$(dd if=/proc/self/exe bs=1 skip=4 count=1 2>/dev/null)
[ "$class" = "$(printf '\\001')" ] && echo "bits=32"
[ "$class" = "$(printf '\\002')" ] && echo "bits=64"
command -v getprop >/dev/null 2>&1 && echo "android_abis=$(getprop ro.product.cpu.abilist64)"
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8; do
  path=$(command -v "$name") && version=$("$path" -V 2>/dev/null) || continue
  case "$version" in
    "Python 3."[0-7] | "Python 3."[0-7].*) echo "old_python=$version" ;;
    "Python 3."*) echo "python=$path"; echo "python_version=$version"; break ;;
  esac
done
true"""


@dataclasses.dataclass(frozen=True)
class Hello:
    """The answer: our folder, the workspace of this run in it, the command of its Python ([] for none of use)."""

    folder: str
    workspace: str
    python: list[str]
    system: TargetSystem


def new_run_name() -> str:
    """Of a workspace; no two runs get the same."""
    return f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"


def hello_script(root: str, run: str) -> str:
    """What asks, in POSIX shell; `root` is a shell word that names our folder."""
    return _SCRIPT.format(root=root, run=shlex.quote(run))


def parse_hello(where: str, run: str, text: str) -> Hello:
    """Read the answer of the target called `where`.

    Raises:
        DeviceError: the answer is none, or our folder cannot be made there.
    """
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if "refused" in told:
        raise folder_problem(where, told.get("folder", "?"), told["refused"])
    if not told.get("folder", "").startswith("/") or not told.get("machine"):
        raise DeviceError(
            f"{where} does not answer as a POSIX shell does: {text.strip()[:200]!r}.",
            "It needs sh, uname and mkdir, as every Linux and Android has.",
        )
    version = told.get("python_version", told.get("old_python", "")).removeprefix("Python ").strip()
    return Hello(
        folder=told["folder"],
        workspace=f"{told['folder']}/runs/{run}",
        python=[told["python"]] if "python" in told else [],
        system=TargetSystem(
            machine=told["machine"],
            kernel=told.get("kernel", platform.system()),
            bits=int(told["bits"]) if "bits" in told else None,
            boot_id=told.get("boot_id"),
            python_version=version or None,
            android_abis=told.get("android_abis"),
        ),
    )
