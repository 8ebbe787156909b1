"""What a target's own words for a failure mean."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from edgeconv.errors import ConnectionLostError, DeviceError

__all__ = ["Problem", "explain", "folder_problem", "known_folder_problem", "last_words"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """Words that a tool says, and what to tell the user; `passing` ones may be gone when one tries again.

    `message` and `hint` may name {where}, {said} (the line with the words) and what `explain` is given besides.
    """

    words: str
    message: str
    hint: str
    passing: bool = False

    def error(self, facts: Mapping[str, str]) -> DeviceError:
        """The error to raise."""
        kind = ConnectionLostError if self.passing else DeviceError
        return kind(self.message.format(**facts), self.hint.format(**facts))


def explain(problems: Iterable[Problem], text: str, facts: Mapping[str, str]) -> DeviceError | None:
    """The first of `problems` whose words are in `text`."""
    for problem in problems:
        found = re.search(rf"^.*(?:{problem.words}).*$", text, re.MULTILINE | re.IGNORECASE)
        if found:
            return problem.error({**facts, "said": found.group().strip().rstrip(".")})
    return None


_FOLDER = (
    Problem(
        "no space left|disk quota exceeded|file too large",
        "{where} has no space left for {folder}: {said}.",
        "Make room there, or remove what earlier runs left: edgeconv bench BUNDLE --on {where} --clean.",
    ),
    Problem(
        "read-only file system",
        "{where}: {folder} is on a file system that is read-only: {said}.",
        "Mount it for writing there; a card that has gone read-only by itself is often worn out.",
    ),
    Problem(
        "permission denied|operation not permitted",
        "{where}: {folder} cannot be written by the user who logs in: {said}.",
        "Give it to that user, or set XDG_CACHE_HOME there to a folder that may be written.",
    ),
)


def known_folder_problem(where: str, folder: str, said: str) -> DeviceError | None:
    """Why something could not be written to our folder on the target called `where`, where its words are known."""
    return explain(_FOLDER, said, {"where": where, "folder": folder})


def folder_problem(where: str, folder: str, said: str) -> DeviceError:
    """The same, with its own words where they are not."""
    known = known_folder_problem(where, folder, said)
    return known or DeviceError(f"{where}: {folder} cannot be used: {last_words(said)}.")


def last_words(said: str) -> str:
    """The last lines of what was said, in one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[:300] or "nothing was said"
