"""A real sshd of our own on 127.0.0.1, and an `ssh` on the PATH whose configuration is the test's."""

from __future__ import annotations

import dataclasses
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
    return path


@dataclasses.dataclass
class Sshd:
    """`home` is where a login lands; `PATH` and further variables of a login are in `environment`."""

    directory: Path
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    options: list[str] = dataclasses.field(default_factory=list)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = self.port or free_port()
        self.home = self.directory / "home"
        self.home.mkdir(parents=True)
        self.identity = make_key(self.directory / "user")
        self.host_key = make_key(self.directory / "host")
        self.known_hosts = self.directory / "known_hosts"
        self.config = self.directory / "config"
        self.authorized = self.directory / "authorized_keys"
        shutil.copy(f"{self.identity}.pub", self.authorized)
        self.trust(self.host_key)
        self.write_config()

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def target(self) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    def trust(self, key: Path) -> None:
        """Make `key` the one that known_hosts has."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {Path(f'{key}.pub').read_text()}")

    def write_config(self, *lines: str, identity: Path | None = None) -> None:
        """The user's ~/.ssh/config, with `lines` first."""
        identity = identity or self.identity
        own = (f"IdentityFile {identity}", "IdentitiesOnly yes", f"UserKnownHostsFile {self.known_hosts}")
        self.config.write_text("".join(f"{line}\n" for line in (*lines, *own, "GlobalKnownHostsFile /dev/null")))

    def put_on_path(self, folder: Path) -> None:
        """An `ssh` that is the real one with our configuration: OpenSSH looks up a user's own without asking $HOME."""
        folder.mkdir(exist_ok=True)
        wrapper = folder / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.config} "$@"\n')
        wrapper.chmod(0o755)

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # a root sshd insists on it
        variables = {"HOME": str(self.home), **self.environment}
        settings = [
            "ListenAddress=127.0.0.1",
            f"HostKey={self.host_key}",
            f"AuthorizedKeysFile={self.authorized}",
            "PidFile=none",
            "UsePAM=no",
            "StrictModes=no",
            "MaxStartups=100",
            "SetEnv=" + " ".join(f'"{name}={value}"' for name, value in variables.items()),
            *self.options,
        ]
        command = [shutil.which("sshd", path=_SEARCH) or "sshd", "-D", "-e", "-f", "/dev/null", "-p", str(self.port)]
        with (self.directory / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *(word for setting in settings for word in ("-o", setting))],
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError((self.directory / "sshd.log").read_text())

    def stop(self) -> None:
        """Take no new connections; those that are up stay."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop_all(self) -> None:
        """Off: nobody is served and nobody listens."""
        children = self.children()
        self.stop()
        _kill(children)

    def drop(self) -> None:
        """End every connection, as a network that is gone would: no word to the other side but a closed socket."""
        _kill(self.children())

    def children(self) -> list[int]:
        """The processes that serve a connection: they are called ``sshd: user...``."""
        if self.process is None:
            return []
        found, parents = [], [self.process.pid]
        while parents:
            parent = parents.pop()
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                for pid in map(int, children.read_text().split()):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sshd:"):
                        found.append(pid)
                        parents.append(pid)
        return found


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
