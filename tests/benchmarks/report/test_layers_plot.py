from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from edgeconv.benchmarks.report.layers_plot import layers_plot, worst_layers
from edgeconv.records import LayerDrift


def _layers(*pairs: tuple[float | None, float | None]) -> list[LayerDrift]:
    return [LayerDrift(f"layer{n}", "Conv", alone, running) for n, (alone, running) in enumerate(pairs, start=1)]


def test_worst_layers_are_those_that_lose_most_by_themselves() -> None:
    layers = _layers((50.0, 50.0), (None, 49.0), (20.0, 20.0), (30.0, 19.0))
    assert [number for number, _ in worst_layers(layers, 2)] == [3, 4]


def test_worst_layers_without_their_own_drift_are_where_the_network_falls_most() -> None:
    layers = _layers((None, None), (None, 60.0), (None, 58.0), (None, 30.0), (None, 31.0))
    assert [number for number, _ in worst_layers(layers, 9)] == [2, 4, 3]


@pytest.mark.parametrize(
    "layers",
    [
        _layers((None, None)),
        _layers((None, None), (None, None)),
        _layers((-3.0, -9.0), (None, 5.0)),
        _layers(*[(40.0, 40.0)] * 300),
    ],
)
def test_plot_is_wellformed_whatever_the_numbers(layers: list[LayerDrift]) -> None:
    text = layers_plot(layers, "series-1", "one")
    assert "nan" not in text.lower()
    assert "inf" not in text.lower().replace("information", "")
    assert "operator, in the order of the network" in " ".join(ElementTree.fromstring(text).itertext())


def test_plot_numbers_the_worst_operators() -> None:
    text = layers_plot(_layers(*[(50.0, 40.0)] * 6, (11.0, 12.0)), "series-1", "one")
    assert re.findall(r"<text[^>]*var\(--warn\)[^>]*>(\d+)</text>", text) == ["7", "1", "2"]
