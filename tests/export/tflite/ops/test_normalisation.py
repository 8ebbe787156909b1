from __future__ import annotations

import numpy as np
import pytest

SHAPE = (1, 4, 12, 10)


def test_batch_normalisation_matches_onnx(kit):
    parameters = kit.normal(4), kit.normal(4), kit.normal(4), np.abs(kit.normal(4)) + 0.1
    kit.check_float("BatchNormalization", kit.X(SHAPE), *parameters)
    kit.check_int8("BatchNormalization", kit.X(SHAPE), *parameters)


@pytest.mark.parametrize(("shape", "axis"), [(SHAPE, -1), (SHAPE, 1), ((2, 5, 16), 2)], ids=str)
def test_layer_normalisation_matches_onnx(kit, shape, axis):
    normalised = shape[axis:]
    kit.check_float("LayerNormalization", kit.X(shape), kit.normal(*normalised), kit.normal(*normalised), axis=axis)
    kit.check_float("LayerNormalization", kit.X(shape), np.ones(normalised, np.float32), axis=axis)


@pytest.mark.parametrize("shape", [SHAPE, (1, 4, 9)], ids=str)
def test_instance_normalisation_matches_onnx(kit, shape):
    kit.check_float("InstanceNormalization", kit.X(shape), kit.normal(4), kit.normal(4), epsilon=1e-3)
    kit.check_int8("InstanceNormalization", kit.X(shape), kit.normal(4), kit.normal(4))
