"""No run of ours reaches for the network: the demo runs with it cut off, and every attempt would be on record."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def cut_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("cut") / "cut_network.so"
    source = Path(__file__).with_name("cut_network.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    return library


def _run(arguments: list[str], library: Path, log: Path) -> subprocess.CompletedProcess[str]:
    # The user's own switch is taken out: edgeconv must set it itself.
    kept = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    env = {**kept, "LD_PRELOAD": str(library), "EDGECONV_CONNECT_LOG": str(log)}
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('192.0.2.1', 443), 1)",
        "import urllib.request; urllib.request.urlopen('https://example.invalid', timeout=1)",
        "import subprocess as s; s.run(['python3', '-c', 'import socket; socket.socket().connect((\"192.0.2.1\", 1))'],"
        "check=True)",
    ],
)
def test_an_attempt_to_reach_the_network_fails_and_is_on_record(
    attempt: str, cut_network: Path, tmp_path: Path
) -> None:
    log = tmp_path / "attempts"
    assert _run(["-c", attempt], cut_network, log).returncode != 0
    assert log.read_text()


def test_the_demo_needs_no_network_and_reaches_for_none(cut_network: Path, tmp_path: Path) -> None:
    log = tmp_path / "attempts"
    done = _run(["-m", "edgeconv", "quickstart", "--task", "deblur", "-o", str(tmp_path / "demo")], cut_network, log)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    assert not log.exists(), log.read_text()
