"""A target that is reached through a POSIX shell: what SSH and adb have in common.

Only sh, env, cat, tar, sha256sum, df, find and their like are used there, in the forms that coreutils, busybox and
Android's toybox share, so a target needs nothing installed for files to be sent and commands to be run.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from edgeconv.devices.transports.base import SILENCE_SECONDS, Completed, PushProgress, ignore_progress
from edgeconv.devices.transports.exchange import Exchanged, exchange
from edgeconv.devices.transports.fence import Fence, Fenced
from edgeconv.devices.transports.hello import Hello, new_run_name
from edgeconv.devices.transports.patience import patiently
from edgeconv.devices.transports.problems import folder_problem, known_folder_problem, last_words
from edgeconv.devices.transports.upload import Upload
from edgeconv.errors import ConnectionLostError, DeviceError

__all__ = ["SHORT_SECONDS", "ShellTransport"]

SHORT_SECONDS = 60.0  # for what a target does at once, even an emulated one
_PULL_SECONDS = 600.0
_KILL_SECONDS = 10.0
_SLOWEST_UPLOAD = 50_000  # bytes a second; slower than that is taken for a link that does not work
_ATTEMPTS = 3  # at sending what arrives damaged


class ShellTransport(abc.ABC):
    """Everything but how a script gets there and how its failures read."""

    _client_environment: Mapping[str, str] | None = None  # of the client here; ours by default

    def __init__(self, where: str) -> None:
        """`where` is the target as the user wrote it; nothing is connected before `open`."""
        self._where = where
        self._run_name = new_run_name()
        self._worked = False

    def open(self) -> None:
        """Connect.

        Raises:
            DeviceError: the target cannot be reached, or our folder cannot be made there.
        """
        try:
            self._greet()
        except BaseException:
            self._disconnect()
            raise
        self._worked = True

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_seconds: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Through the target's shell, each word quoted."""
        script = f"cd {shlex.quote(self.workspace)} && {_command(command, {**self._environment(), **environment})}"
        found = self._talk(script, timeout_seconds, on_line=on_line)
        return Completed(found.returncode, *(text.decode(errors="replace") for text in (found.stdout, found.stderr)))

    def push(self, source: Path, *, progress: PushProgress = ignore_progress) -> str:
        """By content hash, into our folder; see `Upload`."""
        upload = Upload(self._where, self.folder, self._run_name, source)
        patiently(lambda: self._send(upload, progress))
        return upload.destination

    def pull(self, source: str) -> bytes:
        """Through the target's `cat`."""
        found = patiently(lambda: self._talk(f"cat {shlex.quote(source)}", _PULL_SECONDS))
        if found.returncode != 0:
            said = found.stderr.decode(errors="replace").strip()
            raise DeviceError(f"{source} cannot be fetched from {self._where}: {said or 'it took too long'}.")
        return found.stdout

    def clean(self) -> None:
        """Remove our whole folder; the workspace goes with it."""
        self._remove(self.folder)

    def close(self) -> None:
        """Remove the workspace, as far as the target can still be reached."""
        try:
            if self._worked:
                with suppress(DeviceError):
                    self._remove(self.workspace)
        finally:
            self._disconnect()

    @abc.abstractmethod
    def _greet(self) -> None:
        """Make the connection anew and pass the answer to `_meet`."""

    @abc.abstractmethod
    def _connected(self) -> bool:
        """Whether the connection is up, as far as is known without asking the target."""

    @abc.abstractmethod
    def _disconnect(self) -> None:
        """End the connection; never fails."""

    @abc.abstractmethod
    def _argv(self, script: str) -> list[str]:
        """The command that runs `script` on the target."""

    @abc.abstractmethod
    def _refusal(self, heard: Exchanged) -> DeviceError:
        """Why the target did not begin with a script."""

    def _environment(self) -> dict[str, str]:
        return {}

    def _meet(self, hello: Hello) -> None:
        self.folder, self.workspace = hello.folder, hello.workspace
        self.python, self.system = hello.python, hello.system

    def _remove(self, folder: str) -> None:
        found = self._talk(f"rm -rf {shlex.quote(folder)}", SHORT_SECONDS)
        if found.returncode != 0:
            raise folder_problem(self._where, folder, found.stderr.decode(errors="replace"))

    def _send(self, upload: Upload, progress: PushProgress) -> None:
        said = ""
        for _ in range(_ATTEMPTS):
            missing = upload.missing(self._ask(upload.question()))
            if missing is None:
                return
            seconds = SHORT_SECONDS + missing.total_bytes / _SLOWEST_UPLOAD
            sent = self._talk(missing.script(), seconds, feed=missing.stream(progress))
            if sent.returncode == 0:
                return
            if sent.returncode is None:
                raise ConnectionLostError(f"{self._where} did not take {missing.total_bytes} bytes in {seconds:.0f} s.")
            said = sent.stderr.decode(errors="replace")
            self._give_up_when_full(said)
            # Damaged on the way, or another run that sends the same has just taken it away: ask again.
        raise DeviceError(
            f"{self._where}: what was sent did not arrive as it was, {_ATTEMPTS} times: {last_words(said)}.",
            "Check the target's storage and memory; do its tar and sha256sum work?",
        )

    def _ask(self, script: str) -> str:
        found = self._talk(script, SHORT_SECONDS)
        if found.returncode is None:
            raise ConnectionLostError(f"{self._where} did not answer within {SHORT_SECONDS:.0f} s.")
        if found.returncode != 0:
            raise folder_problem(self._where, self.folder, found.stderr.decode(errors="replace"))
        return found.stdout.decode(errors="replace")

    def _give_up_when_full(self, said: str) -> None:
        """Where the target cannot write, what did arrive is removed: it is to be no worse off than before."""
        problem = known_folder_problem(self._where, self.folder, said)
        if problem is not None:
            with suppress(DeviceError):
                self._talk(f"rm -rf {shlex.quote(self.folder)}/incoming/{self._run_name}", SHORT_SECONDS)
            raise problem

    def _talk(
        self,
        script: str,
        timeout_seconds: float,
        *,
        feed: Iterable[bytes] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Fenced:
        """Run a script there; `returncode` is None where it took too long and was ended.

        Raises:
            ConnectionLostError: the connection dropped, or cannot be made again.
            DeviceError: the target did not begin with it.
        """
        if not self._connected():
            self._greet()
        fence = Fence(on_line)
        heard: Exchanged | None = None
        try:
            heard = exchange(
                self._argv(fence.wrap(script)),
                timeout_seconds=timeout_seconds,
                feed=feed,
                on_line=fence.hear,
                silence_seconds=math.inf if on_line is None else SILENCE_SECONDS,
                environment=self._client_environment,
            )
        finally:
            if heard is None or heard.returncode is None:  # it took too long, or we were interrupted
                self._end_group(fence.group)
        found = fence.find(heard.stdout, heard.stderr)
        if heard.silent:
            raise ConnectionLostError(f"{self._where} has said nothing for {SILENCE_SECONDS:.0f} s.")
        if heard.returncode is None:
            return dataclasses.replace(found, returncode=None)
        if not found.begun:
            raise self._refusal(heard)
        if found.returncode is None:
            raise ConnectionLostError(f"The connection to {self._where} dropped.")
        return found

    def _end_group(self, group: int | None) -> None:
        """Best effort: where the target cannot be reached there is nothing to be done."""
        if group is not None:
            script = f"kill -TERM -{group}; sleep 1; kill -KILL -{group}"
            exchange(self._argv(script), timeout_seconds=_KILL_SECONDS, environment=self._client_environment)


def _command(command: Sequence[str], environment: Mapping[str, str]) -> str:
    return shlex.join(["env", *(f"{name}={value}" for name, value in environment.items()), *command])
