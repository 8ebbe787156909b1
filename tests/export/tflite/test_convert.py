from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import ExportError
from edgeconv.export.tflite import check_supported, count_transposes, to_tflite

SHAPE = (1, 4, 10, 9)


def _conv(kit, **options):
    specs = kit.X(SHAPE), kit.W(kit.normal(6, 4, 3, 3)), kit.B(kit.normal(6))
    return kit.make("Conv", specs, pads=[1, 1, 1, 1], activation="Relu", **options)[0]


def _initializers(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_same_model_gives_the_same_bytes(kit):
    model = _conv(kit, quantised=True, output=(0.05, -128))
    assert kit.lower(model).data == kit.lower(model).data


def test_path_and_model_give_the_same_bytes(kit, tmp_path):
    model = _conv(kit)
    onnx.save(model, tmp_path / "model.onnx")
    assert (
        to_tflite(tmp_path / "model.onnx").data == to_tflite(str(tmp_path / "model.onnx")).data == kit.lower(model).data
    )


def test_model_is_left_as_it_was(kit):
    model = ir.from_proto(_conv(kit, quantised=True, output=(0.05, -128)))
    before = ir.to_proto(model).SerializeToString()
    check_supported(model)
    to_tflite(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_ports_of_a_float_graph_are_float_and_nhwc(kit):
    result = kit.lower(_conv(kit))
    (port,) = result.inputs
    assert (port.port, port.name, port.shape, port.layout, port.dtype) == ("x0", "x0", [1, 10, 9, 4], "NHWC", "float32")
    assert (port.scale, port.zero_point) == (None, None)
    assert result.outputs[0].shape == [1, 10, 9, 6]


def test_ports_of_other_ranks_are_as_they_are(kit):
    (port,) = kit.lower(kit.make("Relu", [kit.X((2, 3, 5))])[0]).inputs
    assert (port.shape, port.layout) == ([2, 3, 5], "as-is")


def test_ports_of_a_qdq_graph_have_its_quantisers(kit):
    model, ((_, _, pair),) = kit.make("Relu", [kit.X(SHAPE)], quantised=True, output=(0.05, -128))
    result = kit.lower(model)
    assert (result.inputs[0].dtype, result.inputs[0].scale, result.inputs[0].zero_point) == ("int8", *pair)
    assert (result.outputs[0].dtype, result.outputs[0].zero_point) == ("int8", -128)
    assert result.outputs[0].scale == np.float32(0.05)


def test_integers_and_scales_are_taken_over_as_they_are(kit):
    model = _conv(kit, quantised=True, output=(0.05, -128))
    arrays = list(_initializers(model).values())
    weights = next(array for array in arrays if array.dtype == np.int8 and array.ndim == 4)
    bias = next(array for array in arrays if array.dtype == np.int32 and np.any(array))
    scales = [array for array in arrays if array.dtype == np.float32 and array.shape == (6,)]
    file = schema.ModelT.InitFromPackedBuf(kit.lower(model).data)
    subgraph = file.subgraphs[0]
    _, kernel, offsets = (subgraph.tensors[index] for index in subgraph.operators[0].inputs)
    stored = file.buffers[kernel.buffer].data.view(np.int8).reshape(kernel.shape)
    np.testing.assert_array_equal(stored, weights.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(file.buffers[offsets.buffer].data.view(np.int32), bias)
    np.testing.assert_array_equal(kernel.quantization.scale, scales[0])
    np.testing.assert_array_equal(offsets.quantization.scale, scales[1])
    assert kernel.quantization.quantizedDimension == 0


def test_float_bias_of_an_int8_operator_is_rounded_to_the_scale_of_its_products(kit):
    kit.check_int8("Conv", kit.X(SHAPE), kit.W(kit.normal(6, 4, 3, 3)), kit.normal(6))


def test_uint8_twin_gives_the_same_bytes(kit):
    model = _conv(kit, quantised=True, output=(0.05, -128))
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    arrays = _initializers(twin)
    shifted = {
        name
        for node in twin.graph.node
        for name in node.input
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        and name in arrays
        and arrays[name].dtype == np.int8
        and arrays[name].shape == ()
    }
    for tensor in twin.graph.initializer:
        if tensor.name in shifted:
            values = (arrays[tensor.name].astype(np.int16) + 128).astype(np.uint8)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    del twin.graph.value_info[:]
    assert kit.lower(twin).data == kit.lower(model).data


def test_missing_shapes_are_inferred(kit):
    model = _conv(kit)
    expected = kit.lower(model).data
    del model.graph.value_info[:]
    assert kit.lower(model).data == expected


def test_dynamic_shape_is_an_error_that_names_the_tensor(kit):
    model = _conv(kit)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ExportError, match="'x0'"):
        kit.lower(model)


def test_old_opset_is_an_error():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    with pytest.raises(ExportError, match="opset 11"):
        to_tflite(ir.from_proto(model))


def test_transposes_are_counted(kit):
    result = kit.lower(kit.make("Transpose", [kit.X((3, 5))], perm=[1, 0])[0])
    assert count_transposes(result.data) == result.transposes == 1
