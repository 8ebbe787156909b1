from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv import ExportOptions, build_bundle
from edgeconv.errors import UsageError
from edgeconv.export.data import Sample
from edgeconv.export.recipe import read_recipe
from edgeconv.graph import save_graph


def test_recipe_of_the_best_gives_the_same_files_again(
    tmp_path: Path, traced: Callable[[], ir.Model], samples: list[Sample]
) -> None:
    save_graph(traced(), tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", np.concatenate([sample["x"] for sample in samples]))
    common = {
        "model": str(tmp_path / "net.onnx"),
        "calibration": str(tmp_path / "images.npy"),
        "runtimes": ("onnxruntime",),
        "golden_count": 2,
    }
    best = build_bundle(ExportOptions(**common, quality="best", output=tmp_path / "best"))
    assert best.search is not None
    bundle = Path(best.bundles[0].path)
    recipe = read_recipe(bundle)
    assert recipe.search == best.search
    assert recipe.search.candidates[0].step == "start"
    again = build_bundle(ExportOptions(**common, recipe=bundle / "recipe.json", output=tmp_path / "again"))
    assert again.search is None
    models = sorted(path.relative_to(bundle) for path in (bundle / "models").rglob("*.onnx"))
    assert len(models) >= 2
    for name in models:
        assert (Path(again.bundles[0].path) / name).read_bytes() == (bundle / name).read_bytes()

    document = json.loads((bundle / "recipe.json").read_text())
    document["choices"]["merged_pairs"] = ["of/another/model"]
    (tmp_path / "other.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="of/another/model"):
        build_bundle(ExportOptions(**common, recipe=tmp_path / "other.json", output=tmp_path / "none"))
    assert not (tmp_path / "none").exists()
