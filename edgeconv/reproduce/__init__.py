"""The headline results of the papers behind the layers, run again: claim, condition, our number, verdict."""

from edgeconv.reproduce import counts, deblurring, dials, equalisation, separable, spatially_varying
from edgeconv.reproduce.claims import Experiment, Outcome, Row, get_experiments, run_experiments

__all__ = [
    "Experiment",
    "Outcome",
    "Row",
    "counts",
    "deblurring",
    "dials",
    "equalisation",
    "get_experiments",
    "run_experiments",
    "separable",
    "spatially_varying",
]
