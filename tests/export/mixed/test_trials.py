from __future__ import annotations

import numpy as np

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.golden import normalised
from edgeconv.export.graphs import Graphs, calibration_samples, quantisation_scheme
from edgeconv.export.jobs import ASYMMETRIC
from edgeconv.export.mixed.trials import make_trial
from edgeconv.export.quantize import validate_qdq
from edgeconv.export.reference import run_reference
from edgeconv.export.subject import Subject
from edgeconv.graph import constant_value
from edgeconv.manifest import Port


def test_a_trial_without_float_operators_computes_what_the_int8_graph_computes(
    graphs: Graphs, subject: Subject, ports: list[Port]
) -> None:
    int8 = graphs.int8[ASYMMETRIC].model
    scheme = quantisation_scheme(ASYMMETRIC, ports, graphs.choices)
    observed = collect_statistics(graphs.fp32, calibration_samples(subject, ports))
    trial = make_trial(graphs.fp32, observed, scheme, int8, ())
    feeds = normalised(subject.golden[0], ports)
    expected, found = run_reference(int8, feeds)["y"], run_reference(trial, feeds)["y"]
    error = np.sum((expected - found) ** 2) / np.sum(expected**2)
    assert error < 1e-5  # the statistics may differ in the last bit, which moves single values by a step


def test_float_operators_keep_their_weights_and_the_others_their_rounding(
    graphs: Graphs, subject: Subject, ports: list[Port], bad: str
) -> None:
    int8 = graphs.int8[ASYMMETRIC].model
    scheme = quantisation_scheme(ASYMMETRIC, ports, graphs.choices)
    observed = collect_statistics(graphs.fp32, calibration_samples(subject, ports))
    trial = make_trial(graphs.fp32, observed, scheme, int8, (bad,))
    validate_qdq(trial, float_nodes=(bad,))
    names = {node.name: node for node in trial.graph}
    weights, other = names[bad].inputs[1], names["d/Conv"].inputs[1]
    assert weights is not None
    assert other is not None
    assert weights.producer() is None
    read = other.producer()
    assert read is not None
    rounded = next(node for node in int8.graph if node.name == "d/Conv").inputs[1]
    assert rounded is not None
    source = rounded.producer()
    assert source is not None
    found, expected = (constant_value(node.inputs[0]) for node in (read, source))
    assert expected is not None
    np.testing.assert_array_equal(found, expected)
