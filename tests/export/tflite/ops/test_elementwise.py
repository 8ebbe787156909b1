from __future__ import annotations

import numpy as np
import pytest

SHAPE = (1, 4, 9, 10)


def _operands(kit):
    return {
        "another activation": kit.X(SHAPE, -1, 5),
        "full map": kit.C(kit.normal(*SHAPE)),
        "channels": kit.C(kit.normal(4, 1, 1)),
        "row": kit.C(kit.normal(1, 10)),
        "number": kit.C(np.float32(0.7).reshape(())),
        "gate": kit.X((1, 4, 1, 1), -3, 3),
        "lower rank": kit.X((9, 1), -3, 3),
    }


@pytest.mark.parametrize("other", ["another activation", "full map", "channels", "row", "number", "gate", "lower rank"])
@pytest.mark.parametrize("op_type", ["Add", "Mul", "Sub"])
def test_arithmetic_broadcasts_as_in_onnx(kit, op_type, other):
    operand = _operands(kit)[other]
    for result in (
        kit.check_float(op_type, kit.X(SHAPE), operand),
        kit.check_int8(op_type, kit.X(SHAPE), operand),
        kit.check_int8(op_type, operand, kit.X(SHAPE), activation="Relu"),
    ):
        assert result.transposes == 0
        assert result.operators[op_type.upper()] == 1
        assert "DEQUANTIZE" not in result.operators


def test_arithmetic_broadcasts_when_neither_operand_has_the_shape_of_the_result(kit):
    kit.check_float("Add", kit.X((1, 4, 1, 1)), kit.X((1, 1, 9, 10), -3, 3))
    kit.check_int8("Add", kit.X((1, 4, 1, 1)), kit.X((1, 1, 9, 10), -3, 3))


@pytest.mark.parametrize("op_type", ["Add", "Mul", "Sub"])
def test_arithmetic_is_one_lsb_exact_when_the_scales_are_far_apart(kit, op_type):
    kit.check_int8(op_type, kit.X(SHAPE, -0.01, 0.02), kit.X(SHAPE, 0, 40))
    kit.check_int8(op_type, kit.X(SHAPE, -30, 1), kit.X(SHAPE, -2, 7), output=kit.quantiser_of(-1, 2))


def test_constant_of_a_commutative_operator_is_the_second_operand(kit):
    from ai_edge_litert import schema_py_generated as schema

    model, _ = kit.make("Mul", [kit.C(kit.normal(*SHAPE)), kit.X(SHAPE)])
    subgraph = schema.ModelT.InitFromPackedBuf(kit.lower(model).data).subgraphs[0]
    gate = subgraph.tensors[subgraph.operators[0].inputs[1]]
    assert list(gate.shape) == [1, 9, 10, 4]
    assert gate.buffer != 0


@pytest.mark.parametrize("op_type", ["Max", "Min"])
def test_extremum_matches_onnx(kit, op_type):
    specs = kit.X(SHAPE), kit.X(SHAPE, -1, 4), kit.C(kit.normal(4, 1, 1))
    kit.check_float(op_type, *specs)
    kit.check_int8(op_type, *specs)
    assert "QUANTIZE" not in kit.check_int8(op_type, *specs, share=True).operators


@pytest.mark.parametrize("op_type", ["Abs", "Ceil", "Erf", "Exp", "Floor", "Neg"])
def test_function_matches_onnx(kit, op_type):
    kit.check_float(op_type, kit.X(SHAPE))
    kit.check_int8(op_type, kit.X(SHAPE))


@pytest.mark.parametrize("op_type", ["Log", "Sqrt"])
def test_function_of_positive_numbers_matches_onnx(kit, op_type):
    kit.check_float(op_type, kit.X(SHAPE, 0.1, 3))


@pytest.mark.parametrize("exponent", [-1.0, 0.5, 1.0, 1.7, 2.0, 3.0])
def test_pow_matches_onnx(kit, exponent):
    kit.check_float("Pow", kit.X(SHAPE, 0.1, 3), np.float32(exponent))


def test_div_matches_onnx(kit):
    kit.check_float("Div", kit.X(SHAPE), kit.X(SHAPE, 0.5, 5))
    kit.check_float("Div", kit.C(kit.normal(4, 1, 1)), kit.X(SHAPE, 0.5, 5))


def test_operator_without_int8_kernel_runs_in_float_between_dequantize_and_quantize(kit):
    divisor = np.linspace(1, 3, 4, dtype=np.float32).reshape(4, 1, 1)
    result = kit.check_int8("Div", kit.X(SHAPE), kit.C(divisor))
    assert result.operators == {"DEQUANTIZE": 1, "DIV": 1, "QUANTIZE": 1}
