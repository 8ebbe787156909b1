"""Replace a transposed convolution that only tiles its output by a 1x1 convolution and DepthToSpace."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.rewrite._edit import AffineLayer, add_constant, ints, substitute
from edgeconv.rewrite._pass import Equivalence, RewriteResult

__all__ = ["TransposedConvToDepthToSpace"]


class TransposedConvToDepthToSpace:
    """ConvTranspose of kernel k x k and stride k: each input pixel becomes a k x k block of its own.

    So it is a Conv 1x1 to k*k*c channels in the order (dy, dx, c), the bias repeated k*k times, and a DepthToSpace in
    DCR mode. Runtimes quantise that by output channel, and run it in int8 where they run ConvTranspose in float.
    Without padding, output padding, dilation and groups only.
    """

    name = "transposed_conv_to_depth_to_space"
    equivalence: Equivalence = "exact"

    def apply(self, model: ir.Model) -> RewriteResult:
        """Replace in place; the details name each replaced node."""
        details = []
        for node in list(model.graph):
            layer = _tiling_layer(node)
            if layer is None:
                continue
            block = layer.weight.shape[2]
            stem = (node.name or "").removesuffix("/ConvTranspose")
            depth = layer.weight.transpose(2, 3, 0, 1).reshape(-1, layer.in_channels, 1, 1)  # (dy, dx, c), inputs
            weight = add_constant(model.graph, f"{stem}.weight_1x1", depth.astype(np.float32))
            bias = add_constant(model.graph, f"{stem}.bias_1x1", np.tile(layer.bias, block * block).astype(np.float32))
            conv = ir.node("Conv", [node.inputs[0], weight, bias], {"kernel_shape": [1, 1]}, name=f"{stem}/Conv")
            shuffle = ir.node(
                "DepthToSpace", conv.outputs, {"blocksize": block, "mode": "DCR"}, name=f"{stem}/DepthToSpace"
            )
            conv.outputs[0].name, shuffle.outputs[0].name = f"{stem}/depth", f"{stem}/space"
            for new in (conv, shuffle):
                new.metadata_props.update(node.metadata_props)
                new.outputs[0].type = node.outputs[0].type
            model.graph.insert_after(node, [conv, shuffle])
            substitute(node.outputs[0], shuffle.outputs[0])
            model.graph.remove(node, safe=True)
            details.append(f"{node.name}: 1x1 convolution to {len(depth)} channels, blocks of {block}x{block}")
        return RewriteResult(len(details), tuple(details))


def _tiling_layer(node: ir.Node) -> AffineLayer | None:
    layer = AffineLayer.read(node) if node.op_type == "ConvTranspose" else None
    if layer is None or layer.group != 1 or layer.weight.ndim != 4 or "output_shape" in node.attributes:
        return None
    kernel = layer.weight.shape[2:]
    plain = (
        kernel[0] == kernel[1]
        and ints(node, "strides", 1) == kernel
        and not any(ints(node, "pads", 0))
        and not any(ints(node, "output_padding", 0))
        and set(ints(node, "dilations", 1)) == {1}
        and node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    )
    return layer if plain else None
