"""What an agent on a target says when it fails."""

from __future__ import annotations

import json

from edgeconv.devices.transports import Completed

__all__ = ["failure_words"]


def failure_words(done: Completed) -> str:
    """Why the agent ended: its own line of JSON, else the signal, else the last line on standard error."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            told = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(told, dict) and "error" in told:
            return f"{told['error']} {told.get('hint', '')}".strip()
    if done.returncode is None:
        return "it took too long"
    if done.returncode < 0:
        return f"the agent was killed by signal {-done.returncode}"
    return lines[-1] if lines else f"the agent ended with exit code {done.returncode}"
