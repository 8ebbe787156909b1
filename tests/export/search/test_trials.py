from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from edgeconv.errors import DataError
from edgeconv.export.choices import Choices
from edgeconv.export.data import Sample
from edgeconv.export.golden import normalised
from edgeconv.export.prepare import PreparedGraph
from edgeconv.export.search.trials import Images, Trials, split_held
from edgeconv.graph import to_bytes
from edgeconv.manifest import Port


def test_images_held_back_do_not_calibrate(samples: list[Sample]) -> None:
    calibration, held = split_held(samples)
    assert [id(sample) for sample in calibration[:4]] == [id(sample) for sample in samples[:4]]
    assert len(held) == 3
    assert {id(sample) for sample in calibration}.isdisjoint(id(sample) for sample in held)


def test_long_streams_are_cut() -> None:
    endless = ({"x": np.array(index)} for index in itertools.count())
    calibration, held = split_held(endless)
    assert len(calibration) == 12
    assert len(held) == 8
    assert held[-1]["x"] == 25


def test_few_samples_serve_both(prepared: PreparedGraph, ports: list[Port], samples: list[Sample]) -> None:
    calibration, held = split_held(samples[:4])
    assert [id(s) for s in calibration] == [id(s) for s in held] == [id(s) for s in samples[:4]]
    with pytest.raises(DataError, match="no calibration sample"):
        Trials(prepared, ports, [])


def test_the_fp32_graph_itself_has_no_error(
    prepared: PreparedGraph, ports: list[Port], samples: list[Sample], trials: Trials
) -> None:
    images = Images(prepared.model, [normalised(sample, ports) for sample in samples[:2]])
    assert images.sqnr_db(prepared.model) > 110
    int8 = trials.quantise(Choices()).model
    expected = images.sqnr_db(int8)
    assert 10 < expected < 60
    assert not math.isinf(expected)


def test_measuring_repeats_exactly(trials: Trials) -> None:
    choices = Choices(ranges="minmax")
    first, graph = trials.measure(choices), to_bytes(trials.quantise(choices).model)
    for other in (Choices(), Choices(equalisation=0.0), Choices(balancing=False), Choices(merged_pairs=("q/Conv",))):
        trials.measure(other)  # the adapted graph of the first is made anew after these
    assert trials.measure(choices) == first
    assert to_bytes(trials.quantise(choices).model) == graph


def test_choices_change_the_graph(trials: Trials) -> None:
    found = {to_bytes(trials.quantise(choices).model) for choices in _several()}
    assert len(found) == len(_several())


def _several() -> list[Choices]:
    start = Choices()
    changes: list[dict[str, object]] = [
        {},
        {"ranges": "minmax"},
        {"equalisation": 0.0},
        {"balancing": False},
        {"merged_pairs": ("q/Conv",)},
        {"tensor_ranges": {"sr": (0.0, 1.0)}},
    ]
    return [dataclasses.replace(start, **fields) for fields in changes]  # type: ignore[arg-type]
