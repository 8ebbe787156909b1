"""``ssh://[user@]host[:port]`` by the system's OpenSSH, over one connection that all commands share.

OpenSSH and not asyncssh or paramiko, since only it understands all of a user's configuration: ~/.ssh/config with its
ProxyJump, Match and Include, agents, hardware keys and known_hosts apply here exactly as at the user's own prompt.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edgeconv.devices.transports.base import Transport
from edgeconv.devices.transports.exchange import Exchanged
from edgeconv.devices.transports.hello import hello_script, parse_hello
from edgeconv.devices.transports.shell import ShellTransport
from edgeconv.devices.transports.ssh_master import SshMaster, remote_command
from edgeconv.devices.transports.ssh_problems import SshAddress, ssh_problem
from edgeconv.errors import DeviceError

__all__ = ["SshTransport", "open_ssh"]

_ROOT = '"${XDG_CACHE_HOME:-$HOME/.cache}/edgeconv/target"'
_ADDRESS = re.compile(r"//(?:(?P<user>[^@/]*)@)?(?P<host>\[[^]/]+\]|[^:@/\[\]]+)(?::(?P<port>[0-9]+))?/?")
_LONGEST_SOCKET_FOLDER = 60  # a socket's whole path may have 104 bytes, and ssh adds some of its own

# Nothing may ask, nothing of the user's configuration for interactive use may get in the way, no wait is endless.
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ControlPersist": "no",
}


class SshTransport(ShellTransport):
    """A host that OpenSSH reaches.

    Args:
        host: a name or address, or an alias of ~/.ssh/config.
        port: None leaves it to the configuration.
        user: None leaves it to the configuration.
        identity: a private key, used instead of the user's own ones.
        known_hosts: the file of host keys, used instead of the user's own one.
        options: further arguments for ssh.
        where: what messages call it.

    Raises:
        DeviceError: it cannot be reached; see `ssh_problems`.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        user: str | None = None,
        identity: Path | None = None,
        known_hosts: Path | None = None,
        options: Sequence[str] = (),
        where: str | None = None,
    ) -> None:
        self._address = SshAddress(host, port, user)
        super().__init__(where or f"ssh://{self._address}")
        if shutil.which("ssh") is None:
            raise DeviceError(
                "ssh:// needs OpenSSH's ssh, which is not installed here.",
                "Install it: apt-get install openssh-client (Debian, Ubuntu), dnf install openssh-clients (Fedora).",
            )
        folder = tempfile.gettempdir() if len(tempfile.gettempdir()) < _LONGEST_SOCKET_FOLDER else "/tmp"
        self._directory = Path(tempfile.mkdtemp(prefix="edgeconv-ssh-", dir=folder))
        self._command = ["ssh", *options, "-S", f"{self._directory}/s"]
        for name, value in _OPTIONS.items():
            self._command += ["-o", f"{name}={value}"]
        if identity is not None:
            self._command += ["-i", str(identity), "-o", "IdentitiesOnly=yes"]
        if known_hosts is not None:
            self._command += ["-o", f'UserKnownHostsFile="{known_hosts}"', "-o", "GlobalKnownHostsFile=/dev/null"]
        self._command += [*(("-p", str(port)) if port else ()), *(("-l", user) if user else ())]
        self._host = host
        self._master: SshMaster | None = None
        self.open()

    def _greet(self) -> None:
        if self._master is not None:
            self._master.close()
        self._master = SshMaster([*self._command, "-M", "--", self._host], self._directory / "said")
        answer = self._master.ask(hello_script(_ROOT, self._run_name))
        if answer is None:
            raise ssh_problem(self._where, self._address, self._master.said(), again=self._worked)
        self._meet(parse_hello(self._where, self._run_name, answer))

    def _connected(self) -> bool:
        return self._master is not None and self._master.alive()

    def _disconnect(self) -> None:
        if self._master is not None:
            self._master.close()
        with suppress(OSError):
            shutil.rmtree(self._directory)

    def _argv(self, script: str) -> list[str]:
        return [*self._command, "--", self._host, remote_command(script)]

    def _refusal(self, heard: Exchanged) -> DeviceError:
        said = (heard.stderr + b"\n" + heard.stdout).decode(errors="replace")
        return ssh_problem(self._where, self._address, said, again=True)


def open_ssh(rest: str) -> Transport:
    """``ssh://[user@]host[:port]``.

    Raises:
        DeviceError: that is not its form, or the host cannot be reached.
    """
    found = _ADDRESS.fullmatch(rest)
    user, host = (found["user"], found["host"].strip("[]")) if found else (None, "")
    port = int(found["port"]) if found and found["port"] else None
    odd = any(part.startswith("-") or re.search(r"[\s\0-\x1f]", part) for part in (host, user or ""))
    if found is None or odd or user == "" or (port is not None and not 0 < port < 65536):
        raise DeviceError(f"ssh:{rest} is no address.", "Write ssh://host, ssh://user@host or ssh://user@host:port.")
    if user and ":" in user:
        raise DeviceError(
            "A target takes no password: it would be readable for every program here.",
            f"Set up a key: ssh-copy-id {user.partition(':')[0]}@{host}.",
        )
    return SshTransport(host, port, user)
