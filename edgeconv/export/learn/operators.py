"""What each ONNX operator computes, in torch, so that gradients flow through it.

Only what a Q/DQ graph of this package holds, with the attributes that its kernels are lowered with. A maker returns
None for a node that it does not cover: nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from edgeconv.export.learn.resize import make_resize
from edgeconv.graph import constant_value

__all__ = ["Operator", "make_operator"]

Operator = Callable[[Sequence[Tensor]], Tensor]
"""From the inputs that a node has (absent ones left out, unless they are read as constants) to its output."""

Maker = Callable[[ir.Node], Operator | None]

_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d}
_TRANSPOSED = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d}


def make_operator(node: ir.Node) -> Operator | None:
    """The function that `node` computes; None where it is not known here."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in _MAKERS:
        return None
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    return _MAKERS[node.op_type](node)


def _elementwise(function: Callable[..., Tensor]) -> Maker:
    return lambda node: lambda inputs: function(*inputs)


def _conv(node: ir.Node) -> Operator | None:
    weights = node.inputs[1]
    rank = None if weights is None or weights.shape is None else len(weights.shape)
    if rank not in _CONVOLUTIONS or _padded_by_itself(node):
        return None
    convolve, spatial = _CONVOLUTIONS[rank], rank - 2
    strides, dilations = (node.attributes.get_ints(name, [1] * spatial) for name in ("strides", "dilations"))
    groups, pads = node.attributes.get_int("group", 1), node.attributes.get_ints("pads", [0] * 2 * spatial)
    same = pads[:spatial] == pads[spatial:]

    def run(inputs: Sequence[Tensor]) -> Tensor:
        x, weight, *bias = inputs
        padding = tuple(pads[:spatial]) if same else 0
        x = x if same else functional.pad(x, _torch_pads(pads))
        return convolve(x, weight, bias[0] if bias else None, tuple(strides), padding, tuple(dilations), groups)

    return run


def _conv_transpose(node: ir.Node) -> Operator | None:
    weights = node.inputs[1]
    rank = None if weights is None or weights.shape is None else len(weights.shape)
    if rank not in _TRANSPOSED or _padded_by_itself(node) or "output_shape" in node.attributes:
        return None
    convolve, spatial = _TRANSPOSED[rank], rank - 2
    strides, dilations = (node.attributes.get_ints(name, [1] * spatial) for name in ("strides", "dilations"))
    extra = node.attributes.get_ints("output_padding", [0] * spatial)
    groups, pads = node.attributes.get_int("group", 1), node.attributes.get_ints("pads", [0] * 2 * spatial)

    def run(inputs: Sequence[Tensor]) -> Tensor:
        x, weight, *bias = inputs
        y = convolve(x, weight, bias[0] if bias else None, tuple(strides), 0, tuple(extra), groups, tuple(dilations))
        return functional.pad(y, _torch_pads([-size for size in pads]))

    return run


def _gemm(node: ir.Node) -> Operator | None:
    alpha, beta = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    swapped = [node.attributes.get_int(name, 0) == 1 for name in ("transA", "transB")]

    def run(inputs: Sequence[Tensor]) -> Tensor:
        a, b = (x.T if swap else x for x, swap in zip(inputs, swapped, strict=False))
        product = alpha * (a @ b)
        return product + beta * inputs[2] if len(inputs) > 2 else product

    return run


def _clip(node: ir.Node) -> Operator | None:
    bounds = [constant_value(value) for value in node.inputs[1:3]]
    if any(value is not None and bound is None for value, bound in zip(node.inputs[1:3], bounds, strict=True)):
        return None
    low, high = ([None if bound is None else float(bound) for bound in bounds] + [None, None])[:2]
    if low is None and high is None:
        return lambda inputs: inputs[0]
    return lambda inputs: inputs[0].clamp(low, high)


def _max_pool(node: ir.Node) -> Operator | None:
    window = _window(node)
    if window is None:
        return None
    kernel, strides, pads = window
    dilations = tuple(node.attributes.get_ints("dilations", [1, 1]))

    def run(inputs: Sequence[Tensor]) -> Tensor:
        x = functional.pad(inputs[0], _torch_pads(pads), value=float("-inf")) if any(pads) else inputs[0]
        return functional.max_pool2d(x, kernel, strides, 0, dilations)

    return run


def _average_pool(node: ir.Node) -> Operator | None:
    window = _window(node)
    if window is None or window[2][:2] != window[2][2:] or node.attributes.get_ints("dilations", [1, 1]) != [1, 1]:
        return None
    kernel, strides, pads = window
    counted = node.attributes.get_int("count_include_pad", 0) == 1
    padding = tuple(pads[:2])
    return lambda inputs: functional.avg_pool2d(inputs[0], kernel, strides, padding, False, counted)


def _window(node: ir.Node) -> tuple[tuple[int, ...], tuple[int, ...], list[int]] | None:
    kernel = node.attributes.get_ints("kernel_shape", [])
    if len(kernel) != 2 or node.attributes.get_int("ceil_mode", 0) != 0 or _padded_by_itself(node):
        return None
    strides = node.attributes.get_ints("strides", [1, 1])
    return tuple(kernel), tuple(strides), list(node.attributes.get_ints("pads", [0] * 4))


def _global_average_pool(node: ir.Node) -> Operator | None:
    return lambda inputs: inputs[0].mean(dim=tuple(range(2, inputs[0].ndim)), keepdim=True)


def _concat(node: ir.Node) -> Operator | None:
    axis = node.attributes["axis"].as_int()
    return lambda inputs: torch.cat(list(inputs), dim=axis)


def _depth_to_space(node: ir.Node) -> Operator | None:
    block = node.attributes["blocksize"].as_int()
    by_columns = node.attributes.get_string("mode", "DCR") == "CRD"

    def run(inputs: Sequence[Tensor]) -> Tensor:
        images, channels, rows, columns = inputs[0].shape
        if by_columns:
            return functional.pixel_shuffle(inputs[0], block)
        blocks = inputs[0].reshape(images, block, block, channels // block**2, rows, columns)
        return blocks.permute(0, 3, 4, 1, 5, 2).reshape(images, channels // block**2, rows * block, columns * block)

    return run


def _space_to_depth(node: ir.Node) -> Operator | None:
    block = node.attributes["blocksize"].as_int()

    def run(inputs: Sequence[Tensor]) -> Tensor:
        images, channels, rows, columns = inputs[0].shape
        blocks = inputs[0].reshape(images, channels, rows // block, block, columns // block, block)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(images, channels * block**2, rows // block, columns // block)

    return run


def _reshape(node: ir.Node) -> Operator | None:
    wanted = constant_value(node.inputs[1])
    if wanted is None or node.attributes.get_int("allowzero", 0) != 0:
        return None

    def run(inputs: Sequence[Tensor]) -> Tensor:
        sizes = [inputs[0].shape[axis] if size == 0 else int(size) for axis, size in enumerate(wanted)]
        return inputs[0].reshape(sizes)

    return run


def _transpose(node: ir.Node) -> Operator | None:
    order = node.attributes.get_ints("perm", [])
    return lambda inputs: inputs[0].permute(tuple(order) or tuple(range(inputs[0].ndim))[::-1])


def _flatten(node: ir.Node) -> Operator | None:
    axis = node.attributes.get_int("axis", 1)
    return lambda inputs: inputs[0].reshape(int(np.prod(inputs[0].shape[:axis])), -1)


def _softmax(node: ir.Node) -> Operator | None:
    axis = node.attributes.get_int("axis", -1)
    return lambda inputs: torch.softmax(inputs[0], dim=axis)


def _leaky_relu(node: ir.Node) -> Operator | None:
    slope = node.attributes.get_float("alpha", 0.01)
    return lambda inputs: functional.leaky_relu(inputs[0], slope)


def _padded_by_itself(node: ir.Node) -> bool:
    return node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"


def _torch_pads(pads: Sequence[int]) -> list[int]:
    """From ONNX's order (all beginnings, all ends) to torch's (last axis first, beginning and end)."""
    half = len(pads) // 2
    return [size for axis in reversed(range(half)) for size in (pads[axis], pads[half + axis])]


_MAKERS: Mapping[str, Maker] = {
    "Add": _elementwise(torch.add),
    "Sub": _elementwise(torch.sub),
    "Mul": _elementwise(torch.mul),
    "Div": _elementwise(torch.div),
    "MatMul": _elementwise(torch.matmul),
    "Relu": _elementwise(torch.relu),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Tanh": _elementwise(torch.tanh),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Resize": make_resize,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Softmax": _softmax,
}
