"""The child process of `locate_break`: ``python -m edgeconv.parity.locate.child TASK``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgeconv.bundles import load_bundle
from edgeconv.errors import EdgeconvError
from edgeconv.files import atomic_write_bytes
from edgeconv.schema import to_json

__all__ = ["main"]

_FAILED = 3


def main(arguments: list[str]) -> int:
    """Write the location as JSON; an error of ours is one line on standard error."""
    from edgeconv.parity.locate.modules import locate_in_export
    from edgeconv.parity.locate.search import locate_in_artifact

    task = json.loads(arguments[0])
    try:
        bundle = load_bundle(Path(task["bundle"]))
        if task["model"] is not None:
            weights = Path(task["weights"]) if task["weights"] else None
            location = locate_in_export(bundle, task["runtime"], task["precision"], task["model"], weights)
        else:
            location = locate_in_artifact(bundle, task["runtime"], task["precision"])
    except EdgeconvError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _FAILED
    atomic_write_bytes(Path(task["answer"]), to_json(location).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
