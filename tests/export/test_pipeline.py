"""What an export may replace, and when it says that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.cli import run
from edgeconv.errors import ExportError, UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import build_bundle
from edgeconv.graph import save_graph

_PROFILE = """
name = "{name}"
description = "test"
machine = "aarch64"
threads = 1
channel_multiple = 8
onnx_activations = "int8"
targets = [{targets}]

[requirements]
"""
_ONNX = '{ runtime = "onnxruntime", precision = "fp32" }'
_TENSORRT = '{ runtime = "tensorrt", precision = "int8", quantisation = "symmetric" }'


@pytest.fixture
def options(build_graph: Callable[..., ir.Model], tmp_path: Path) -> Callable[..., ExportOptions]:
    """Of a small network without data, for devices by the name and the targets of their profiles."""
    weights = np.random.default_rng(0).normal(0, 0.3, (4, 2, 3, 3)).astype(np.float32)
    graph = build_graph(
        "g (float[1,2,8,8] x, float[4,2,3,3] w) => (float[1,4,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", w=weights
    )
    save_graph(graph, tmp_path / "net.onnx")

    def made(*, devices: dict[str, str] | None = None, **other: object) -> ExportOptions:
        targets = {"board": _ONNX} if devices is None else devices
        for name, text in targets.items():
            (tmp_path / f"{name}.toml").write_text(_PROFILE.format(name=name, targets=text), encoding="utf-8")
        profiles = tuple(str(tmp_path / f"{name}.toml") for name in targets)
        return ExportOptions(str(tmp_path / "net.onnx"), devices=profiles, output=tmp_path / "out", **other)  # type: ignore[arg-type]

    return made


def test_a_failed_export_replaces_nothing(options: Callable[..., ExportOptions], tmp_path: Path) -> None:
    build_bundle(options())
    manifest = tmp_path / "out" / "net-board" / "manifest.json"
    before = manifest.stat().st_ino
    with pytest.raises(ExportError, match="Nothing could be made for other"):
        build_bundle(options(devices={"board": _ONNX, "other": _TENSORRT}, force=True))
    assert manifest.stat().st_ino == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["net-board"]


def test_a_device_without_the_runtime_that_is_asked_for_is_refused_at_the_start(
    options: Callable[..., ExportOptions], tmp_path: Path
) -> None:
    stages: list[str] = []
    asked = options(devices={"board": _ONNX, "other": _TENSORRT}, runtimes=("onnxruntime",))
    with pytest.raises(UsageError, match=r"other has no onnxruntime.*Name one that it has: tensorrt"):
        build_bundle(asked, stages.append)
    assert stages == []
    assert not (tmp_path / "out").exists()


def test_a_packed_bundle_is_replaced_by_force_only(options: Callable[..., ExportOptions], tmp_path: Path) -> None:
    path = tmp_path / "out" / "net-board.zip"
    path.parent.mkdir()
    path.write_text("of somebody")
    with pytest.raises(UsageError, match=r"net-board.zip exists already and is kept.*--force"):
        build_bundle(options(pack=True))
    assert path.read_text() == "of somebody"
    assert list(path.parent.iterdir()) == [path]
    (built,) = build_bundle(options(pack=True, force=True)).bundles
    assert (built.packed, built.outdated) == (str(path), None)
    assert path.read_bytes()[:2] == b"PK"


def test_a_folder_in_the_place_of_the_packed_bundle_is_told_before_anything_is_replaced(
    options: Callable[..., ExportOptions], tmp_path: Path
) -> None:
    (tmp_path / "out" / "net-board.zip").mkdir(parents=True)
    stages: list[str] = []
    with pytest.raises(UsageError, match=r"net-board\.zip is a folder"):
        build_bundle(options(pack=True, force=True), stages.append)
    assert stages == ["load"]
    assert not (tmp_path / "out" / "net-board").exists()


def test_a_packed_bundle_of_an_earlier_export_is_said_to_be_one(
    options: Callable[..., ExportOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["export", options().model, "--device", options().devices[0], "-o", str(tmp_path / "out")]
    assert run([*base, "--pack"]) == 0
    assert "earlier export" not in capsys.readouterr().out
    assert run([*base, "--force"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "net-board.zip is of an earlier export; --pack writes it anew." in told
