from __future__ import annotations

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import ExportError
from edgeconv.export.wheels.elf import format_version, parse_version, read_needs


def test_the_newest_version_that_any_library_asks_for_is_read(publish):
    wheel = publish("runtime", "1.0", ["GLIBC_2.17", "GLIBC_2.34", "GLIBCXX_3.4.9", "GLIBCXX_3.4.30"], tag="2_17")
    needs = read_needs(wheel)
    assert needs.glibc == (2, 34)
    assert needs.glibcxx == (3, 4, 30)
    assert needs.machines == {os.uname().machine}


def test_versions_are_numbers_not_words(publish):
    assert read_needs(publish("runtime", "1.0", ["GLIBC_2.9", "GLIBC_2.17"])).glibc == (2, 17)


def test_packed_relocations_need_the_loader_that_knows_them(publish):
    assert read_needs(publish("runtime", "1.0", ["GLIBC_2.17", "GLIBC_ABI_DT_RELR"])).glibc == (2, 36)


def test_private_and_unversioned_symbols_are_no_need(publish):
    assert read_needs(publish("runtime", "1.0", ["GLIBC_PRIVATE", "GLIBC_2.5"])).glibc == (2, 5)


def test_a_wheel_without_libraries_needs_nothing(publish):
    needs = read_needs(publish("pure", "1.0"))
    assert (needs.glibc, needs.glibcxx, needs.machines) == ((), (), frozenset())


def test_what_is_no_library_is_told_with_its_name(tmp_path, index):
    from .conftest import write_wheel

    wheel = write_wheel(index, "odd", "1.0", {"odd/_module.so": b"\x7fELF but not really"}, "py3-none-any")
    with pytest.raises(ExportError, match=r"odd/_module\.so is no shared library"):
        read_needs(wheel)
    (tmp_path / "cut.whl").write_bytes(wheel.read_bytes()[:50])
    with pytest.raises(ExportError, match=r"cut\.whl is no wheel"):
        read_needs(tmp_path / "cut.whl")


@pytest.mark.parametrize("name", ["numpy", "onnxruntime"])
def test_it_agrees_with_the_linkers_own_tool_on_installed_wheels(name, tmp_path):
    """`objdump -p` of binutils comes with every C compiler."""
    distribution = metadata.distribution(name)
    libraries = [Path(str(distribution.locate_file(file))) for file in distribution.files or [] if ".so" in file.name]
    if not libraries or shutil.which("objdump") is None:
        pytest.skip(f"{name} is not installed as a wheel of shared libraries, or there is no objdump")
    from .conftest import write_wheel

    files = {f"{name}/{i}.so": path.read_bytes() for i, path in enumerate(libraries)}
    needs = read_needs(write_wheel(tmp_path, name, "1.0", files, "py3-none-any"))
    commands = [["objdump", "-p", str(path)] for path in libraries]
    text = "".join(subprocess.run(c, capture_output=True, text=True, check=True, timeout=60).stdout for c in commands)
    references = [line.split()[-1] for line in text.splitlines() if line.startswith("    0x")]
    versions = [parse_version(word[len("GLIBC_") :]) for word in references if word.startswith("GLIBC_2")]
    assert needs.glibc == max(versions)


@given(st.lists(st.integers(0, 999), max_size=5).map(tuple))
def test_a_version_is_written_as_it_is_read(version):
    assert parse_version(format_version(version)) == version
