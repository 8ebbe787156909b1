from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeconv.cli import run


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--case", "0"], "--case goes with --layers"),
        (["-o", "drift.txt"], "suffix '.txt'"),
        (["-o", "drift.svg", "--on", "moon:"], "A drawing shows layers"),
        (["--runtime", "abacus"], "abacus"),
        (["--layers", "--runtime", "abacus"], "abacus"),
        (["--layers", "--case", "99"], "no golden case 99"),
        (["--layers", "--on", "moon:"], "'moon:' is no target"),
    ],
)
def test_what_means_nothing_is_told(tiny_bundle: Path, capsys: pytest.CaptureFixture[str], flags, words: str) -> None:
    assert run(["drift", str(tiny_bundle), *flags]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_no_bundle_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["drift", str(tmp_path / "none"), "--layers"]) == 2
    assert "There is no bundle at" in " ".join(capsys.readouterr().err.split())


def test_a_bundle_that_edgeconv_did_not_quantise_is_looked_into_as_well(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "drift.md"
    arguments = ["--layers", "--case", "1", "--runtime", "onnxruntime", "--json", "-o", str(output)]
    assert run(["drift", str(tiny_bundle), *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [layer["operator"] for layer in report["layers"]] == ["QuantizeLinear", "Conv", "Conv"]
    assert report["cases"] == [1]
    assert sum(layer["share"] for layer in report["layers"]) == pytest.approx(1)
    assert output.read_text().startswith("# Drift of tiny-host on local:")
