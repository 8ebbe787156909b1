"""``agent.pyz job start|wait|stop``: a command of the agent that outlives the connection that started it.

`start` forks: the child leads a session of its own, and in it a supervisor waits for the command and writes how it
ended.  `start` and `wait` then watch it and tell one line of JSON for what it prints, one every few seconds otherwise,
and a last one; see `job_watch`.  Whoever loses the connection meanwhile asks again; the job does not notice.

Part of the device agent: Python 3.8, standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional

from edgeconv.benchmarks.agent.job_watch import (
    STARTED_ANEW,
    JobWatch,
    boot_id,
    killed_since,
    oom_kills,
    signal_group,
    started_ticks,
    write_json,
)
from edgeconv.errors import UsageError

__all__ = ["add_parser", "start", "stop", "wait"]

_POLL_SECONDS = 0.1
_TELL_SECONDS = 2.0
_STOP_SECONDS = 5.0
_A_DAY = 86_400.0


def add_parser(commands: Any, agent: Callable[[List[str]], int]) -> None:
    """Add `job` to the agent's commands; `agent` is what runs a command line."""
    actions = commands.add_parser("job", help="a command of the agent that outlives the connection").add_subparsers()
    starting = actions.add_parser("start", help="start it detached and wait for it")
    waiting = actions.add_parser("wait", help="wait for it again")
    stopping = actions.add_parser("stop", help="end it")
    for parser in (starting, waiting, stopping):
        parser.add_argument("--directory", type=Path, required=True, help="of its own, where its output goes")
    starting.add_argument("--limit-seconds", type=float, default=_A_DAY, help="it is ended then; default: %(default)s")
    starting.add_argument("--boot-id", help="only in this boot of the machine; one that began before it is lost")
    starting.add_argument("arguments", nargs=argparse.REMAINDER, help="-- and a command of the agent")

    def run_start(options: argparse.Namespace) -> None:
        arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
        if options.boot_id is not None and options.boot_id != boot_id() and not options.directory.exists():
            _tell({"state": "lost", "reason": STARTED_ANEW})
            return
        start(options.directory, options.limit_seconds, lambda: agent(arguments))

    starting.set_defaults(command=run_start)
    waiting.set_defaults(command=lambda options: wait(options.directory))
    stopping.set_defaults(command=lambda options: stop(options.directory))


def start(directory: Path, limit_seconds: float, work: Callable[[], int]) -> None:
    """Run `work` detached, with its output in `directory`, ended after `limit_seconds`; then `wait` for it.

    Where the directory has a job already, this only waits for that one: to start twice is to start once.

    Raises:
        UsageError: the directory cannot be made.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        wait(directory)
        return
    except OSError as error:
        raise UsageError(f"{directory} cannot be made: {error}.") from error
    if os.fork() == 0:
        _supervise(directory, limit_seconds, work)
    wait(directory)


def wait(directory: Path) -> None:
    """Tell what the job in `directory` does until it has ended; then how."""
    watch = JobWatch(directory)
    told = float("-inf")
    while True:
        last = watch.last()
        progress = watch.progress()
        if progress is not None or time.monotonic() >= told + _TELL_SECONDS:
            _tell({"state": "running", "progress": progress})
            told = time.monotonic()
        if last is not None:
            _tell(last)
            return
        time.sleep(_POLL_SECONDS)


def stop(directory: Path) -> None:
    """End the job in `directory` with all its processes; then tell how it ended."""
    watch = JobWatch(directory)
    last = watch.last()
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _STOP_SECONDS
        while last is None and time.monotonic() < until:
            watch.signal(number)
            time.sleep(_POLL_SECONDS)
            last = watch.last()
    _tell(last or {"state": "running", "progress": None})


def _supervise(directory: Path, limit_seconds: float, work: Callable[[], int]) -> NoReturn:
    """Lead the session; the child that does the work leaves by SystemExit, as any command does."""
    os.setsid()
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, str(directory / "stdout"), append),
        (2, str(directory / "stderr"), append),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    kills = oom_kills()
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)
        sys.exit(work())
    try:
        _see_through(directory, limit_seconds, worker, kills)
    finally:
        os._exit(0)  # the caller's stack is not ours to unwind


def _see_through(directory: Path, limit_seconds: float, worker: int, kills: Optional[int]) -> None:
    overdue: List[bool] = []

    def end(_number: int, _frame: object) -> None:
        overdue.append(True)
        signal_group(worker, signal.SIGKILL)

    me = os.getpid()
    job: Dict[str, Any] = {"supervisor": me, "worker": worker, "started_ticks": started_ticks(me)}
    try:
        write_json(directory / "job.json", {**job, "boot_id": boot_id(), "oom_kills": kills})
    except OSError:  # no space: nobody would know of it, so it does not run
        signal_group(worker, signal.SIGKILL)
        raise
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_seconds)  # counts time that passes: a clock that is set does not matter
    _, status = os.waitpid(worker, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal_group(worker, signal.SIGKILL)  # what it started and left
    returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    ended = {"returncode": returncode, "overdue": bool(overdue), "out_of_memory": killed_since(kills)}
    write_json(directory / "status.json", ended)


def _tell(line: Dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    except OSError:  # nobody is there to hear it; the job goes on
        os._exit(0)
