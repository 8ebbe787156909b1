"""The plugin in real pytest sessions of its own, with real exports and runtimes."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeconv.parity.goldens import read_golden

pytest_plugins = "pytester"

NET = """
import torch
from torch import nn

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
"""

OF_A_BUNDLE = """
def test_parity(assert_parity):
    assert_parity("tiny-host", runtime="onnxruntime", precision="fp32"{more})
"""


@pytest.fixture
def project(pytester: pytest.Pytester, tiny_bundle: Path) -> pytest.Pytester:
    """A user's repository with a bundle in it."""
    shutil.move(tiny_bundle, pytester.path / "tiny-host")
    return pytester


def outcome(project: pytest.Pytester, *arguments: str, more: str = "") -> pytest.RunResult:
    project.makepyfile(test_parity=OF_A_BUNDLE.replace("{more}", more))
    return project.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def text(result: pytest.RunResult) -> str:
    return " ".join(result.stdout.str().split())


def test_pytest_finds_the_plugin_and_loads_nothing_heavy_for_it():
    (entry,) = (e for e in importlib.metadata.entry_points(group="pytest11") if e.name == "edgeconv")
    assert entry.value == "edgeconv.parity.pytest_plugin"
    code = (
        "import sys, edgeconv.parity.pytest_plugin;"
        "sys.exit(', '.join({'torch', 'onnx', 'numpy', 'rich', 'cyclopts'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_the_flag_and_the_ini_option(pytester):
    result = pytester.runpytest("--help")
    result.stdout.fnmatch_lines(["*--edgeconv-update*", "*edgeconv_goldens*"])


def test_a_missing_golden_fails_and_is_written_on_request_then_holds(project):
    first = outcome(project)
    first.assert_outcomes(failed=1)
    assert "There is no golden file tests/goldens/tiny.npz" in text(first)
    assert not (project.path / "tests").exists()

    update = outcome(project, "--edgeconv-update")
    update.assert_outcomes(passed=1)
    assert "tests/goldens/tiny.npz: new" in text(update)
    path = project.path / "tests/goldens/tiny.npz"
    golden = read_golden(path)
    assert golden is not None
    assert set(golden.arrays) == {"input.x", "torch.y", "target"}

    written = path.read_bytes()
    outcome(project).assert_outcomes(passed=1)
    again = outcome(project, "--edgeconv-update")
    assert "golden files" not in text(again)
    assert path.read_bytes() == written


def test_workers_of_xdist_tell_what_they_wrote(project):
    project.makepyfile(test_parity=OF_A_BUNDLE.replace("{more}", ""))
    result = project.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "--edgeconv-update")
    result.assert_outcomes(passed=1)
    assert "tests/goldens/tiny.npz: new" in text(result)


def test_the_folder_of_goldens_can_be_set(project):
    project.makeini("[pytest]\nedgeconv_goldens = kept/here\n")
    outcome(project, "--edgeconv-update", more=", golden='my net'").assert_outcomes(passed=1)
    assert [p.name for p in (project.path / "kept/here").iterdir()] == ["my-net.npz"]


def test_a_bound_that_is_not_met_fails_with_a_table_and_where_it_breaks(project):
    outcome(project, "--edgeconv-update").assert_outcomes(passed=1)
    failing = outcome(project, more=", tolerance='fp32.total_min_sqnr_db=250'")
    failing.assert_outcomes(failed=1)
    failing.stdout.fnmatch_lines(
        [
            "*Parity of tiny-host on local: does not hold.",
            "*artefact *judged *measured *bound",
            "*onnxruntime fp32 *total SQNR * dB *250.00 dB  ✗",
            "*✗ onnxruntime fp32: total SQNR*needed 250.0 dB or more.",
            "*→ onnxruntime fp32: no single operator is to blame*",
        ]
    )
    assert "edgeconv/benchmarks" not in text(failing), "the traceback is of the user's test, not of our insides"


def test_a_model_that_changed_shows_against_its_golden_with_the_place(project):
    outcome(project, "--edgeconv-update").assert_outcomes(passed=1)
    path = project.path / "tests/goldens/tiny.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["torch.y"][1, 0, 1, 2, 3] += 5
    np.savez(path, **arrays)
    changed = outcome(project)
    changed.assert_outcomes(failed=1)
    assert "PyTorch's outputs differ from tests/goldens/tiny.npz" in text(changed)
    assert "most at y[1, 0, 1, 2, 3]" in text(changed)
    renewed = outcome(project, "--edgeconv-update")
    renewed.assert_outcomes(passed=1)
    assert "tests/goldens/tiny.npz: renewed. Before: PyTorch's outputs differ" in text(renewed)
    outcome(project).assert_outcomes(passed=1)


def test_a_damaged_golden_is_told_and_renewed(project):
    (project.path / "tests/goldens").mkdir(parents=True)
    (project.path / "tests/goldens/tiny.npz").write_bytes(b"PK\x03\x04 cut off")
    result = outcome(project)
    result.assert_outcomes(failed=1)
    assert "is no golden file of ours" in text(result)
    outcome(project, "--edgeconv-update").assert_outcomes(passed=1)
    outcome(project).assert_outcomes(passed=1)


def test_junit_has_the_figures(project):
    outcome(project, "--edgeconv-update", "--junitxml=report.xml").assert_outcomes(passed=1)
    properties = ElementTree.parse(project.path / "report.xml").iter("property")
    figures = {p.get("name"): p.get("value") for p in properties}
    assert float(figures["onnxruntime fp32: export SQNR dB"] or "nan") > 90
    assert "onnxruntime fp32: total SQNR dB" in figures


def test_the_documented_example_runs_as_it_is_printed(pytester: pytest.Pytester):
    """The first block of code of docs/pytest.md and of the README, in a repository like the one that it is about."""
    import torch
    from safetensors.torch import save_file

    root = Path(__file__).parents[2]
    page = (root / "docs" / "pytest.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n# tests/test_parity\.py\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert len(example[1].strip().splitlines()) <= 10
    assert example[0] in (root / "README.md").read_text(encoding="utf-8")
    pytester.makepyfile(net=NET, **{"tests/test_parity": example[1]})
    torch.manual_seed(4)
    weights = {"0.weight": torch.randn(8, 3, 3, 3), "0.bias": torch.zeros(8)}
    save_file(
        {**weights, "2.weight": torch.randn(2, 8, 1, 1), "2.bias": torch.zeros(2)}, pytester.path / "net.safetensors"
    )
    np.savez(pytester.path / "images.npz", input=np.random.default_rng(0).random((8, 1, 3, 160, 224), np.float32))
    # An export loads libraries that cannot be loaded anew in one process, which a session inside this one would do.
    arguments = "-p", "no:cacheprovider", f"--basetemp={pytester.path / 'sessions'}", "--edgeconv-update", "tests"
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=6)
    assert (pytester.path / "tests/goldens/factory.npz").is_file()
    exported = list((pytester.path / "sessions").glob("edgeconv-bundles0/*"))
    assert len(exported) == 1, "one export serves all tests"
