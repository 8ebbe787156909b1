from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgeconv
from edgeconv.benchmarks.agent_archive import agent_sources, build_agent

RUNTIME_PACKAGES = {"onnxruntime", "openvino", "ai_edge_litert", "tflite_runtime"}


@pytest.fixture(scope="module")
def members():
    with zipfile.ZipFile(io.BytesIO(build_agent())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_same_sources_give_the_same_bytes():
    assert build_agent() == build_agent()


def test_the_agent_holds_its_own_modules_and_no_others(members):
    assert "__main__.py" in members
    assert {"edgeconv/errors.py", "edgeconv/schema.py", "edgeconv/manifest.py", "edgeconv/records.py"} <= set(members)
    packages = {name.rsplit("/", 1)[0] for name in members}
    inner = {name for name in packages if name.startswith("edgeconv/benchmarks/agent/")}
    assert packages - inner == {
        "__main__.py",
        "edgeconv",
        "edgeconv/benchmarks",
        "edgeconv/benchmarks/agent",
        "edgeconv/runtimes",
    }
    assert {f"{package}/__init__.py" for package in inner} <= set(members)
    assert len(build_agent()) < 160_000


@pytest.mark.parametrize("path", agent_sources(), ids=lambda path: path.as_posix().split("edgeconv/", 1)[1])
def test_every_agent_file_is_python_3_8(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert future or path.name == "__init__.py", "annotations would be evaluated"


def test_every_import_is_standard_library_numpy_a_runtime_or_in_the_archive(members):
    for name, source in members.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                top = module.split(".")[0]
                known = top in sys.stdlib_module_names or top in RUNTIME_PACKAGES | {"numpy"}
                path = module.replace(".", "/")
                inside = f"{path}.py" in members or f"{path}/__init__.py" in members
                assert known or (top == "edgeconv" and inside), f"{name} imports {module}"


def test_generic_builtins_are_not_subscripted_where_they_are_evaluated():
    """``list[int]`` in an alias, a base class or a cast is a TypeError before Python 3.9."""
    for path in agent_sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        annotations = {
            id(inner)
            for node in ast.walk(tree)
            for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
            if annotation is not None
            for inner in ast.walk(annotation)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and id(node) not in annotations:
                assert node.value.id not in {"list", "dict", "tuple", "set", "type"}, f"{path}:{node.lineno}"


def _pythons():
    names = ["python3.8", "python3.9", "python3.10", "python3.12", "python3.13"]
    return [name for name in names if _works(name)]


def _works(name):
    path = shutil.which(name)
    return path is not None and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("python", _pythons() or [sys.executable])
def test_the_agent_lists_a_bundle_on_other_pythons_without_numpy(python, tiny_bundle):
    def agent(*arguments):
        command = [python, "-I", str(tiny_bundle / "agent.pyz"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert agent("--version") == f"edgeconv agent {edgeconv.__version__}\n"
    assert "openvino fp16  models/model.fp16.xml" in agent("list")
    assert '"machine"' in agent("host")


def test_the_agent_is_executable_as_it_is(tiny_bundle):
    path = tiny_bundle / "agent.pyz"
    assert path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False, cwd=Path("/"))
    assert done.returncode == 0, done.stderr


def test_nothing_newer_than_python_3_8_is_taken_from_the_standard_library():
    """What the syntax does not show: `functools.cache`, `str.removeprefix`, …"""
    vermin = [sys.executable, "-c", "import vermin; vermin.main()", "--target=3.8-", "--violations", "--no-tips"]
    command = [*vermin, *map(str, agent_sources())]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout


def test_the_agent_unpacks_itself_where_it_is_told_to_and_keeps_its_byte_code(tmp_path):
    (tmp_path / "agent.pyz").write_bytes(build_agent())
    folder = tmp_path / "agents" / "key"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["EDGECONV_AGENT_FOLDER"] = str(folder)
    for _ in range(2):
        command = [sys.executable, str(tmp_path / "agent.pyz"), "host"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["cpus"] >= 1
    assert list(folder.rglob("__pycache__/*.pyc"))
    assert [path.name for path in folder.parent.iterdir()] == ["key"]
