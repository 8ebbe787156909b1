"""How one gets into a guest with plain tools: OpenSSH or adb."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

from edgeconv.devices.emulate.debian import USER
from edgeconv.devices.emulate.guest import HOST, Guest
from edgeconv.files import atomic_write_bytes

__all__ = ["Login", "SshLogin", "login", "ssh_login"]


@dataclasses.dataclass(frozen=True)
class Login:
    """`target` is the guest's address in the form that --on takes, `command` a command line that opens a shell."""

    target: str
    command: str


@dataclasses.dataclass(frozen=True)
class SshLogin:
    """What OpenSSH is given; with `config` it takes `ssh -F config <board>`, and one's own may include it."""

    user: str
    identity: Path
    known_hosts: Path
    config: Path


def ssh_login(guest: Guest) -> SshLogin:
    """Write the files of a Debian guest's login beside its console's log."""
    identity = guest.image.directory / "id_ed25519"
    known_hosts, config = guest.directory / "known_hosts", guest.directory / "ssh_config"
    host_key = (guest.image.directory / "host_key.pub").read_text(encoding="utf-8")
    atomic_write_bytes(known_hosts, f"[{HOST}]:{guest.port} {host_key}".encode())
    lines = [
        f"Host {guest.board.name}",
        f"  HostName {HOST}",
        f"  Port {guest.port}",
        f"  User {USER}",
        f'  IdentityFile "{identity}"',
        "  IdentitiesOnly yes",
        f'  UserKnownHostsFile "{known_hosts}"',
        "  StrictHostKeyChecking yes",
    ]
    atomic_write_bytes(config, ("\n".join(lines) + "\n").encode())
    return SshLogin(USER, identity, known_hosts, config)


def login(guest: Guest) -> Login:
    """How to get in by hand."""
    return _LOGINS[guest.board.system](guest)


def _debian(guest: Guest) -> Login:
    config = ssh_login(guest).config
    return Login(f"ssh://{USER}@{HOST}:{guest.port}", shlex.join(["ssh", "-F", str(config), guest.board.name]))


def _android(guest: Guest) -> Login:
    serial = f"{HOST}:{guest.port}"
    return Login(f"adb:{serial}", f"adb connect {serial} && adb -s {serial} shell")


_LOGINS: dict[str, Callable[[Guest], Login]] = {"android": _android, "debian": _debian}
