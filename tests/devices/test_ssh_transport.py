"""A real OpenSSH client against a real sshd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.devices.transports import open_transport
from edgeconv.errors import ConnectionLostError, DeviceError
from tests.devices.processes import assert_ends
from tests.devices.sshd import Sshd, free_port, make_key
from tests.tools import need

pytestmark = pytest.mark.device

VENV = Path(sys.executable).parent
QUICK = {"environment": {}, "timeout_seconds": 30}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("sshd", "ssh")
    sshd = Sshd(tmp_path_factory.mktemp("sshd"), environment={"PATH": f"{VENV}:/usr/bin:/bin"})
    sshd.start()
    yield sshd
    sshd.stop()


@pytest.fixture
def sshd(server, tmp_path, monkeypatch):
    """The server with an `ssh` that knows it, and nothing that an earlier test changed."""
    server.put_on_path(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    yield server
    server.trust(server.host_key)
    server.write_config()


def sh(target, script, **options):
    return target.run(["sh", "-c", script], **{**QUICK, **options})


def clients(sshd):
    """The ssh processes that use its configuration."""
    return subprocess.run(["pgrep", "-f", f"ssh -F {sshd.config}"], capture_output=True, check=False).stdout.split()


def refusal(address):
    with pytest.raises(DeviceError) as caught:
        open_transport(address)
    assert not isinstance(caught.value, ConnectionLostError)
    return caught.value


def test_a_command_runs_in_the_workspace_with_its_environment_and_words_unharmed(target, server):
    done = target.run(
        ["sh", "-c", 'pwd; printf "%s|" "$GREETING" "$@"', "sh", "a b", "it's", "$HOME", "*", "x;y", "ä\n"],
        environment={"GREETING": "two  words & 'quotes'"},
        timeout_seconds=30,
    )
    first, rest = done.stdout.split("\n", 1)
    assert first == target.workspace
    assert Path(first).is_relative_to(server.home)
    assert rest == "two  words & 'quotes'|a b|it's|$HOME|*|x;y|ä\n|"


def test_exit_code_and_both_streams_arrive_apart(target):
    done = sh(target, "echo out; echo err >&2; exit 255")
    assert (done.returncode, done.stdout, done.stderr) == (255, "out\n", "err\n")


def test_output_without_a_final_line_break_is_kept_as_it_is(target):
    done = sh(target, "printf out; printf err >&2")
    assert (done.stdout, done.stderr) == ("out", "err")


def test_a_signal_is_a_negative_code(target):
    assert sh(target, "kill -KILL $$").returncode == -9


def test_the_target_tells_what_it_is(target):
    assert target.system.machine == os.uname().machine
    assert target.system.bits == 64
    assert target.system.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert target.system.python_version == ".".join(map(str, sys.version_info[:3]))
    assert target.run([*target.python, "-c", "print(6 * 7)"], **QUICK).stdout == "42\n"


def test_lines_are_heard_as_they_come(target):
    heard = []
    sh(target, "echo one; sleep 0.5; echo two", on_line=lambda line: heard.append((line, time.monotonic())))
    assert [line for line, _ in heard] == ["one", "two"]
    assert heard[1][1] > heard[0][1]


def test_a_command_that_takes_too_long_is_ended_there_too(target):
    started = time.monotonic()
    done = sh(target, "echo begun; echo $$ > pid; sleep 300 & sleep 300", timeout_seconds=2)
    assert (done.returncode, done.stdout) == (None, "begun\n")
    assert time.monotonic() - started < 60
    pid = int(target.pull(f"{target.workspace}/pid"))
    assert_ends(pid)


def test_an_interruption_ends_the_command_there_too(target):
    def interrupt(_line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh(target, "echo $$ > pid; echo begun; sleep 300", on_line=interrupt)
    pid = int(target.pull(f"{target.workspace}/pid"))
    assert_ends(pid)


def test_files_come_back_byte_for_byte(target, tmp_path):
    data = bytes(range(256)) * 4097
    (tmp_path / "data").write_bytes(data)
    there = target.push(tmp_path / "data")
    assert target.pull(there) == data
    with pytest.raises(DeviceError, match=r"/absent cannot be fetched from ssh://.*No such file"):
        target.pull(f"{target.workspace}/absent")


def test_close_leaves_no_workspace_no_socket_and_no_process(sshd):
    sockets = set(Path("/tmp").glob("edgeconv-ssh-*"))
    transport = open_transport(sshd.target)
    assert len(clients(sshd)) == 1
    transport.close()
    assert not Path(transport.workspace).exists()
    assert set(Path("/tmp").glob("edgeconv-ssh-*")) <= sockets
    assert clients(sshd) == []


def test_the_connection_ends_with_us_whatever_happens(sshd):
    code = "import sys, edgeconv.devices.transports as e; t = e.open_transport(sys.argv[1]); print(1); input()"
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", code, sshd.target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"1\n"
    assert len(clients(sshd)) == 1
    child.kill()
    child.communicate()
    deadline = time.monotonic() + 20
    while clients(sshd):
        assert time.monotonic() < deadline, "the connection outlives the process that made it"
        time.sleep(0.1)


def test_the_users_own_configuration_applies(sshd):
    alias = f"Host board\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\nHost *"
    sshd.write_config(alias)
    with closing(open_transport("ssh://board")) as transport:
        assert sh(transport, "echo here").stdout == "here\n"


def test_a_jump_host_of_the_configuration_is_used(sshd):
    here = f"HostName 127.0.0.1\n Port {sshd.port}"
    sshd.write_config(f"Host jump\n {here}", f"Host behind\n {here}\n ProxyJump jump", "Host *")
    with closing(open_transport("ssh://behind")) as transport:
        assert sh(transport, "echo here").stdout == "here\n"


def test_settings_for_interactive_use_do_not_get_in_the_way(sshd):
    sshd.write_config(
        *("RequestTTY force", "RemoteCommand tmux attach", "LogLevel QUIET", "ControlMaster auto", "ControlPath none"),
        *(
            "LocalForward 1 localhost:1",
            "ExitOnForwardFailure yes",
            "PermitLocalCommand yes",
            "LocalCommand echo local",
        ),
    )
    with closing(open_transport(sshd.target)) as transport:
        assert sh(transport, "echo here").stdout == "here\n"


@pytest.mark.parametrize("shell", ["dash", "bash", "csh", "fish"])
def test_any_login_shell_will_do(sshd, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    # what sshd does with a user's login shell
    command = sshd.authorized.read_text()
    sshd.authorized.write_text(f'command="{shell} -c \\"$SSH_ORIGINAL_COMMAND\\"" {command}')
    try:
        with closing(open_transport(sshd.target)) as transport:
            assert (
                transport.run(["printf", "%s", "it's `$HOME`!\\n\n% \\\\"], **QUICK).stdout
                == "it's `$HOME`!\\n\n% \\\\"
            )
    finally:
        sshd.authorized.write_text(command)


def test_what_start_up_files_say_is_not_taken_for_the_answer(sshd):
    line = sshd.authorized.read_text()
    noise = "echo folder=/nowhere; echo Welcome; printf 100%%; echo careful >&2"
    sshd.authorized.write_text(f'command="{noise}; eval \\"$SSH_ORIGINAL_COMMAND\\"" {line}')
    try:
        with closing(open_transport(sshd.target)) as transport:
            done = sh(transport, "printf out; printf err >&2; exit 4")
            assert (done.returncode, done.stdout, done.stderr) == (4, "out", "err")
    finally:
        sshd.authorized.write_text(line)


def test_a_target_that_runs_something_else_is_told_with_what_it_said(sshd):
    line = sshd.authorized.read_text()
    sshd.authorized.write_text(f'command="echo This account is currently not available.; exit 1" {line}')
    try:
        error = refusal(sshd.target)
    finally:
        sshd.authorized.write_text(line)
    assert "This account is currently not available" in error.message
    assert "uname" in error.hint


def test_an_unknown_host_key_is_refused_with_the_way_to_accept_it(sshd):
    sshd.known_hosts.write_text("")
    error = refusal(sshd.target)
    assert "not in known_hosts" in error.message
    assert f"ssh -p {sshd.port} {sshd.user}@127.0.0.1" in error.hint
    assert sshd.known_hosts.read_text() == ""


def test_a_changed_host_key_is_refused_by_its_own_name(sshd, tmp_path):
    sshd.trust(make_key(tmp_path / "other"))
    error = refusal(sshd.target)
    assert "another machine" in error.message
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in error.hint


def test_a_user_who_may_not_log_in_is_told_so(sshd):
    error = refusal(f"ssh://nobody-of-this-name@127.0.0.1:{sshd.port}")
    assert "does not let this user in" in error.message
    assert "nobody-of-this-name@127.0.0.1" in error.hint


def test_a_password_is_never_asked_for(sshd, tmp_path):
    sshd.write_config(identity=make_key(tmp_path / "stranger"))
    started = time.monotonic()
    error = refusal(sshd.target)
    assert time.monotonic() - started < 30
    assert "password" in error.message
    assert "ssh-copy-id" in error.hint


def test_a_refused_connection_is_told_so(sshd):
    error = refusal(f"ssh://127.0.0.1:{free_port()}")
    assert "refuses the connection" in error.message


def test_an_unknown_name_is_told_so(sshd):
    error = refusal("ssh://no-such-host.invalid")
    assert "name is unknown" in error.message


def test_a_host_that_says_nothing_is_given_up(sshd):
    """It accepts connections and never answers, as behind a firewall that drops what is sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        error = refusal(f"ssh://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - started < 45
    assert "does not answer" in error.message


def test_a_server_that_is_none_is_told_so(sshd):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        error = refusal(f"ssh://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert "closed the connection" in error.message


def test_without_ssh_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refusal("ssh://127.0.0.1")
    assert "openssh-client" in error.hint


@pytest.mark.parametrize(
    "address",
    [
        "ssh:",
        "ssh:host",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://a b",
        "ssh://host:0",
        "ssh://host:99999",
        "ssh://@host",
        "ssh://-l@host",
        "ssh://host/path",
        "ssh://host:port",
    ],
)
def test_what_is_no_address_is_refused_before_ssh_sees_it(address):
    error = refusal(address)
    assert "is no address" in error.message
    assert "ssh://user@host:port" in error.hint


def test_a_password_in_the_address_is_refused():
    error = refusal("ssh://pi:raspberry@board")
    assert "raspberry" not in str(error)
    assert "ssh-copy-id pi@board" in error.hint


def test_a_dropped_connection_is_told_as_such_and_made_again(sshd):
    with closing(open_transport(sshd.target)) as transport:
        workspace = transport.workspace
        with pytest.raises(ConnectionLostError):
            sh(transport, "echo begun; sleep 300", on_line=lambda _: sshd.drop())
        assert sh(transport, "pwd").stdout.strip() == workspace


def test_a_target_that_does_not_come_back_is_told_after_a_bounded_time(tmp_path, server, sshd):
    other = Sshd(tmp_path / "other", port=free_port())
    other.start()
    transport = None
    try:
        sshd.known_hosts.write_text(other.known_hosts.read_text())
        sshd.write_config(identity=other.identity)
        transport = open_transport(other.target)
        other.stop_all()
        with pytest.raises(ConnectionLostError, match="refuses the connection"):
            sh(transport, "true")
    finally:
        other.stop()
        if transport is not None:
            transport.close()
