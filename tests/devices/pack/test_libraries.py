from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgeconv.devices.pack.libraries import needed_libraries
from edgeconv.errors import DeviceError


@pytest.fixture
def compiled(tmp_path):
    """A shared library that needs others."""

    def made(folder: str, name: str, *needs: Path) -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        source = tmp_path / f"{name}.c"
        source.write_text(f"int {name.split('.', maxsplit=1)[0]}(void) {{ return 1; }}\n")
        linked = ["-Wl,--no-as-needed", *map(str, needs), f"-Wl,-soname,{name}"]
        subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-o", path, source, *linked], check=True, timeout=60)
        return path

    return made


def test_what_is_needed_is_found_with_what_that_needs(compiled, tmp_path):
    deep = compiled("usr", "libdeep.so.1")
    middle = compiled("lib", "libmiddle.so.1", deep)
    module = compiled("site", "module.so", middle)
    found = needed_libraries([module], [tmp_path / "lib", tmp_path / "usr"])
    assert found == {"libmiddle.so.1": middle, "libdeep.so.1": deep}


def test_a_library_that_a_wheel_brings_along_is_not_the_systems(compiled, tmp_path):
    own = compiled("site", "libown.so.1")
    module = compiled("site", "module.so", own)
    assert needed_libraries([module, own], [tmp_path / "lib"]) == {}


def test_files_that_are_no_libraries_need_nothing(tmp_path):
    (tmp_path / "module.py").write_text("import os\n")
    assert needed_libraries([tmp_path / "module.py", tmp_path], []) == {}


def test_a_library_that_the_system_has_not_is_named(compiled, tmp_path):
    module = compiled("site", "module.so", compiled("elsewhere", "libfar.so.3"))
    with pytest.raises(DeviceError, match=r"module\.so needs libfar\.so\.3"):
        needed_libraries([module], [tmp_path / "lib"])
