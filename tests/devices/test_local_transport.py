from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.devices.transports import open_transport
from edgeconv.errors import DeviceError


@pytest.fixture
def local():
    with closing(open_transport("local:")) as transport:
        yield transport


def run(transport, code, **options):
    return transport.run([*transport.python, "-c", code], **{"environment": {}, "timeout_seconds": 30, **options})


def test_a_command_runs_in_the_workspace_with_the_environment_added(local):
    done = run(
        local, "import os; print(os.getcwd(), os.environ['MARK'], 'PATH' in os.environ)", environment={"MARK": "1"}
    )
    assert done.stdout.split() == [os.path.realpath(local.workspace), "1", "True"]
    assert done.returncode == 0


def test_exit_code_and_standard_error_arrive(local):
    done = run(local, "import sys; print('why', file=sys.stderr); sys.exit(3)")
    assert (done.returncode, done.stderr) == (3, "why\n")


def test_a_signal_is_a_negative_code(local):
    assert run(local, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)").returncode == -9


def test_a_command_that_takes_too_long_is_ended(local):
    assert run(local, "import time; time.sleep(60)", timeout_seconds=0.3).returncode is None


def test_files_are_pushed_without_a_copy_and_pulled_whole(local, tmp_path):
    (tmp_path / "f").write_bytes(b"\0\xffdata")
    there = local.push(tmp_path)
    assert Path(there) == tmp_path.resolve()
    assert local.pull(f"{there}/f") == b"\0\xffdata"
    with pytest.raises(DeviceError, match="cannot be fetched"):
        local.pull(f"{there}/absent")


def test_close_removes_the_workspace():
    transport = open_transport("local:")
    (Path(transport.workspace) / "f").write_text("x")
    transport.close()
    assert not Path(transport.workspace).exists()


def test_local_runs_with_this_python(local):
    assert local.python == [sys.executable]


@pytest.mark.parametrize(
    "target", ["ssh://pi@raspberrypi.local", "adb:SERIAL", "emulated:cortex-a76", "local", "", "locl:"]
)
def test_a_target_that_cannot_be_reached_yet_is_told_with_what_can(target):
    with pytest.raises(DeviceError, match="later version") as caught:
        open_transport(target)
    assert repr(target) in caught.value.message


def test_local_takes_no_address():
    with pytest.raises(DeviceError, match="nothing behind the colon"):
        open_transport("local:here")
