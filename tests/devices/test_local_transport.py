from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.devices.transports import open_transport
from edgeconv.errors import DeviceError
from tests.devices.processes import assert_ends


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


@pytest.mark.parametrize("target", ["pi@raspberrypi.local", "local", "", "locl:", "SSH://pi", "/dev/null"])
def test_what_is_no_target_is_told_with_what_is(target):
    with pytest.raises(DeviceError, match="is no target") as caught:
        open_transport(target)
    assert repr(target) in caught.value.message
    assert "ssh://[user@]host[:port]" in caught.value.hint


def test_lines_are_heard_as_they_come(local):
    heard = []
    code = "import time; print('one', flush=True); time.sleep(0.3); print('two')"
    done = run(local, code, on_line=lambda line: heard.append((line, time.monotonic())))
    assert [line for line, _ in heard] == ["one", "two"]
    assert heard[1][1] - heard[0][1] > 0.1
    assert done.stdout == "one\ntwo\n"


def test_a_command_that_ends_leaves_no_process_behind_when_it_takes_too_long(local):
    code = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '300']).pid, flush=True); time.sleep(300)"
    done = run(local, code, timeout_seconds=3)
    assert done.returncode is None
    assert_ends(int(done.stdout))


def test_this_machine_tells_what_it_is(local):
    assert local.system.machine == os.uname().machine
    assert local.system.bits == 64


def test_local_takes_no_address():
    with pytest.raises(DeviceError, match="nothing behind the colon"):
        open_transport("local:here")
