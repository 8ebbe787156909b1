"""Weights of the models that the package has none for, trained once: run as ``trained.py MODEL OUTPUT``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from subjects import Subject, find_subject

from edgeconv.training.trainer import train

__all__ = ["train_missing"]

_SEED = 0
_TOLD_STEPS = 20


def train_missing(subjects: Sequence[Subject], output: Path, cores: int, tell: Callable[[str], None]) -> None:
    """Train what is not there yet, `cores` models side by side on one thread each.

    More threads would change the order of sums, and with it the weights.

    Raises:
        subprocess.CalledProcessError: a training failed; its words are on stderr.
    """

    def run(subject: Subject) -> None:
        command = [sys.executable, __file__, subject.name, str(output)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            for line in child.stdout or ():
                tell(line.rstrip())
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)

    missing = [s for s in subjects if (weights := s.weights(output)) is not None and not weights.is_file()]
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, missing))


def main(name: str, output: Path) -> None:
    subject = find_subject(name)
    weights = subject.weights(output)
    if weights is None:
        sys.exit(f"The weights of {name} are the package's.")
    weights.parent.mkdir(parents=True, exist_ok=True)

    def tell(step: int, steps: int, words: str) -> None:
        if step % _TOLD_STEPS == 0:
            print(f"{name}: training, step {step} of {steps}, {words}", flush=True)

    torch.set_num_threads(1)
    result = train(subject.task, output=weights, seed=_SEED, progress=tell)
    print(f"{name}: trained in {result.seconds:.0f} s, {result.metric} {result.value:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
