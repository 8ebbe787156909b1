from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv import ExportOptions, build_bundle
from edgeconv.errors import UsageError
from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.data import Sample, input_ports
from edgeconv.export.decide import start_choices
from edgeconv.export.golden import normalised
from edgeconv.export.learn.learn import Amount, learn, why_not
from edgeconv.export.learn.report import LearnReport, learn_line
from edgeconv.export.quantize import QuantisationResult, quantize, validate_qdq
from edgeconv.export.quantize.units import integer_constant, operator_units
from edgeconv.export.recipe import read_recipe
from edgeconv.export.search.trials import Figures
from edgeconv.graph import constant_value, save_graph, to_bytes
from edgeconv.manifest import Port

SHAPE = (1, 2, 12, 16)
NETWORK = """g (float[1,2,12,16] x, float[8,2,3,3] w1, float[8] b1, float[8,8,1,1] w2, float[8] b2, float[2,16,3,3] w3,
    float[2] b3) => (float[1,2,12,16] y) {
    c = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(c)
    d = Conv(r, w2, b2)
    s = Relu(d)
    j = Concat<axis=1>(r, s)
    y = Conv<pads=[1,1,1,1]>(j, w3, b3)
}"""


@pytest.fixture(scope="module")
def network(build_graph: Callable[..., ir.Model]) -> ir.Model:
    generator = np.random.default_rng(0)
    shapes = {"w1": (8, 2, 3, 3), "b1": 8, "w2": (8, 8, 1, 1), "b2": 8, "w3": (2, 16, 3, 3), "b3": 2}
    return build_graph(NETWORK, **{n: generator.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()})


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    generator = np.random.default_rng(1)
    return [{"x": generator.integers(0, 256, SHAPE).astype(np.uint8)} for _ in range(10)]


@pytest.fixture(scope="module")
def ports(samples: list[Sample]) -> list[Port]:
    return input_ports(samples, {"x": SHAPE}, None, None)


@pytest.fixture(scope="module")
def closed(network: ir.Model, samples: list[Sample], ports: list[Port]) -> QuantisationResult:
    inputs = [normalised(sample, ports) for sample in samples]
    return quantize(network, collect_statistics(network, inputs), inputs)


@pytest.fixture(scope="module")
def spoiled(closed: QuantisationResult) -> QuantisationResult:
    """Biases off by one step of the output, about."""
    model = closed.model.clone()
    generator = np.random.default_rng(2)
    for unit in operator_units(model.graph):
        bias, quantise = integer_constant(unit.node, 2), unit.outputs[0].producer()
        if bias is not None and quantise is not None:
            step = float(constant_value(quantise.inputs[1]))  # type: ignore[arg-type]
            moved = bias.integers + np.rint(generator.normal(0, step, bias.integers.shape) / bias.scale)
            bias.store(moved.astype(np.int32), bias.scale)
    validate_qdq(model)
    return dataclasses.replace(closed, model=model)


def test_spoiled_biases_are_learned_back(
    network: ir.Model, spoiled: QuantisationResult, samples: list[Sample], ports: list[Port]
) -> None:
    before = to_bytes(spoiled.model)
    result, report = learn(network, spoiled, ports, samples, Amount(steps=300))
    assert report.accepted, report
    assert report.steps == 300
    assert (report.learning_samples, report.held_samples) == (8, 2)
    assert report.held_before_db is not None
    assert report.held_after_db is not None
    assert report.held_after_db > report.held_before_db + 3
    assert to_bytes(spoiled.model) == before
    validate_qdq(result.model)
    moved = [record for record in result.recipe.tensors if record.source == "learned"]
    assert moved
    scales = {
        str(node.inputs[0].name): float(constant_value(node.inputs[1]))  # type: ignore[union-attr,arg-type]
        for node in result.model.graph
        if node.op_type == "QuantizeLinear"
    }
    assert all(record.scale == scales[record.name] for record in moved if record.name in scales)


def test_what_a_concatenation_joins_keeps_one_range(
    network: ir.Model, spoiled: QuantisationResult, samples: list[Sample], ports: list[Port]
) -> None:
    result, _ = learn(network, spoiled, ports, samples, Amount(steps=40))
    by_name = {record.name: record for record in result.recipe.tensors}
    assert by_name["r"].scale == by_name["s"].scale == by_name["j"].scale
    assert by_name["x"] == {record.name: record for record in spoiled.recipe.tensors}["x"]


def test_the_same_steps_give_the_same_bytes(
    network: ir.Model, spoiled: QuantisationResult, samples: list[Sample], ports: list[Port]
) -> None:
    first, second = (learn(network, spoiled, ports, samples, Amount(steps=25)) for _ in range(2))
    assert first[1] == second[1]
    assert first[1].accepted
    assert to_bytes(first[0].model) == to_bytes(second[0].model)


def test_no_gain_keeps_the_closed_form(
    network: ir.Model, closed: QuantisationResult, samples: list[Sample], ports: list[Port]
) -> None:
    result, report = learn(network, closed, ports, samples, Amount(steps=1))
    assert result is closed
    assert not report.accepted
    assert report.reason == "no gain of 0.2 dB on samples held back"


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (Figures(40.2, 30.0), ""),
        (Figures(40.1, 35.0), "no gain of 0.2 dB on samples held back"),
        (Figures(45.0, 29.9), "worse on shifted samples"),
        (Figures(float("nan"), 35.0), "no gain of 0.2 dB on samples held back"),
    ],
)
def test_learned_values_must_win_twice(after: Figures, reason: str) -> None:
    assert why_not(Figures(40.0, 30.0), after) == reason


def test_what_is_exact_already_cannot_win() -> None:
    exact = Figures(float("inf"), float("inf"))
    assert why_not(exact, exact)


def test_too_few_samples_and_unknown_operators_keep_the_closed_form(
    build_graph: Callable[..., ir.Model],
    network: ir.Model,
    closed: QuantisationResult,
    samples: list[Sample],
    ports: list[Port],
) -> None:
    result, report = learn(network, closed, ports, samples[:4], Amount(steps=5))
    assert (result, report.steps) == (closed, 0)
    assert "4 calibration samples are too few" in report.reason
    text = "g (float[1,2,12,16] x, float[2,2,1,1] w) => (float[1,2,12,16] y) { c = Conv(x, w) y = Erf(c) }"
    model = build_graph(text, w=np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1))
    inputs = [normalised(sample, ports) for sample in samples]
    other = quantize(model, collect_statistics(model, inputs), inputs)
    result, report = learn(model, other, ports, samples, Amount(steps=5))
    assert (result, report.steps) == (other, 0)
    assert report.reason == "node 'y/Erf' (Erf) cannot be learned through"
    assert learn_line(report) == f"nothing learned: {report.reason}"


def test_the_report_is_told_in_a_line() -> None:
    report = LearnReport(100, 8, 2, 40.0, 41.0, 30.0, 30.5, accepted=True)
    words = "40.00 → 41.00 dB on 2 images held back, 30.00 → 30.50 dB on shifted copies of them"
    assert learn_line(report) == f"learned in 100 steps: {words}"
    beside = dataclasses.replace(report, not_learned=("symmetric",))
    assert learn_line(beside) == f"learned in 100 steps: {words}; the graph of symmetric activations is not learned"
    lost = dataclasses.replace(report, accepted=False, reason="worse on shifted samples")
    assert learn_line(lost) == f"learned in 100 steps and not kept, worse on shifted samples: {words}"


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("inf"), float("nan")])
def test_no_time_to_learn_for_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="is no time to learn for"):
        start_choices(ExportOptions("vessels", learn_seconds=seconds))


@pytest.mark.parametrize("fields", [{"min_sqnr_db": 30.0}, {"max_drop": "dice=0.1"}])
def test_learning_for_a_quality_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        start_choices(ExportOptions("vessels", learn_seconds=5.0, **fields))


def test_a_bundle_tells_what_was_learned_and_its_recipe_repeats_it(
    tmp_path: Path, network: ir.Model, samples: list[Sample]
) -> None:
    save_graph(network, tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", np.concatenate([sample["x"] for sample in samples]))
    data = {"calibration": str(tmp_path / "images.npy")}
    common = {"model": str(tmp_path / "net.onnx"), "runtimes": ("onnxruntime",), "golden_count": 2}
    with pytest.raises(UsageError, match="--learn needs images"):
        build_bundle(ExportOptions(**common, evaluation=data["calibration"], learn_seconds=1.0, output=tmp_path))
    made = build_bundle(ExportOptions(**common, **data, learn_seconds=1.0, output=tmp_path / "first"))
    bundle = Path(made.bundles[0].path)
    recipe = read_recipe(bundle)
    assert made.learn is not None
    assert recipe.learn == made.learn
    assert recipe.choices.learn_steps == (made.learn.steps if made.learn.accepted else 0)

    document = json.loads((bundle / "recipe.json").read_text())
    document["choices"]["learn_steps"] = 30
    (tmp_path / "recipe.json").write_text(json.dumps(document))
    runs = [
        build_bundle(ExportOptions(**common, **data, recipe=tmp_path / "recipe.json", output=tmp_path / name))
        for name in ("second", "third")
    ]
    assert runs[0].learn is not None
    assert runs[0].learn == runs[1].learn
    assert runs[0].learn.steps == 30
    first, second = (Path(run.bundles[0].path) for run in runs)
    models = sorted(path.relative_to(first) for path in (first / "models").rglob("*.onnx"))
    assert models
    assert [(first / name).read_bytes() for name in models] == [(second / name).read_bytes() for name in models]

    document["choices"]["learn_steps"] = -3
    (tmp_path / "recipe.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="-3 steps of learning"):
        build_bundle(ExportOptions(**common, **data, recipe=tmp_path / "recipe.json", output=tmp_path / "none"))
