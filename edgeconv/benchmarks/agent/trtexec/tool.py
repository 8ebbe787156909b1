"""Finds `trtexec` and runs it, bounded in time.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import List, Tuple

from edgeconv.benchmarks.agent.trtexec.parse import Log, parse_log
from edgeconv.benchmarks.agent.trtexec.version import Version, parse_version
from edgeconv.errors import RuntimeUnavailableError

__all__ = ["find_trtexec", "run_trtexec", "trtexec_version"]

_PLACES = ("/usr/src/tensorrt/bin", "/usr/local/tensorrt/bin", "/opt/tensorrt/bin")
_HELP_SECONDS = 60.0  # the first start loads half a gigabyte of libraries from an SD card
_LAST_LINES = 3


def find_trtexec() -> str:
    """The path of `trtexec`: on the PATH, or where JetPack puts it.

    Raises:
        RuntimeUnavailableError: there is none.
    """
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])
    found = shutil.which("trtexec", path=search)
    if found is None:
        raise RuntimeUnavailableError(
            f"There is no trtexec on the PATH or in {', '.join(_PLACES)}.",
            "JetPack has it: sudo apt-get install libnvinfer-bin. Elsewhere install TensorRT.",
        )
    return found


def trtexec_version(trtexec: str, directory: Path) -> Version:
    """Which TensorRT it is of, by the banner above its help; `directory` is for its log.

    Raises:
        RuntimeUnavailableError: it does not run, or says nothing of the kind.
    """
    code, text = _run([trtexec, "--help"], directory, _HELP_SECONDS)
    version = parse_version(text)
    if version is None:
        raise RuntimeUnavailableError(
            f"{trtexec} does not say which TensorRT it is of (exit code {code}): {_last_lines(text)}",
            "Does `trtexec --help` work there?",
        )
    return version


def run_trtexec(command: List[str], directory: Path, seconds: float) -> Log:
    """Run it in `directory`; it has passed when this returns.

    Raises:
        RuntimeUnavailableError: it failed (its own reason), was killed, took longer than `seconds`, or what ran was
            no `trtexec`.
    """
    code, text = _run(command, directory, seconds)
    log = parse_log(text)
    if code < 0:
        hint = "Was there enough memory? See dmesg." if -code == signal.SIGKILL else ""
        raise RuntimeUnavailableError(f"trtexec was killed by signal {-code}.", hint)
    if log.passed is False or (code != 0 and log.cause):
        raise RuntimeUnavailableError(f"trtexec failed: {log.cause or 'it does not say why'}")
    if code != 0 or log.passed is None:
        raise RuntimeUnavailableError(
            f"trtexec ended with exit code {code} and no verdict, or is no trtexec: {_last_lines(text)}"
        )
    return log


def _run(command: List[str], directory: Path, seconds: float) -> Tuple[int, str]:
    """Exit code and output; a signal is a negative code."""
    output = directory / "trtexec.log"
    try:
        with output.open("wb") as stream:
            child = subprocess.Popen(
                command,
                cwd=str(directory),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise RuntimeUnavailableError(f"{command[0]} cannot be started: {error}.") from error
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeUnavailableError(f"trtexec took longer than {seconds:.0f} s and was ended.") from None
    finally:
        _end(child)
    return code, output.read_text(encoding="utf-8", errors="replace")


def _last_lines(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-_LAST_LINES:]) or "it says nothing"


def _end(child: subprocess.Popen[bytes]) -> None:
    """The whole group, however this is left: an interrupted run must not keep the GPU."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
