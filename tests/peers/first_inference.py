"""Seconds from `bench` to the first inference: `python tests/peers/first_inference.py BUNDLE TARGET [RUNTIME]`.

The run is made twice: the first brings the bundle and its wheels to the target, the second finds them there and counts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from edgeconv.benchmarks.run import run_benchmark
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.bundles import load_bundle

_FIRST = "first"  # the phase that the agent tells right after an inference of which the time counts


def seconds_to_first(bundle: Path, target: str, runtime: str) -> float:
    """From reading the bundle to the agent's word that the first inference is done."""
    began = time.monotonic()
    seen: list[float] = []

    def events(event: dict[str, object]) -> None:
        if event.get("phase") == _FIRST and not seen:
            seen.append(time.monotonic() - began)

    settings = RunSettings.counted(1)
    run_benchmark(
        load_bundle(bundle), target, runtimes=[runtime], precisions=["int8"], settings=settings, events=events
    )
    return seen[0]


if __name__ == "__main__":
    where, runtime_name = sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "litert"
    for what in ("first time", "bundle there"):
        print(f"{what}: {seconds_to_first(Path(sys.argv[1]), where, runtime_name):.1f} s")
