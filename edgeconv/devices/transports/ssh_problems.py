"""OpenSSH's words for a failure, and what to do about each.  The words are those of OpenSSH 7.6 to 10."""

from __future__ import annotations

import dataclasses
import shlex

from edgeconv.devices.transports.problems import Problem, explain, last_words
from edgeconv.errors import ConnectionLostError, DeviceError

__all__ = ["SshAddress", "ssh_problem"]


@dataclasses.dataclass(frozen=True)
class SshAddress:
    """Where to; what is None is left to the user's configuration."""

    host: str
    port: int | None = None
    user: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user + '@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"

    def command(self, tool: str, *, port_flag: str = "-p") -> str:
        """A command line of one of OpenSSH's tools for this address."""
        port = [port_flag, str(self.port)] if self.port else []
        name = f"{self.user}@{self.host}" if self.user else self.host
        return shlex.join([tool, *port, name])

    @property
    def known_as(self) -> str:
        """Its name in known_hosts."""
        return f"[{self.host}]:{self.port}" if self.port and self.port != 22 else self.host


_PROBLEMS = (
    Problem(
        "remote host identification has changed|host key for .* has changed",
        "The host key of {where} is not the one that known_hosts has: another machine answers there, or it was "
        "installed anew.",
        "If it was installed anew, forget the old key: ssh-keygen -R '{known_as}', then accept the new one: {ssh}.",
    ),
    Problem(
        "host key verification failed|no .* host key is known for",
        "The host key of {where} is not in known_hosts, so nobody can say which machine answers there.",
        "See its fingerprint and accept it once: {ssh}.",
    ),
    Problem(
        "permission denied \\(|too many authentication failures|no supported authentication methods",
        "{where} does not let this user in: {said}.",
        "No password can be typed here. Set up a key: {copy_id}; then this must work without a question: {ssh} true. "
        "Is the user's name right?",
    ),
    Problem(
        "could not resolve hostname",
        "{where}: the host's name is unknown: {said}.",
        "Check the name; a board's own name often needs .local behind it. An address works too.",
        passing=True,
    ),
    Problem(
        "connection refused",
        "{where} refuses the connection: the machine is there, but no SSH server listens: {said}.",
        "Start it there (Raspberry Pi: raspi-config, Interface Options, SSH), or name its port: ssh://host:port.",
        passing=True,
    ),
    Problem(
        "timed out|timeout",
        "{where} does not answer: {said}.",
        "Is it switched on and on this network? Does a firewall drop what is sent to it?",
        passing=True,
    ),
    Problem(
        "no route to host|network is unreachable|host is down",
        "{where} cannot be reached: {said}.",
        "Is it switched on and on this network?",
        passing=True,
    ),
    Problem(
        "bad configuration option|terminating, \\d+ bad configuration|unsupported option|bad owner or permissions on",
        "ssh does not accept its configuration: {said}.",
        "Try by hand: {ssh} true.",
    ),
    Problem(
        "connection (reset|closed)|broken pipe|kex_exchange_identification|mux_client|control socket|not responding",
        "{where} closed the connection: {said}.",
        "Try by hand: {ssh} true.",
        passing=True,
    ),
)


def ssh_problem(where: str, address: SshAddress, said: str, *, again: bool) -> DeviceError:
    """Why ssh did not run a command; while reconnecting (`again`) what may pass is a `ConnectionLostError`."""
    facts = {
        "where": where,
        "known_as": address.known_as,
        "ssh": address.command("ssh"),
        "copy_id": address.command("ssh-copy-id"),
    }
    error = explain(_PROBLEMS, said, facts)
    if error is None:
        return _unknown(where, facts["ssh"], said)
    if isinstance(error, ConnectionLostError) and not again:
        return DeviceError(error.message, error.hint)
    return error


def _unknown(where: str, ssh: str, said: str) -> DeviceError:
    return DeviceError(
        f"{where} did not run a command: {last_words(said)}.",
        f"This must work, and print nothing else: {ssh} uname. Does a start-up file there end the shell?",
    )
