"""`edgeconv devices emulate`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import EXIT_FAILED, Terminal
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.devices.emulate.boards import Board
    from edgeconv.devices.emulate.guest import Guest

__all__ = ["EmulatedBoard", "EmulatedBoards", "emulate"]

_Flag = Parameter(negative="", show_default=False)


@dataclasses.dataclass(frozen=True)
class EmulatedBoard:
    """A running guest, as --json tells it; `clock` is "wall" or "virtual", `on` and `target` are for --on."""

    board: str
    cpu: str
    clock: str
    profile: str
    on: str
    target: str
    login: str
    pid: int
    serial_log: str


@dataclasses.dataclass(frozen=True)
class EmulatedBoards:
    """All that run."""

    boards: list[EmulatedBoard]


def emulate(
    board: str | None = None,
    /,
    *,
    deterministic: Annotated[bool, _Flag] = False,
    stop: Annotated[bool, _Flag] = False,
    list_: Annotated[bool, Parameter(name="--list", negative="", show_default=False)] = False,
    rebuild: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Boot an emulated arm64 board in the background, for those without one.

    The image is built once, which takes half a minute and needs the network; then a boot takes some seconds. What is
    written on the board is gone when it is stopped. A latency from it is no device's: it tells the order of things,
    and with `--deterministic` it repeats to 0.05 %.

    Example: `edgeconv devices emulate pi5`, then `edgeconv bench bundles/vessels-raspberry-pi-5 --on emulated:pi5`, and
    `edgeconv devices emulate pi5 --stop`.

    Parameters
    ----------
    board
        pi4, pi5, orin or android; what runs with --list; none with --stop stops all.
    deterministic
        One core whose clock counts instructions, 1 ns each: a latency repeats to 0.05 % whatever the host does.
    stop
        Stop the board.
    list_
        List the boards that run.
    rebuild
        Build the image again.
    json
        Print what runs as JSON.
    """
    if stop and (list_ or rebuild or (deterministic and board is None)):
        raise UsageError("--stop goes with the name of a board, or alone for all of them.")
    if list_ and (board is not None or deterministic or rebuild):
        raise UsageError("--list goes alone, or with --json.")
    terminal = Terminal(json)
    if list_:
        return _list(terminal, json)
    if stop:
        return _stop(terminal, None if board is None else _find(board, deterministic))
    if board is None:
        raise UsageError(
            "Which board?", "For instance: edgeconv devices emulate pi5. There are pi4, pi5, orin, android."
        )
    return _start(terminal, _find(board, deterministic), rebuild, json)


def _find(name: str, deterministic: bool) -> Board:
    from edgeconv.devices.emulate.boards import find_board

    board = find_board(name)
    return find_board(f"{name}-deterministic") if deterministic and not board.deterministic else board


def _start(terminal: Terminal, board: Board, rebuild: bool, json: bool) -> int:
    from edgeconv.devices.emulate.running import find_running, start_running
    from edgeconv.devices.emulate.systems import board_image
    from edgeconv.devices.emulate.tools import require_tools

    guest = None if rebuild else find_running(board)
    if guest is None:
        require_tools("qemu-system-aarch64")
        with terminal.stages("emulate") as progress:
            image = board_image(board.system, progress=progress, rebuild=rebuild)
            guest = start_running(board, image, progress=progress, replace=rebuild)
    told = _tell(guest)
    if json:
        terminal.print_json(told)
        return 0
    terminal.done(f"{told.board} runs: {told.cpu}, {told.clock} clock")
    lines = (
        ("measure on it", f"--on {told.on}"),
        ("log in", told.login),
        ("console", told.serial_log),
        ("stop it", f"edgeconv devices emulate {told.board} --stop"),
    )
    for words, value in lines:
        terminal.console.print(f"  {words:14} {value}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _stop(terminal: Terminal, board: Board | None) -> int:
    from edgeconv.devices.emulate.running import list_running, stop_running

    boards = [guest.board for guest in list_running()] if board is None else [board]
    stopped = [found.name for found in boards if stop_running(found)]
    if stopped:
        terminal.done(f"stopped {', '.join(stopped)}")
        return 0
    terminal.console.print(f"{board.name} does not run." if board else "No emulated board runs.", highlight=False)
    return EXIT_FAILED if board else 0


def _list(terminal: Terminal, json: bool) -> int:
    from edgeconv.devices.emulate.running import list_running
    from edgeconv.tables import plain_table

    told = EmulatedBoards([_tell(guest) for guest in list_running()])
    if json:
        terminal.print_json(told)
    elif not told.boards:
        terminal.console.print("No emulated board runs.")
    else:
        table = plain_table("board", "cpu", "clock", "--on", "log in")
        for guest in told.boards:
            table.add_row(guest.board, guest.cpu, guest.clock, guest.on, guest.login)
        terminal.console.print(table)
    return 0


def _tell(guest: Guest) -> EmulatedBoard:
    from edgeconv.devices.emulate.login import login

    board, way = guest.board, login(guest)
    return EmulatedBoard(
        board=board.name,
        cpu=board.cpu,
        clock=board.clock,
        profile=board.profile,
        on=f"emulated:{board.name}",
        target=way.target,
        login=way.command,
        pid=guest.pid,
        serial_log=str(guest.serial_log),
    )
