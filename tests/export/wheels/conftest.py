"""Real wheels with shared libraries compiled here to need what a test says, in a directory that is pip's index."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgeconv.export.wheels.platform import WheelPlatform

MACHINE = os.uname().machine
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
INTERPRETER = "cp" + PYTHON.replace(".", "")
SONAMES = {"libc.so.6": "GLIBC", "libstdc++.so.6": "GLIBCXX"}


@pytest.fixture(scope="session")
def compile_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """A shared library that asks the loader for symbols of these versions ("GLIBC_2.34", "GLIBCXX_3.4.30", …)."""
    directory = tmp_path_factory.mktemp("libraries")

    def compiled(*versions: str) -> bytes:
        result = directory / ("-".join(["needs", *versions]) + ".so")
        if result.exists():
            return result.read_bytes()
        stubs = []
        for soname, family in SONAMES.items():
            asked = {f"probe{i}": version for i, version in enumerate(versions) if version.startswith(f"{family}_")}
            if asked:
                stub = result.with_suffix(f".{family}.so")
                script, source = stub.with_suffix(".map"), stub.with_suffix(".c")
                script.write_text("".join(f"{version} {{ global: {name}; }};\n" for name, version in asked.items()))
                source.write_text("".join(f"int {name}(void) {{ return 1; }}\n" for name in asked))
                cc("-o", stub, source, f"-Wl,--version-script={script}", f"-Wl,-soname,{soname}")
                stubs.append(stub)
        names = [f"probe{i}" for i in range(len(versions))]
        declared = "".join(f"int {name}(void);\n" for name in names)
        source = result.with_suffix(".c")
        source.write_text(f"{declared}int module(void) {{ return {' + '.join(f'{name}()' for name in names)}; }}\n")
        cc("-o", result, source, *stubs)
        return result.read_bytes()

    return compiled


def cc(*arguments: object) -> None:
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", *map(str, arguments)], check=True, timeout=60)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks, and an empty cache of ours."""
    directory = tmp_path / "index"
    directory.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


@pytest.fixture
def publish(index: Path, compile_library: Callable[..., bytes]) -> Callable[..., Path]:
    """Put a wheel into the index."""

    def published(
        name: str, version: str, needs: Sequence[str] | None = None, requires: Sequence[str] = (), tag: str = "2_17"
    ) -> Path:
        files = {f"{name}/__init__.py": b"" if needs is None else b"# has a library\n"}
        if needs is not None:
            files[f"{name}/_module.so"] = compile_library(*needs)
        tags = "py3-none-any" if needs is None else f"{INTERPRETER}-{INTERPRETER}-manylinux_{tag}_{MACHINE}"
        return write_wheel(index, name, version, files, tags, requires)

    return published


def write_wheel(
    directory: Path, name: str, version: str, files: dict[str, bytes], tags: str, requires: Sequence[str] = ()
) -> Path:
    information = f"{name}-{version}.dist-info"
    wanted = "".join(f"Requires-Dist: {text}\n" for text in requires)
    members = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}".encode(),
        f"{information}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tags}\n".encode(),
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in members.items()
    ]
    members[f"{information}/RECORD"] = "\n".join([*rows, f"{information}/RECORD,,", ""]).encode()
    path = directory / f"{name}-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path


@pytest.fixture
def platform() -> Callable[[str], WheelPlatform]:
    """This machine and Python, with another glibc."""

    def of(glibc: str) -> WheelPlatform:
        return WheelPlatform("a-board", MACHINE, PYTHON, tuple(int(part) for part in glibc.split(".")))

    return of
