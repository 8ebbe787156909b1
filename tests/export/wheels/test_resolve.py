from __future__ import annotations

import dataclasses

import pytest

from edgeconv.errors import ExportError
from edgeconv.export.wheels.resolve import resolve_wheels

from .conftest import MACHINE

OLD, NEW = ("GLIBC_2.17",), ("GLIBC_2.34",)


def found(wheels):
    return {wheel.name: wheel.version for wheel in wheels}


def test_a_version_that_needs_too_new_a_glibc_is_passed_over_whatever_its_tag_says(publish, platform):
    publish("runtime", "1.0", OLD, tag="2_34")  # a tag that overstates, as tflite-runtime's
    publish("runtime", "2.0", NEW, tag="2_17")  # and two that understate, as ai-edge-litert's
    publish("runtime", "2.1", NEW, tag="2_27")
    assert found(resolve_wheels(platform("2.36"), ["runtime"])) == {"runtime": "2.1"}
    stages: list[str] = []
    assert found(resolve_wheels(platform("2.31"), ["runtime"], stages.append)) == {"runtime": "1.0"}
    assert any("fetching runtime 1.0" in stage for stage in stages)


def test_what_was_found_not_to_fit_is_not_fetched_again(publish, platform, index):
    publish("runtime", "1.0", OLD)
    refused = publish("runtime", "2.0", NEW)
    assert found(resolve_wheels(platform("2.31"), ["runtime"])) == {"runtime": "1.0"}
    refused.unlink()
    refused.write_bytes(b"would fail to be read")
    stages: list[str] = []
    assert found(resolve_wheels(platform("2.31"), ["runtime"], stages.append)) == {"runtime": "1.0"}
    assert not any("fetching" in stage for stage in stages)


def test_a_wheel_of_the_cache_that_was_changed_is_fetched_again(publish, platform):
    publish("runtime", "1.0", OLD)
    first = resolve_wheels(platform("2.31"), ["runtime"])[0].path
    first.write_bytes(b"changed")
    assert resolve_wheels(platform("2.31"), ["runtime"])[0].path.read_bytes() != b"changed"


def test_a_dependency_steps_back_too_and_constraints_hold(publish, platform):
    publish("runtime", "1.0", OLD, ["array>=1"])
    publish("array", "1.5", OLD)
    publish("array", "1.9", NEW)
    publish("array", "2.0", OLD)
    assert found(resolve_wheels(platform("2.31"), ["runtime", "array<2"])) == {"runtime": "1.0", "array": "1.5"}


def test_a_requirement_that_pip_drops_for_its_own_python_is_added(publish, platform):
    publish("runtime", "1.0", requires=['support; python_version < "3.9"'])
    publish("support", "1.0")
    board = dataclasses.replace(platform("2.31"), python="3.8")
    assert found(resolve_wheels(board, ["runtime"])) == {"runtime": "1.0", "support": "1.0"}
    assert found(resolve_wheels(platform("2.31"), ["runtime"])) == {"runtime": "1.0"}


def test_when_nothing_fits_the_message_says_what_would_be_needed(publish, platform):
    publish("runtime", "1.0", ["GLIBC_2.30"])
    publish("runtime", "2.0", NEW)
    for _ in range(2):  # the second time nothing is fetched, and the reasons are told all the same
        with pytest.raises(ExportError) as caught:
            resolve_wheels(platform("2.28"), ["runtime>=1"])
        assert "a-board" in str(caught.value)
        assert "glibc 2.28" in str(caught.value)
        assert "runtime 2.0 needs glibc 2.34" in str(caught.value)
        assert "runtime 1.0 needs glibc 2.30" in str(caught.value)
        assert "--runtime" in caught.value.hint


def test_a_wheel_for_another_machine_under_a_false_tag_is_passed_over(publish, platform, index):
    other = "x86_64" if MACHINE == "aarch64" else "aarch64"
    publish("runtime", "1.0")
    genuine = publish("runtime", "2.0", OLD)
    genuine.rename(genuine.with_name(genuine.name.replace(MACHINE, other)))
    board = dataclasses.replace(platform("2.31"), machine=other)
    assert found(resolve_wheels(board, ["runtime"])) == {"runtime": "1.0"}


def test_modules_of_the_users_working_directory_are_not_pip_s(publish, platform, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    for name in ("json", "pip"):
        (tmp_path / "own" / f"{name}.py").write_text("raise RuntimeError('my own script')\n")
    monkeypatch.chdir(tmp_path / "own")
    publish("runtime", "1.0", OLD)
    assert found(resolve_wheels(platform("2.31"), ["runtime"])) == {"runtime": "1.0"}


def test_a_registry_out_of_reach_is_told_at_once(platform, index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(ExportError, match="cannot reach the package registry") as caught:
        resolve_wheels(platform("2.31"), ["runtime"])
    assert "pip config list" in caught.value.hint
