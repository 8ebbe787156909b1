"""adb's words for a failure, and what to do about each.  The words are those of adb 29 to 36."""

from __future__ import annotations

from edgeconv.devices.transports.problems import Problem, explain, last_words
from edgeconv.errors import ConnectionLostError, DeviceError

__all__ = ["adb_problem"]

_DEBUGGING = "On the phone: Settings, System, Developer options, USB debugging on."

_PROBLEMS = (
    Problem(
        "unauthorized|failed to authenticate|confirmation dialog",
        "{where} does not trust this machine yet (unauthorized).",
        'Unlock the phone and accept "Allow USB debugging?", then try again. No dialog? Developer options, Revoke USB '
        "debugging authorisations, and plug it in anew.",
    ),
    Problem(
        "no permissions|insufficient permissions|access denied",
        "{where} is plugged in, but this user may not use it: {said}.",
        "Add a udev rule: apt-get install android-sdk-platform-tools-common, and the user to the group plugdev; then "
        "plug it in anew.",
    ),
    Problem(
        "more than one device",
        "Several devices are connected.",
        "Name one, as adb:SERIAL: {known}.",
    ),
    Problem(
        "offline",
        "{where} is offline: it is connected and does not answer.",
        "Wake it up; else plug it in anew, or switch USB debugging off and on.",
        passing=True,
    ),
    Problem(
        "device '.*' not found|no devices|no device found",
        "{where} is not connected. Connected are: {known}.",
        f"{_DEBUGGING} Does the cable carry data? Over the network: adb:HOST:PORT.",
        passing=True,
    ),
    Problem(
        "failed to resolve|name or service not known|cannot resolve|no address associated",
        "{where}: the host's name is unknown: {said}.",
        "Check the name, or write an address.",
    ),
    Problem(
        "failed to connect|cannot connect to (?!daemon)|connection refused|timed out|no route to host",
        "{where} cannot be reached: {said}.",
        "Is wireless debugging on, and is this its port? (With a cable: adb tcpip 5555.)",
        passing=True,
    ),
    Problem(
        "cannot connect to daemon|server version|failed to check server version|smartsocket",
        "adb's server does not work: {said}.",
        "Another program may use its port.",
    ),
    Problem(
        "closed|protocol fault|connection reset|connecting|bootloader|recovery|sideload|rescue",
        "{where} is not ready: {said}.",
        "Wait until Android has started there.",
        passing=True,
    ),
)


def adb_problem(where: str, said: str, known: dict[str, str], *, again: bool) -> DeviceError:
    """Why adb did not run a command; while reconnecting (`again`) what may pass is a `ConnectionLostError`."""
    listed = ", ".join(f"{serial} ({state})" for serial, state in known.items()) or "none"
    error = explain(_PROBLEMS, said, {"where": where, "known": listed})
    if error is None:
        return DeviceError(f"{where} did not run a command: {last_words(said)}.", "Try by hand: adb shell uname.")
    if isinstance(error, ConnectionLostError) and not again:
        return DeviceError(error.message, error.hint)
    return error
