"""`edgeconv devices emulate`, as far as it needs no QEMU; and the whole of it with one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.commands.emulate import emulate
from edgeconv.devices.emulate.boards import find_board
from edgeconv.devices.emulate.running import find_running
from edgeconv.errors import DeviceError, UsageError
from tests.tools import need


@pytest.fixture(autouse=True)
def own_runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def test_without_qemu_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="needs qemu-system-aarch64: not installed, or not in PATH") as caught:
        emulate("pi5")
    for words in ("apt-get install qemu-system-arm", "dnf install qemu-system-aarch64", "brew install qemu"):
        assert words in caught.value.hint


def test_no_board_and_an_unknown_one_are_refused():
    with pytest.raises(UsageError, match="Which board") as asked:
        emulate()
    assert "edgeconv devices emulate pi5" in asked.value.hint
    with pytest.raises(DeviceError, match="No emulated board is called 'pi6'") as caught:
        emulate("pi6", deterministic=True)
    assert "pi" in caught.value.hint


@pytest.mark.parametrize(
    "arguments",
    [{"stop": True, "list_": True}, {"stop": True, "rebuild": True}, {"list_": True, "deterministic": True}],
)
def test_flags_that_contradict_each_other_are_refused(arguments):
    with pytest.raises(UsageError):
        emulate(**arguments)
    with pytest.raises(UsageError):
        emulate("pi5", list_=True)


def test_nothing_runs_at_first(capsys):
    assert emulate(list_=True, json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"boards": []}
    assert emulate(list_=True) == 0
    assert "No emulated board runs" in capsys.readouterr().out
    assert emulate(stop=True) == 0
    assert emulate("pi4", stop=True) == 1
    assert "pi4 does not run" in capsys.readouterr().out


@pytest.mark.device
def test_a_board_is_started_found_used_and_stopped(capsys):
    need("qemu-system-aarch64", "mmdebstrap", "mke2fs", "ssh")
    try:
        assert emulate("pi4", json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["board"], told["cpu"], told["clock"], told["on"]) == ("pi4", "cortex-a72", "wall", "emulated:pi4")
        assert told["target"].startswith("ssh://pi@127.0.0.1:")
        # the command that the user is told to type
        done = subprocess.run(
            [*told["login"].split(), "whoami"], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == "pi\n"
        assert emulate("pi4") == 0  # is there already
        assert "--on emulated:pi4" in capsys.readouterr().out
        # another process knows it, and it does not need the one that started it
        code = "from edgeconv.commands.emulate import emulate; emulate(list_=True, json=True)"
        listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert [board["pid"] for board in json.loads(listed.stdout)["boards"]] == [told["pid"]]
    finally:
        emulate(stop=True)
    assert "stopped pi4" in capsys.readouterr().out
    assert find_running(find_board("pi4")) is None
    assert not Path(f"/proc/{told['pid']}").exists()
    assert emulate("pi4", stop=True) == 1
