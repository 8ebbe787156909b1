from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from edgeconv.benchmarks.agent.trtexec.layers import parse_layers, slowest_layers
from edgeconv.benchmarks.agent.trtexec.outputs import parse_outputs
from edgeconv.benchmarks.agent.trtexec.times import parse_times
from edgeconv.errors import RuntimeUnavailableError
from edgeconv.manifest import TensorSpec

Sample = Callable[[str], str]
HEADS = [TensorSpec(n, n, [1, s], "as-is", "float32") for n, s in (("probs_gaze", 5), ("probs_headset", 3))]


def _row(start: float, compute: float, **more: float) -> dict[str, float]:
    return {
        "startComputeMs": start,
        "h2dMs": 0.1,
        "computeMs": compute,
        "d2hMs": 0.05,
        "latencyMs": compute + 0.15,
        **more,
    }


def test_queries_become_nanoseconds_in_order(sample: Sample) -> None:
    queries = parse_times(sample("mobilenet.times.json"), 200)
    assert len(queries.timed) == 24
    assert queries.timed[:2] == [459041, 442369]
    assert queries.timed[4] == 900864
    assert queries.compute == queries.timed  # recorded without copies
    assert queries.warmup == []


def test_the_old_file_begins_with_the_warm_up() -> None:
    rows = [_row(start, 1.0, endToEndMs=2.0) for start in (10.0, 199.0, 200.5, 202.0)]
    queries = parse_times(json.dumps(rows), 200)
    assert len(queries.warmup) == 2
    assert queries.timed == [1150000, 1150000]
    assert queries.compute == [1000000, 1000000]


def test_a_newer_file_has_no_warm_up_in_it_whatever_its_clock_says() -> None:
    assert len(parse_times(json.dumps([_row(1.0, 1.0)]), 200).timed) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[", "{}", '["a"]', "[{}]", json.dumps([_row(1.0, 1.0) | {"latencyMs": 9.0}]), '[{"computeMs": "1"}]'],
)
def test_what_is_no_file_of_times_is_refused(text: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match="cannot be read"):
        parse_times(text, 200)


def test_outputs_come_in_the_order_that_is_asked_for(sample: Sample) -> None:
    gaze, headset = parse_outputs(sample("three-heads.outputs.json"), HEADS)
    np.testing.assert_array_equal(gaze, np.array([[0.0187541, 0.0112795, 0.0027413, 0.00542685, 0.961798]], np.float32))
    assert headset.shape == (1, 3)
    assert headset.dtype == np.float32


def test_values_that_are_not_finite_reach_the_judge(sample: Sample) -> None:
    text = sample("three-heads.outputs.json").replace("0.79014", "nan").replace("0.206794", "-inf")
    (headset,) = parse_outputs(text, HEADS[1:])
    assert np.isnan(headset[0, 0])
    assert headset[0, 1] == -np.inf


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("probs_gaze", "other"), "not probs_gaze"),
        (('"1x3"', '"1x4"'), "1x4, expected 1x3"),
        (("0.79014, ", ""), "2 values"),
        (("]\n  }\n]", ""), "cannot be read"),
    ],
)
def test_other_outputs_are_refused(sample: Sample, change: tuple[str, str], words: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=words):
        parse_outputs(sample("three-heads.outputs.json").replace(*change), HEADS)


def test_layers_by_the_precision_of_their_weights(sample: Sample) -> None:
    layers = parse_layers(sample("mobilenet.layers.json"))
    assert layers.weighted == {"int8": 4}  # one of them writes fp16
    assert layers.computing == {"int8": 4}  # two reformats only move data
    assert layers.share("int8") == 1
    assert layers.share("fp16") == 0


def test_an_engine_that_names_its_layers_alone_tells_no_precision() -> None:
    layers = parse_layers('{"Layers": ["Conv_0", "Conv_1"], "Bindings": ["x", "y"]}')
    assert layers.weighted == layers.computing == {}
    assert layers.share("int8") is None


def test_the_slowest_layers_with_and_without_median(sample: Sample) -> None:
    first, second = slowest_layers(sample("backbone.profile.json"), 2)
    assert first.endswith("/backbone/conv1/Conv 14.8 %")
    assert second == "/backbone/maxpool/MaxPool 4.3 %"
    assert slowest_layers(sample("mobilenet.profile.json"), 1) == ["QuantizeLinear_2 1.9 %"]
