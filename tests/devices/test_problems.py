"""Words of OpenSSH, adb and file systems, as they were printed; those that can be provoked are provoked elsewhere."""

from __future__ import annotations

import pytest

from edgeconv.devices.transports.adb_problems import adb_problem
from edgeconv.devices.transports.problems import folder_problem
from edgeconv.devices.transports.ssh_problems import SshAddress, ssh_problem
from edgeconv.errors import ConnectionLostError, DeviceError

ADDRESS = SshAddress("board", 2222, "pi")

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key for [board]:2222 has changed and you have requested strict checking.
Host key verification failed.
"""
UNAUTHORIZED = """\
error: device unauthorized.
This adb server's $ADB_VENDOR_KEYS is not set
Try 'adb kill-server' if that seems wrong.
Otherwise check for a confirmation dialog on your device.
"""
NO_PERMISSIONS = (
    "error: insufficient permissions for device: user in plugdev group; are your udev rules wrong?\n"
    "See [http://developer.android.com/tools/device.html] for more information"
)


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (CHANGED, "not the one that known_hosts has", "ssh-keygen -R '[board]:2222'"),
        (
            "No ED25519 host key is known for [board]:2222 and you have requested strict checking.\n"
            "Host key verification failed.",
            "not in known_hosts",
            "ssh -p 2222 pi@board",
        ),
        (
            "pi@board: Permission denied (publickey,password).",
            "does not let this user in",
            "ssh-copy-id -p 2222 pi@board",
        ),
        (
            "Received disconnect from 10.0.0.7 port 22:2: Too many authentication failures",
            "does not let this user in",
            "ssh-copy-id",
        ),
        ("ssh: connect to host board port 2222: No route to host", "cannot be reached", "switched on"),
        (
            "ssh: connect to host board port 2222: Network is unreachable",
            "cannot be reached",
            "same network|this network",
        ),
        ("ssh: connect to host board port 2222: Connection timed out", "does not answer", "firewall"),
        ("Connection timed out during banner exchange", "does not answer", "firewall"),
        ("Timeout, server board not responding.", "does not answer", "firewall"),
        ("ssh: Could not resolve hostname board: Name or service not known", "name is unknown", ".local"),
        (
            "ssh: Could not resolve hostname board: Temporary failure in name resolution",
            "name is unknown",
            ".local",
        ),
        ("kex_exchange_identification: Connection closed by remote host", "closed the connection", "by hand"),
        ("client_loop: send disconnect: Broken pipe", "closed the connection", "by hand"),
        (
            "/home/me/.ssh/config: line 3: Bad configuration option: prot",
            "does not accept its configuration",
            "by hand",
        ),
        ("Bad owner or permissions on /home/me/.ssh/config", "does not accept its configuration", "by hand"),
        ("This service allows sftp connections only.", "sftp connections only", "uname"),
        ("", "nothing was said", "uname"),
    ],
)
def test_words_of_openssh(said, message, hint):
    error = ssh_problem("ssh://pi@board:2222", ADDRESS, said, again=False)
    assert type(error) is DeviceError
    assert message in error.message
    assert any(part in error.hint for part in hint.split("|"))


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (UNAUTHORIZED, "unauthorized", "Allow USB debugging?"),
        ("failed to authenticate to 127.0.0.1:5921", "unauthorized", "Allow USB debugging?"),
        (NO_PERMISSIONS, "may not use it", "udev"),
        ("no permissions (missing udev rules? user is in the plugdev group)", "may not use it", "udev"),
        ("error: device offline", "offline", "plug it in anew"),
        ("adb: device 'X' not found", "is not connected. Connected are: A (device), B (offline)", "cable"),
        ("error: no devices/emulators found", "is not connected", "USB debugging"),
        ("error: more than one device/emulator", "Several devices", "A (device), B (offline)"),
        ("failed to connect to '10.0.0.7:5555': Connection refused", "cannot be reached", "tcpip"),
        ("cannot connect to 10.0.0.7:5555: No route to host (113)", "cannot be reached", "tcpip"),
        ("failed to resolve host: 'nn': Name or service not known", "name is unknown", "address"),
        (
            "* daemon not running; starting now at tcp:15037\nADB server didn't ACK\n"
            "could not install *smartsocket* listener: Address already in use\n* failed to start daemon *\n"
            "error: cannot connect to daemon",
            "server does not work",
            "port",
        ),
        ("recovery", "is not ready", "Android"),
        ("error: closed", "is not ready", "Android"),
        ("sh: printf: inaccessible or not found", "did not run a command", "adb shell"),
    ],
)
def test_words_of_adb(said, message, hint):
    error = adb_problem("adb:X", said, {"A": "device", "B": "offline"}, again=False)
    assert type(error) is DeviceError
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("ssh: connect to host board port 22: Connection refused", True),
        ("ssh: connect to host board port 22: No route to host", True),
        ("Connection timed out during banner exchange", True),
        ("ssh: Could not resolve hostname board: Temporary failure in name resolution", True),
        ("pi@board: Permission denied (publickey).", False),
        (CHANGED, False),
    ],
)
def test_while_reconnecting_what_may_pass_is_tried_again(said, passes):
    error = ssh_problem("ssh://board", ADDRESS, said, again=True)
    assert isinstance(error, ConnectionLostError) is passes


def test_an_offline_device_may_come_back():
    assert isinstance(adb_problem("adb:X", "error: device offline", {}, again=True), ConnectionLostError)
    assert not isinstance(adb_problem("adb:X", UNAUTHORIZED, {}, again=True), ConnectionLostError)


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("tar: a: Cannot write: No space left on device", "no space left", "--clean"),
        ("cat: write error: Disk quota exceeded", "no space left", "--clean"),
        ("mkdir: can't create directory '/x': Read-only file system", "read-only", "worn out"),
        ("mkdir: cannot create directory '/x': Permission denied", "cannot be written", "XDG_CACHE_HOME"),
        ("mkdir: something new", "something new", ""),
    ],
)
def test_words_about_our_folder(said, message, hint):
    error = folder_problem("ssh://board", "/x", said)
    assert message in error.message
    assert hint in error.hint


def test_an_address_is_written_as_its_tools_want_it():
    assert str(SshAddress("fe80::1", 22, None)) == "[fe80::1]:22"
    assert SshAddress("fe80::1").command("ssh") == "ssh fe80::1"
    assert SshAddress("board", 22).known_as == "board"
    assert SshAddress("board", 2222).known_as == "[board]:2222"
