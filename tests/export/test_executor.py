from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.executor import GraphStepper, Piece, ahead, cut, open_session


def _model(build_graph: Callable[..., ir.Model]) -> ir.Model:
    return build_graph(
        "g (float[1,4] x, float[1,4] k) => (float[1,4] y) { a = Add(x, k) r = Relu(a) s = Neg(a) y = Mul(r, s) }",
        k=np.array([[1, -1, 2, -2]], np.float32),
    )


_PIECES = [Piece(("x",), ("a",)), Piece(("a",), ("r",)), Piece(("a",), ("s",)), Piece(("r", "s"), ("y",))]


def test_pieces_in_graph_order_compute_what_the_whole_graph_does(build_graph: Callable[..., ir.Model]) -> None:
    model = _model(build_graph)
    samples = [{"x": np.random.default_rng(i).normal(size=(1, 4)).astype(np.float32)} for i in range(3)]
    stepper = GraphStepper(model, _PIECES, samples)
    *_, last = [stepper.step(piece) for piece in _PIECES]
    session = open_session(model, optimise=False)
    for sample, found in zip(samples, last["y"], strict=True):
        assert np.array_equal(session.run(None, sample)[0], found)


def test_a_tensor_is_dropped_after_its_last_reader(build_graph: Callable[..., ir.Model]) -> None:
    stepper = GraphStepper(_model(build_graph), _PIECES, [{"x": np.zeros((1, 4), np.float32)}])
    held = [set(stepper.values)]
    for piece in _PIECES:
        stepper.step(piece)
        held.append(set(stepper.values))
    assert held == [{"x"}, {"a"}, {"a", "r"}, {"r", "s"}, set()]


def test_values_and_constants_changed_between_steps_count(build_graph: Callable[..., ir.Model]) -> None:
    model = _model(build_graph)
    stepper = GraphStepper(model, _PIECES, [{"x": np.zeros((1, 4), np.float32)}])
    model.graph.initializers["k"].const_value = ir.tensor(np.full((1, 4), 5, np.float32), name="k")
    assert stepper.step(_PIECES[0])["a"][0].tolist() == [[5, 5, 5, 5]]
    stepper.values["a"][0] = np.full((1, 4), -2, np.float32)
    assert stepper.step(_PIECES[2])["s"][0].tolist() == [[2, 2, 2, 2]]


def test_a_cut_leaves_the_graph_as_it_was(build_graph: Callable[..., ir.Model]) -> None:
    model = _model(build_graph)
    part = cut(model, ["r", "a"], ["y"])
    assert [node.op_type for node in part.graph] == ["Neg", "Mul"]
    assert [node.op_type for node in model.graph] == ["Add", "Relu", "Neg", "Mul"]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_ahead_gives_what_map_gives_and_holds_two_results_at_most() -> None:
    begun: list[int] = []

    def square(number: int) -> int:
        begun.append(number)
        return number**2

    found = []
    for result in ahead(square, range(6)):
        found.append(result)
        assert len(begun) <= len(found) + 1
    assert found == [number**2 for number in range(6)]
    assert list(ahead(square, [])) == []


def test_an_error_comes_in_its_turn() -> None:
    results = ahead(lambda number: 1 // number, [2, 1, 0, 1])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
