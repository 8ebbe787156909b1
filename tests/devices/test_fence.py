from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.devices.transports.fence import Fence
from edgeconv.devices.transports.ssh_master import remote_command

NOISE = st.binary(max_size=60)


def shell(script):
    """What a shell says, both streams as bytes."""
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    return done.stdout, done.stderr


def talk(script):
    fence = Fence()
    return fence.find(*shell(fence.wrap(script)))


def test_both_streams_and_the_exit_status_are_the_commands():
    found = talk("printf out; printf err >&2; false")
    assert (found.begun, found.returncode, found.stdout, found.stderr) == (True, 1, b"out", b"err")


def test_a_script_may_exit():
    assert talk("exit 7").returncode == 7


def test_a_signal_is_a_negative_code_and_a_high_status_is_not_one():
    assert talk("sh -c 'kill -TERM $$'").returncode == -15
    assert talk("exit 255").returncode == 255
    assert talk("exit 128").returncode == 128


def test_the_process_group_is_known_from_the_first_line():
    fence = Fence()
    stdout, _ = shell(fence.wrap("echo $$"))
    for line in stdout.splitlines():
        fence.hear(line)
    assert fence.group == int(stdout.split()[-1])


def test_only_the_commands_own_lines_are_passed_on():
    heard = []
    fence = Fence(heard.append)
    stdout, _ = shell("echo Welcome; printf '100%'; " + fence.wrap("echo one; echo two"))
    for line in stdout.splitlines():
        fence.hear(line)
    assert heard == ["one", "two"]


def test_without_the_last_mark_it_did_not_come_to_its_end():
    found = talk("printf half; kill -KILL $$")
    assert (found.begun, found.returncode, found.stdout) == (True, None, b"half")


def test_without_the_first_mark_nothing_began():
    fence = Fence()
    found = fence.find(b"This account is not available.\n", b"sorry\n")
    assert (found.begun, found.returncode, found.stdout) == (False, None, b"This account is not available.\n")


@given(NOISE, NOISE, NOISE, NOISE)
@settings(max_examples=25, deadline=None)
def test_noise_before_is_taken_off_and_output_is_kept_byte_for_byte(before, careful, out, err):
    fence = Fence()
    octal = lambda data: "".join(f"\\{byte:03o}" for byte in data)  # noqa: E731
    stdout, stderr = shell(fence.wrap(f"printf '{octal(out)}'; printf '{octal(err)}' >&2"))
    found = fence.find(before + stdout, careful + stderr)
    assert (found.stdout, found.stderr, found.returncode) == (out, err, 0)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80))
@settings(max_examples=50, deadline=None)
def test_a_script_comes_through_a_login_shell_as_it_was(text):
    quoted = "'" + text.replace("'", "'\\''") + "'"
    stdout, _ = shell(remote_command(f"printf %s {quoted}"))
    assert stdout.decode() == text
