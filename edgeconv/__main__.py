"""The command line's entry point."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run `edgeconv` with the process's arguments."""
    from edgeconv.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
