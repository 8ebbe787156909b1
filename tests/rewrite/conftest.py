"""Graphs for the rewrites: small ones written as text, whole networks exported from torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.graph import static_shape
from edgeconv.rewrite import Rewrite, RewriteReport, run_rewrites
from edgeconv.rewrite._evaluate import evaluate

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def apply() -> Callable[[ir.Model, Rewrite], RewriteReport]:
    """Run one rewrite through the check of its exactness."""

    def run(model: ir.Model, rewrite: Rewrite) -> RewriteReport:
        (report,) = run_rewrites(model, [rewrite])
        assert report.kept, report
        return report

    return run


@pytest.fixture(scope="session")
def operators() -> Callable[[ir.Model], list[str]]:
    return lambda model: [node.op_type for node in model.graph]


@pytest.fixture
def normal() -> Callable[..., Array]:
    """Float32 normal noise of a shape, another array with each call."""
    generator = np.random.default_rng(7)
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="session")
def channel_ranges() -> Callable[[ir.Model], dict[str, Array]]:
    """max|value| for each channel of every value, over two random inputs."""

    def collect(model: ir.Model) -> dict[str, Array]:
        generator = np.random.default_rng(3)
        shapes = {str(value.name): static_shape(value) for value in model.graph.inputs}
        inputs = [
            {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
            for _ in range(2)
        ]
        probe = model.clone()
        values = [output for node in probe.graph for output in node.outputs if not output.is_graph_output()]
        probe.graph.outputs.extend(values)
        runs = evaluate(probe, inputs)
        arrays = {name: np.abs([run[name] for run in (*runs,)]) for name in runs[0]}
        arrays |= {name: np.abs([run[name] for run in inputs]) for name in shapes}
        return {n: a.max(axis=tuple(i for i in range(a.ndim) if i != 2)) for n, a in arrays.items() if a.ndim > 2}

    return collect
