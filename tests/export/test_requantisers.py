from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.reference import run_reference
from edgeconv.export.requantisers import drop_requantisers

Build = Callable[..., ir.Model]

TEXT = """g (float[1,2,4,4] x, float s, int8 z, float s2, int8 z2) => (float[1,4,4,4] y, float[1,2,2,2] p)
{ xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z)
  r = Relu(xd) rq = QuantizeLinear(r, s, z) rd = DequantizeLinear(rq, s, z)
  m = MaxPool<kernel_shape = [2,2], strides = [2,2]>(rd) mq = QuantizeLinear(m, s, z) p = DequantizeLinear(mq, s, z)
  c = Concat<axis = 1>(xd, rd) cq = QuantizeLinear(c, OUT) cd = DequantizeLinear(cq, OUT)
  y = Relu(cd) }"""


def _graph(build: Build, out: str) -> ir.Model:
    """The graph with the grid `out` behind the Concat; constants that nothing reads are left out."""
    constants = {
        "s": np.array(0.1, np.float32),
        "z": np.array(3, np.int8),
        "s2": np.array(0.2, np.float32),
        "z2": np.array(5, np.int8),
    }
    text = TEXT.replace("OUT", out)
    for name, kind in (("s2", "float"), ("z2", "int8")):
        if name not in out:
            del constants[name]
            text = text.replace(f", {kind} {name}", "")
    return build(text, **constants)


def test_a_concat_on_one_grid_loses_its_quantiser_and_no_value_changes(build_graph: Build) -> None:
    model = _graph(build_graph, "s, z")
    x = {"x": np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32) * 8}
    before = run_reference(model, x)
    assert drop_requantisers(model) == 1  # the pool's is the output's, which keeps its name
    assert [node.op_type for node in model.graph].count("QuantizeLinear") == 3
    after = run_reference(model, x)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize("out", ["s2, z", "s, z2"])
def test_another_grid_behind_the_concat_is_kept(build_graph: Build, out: str) -> None:
    assert drop_requantisers(_graph(build_graph, out)) == 0
