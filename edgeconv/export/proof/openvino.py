"""OpenVINO: the compiled model's own graph, with the kernel of each node and the operators that it was fused from."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgeconv.export.proof.kernels import Kernels
from edgeconv.export.upsampled_rows import ROW
from edgeconv.runtimes.base import refused
from edgeconv.runtimes.openvino import OpenVino, import_openvino

__all__ = ["read_kernels"]

_NOTHING = ("Const", "Input", "Output", "Reshape", "")
_LAYOUT = ("Reorder", "Transpose")
_QUANTISER = re.compile(r"QuantizeLinear(_\d+)?$|DequantizeLinear(_\d+)?$")  # it adds numbers to copies
_INTEGER = ("i8", "u8")


def read_kernels(path: Path, activations: str, graph: ir.Model) -> Kernels:
    """See `Reader`; compiled for this machine's CPU with floats in f32."""
    openvino, runtime = import_openvino(), OpenVino()
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        nodes = [node for node in compiled.get_runtime_model().get_ordered_ops() if _info(node, "layerType") != "Const"]
    except runtime.failures() as error:
        raise refused(runtime.name, path, error) from error
    integer: set[str] = set()
    floating: dict[str, None] = {}
    quantisers: list[str] = []
    layout = 0
    for node in nodes:
        kind = _info(node, "layerType")
        if kind in _NOTHING:
            continue
        if kind in _LAYOUT:
            layout += not _of_constant(node)
            continue
        names = [_node(name) for name in _info(node, "originalLayersNames").split(",")]
        operators = [name for name in names if not _QUANTISER.search(name)]
        if not operators:
            quantisers.append(names[0])
        elif _info(node, "primitiveType").lower().endswith(_INTEGER):
            integer.update(operators)
        else:
            floating.update(dict.fromkeys(operators))
    return Kernels(frozenset(integer), tuple(floating), tuple(quantisers), layout, platform.machine())


def _info(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _node(layer: str) -> str:
    """The ONNX node behind a name of OpenVINO's."""
    return layer.removesuffix("/WithoutBiases").partition(ROW)[0]


def _of_constant(node: Any) -> bool:
    source = node.input_value(0).get_node()
    return _info(source, "layerType") == "Const"
