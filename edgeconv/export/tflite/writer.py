"""A program as the bytes of a TFLite file, and what can be read back from them.

The same program always gives the same bytes.  Buffers lie at multiples of 16 bytes, as the schema asks (runtimes map
them and compute on them in place), and equal constants share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.tensors import Operation, Program, Quantiser, Tensor
from edgeconv.export.tflite.versions import operator_version

__all__ = ["count_transposes", "operator_counts", "write"]

_SCHEMA_VERSION = 3
_FILE_IDENTIFIER = b"TFL3"
_SIGNATURE = "serving_default"
_BUFFER_ALIGNMENT = 16

# Codes from 127 on do not fit the int8 field of the first schema, which old readers look at.
_OLD_CODE_LIMIT = 127

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
}


class _Buffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data are aligned; the generated class aligns them to 4 bytes only."""

    def Pack(self, builder: Any) -> int:  # noqa: N802 - overrides generated code
        data: npt.NDArray[np.uint8] | None = self.data
        if data is None:
            return int(super().Pack(builder))
        builder.StartVector(1, data.size, _BUFFER_ALIGNMENT)
        builder.head -= data.size
        builder.Bytes[builder.head : builder.head + data.size] = data.data
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def write(program: Program) -> bytes:
    """The TFLite file of `program`."""
    program = _pruned(program)
    model = schema.ModelT()
    model.version = _SCHEMA_VERSION
    model.description = "edgeconv"
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    subgraph = schema.SubGraphT()
    subgraph.name = "main"
    buffers: dict[bytes, int] = {}
    subgraph.tensors = [_tensor(tensor, model.buffers, buffers) for tensor in program.tensors]
    codes: dict[tuple[str, int], int] = {}
    subgraph.operators = [_operator(operation, program, model.operatorCodes, codes) for operation in program.operations]
    subgraph.inputs, subgraph.outputs = list(program.inputs.values()), list(program.outputs.values())
    model.subgraphs = [subgraph]
    model.signatureDefs = [_signature(program)]
    size = sum(buffer.data.size for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 16))
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def operator_counts(data: bytes) -> dict[str, int]:
    """How often each operator occurs in a TFLite file, by name."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.Model.GetRootAs(data, 0)
    counts: dict[str, int] = {}
    for index in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(index)
        for place in range(subgraph.OperatorsLength()):
            code = model.OperatorCodes(subgraph.Operators(place).OpcodeIndex())
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def count_transposes(data: bytes) -> int:
    """Number of TRANSPOSE operators in a TFLite file."""
    return operator_counts(data).get("TRANSPOSE", 0)


def _pruned(program: Program) -> Program:
    """Without the operations that no output depends on, and without the tensors that are left over."""
    needed = set(program.outputs.values())
    kept: list[Operation] = []
    for operation in reversed(program.operations):
        if needed.intersection(operation.outputs):
            kept.append(operation)
            needed.update(operation.inputs)
    operations = kept[::-1]
    needed.update(program.inputs.values(), *(operation.outputs for operation in operations))
    place = {index: new for new, index in enumerate(sorted(needed))}
    return Program(
        [program.tensors[index] for index in place],
        [_moved(operation, place) for operation in operations],
        {name: place[index] for name, index in program.inputs.items()},
        {name: place[index] for name, index in program.outputs.items()},
    )


def _moved(operation: Operation, place: dict[int, int]) -> Operation:
    inputs, outputs = (tuple(place[index] for index in side) for side in (operation.inputs, operation.outputs))
    return Operation(operation.code, inputs, outputs, operation.options)


def _tensor(tensor: Tensor, buffers: list[Any], known: dict[bytes, int]) -> Any:
    packed = schema.TensorT()
    packed.name = tensor.name
    packed.shape = np.array(tensor.shape, np.int32)
    packed.hasRank = True
    packed.type = _TYPES[tensor.dtype]
    packed.quantization = _quantisation(tensor.quantiser)
    if tensor.data is not None:
        data = np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8)
        digest = hashlib.sha256(data.data).digest()
        if digest not in known:
            known[digest] = len(buffers)
            buffers.append(_Buffer(data))
        packed.buffer = known[digest]
    return packed


def _quantisation(quantiser: Quantiser | None) -> Any:
    packed = schema.QuantizationParametersT()
    if quantiser is not None:
        packed.scale = np.array(quantiser.scales, np.float32)
        packed.zeroPoint = np.array(quantiser.zero_points, np.int64)
        packed.quantizedDimension = quantiser.axis
    return packed


def _operator(operation: Operation, program: Program, codes: list[Any], known: dict[tuple[str, int], int]) -> Any:
    inputs = [program.tensors[index] for index in operation.inputs]
    key = operation.code, operator_version(operation, inputs, program.tensors[operation.outputs[0]])
    if key not in known:
        known[key] = len(codes)
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, operation.code)
        code.deprecatedBuiltinCode = min(code.builtinCode, _OLD_CODE_LIMIT)
        code.version = key[1]
        codes.append(code)
    packed = schema.OperatorT()
    packed.opcodeIndex = known[key]
    packed.inputs, packed.outputs = list(operation.inputs), list(operation.outputs)
    if operation.options is not None:
        packed.builtinOptionsType = getattr(schema.BuiltinOptions, type(operation.options).__name__.removesuffix("T"))
        packed.builtinOptions = operation.options
    return packed


def _signature(program: Program) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = _SIGNATURE
    signature.inputs, signature.outputs = _maps(program.inputs.items()), _maps(program.outputs.items())
    return signature


def _maps(ports: Iterable[tuple[str, int]]) -> list[Any]:
    packed = []
    for name, tensor in ports:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, tensor
        packed.append(entry)
    return packed
