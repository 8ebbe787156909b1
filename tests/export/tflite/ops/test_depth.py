from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("mode", "operators"), [("DCR", {"DEPTH_TO_SPACE": 1}), ("CRD", {"DEPTH_TO_SPACE": 1, "GATHER": 1})]
)
def test_depth_to_space_matches_onnx(kit, mode, operators):
    kit.check_float("DepthToSpace", kit.X((1, 12, 3, 4)), blocksize=2, mode=mode, min_sqnr_db=np.inf)
    result = kit.check_int8("DepthToSpace", kit.X((1, 12, 3, 4)), blocksize=2, mode=mode, share=True)
    assert result.operators == operators


def test_space_to_depth_matches_onnx(kit):
    kit.check_float("SpaceToDepth", kit.X((1, 3, 4, 6)), blocksize=2, min_sqnr_db=np.inf)
    kit.check_int8("SpaceToDepth", kit.X((1, 3, 4, 6)), blocksize=2, share=True)
