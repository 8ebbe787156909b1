"""What the verbs share: a console, progress that stays out of the way of `--json`, and JSON on standard output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["EXIT_FAILED", "Terminal"]

EXIT_FAILED = 1  # a verdict failed


class Terminal:
    """Tables and progress go to the terminal; with `json` everything but the JSON goes to standard error."""

    def __init__(self, json: bool = False) -> None:
        self.console = Console(stderr=json)

    @contextlib.contextmanager
    def stages(self, what: str) -> Iterator[Callable[[str], None]]:
        """A spinner that names the stage at work; yields the function that a stage is announced with."""
        columns = SpinnerColumn(), TextColumn(f"{what}: {{task.description}}"), TimeElapsedColumn()
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task("starting")
            yield lambda stage: bar.update(task, description=stage)

    @contextlib.contextmanager
    def steps(self, what: str) -> Iterator[Callable[[int, int, str], None]]:
        """A bar for counted work; yields a function of (done, total, description)."""
        columns = (
            SpinnerColumn(),
            TextColumn(f"{what}: {{task.description}}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task("starting", total=None)

            def update(done: int, total: int, description: str) -> None:
                bar.update(task, completed=done, total=total, description=description)

            yield update

    def done(self, text: str) -> None:
        """Say that something was made, most often the path of a file: literally, in one line however long."""
        self.console.print("[green]✓[/] " + escape(text), highlight=False, soft_wrap=True)

    def print_json(self, value: Any) -> None:
        """Print a dataclass as JSON on standard output."""
        from edgeconv.schema import to_json

        print(to_json(value), end="")
