from __future__ import annotations

import os
import sys
import time

import pytest

from edgeconv.devices.transports.exchange import exchange
from edgeconv.errors import DeviceError
from tests.devices.processes import assert_ends


def sh(script, **options):
    return exchange(["sh", "-c", script], **{"timeout_seconds": 30, **options})


def test_streams_and_status_are_collected():
    done = sh("echo out; echo err >&2; exit 4")
    assert (done.returncode, done.stdout, done.stderr, done.silent) == (4, b"out\n", b"err\n", False)


def test_what_is_fed_arrives_while_the_output_is_read():
    piece = bytes(range(256)) * 256
    done = exchange(["cat"], timeout_seconds=30, feed=(piece for _ in range(100)))
    assert done.stdout == piece * 100


def test_a_command_that_does_not_read_what_it_is_fed_is_no_error():
    done = exchange(["true"], timeout_seconds=30, feed=(bytes(1 << 16) for _ in range(100)))
    assert done.returncode == 0


def test_standard_input_is_empty_otherwise():
    assert sh("cat; echo end").stdout == b"end\n"


def test_silence_ends_it_and_lines_keep_it_alive():
    started = time.monotonic()
    assert sh("sleep 60", silence_seconds=0.5).silent
    assert time.monotonic() - started < 30
    done = sh("for i in 1 2 3 4; do sleep 0.4; echo $i; done", silence_seconds=10)
    assert (done.silent, done.returncode) == (False, 0)


def test_taking_too_long_ends_all_of_its_session():
    done = sh("sleep 300 & echo $!; sleep 300", timeout_seconds=1)
    assert done.returncode is None
    assert_ends(int(done.stdout))


def test_a_daemon_that_keeps_the_pipes_does_not_keep_us():
    started = time.monotonic()
    code = "import os, time; os.fork() or (os.setsid(), time.sleep(20)); print(os.getpid(), flush=True)"
    done = exchange([sys.executable, "-c", code], timeout_seconds=60)
    assert done.returncode == 0
    assert time.monotonic() - started < 15


def test_lines_come_whole_however_they_were_written():
    heard = []
    sh("printf 'a\\nb'; sleep 0.3; printf 'c\\n\\nd'", on_line=heard.append)
    assert heard == [b"a", b"bc", b""]


def test_an_exception_of_the_listener_ends_it():
    seen = []

    def listener(line):
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh("echo $$; sleep 300", on_line=listener)
    assert_ends(seen[0])


def test_a_command_that_is_not_there_is_an_error():
    with pytest.raises(DeviceError, match="cannot be started"):
        exchange(["/no/such/program"], timeout_seconds=1)


def test_environment_and_directory_are_its_own(tmp_path):
    done = sh("pwd; echo $MARK $HOME", directory=str(tmp_path), environment={"MARK": "1", "PATH": os.environ["PATH"]})
    assert done.stdout.decode() == f"{tmp_path}\n1\n"
