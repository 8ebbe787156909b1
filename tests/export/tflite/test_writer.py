from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.tensors import Operation, Program, Quantiser, Tensor
from edgeconv.export.tflite.versions import operator_version
from edgeconv.export.tflite.writer import operator_counts, write


def _program(constants):
    """x + each of the constants, and one operation that nothing reads."""
    program = Program()
    current = program.add_tensor(Tensor("x", (64,), "float32"))
    program.inputs["x"] = current
    for index, array in enumerate(constants):
        other = program.add_constant(f"c{index}", array)
        result = program.add_tensor(Tensor(f"y{index}", (64,), "float32"))
        program.operations.append(Operation("ADD", (current, other), (result,), schema.AddOptionsT()))
        current = result
    program.outputs["y"] = current
    unread = program.add_tensor(Tensor("unread", (64,), "float32"))
    program.operations.append(Operation("ABS", (current,), (unread,)))
    return program


def test_buffers_are_aligned_to_sixteen_bytes():
    data = write(_program([np.full(64, value, np.float32) for value in (1, 2, 3)]))
    for value in (1, 2, 3):
        assert data.index(np.full(64, value, np.float32).tobytes()) % 16 == 0


def test_equal_constants_share_a_buffer():
    big = np.zeros(1 << 16, np.float32)
    program = _program([])
    for name in "ab":
        tensor = program.add_constant(name, big.copy())
        program.outputs[name] = tensor
    assert len(write(program)) < 1.5 * big.nbytes


def test_operations_that_nothing_reads_are_left_out():
    assert operator_counts(write(_program([np.ones(64, np.float32)]))) == {"ADD": 1}


def test_file_is_identified_and_addressable_by_port():
    data = write(_program([np.ones(64, np.float32)]))
    assert data[4:8] == b"TFL3"
    (signature,) = schema.ModelT.InitFromPackedBuf(data).signatureDefs
    assert [entry.name for entry in signature.inputs] == [b"x"]
    assert [entry.name for entry in signature.outputs] == [b"y"]


FLOAT = Tensor("f", (1, 4, 4, 8), "float32")
INT8 = Tensor("q", (1, 4, 4, 8), "int8", Quantiser((0.5,), (0,)))
FILTER = Tensor("w", (8, 3, 3, 8), "float32")
GROUPED = Tensor("w", (8, 3, 3, 4), "float32")
RANK_5 = Tensor("r", (1, 2, 2, 2, 2), "float32")


def _options(options, **fields):
    for name, value in fields.items():
        setattr(options, name, value)
    return options


@pytest.mark.parametrize(
    ("code", "inputs", "options", "version"),
    [
        ("CONV_2D", [FLOAT, FILTER], None, 1),
        ("CONV_2D", [FLOAT, GROUPED], None, 6),
        ("CONV_2D", [INT8, FILTER], None, 3),
        ("DEPTHWISE_CONV_2D", [FLOAT, FILTER], schema.DepthwiseConv2DOptionsT(), 1),
        ("DEPTHWISE_CONV_2D", [FLOAT, FILTER], _options(schema.DepthwiseConv2DOptionsT(), dilationHFactor=2), 2),
        ("FULLY_CONNECTED", [INT8, INT8], None, 4),
        ("MUL", [FLOAT, FLOAT], None, 1),
        ("MUL", [INT8, INT8], None, 2),
        ("PAD", [RANK_5], None, 4),
        ("RESIZE_BILINEAR", [FLOAT], _options(schema.ResizeBilinearOptionsT(), halfPixelCenters=True), 3),
        ("RESIZE_BILINEAR", [INT8], schema.ResizeBilinearOptionsT(), 2),
        ("DEQUANTIZE", [INT8], None, 2),
        ("QUANTIZE", [INT8], None, 1),
        ("TRANSPOSE", [RANK_5], None, 4),
    ],
)
def test_version_is_the_lowest_that_knows_the_types(code, inputs, options, version):
    assert operator_version(Operation(code, (), (), options), inputs, inputs[0]) == version


def test_multiplication_that_scales_up_needs_version_three():
    result = Tensor("y", (1, 4, 4, 8), "int8", Quantiser((0.1,), (0,)))
    assert operator_version(Operation("MUL", (), ()), [INT8, INT8], result) == 3
