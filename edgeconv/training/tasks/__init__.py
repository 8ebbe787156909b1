"""The built-in tasks by name."""

from __future__ import annotations

import difflib

from edgeconv.errors import UsageError
from edgeconv.training.tasks.base import Recipe, Task
from edgeconv.training.tasks.deblur import DeblurTask
from edgeconv.training.tasks.vessels import VesselsTask
from edgeconv.training.tasks.vessels_factorizer import VesselsFactorizerTask

__all__ = ["Recipe", "Task", "get_task", "task_names"]

_TASKS: dict[str, Task] = {task.name: task for task in (VesselsTask(), DeblurTask(), VesselsFactorizerTask())}


def task_names() -> list[str]:
    """Names that `get_task` knows, sorted."""
    return sorted(_TASKS)


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UsageError: no task has it; the near ones are suggested.
    """
    if name in _TASKS:
        return _TASKS[name]
    near = difflib.get_close_matches(name, task_names(), n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(task_names())}."
    raise UsageError(f"There is no task named {name!r}.", hint)
