"""Small ONNX graphs for tests, written as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest


def _build_graph(text: str, **constants: np.ndarray[Any, Any]) -> ir.Model:
    """A static opset-18 graph; inputs that are named in `constants` become initialisers."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')
    for value in [value for value in proto.graph.input if value.name in constants]:
        proto.graph.input.remove(value)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(constants[value.name], value.name))
    for node in proto.graph.node:
        node.name = node.name or f"{node.output[0]}/{node.op_type}"
    onnx.checker.check_model(proto, full_check=True)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


@pytest.fixture(scope="session")
def build_graph() -> Callable[..., ir.Model]:
    return _build_graph
