"""How long a target's transport takes: `python tests/peers/transports.py ssh://pi@raspberrypi.local [MEBIBYTES]`."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edgeconv.devices.transports import open_transport

_COMMANDS = 20


@contextmanager
def timed(what: str, count: int = 1) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what:28} {(time.perf_counter() - began) / count:8.3f} s")


def main(target: str, mebibytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "random").write_bytes(random.Random(time.time_ns()).randbytes(mebibytes << 20))
        with timed("connect"):
            transport = open_transport(target)
        with closing(transport):
            with timed("command", _COMMANDS):
                for _ in range(_COMMANDS):
                    transport.run(["true"], environment={}, timeout_seconds=60)
            with timed(f"push {mebibytes} MiB"):
                there = transport.push(Path(folder))
            with timed("push again"):
                transport.push(Path(folder))
            with timed(f"pull {mebibytes} MiB"):
                transport.pull(f"{there}/random")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 32)
