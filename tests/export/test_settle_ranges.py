from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.choices import Choices
from edgeconv.export.data import Sample, input_ports
from edgeconv.export.settle_ranges import settle_ranges

SHAPE = (1, 1, 256, 256)
NETWORK = "g (float[1,1,256,256] x, float[1,1,1,1] w) => (float[1,1,256,256] y) {\n"
PEAKS = NETWORK + "y = Conv(x, w)\n}"
BULK = NETWORK + "a = Conv(x, w)\ny = Tanh(a)\n}"


def _samples(count: int) -> Iterator[Sample]:
    """Noise with three peaks in every image: fewer than percentiles clip."""
    generator = np.random.default_rng(3)
    for _ in range(count):
        image = generator.normal(0, 0.5, SHAPE).astype(np.float32)
        image.reshape(-1)[generator.choice(image.size, 3, replace=False)] = generator.uniform(30, 200, 3)
        yield {"x": image}


def _settle(
    build_graph: Callable[..., ir.Model], network: str, samples: Iterable[Sample], start: Choices | None = None
) -> Choices:
    model = build_graph(network, w=np.ones((1, 1, 1, 1), np.float32))
    taken = list(samples)
    statistics = collect_statistics(model, taken)
    ports = input_ports(_samples(1), {"x": SHAPE}, None, None)
    return settle_ranges(model, statistics, taken, ports, start or Choices())


def test_ranges_hold_peaks_that_are_the_answer(build_graph: Callable[..., ir.Model]) -> None:
    found = _settle(build_graph, PEAKS, _samples(8), Choices(equalisation=0.25))
    assert found == Choices(ranges="peaks", equalisation=0.25)


def test_peaks_that_do_not_count_stay_clipped(build_graph: Callable[..., ir.Model]) -> None:
    assert _settle(build_graph, BULK, _samples(8)) == Choices()


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_leave_ranges_as_they_are(build_graph: Callable[..., ir.Model], count: int) -> None:
    assert _settle(build_graph, BULK, _samples(count)) == Choices()


def test_a_peak_in_one_image_of_many_decides(build_graph: Callable[..., ir.Model]) -> None:
    calm = ({"x": sample["x"].clip(-1, 1)} for sample in _samples(15))
    assert _settle(build_graph, PEAKS, [*calm, *_samples(1)]) == Choices(ranges="peaks")
