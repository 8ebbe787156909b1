"""Latency and quality of every artefact of one model, all loaded in one process on one core.

Run as ``measure.py PLAN.json RESULT.json ROUNDS``; the plan has the path of `evaluation.npz` and the `Measurement`s to
complete.  Each round goes through all artefacts in an order of its own; an artefact's turn is one inference that brings
its weights back into the caches, then the timed ones.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from artefacts import Artefact
from machine import CpuWatch
from results import Measurement, Quality

from edgeconv.errors import EdgeconvError
from edgeconv.parity.metrics import get_metric
from edgeconv.schema import from_dict

_TIMED_PER_TURN = 3
_SEED = 20240301


def main(plan_path: Path, result_path: Path, rounds: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before any runtime starts a thread
    plan = json.loads(plan_path.read_text())
    wanted = [from_dict(Measurement, item) for item in plan["measurements"]]
    evaluation = dict(np.load(plan["evaluation"]))
    done: list[Measurement] = []
    loaded: dict[int, Artefact] = {}
    for index, item in enumerate(wanted):
        if item.failure is not None:
            done.append(item)
            continue
        try:
            loaded[index] = artefact = Artefact(item.runtime, Path(item.path))
            quality, shifted = (_quality(artefact, evaluation, prefix) for prefix in ("", "shifted_"))
            done.append(dataclasses.replace(item, quality=quality, shifted=shifted))
        except EdgeconvError as error:
            done.append(dataclasses.replace(item, failure=str(error)))
    image = evaluation["input"][0]
    foreign_cores, times = _time({i: (a, a.feed(image)) for i, a in loaded.items()}, rounds)
    for index, rounds_ns in times.items():
        flat = [sample for turn in rounds_ns for sample in turn]
        done[index] = dataclasses.replace(
            done[index],
            port_type=loaded[index].port_type,
            rounds_ns=rounds_ns,
            median_ns=float(np.median(flat)),
            minimum_ns=float(min(flat)),
        )
    answer = {"foreign_cores": foreign_cores, "measurements": [dataclasses.asdict(item) for item in done]}
    result_path.write_text(json.dumps(answer))


def _time(feeds: dict[int, tuple[Artefact, list[Any]]], rounds: int) -> tuple[float, dict[int, list[list[int]]]]:
    rng = np.random.default_rng(_SEED)
    times: dict[int, list[list[int]]] = {index: [] for index in feeds}
    gc.collect()
    gc.disable()
    watch = CpuWatch()
    for _ in range(rounds):
        for index in rng.permutation(list(feeds)):
            artefact, feed = feeds[index]
            artefact.run(feed)
            turn = []
            for _ in range(_TIMED_PER_TURN):
                start = time.perf_counter_ns()
                artefact.run(feed)
                turn.append(time.perf_counter_ns() - start)
            times[index].append(turn)
    foreign_cores = watch.foreign_cores()
    gc.enable()
    return foreign_cores, times


def _quality(artefact: Artefact, evaluation: dict[str, Any], prefix: str) -> Quality:
    metric = str(evaluation["metric"])
    images, references, targets = (evaluation[prefix + name] for name in ("input", "torch", "target"))
    outputs = np.stack([artefact.infer(image) for image in images])
    return Quality(
        _sqnr_db(references, outputs, np.zeros_like(references)),
        _sqnr_db(references, outputs, images) if metric == "psnr" else None,
        get_metric(metric)(outputs, targets),
    )


def _sqnr_db(references: Any, outputs: Any, baseline: Any) -> float:
    """10 log10(sum (ref - baseline)^2 / sum (ref - out)^2), pooled over everything."""
    signal = np.sum((references.astype(np.float64) - baseline) ** 2)
    noise = np.sum((references.astype(np.float64) - outputs) ** 2)
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
