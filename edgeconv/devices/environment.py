"""Which Python runs a bundle's agent on a target: one made of what the bundle brings along, else the target's own."""

from __future__ import annotations

import posixpath

from edgeconv.benchmarks.agent.install import MARKER_NAME, WheelLock, read_lock
from edgeconv.bundles import LOCK_PATH, PACK_PATH, WHEELS_PATH, Bundle
from edgeconv.devices.agent_words import failure_words
from edgeconv.devices.transports import Completed, Transport
from edgeconv.devices.transports.local import LocalTransport
from edgeconv.errors import DeviceError
from edgeconv.files import sha256_file
from edgeconv.manifest import FileEntry

__all__ = ["prepare_python"]

_PACK_MACHINE = "aarch64"
_KEY_DIGITS = 16
_SHORT_SECONDS = 60.0
_UNPACK_SECONDS = 900.0  # a hundred megabytes on the slowest card

_IS_INSTALLED = f'[ -x "$0/bin/python3" ] && cat "$0/{MARKER_NAME}"'
# Atomic and repeatable; what unpackings left that were cut short is removed, one that still goes on is let alone.
# Utilities as in Android's toybox.
_UNPACK = """\
umask 077
[ -x "$2/run" ] && exit 0
for old in "$2".*; do kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old"; done
new=$2.$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new" && gzip -dc "$1" | tar -x -o -f - -C "$new" || exit 1
for sh in /bin/sh /system/bin/sh "$(command -v sh)"; do [ -x "$sh" ] && break; done
sed "1s|.*|#!$sh|" "$new/run" >"$new/start" && chmod 700 "$new/start" || exit 1
mv "$new/start" "$new/run" || exit 1
sync
[ -x "$2/run" ] && exit 0
rm -rf "$2" && mv "$new" "$2"
"""


def prepare_python(transport: Transport, bundle: Bundle, pushed_directory: str) -> list[str]:
    """The command that starts the Python for the bundle's agent, made ready on the target.

    A bundle with wheels gets an environment of ours, one with a pack its own Python; both are kept on the target for
    the next time. Without either the target's own Python is taken, whatever it has installed.

    Args:
        pushed_directory: where the bundle lies on the target.

    Raises:
        DeviceError: the bundle's wheels are for another machine, there is no room, or there is no Python at all.
    """
    files = {entry.path: entry for entry in bundle.manifest.files}
    if PACK_PATH in files:
        return _pack(transport, files[PACK_PATH], pushed_directory)
    if LOCK_PATH in files:
        return _environment(transport, bundle, pushed_directory)
    if transport.python:
        return transport.python
    found = transport.system.python_version
    raise DeviceError(
        f"The target has {f'Python {found}' if found else 'no Python'}, and the bundle brings none.",
        f"Export it again with --with-wheels, or install Python 3.8 or later on the target (device "
        f"{bundle.manifest.device}).",
    )


def _environment(transport: Transport, bundle: Bundle, pushed_directory: str) -> list[str]:
    lock = read_lock(bundle.directory / WHEELS_PATH)
    misfit = _misfit(transport, lock)
    if misfit and isinstance(transport, LocalTransport):
        return transport.python  # a look at another device's bundle on this machine, with what is installed here
    if misfit:
        raise DeviceError(
            f"The bundle's wheels are for {lock.machine}, Python {lock.python}; the target has {misfit}.",
            "Export the bundle for this board (edgeconv devices probe TARGET says which), or without --with-wheels.",
        )
    key = sha256_file(bundle.directory / LOCK_PATH)
    directory = posixpath.join(transport.folder, "environments", key[:_KEY_DIGITS])
    there = _run(transport, ["sh", "-c", _IS_INSTALLED, directory], _SHORT_SECONDS)
    if there.returncode == 0 and key in there.stdout:
        return [f"{directory}/bin/python3"]
    wheels = posixpath.join(pushed_directory, WHEELS_PATH)
    command = [*transport.python, posixpath.join(pushed_directory, "agent.pyz"), "install"]
    done = _run(transport, [*command, "--wheels", wheels, "--into", directory], _UNPACK_SECONDS)
    if done.returncode != 0:
        raise _failed("The bundle's wheels could not be installed on the target", done)
    return [f"{directory}/bin/python3"]


def _misfit(transport: Transport, lock: WheelLock) -> str | None:
    """What is there instead of what the wheels are for; the agent looks further, at the C library."""
    system = transport.system
    version = system.python_version or ""
    if system.machine != lock.machine or system.bits == 32:
        return f"{system.machine}{', 32-bit programs' if system.bits == 32 else ''}"
    if ".".join(version.split(".")[:2]) != lock.python or not transport.python:
        return f"Python {version}" if version else "no Python"
    return None


def _pack(transport: Transport, pack: FileEntry, pushed_directory: str) -> list[str]:
    system = transport.system
    if system.machine != _PACK_MACHINE:
        if isinstance(transport, LocalTransport):
            return transport.python
        raise DeviceError(
            f"The bundle brings a Python for {_PACK_MACHINE}; the target is {system.machine}.",
            "Export the bundle for this board (edgeconv devices probe TARGET says which).",
        )
    directory = posixpath.join(transport.folder, "packs", pack.sha256[:_KEY_DIGITS])
    archive = posixpath.join(pushed_directory, pack.path)
    done = _run(transport, ["sh", "-c", _UNPACK, "unpack", archive, directory], _UNPACK_SECONDS)
    if done.returncode != 0:
        raise _failed("The bundle's Python could not be unpacked on the target", done)
    return [f"{directory}/run"]


def _failed(what: str, done: Completed) -> DeviceError:
    return DeviceError(
        f"{what}: {failure_words(done)}",
        "Make room in its folder, or have it made anew: edgeconv bench BUNDLE --on TARGET --clean.",
    )


def _run(transport: Transport, command: list[str], timeout_seconds: float) -> Completed:
    return transport.run(command, environment={}, timeout_seconds=timeout_seconds)
