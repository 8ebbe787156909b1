"""What a newcomer waits for: `make demo` and `edgeconv --help`.

Run as ``demo_time.py [--install] [--output DIRECTORY]``. `--install` also times the environment that `make demo` makes
first, from wheels that are downloaded before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import DemoTimes

__all__ = ["time_demo"]

_ROOT = Path(__file__).resolve().parents[2]
_HELP_RUNS = 10
_BUILD_TOOLS = ("hatchling", "editables", "pip")  # what an editable install of ours asks for besides the requirements


def time_demo(output: Path, install: bool) -> DemoTimes:
    """Run the quickstart into `output`/demo and time it.

    Raises:
        subprocess.CalledProcessError: the environment cannot be made, or `--help` fails.
    """
    program = Path(sys.executable).with_name("edgeconv")
    help_seconds = min(_seconds([program, "--help"]) for _ in range(_HELP_RUNS))
    start = time.perf_counter()
    quickstart = subprocess.run([program, "quickstart", "--force", "-o", output / "demo"], cwd=_ROOT, check=False)
    quickstart_seconds = time.perf_counter() - start
    install_seconds = _install_seconds(output / "wheels") if install else None
    return DemoTimes(quickstart_seconds, quickstart.returncode, help_seconds, install_seconds)


def _install_seconds(wheels: Path) -> float:
    """Time of the Makefile's environment, the network left out."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", wheels]
    subprocess.run([*pip, "-c", _ROOT / "constraints.txt", f"{_ROOT}[dev]", *_BUILD_TOOLS], check=True)
    for own in wheels.glob("edgeconv-*"):
        own.unlink()
    with tempfile.TemporaryDirectory() as temporary:
        checkout, environment = Path(temporary) / "checkout", Path(temporary) / "venv"
        ignored = shutil.ignore_patterns(".venv*", ".git", "build", "demo", "dist", ".*_cache", "__pycache__")
        shutil.copytree(_ROOT, checkout, symlinks=True, ignore=ignored)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        install = [environment / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        install += ["--no-index", "--find-links", wheels, "-c", checkout / "constraints.txt", "-e", f"{checkout}[dev]"]
        subprocess.run(install, check=True)
        return time.perf_counter() - start


def _seconds(command: list[Path | str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "TERM": "dumb"})
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--output", type=Path, default=_ROOT / "build" / "peers")
    options = parser.parse_args()
    times = time_demo(options.output, options.install)
    if times.install_seconds is not None:
        print(f"environment, from wheels on disk  {times.install_seconds:7.1f} s")
    print(
        f"edgeconv quickstart               {times.quickstart_seconds:7.1f} s (exit code {times.quickstart_exit_code})"
    )
    print(f"edgeconv --help, best of {_HELP_RUNS}       {times.help_seconds:7.3f} s")


if __name__ == "__main__":
    main()
