from __future__ import annotations

import dataclasses
import json
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundles import load_bundle
from edgeconv.errors import BundleError, UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.decide import start_choices
from edgeconv.export.fingerprint import Fingerprint
from edgeconv.export.options import ExportOptions
from edgeconv.export.recipe import RECIPE_PATH, read_choices, read_recipe
from edgeconv.schema import to_json

NET = """
import torch
from torch import nn

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe")
    (path / "net.py").write_text(NET)
    np.savez(path / "data.npz", input=np.random.default_rng(0).random((6, 1, 3, 16, 16), np.float32))
    return path


def export(folder: Path, output: str, **options: object) -> Path:
    from edgeconv import build_bundle

    made = ExportOptions(
        model=f"{folder}/net.py:factory",
        input_shapes=("1x3x16x16",),
        runtimes=("litert", "onnxruntime"),
        golden_count=1,
        output=folder / output,
        **{"calibration": str(folder / "data.npz"), **options},
    )
    return Path(build_bundle(made).bundles[0].path)


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    return export(folder, "first", ranges="minmax")


def test_the_bundle_has_its_recipe_hashed_and_it_says_what_was_decided(bundle: Path, folder: Path) -> None:
    assert RECIPE_PATH in {entry.path for entry in load_bundle(bundle).manifest.files}
    recipe = read_recipe(bundle)
    assert recipe.choices == dataclasses.replace(Choices(), ranges="minmax")
    assert recipe.calibration is not None
    assert (recipe.calibration.source, recipe.calibration.samples) == (str(folder / "data.npz"), 5)
    assert recipe.schemes["asymmetric"].ranges == "minmax"
    assert [node.decision for node in recipe.schemes["asymmetric"].nodes] == ["int8", "int8"]
    assert "fold_batchnorm" in [rewrite.name for rewrite in recipe.rewrites]
    assert {"onnxruntime", "numpy", "python"} <= set(recipe.tools)
    assert to_json(recipe) == (bundle / RECIPE_PATH).read_text()


def test_the_same_recipe_and_data_give_the_same_model_files(bundle: Path, folder: Path) -> None:
    again = export(folder, "second", recipe=bundle / RECIPE_PATH)
    files = sorted(path.relative_to(bundle) for path in (bundle / "models").iterdir())
    assert files
    assert [(again / file).read_bytes() for file in files] == [(bundle / file).read_bytes() for file in files]
    assert (again / RECIPE_PATH).read_bytes() == (bundle / RECIPE_PATH).read_bytes()
    assert read_choices(again) == read_choices(bundle)


def rewritten(bundle: Path, path: Path, change) -> Path:
    document = json.loads((bundle / RECIPE_PATH).read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(schema_version=99), "schema version 99, this edgeconv reads up to 1"),
        (lambda d: d["choices"].update(ranges=3), "choices.ranges: expected str, found int 3"),
        (lambda d: d["choices"].update(merged_pairs=["a", 1]), r"choices.merged_pairs\[1\]: expected str"),
        (lambda d: d["choices"].update(colour="red"), "choices: unknown key 'colour'"),
        (lambda d: d["choices"].update(ranks={"a": "b"}), "choices.ranks.a: expected int"),
        (lambda d: d.pop("schemes"), "missing key 'schemes'"),
        (lambda d: d["choices"].update(equalisation=5.0), "choices.equalisation is 5, expected 0 to 1"),
        (lambda d: d["choices"].update(equalisation=-1), "choices.equalisation is -1, expected 0 to 1"),
        (lambda d: d["choices"].update(equalisation=math.nan), "NaN is no number"),
        (lambda d: d["choices"].update(tensor_ranges={"a": [-math.inf, 1.0]}), "-Infinity is no number"),
        (lambda d: d["choices"].update(tensor_ranges={"a": [0.0, 10**400]}), "expected float, found an integer beyond"),
        (lambda d: d["choices"].update(tensor_ranges={"a": [3.0, -1.0]}), "tensor_ranges.a is 3 to -1, expected low <"),
        (lambda d: d["choices"].update(tensor_ranges={"a": [2.0, 3.0]}), "tensor_ranges.a is 2 to 3, expected .* 0"),
        (lambda d: d["choices"].update(tensor_ranges={"a": [0.0, 0.0]}), "tensor_ranges.a is 0 to 0"),
        (lambda d: d["choices"].update(ranks={"a": 0}), "choices.ranks.a is 0, expected 1 or more"),
        (lambda d: d["choices"].update(gate_rank=0), "choices.gate_rank is 0, expected 1 or more"),
    ],
)
def test_a_damaged_or_newer_recipe_is_refused(bundle: Path, tmp_path: Path, change, words: str) -> None:
    path = rewritten(bundle, tmp_path / "recipe.json", change)
    with pytest.raises(BundleError, match=words) as caught:
        read_choices(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(BundleError):
        read_recipe(tmp_path)


def test_no_recipe_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There is no recipe at"):
        read_recipe(tmp_path)
    with pytest.raises(BundleError, match="There is no recipe at"):
        read_recipe(tmp_path / "none.json")


def test_numbers_that_json_can_write_and_no_float_holds_are_refused(bundle: Path, tmp_path: Path) -> None:
    path = rewritten(bundle, tmp_path / "recipe.json", lambda d: d["choices"].update(tensor_ranges={"a": [-1.0, 7.0]}))
    path.write_text(path.read_text().replace("7.0", "1e999"))
    with pytest.raises(BundleError, match=r"tensor_ranges\.a is -1 to inf"):
        read_choices(path)


def test_the_recipe_of_a_packed_bundle_is_read(bundle: Path, folder: Path, tmp_path: Path) -> None:
    from edgeconv.packing import pack_bundle

    copy = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    packed = pack_bundle(copy, load_bundle(copy).manifest)
    assert read_recipe(packed) == read_recipe(bundle)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("else.txt", "")
    with pytest.raises(BundleError, match="There is no recipe at"):
        read_recipe(tmp_path / "other.zip")
    (tmp_path / "none.zip").write_text("{}")
    with pytest.raises(BundleError, match="is no recipe: File is not a zip file"):
        read_recipe(tmp_path / "none.zip")


@pytest.mark.parametrize(
    "change",
    [
        {"float_nodes": ["a"]},
        {"merged_pairs": ["a"]},
        {"ranks": {"a": 2}},
        {"learn_steps": 5},
        {"tensor_ranges": {"a": [0.0, 1.0]}},
    ],
)
def test_choices_that_need_data_are_refused_without(bundle: Path, folder: Path, tmp_path: Path, change) -> None:
    path = rewritten(bundle, tmp_path / "recipe.json", lambda d: d["choices"].update(change))
    with pytest.raises(UsageError, match=rf"The recipe has {next(iter(change))}, which need.*--calibration"):
        export(folder, "without", calibration=None, recipe=path)
    assert not (folder / "without").exists()


def test_ranges_that_nothing_is_called_are_refused_at_the_start(bundle: Path, folder: Path, tmp_path: Path) -> None:
    path = rewritten(bundle, tmp_path / "recipe.json", lambda d: d["choices"].update(ranges="foo"))
    with pytest.raises(UsageError, match="foo"):
        start_choices(ExportOptions("not-there.onnx", recipe=path))


def test_a_recipe_of_before_a_choice_existed_has_its_default(bundle: Path, tmp_path: Path) -> None:
    path = rewritten(bundle, tmp_path / "recipe.json", lambda d: d["choices"].pop("equalisation"))
    assert read_choices(path).equalisation == Choices().equalisation


def fingerprint(*samples: dict[str, np.ndarray]) -> str:
    found = Fingerprint("data", ["x"])
    assert list(found.through(samples)) == list(samples)
    return found.data().sha256


def test_the_fingerprint_is_of_values_shapes_types_and_order() -> None:
    a, b = np.arange(6, dtype=np.float32), np.arange(6, 12, dtype=np.float32)
    base = fingerprint({"x": a}, {"x": b})
    assert base == fingerprint({"x": a, "target": b}, {"x": b[:]})
    others = [
        fingerprint({"x": b}, {"x": a}),
        fingerprint({"x": a}),
        fingerprint({"x": np.concatenate([a, b])}),
        fingerprint({"x": a.reshape(2, 3)}, {"x": b}),
        fingerprint({"x": a.astype(np.int32)}, {"x": b}),
    ]
    assert len({base, *others}) == 6
