"""DepthToSpace and SpaceToDepth."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.emitter import Operand
from edgeconv.export.tflite.op import NHWC, Op
from edgeconv.export.tflite.ops.selection import take
from edgeconv.export.tflite.pixel_shuffle import dcr_order
from edgeconv.export.tflite.registry import lowers

__all__: list[str] = []


@lowers("DepthToSpace", data=slice(1))
def _depth_to_space(op: Op) -> Operand:
    block = op.attr("blocksize")
    x = op.nhwc(op.emitter.requantise(op.operand(0), op.quantiser))
    if op.attr("mode", "DCR") == "CRD" and not op.reads_dcr:
        x = op.nhwc(take(op, x, 1, dcr_order(x.shape[1], block)))
    options = schema.DepthToSpaceOptionsT()
    options.blockSize = block
    return _rearranged(op, "DEPTH_TO_SPACE", x, options)


@lowers("SpaceToDepth", data=slice(1))
def _space_to_depth(op: Op) -> Operand:
    options = schema.SpaceToDepthOptionsT()
    options.blockSize = op.attr("blocksize")
    return _rearranged(op, "SPACE_TO_DEPTH", op.nhwc(op.emitter.requantise(op.operand(0), op.quantiser)), options)


def _rearranged(op: Op, code: str, x: Operand, options: object) -> Operand:
    shape = op.output_shape()
    stored = [shape[axis] for axis in (0, 2, 3, 1)]
    return Operand(op.emitter.emit(code, [x.tensor], stored, op.quantiser, options), shape, NHWC)
