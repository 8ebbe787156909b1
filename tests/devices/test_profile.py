from __future__ import annotations

import dataclasses
import platform
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.devices.profile import (
    Cluster,
    DeviceProfile,
    Sensors,
    Target,
    format_profile,
    load_profile,
    profile_names,
)
from edgeconv.errors import DeviceError
from edgeconv.export.conversion import CONVERTERS
from edgeconv.manifest import PRECISIONS
from edgeconv.runtimes import runtime_names
from edgeconv.schema import from_dict, to_dict

MINIMAL = """\
name = "mine"
description = "A board of my own"
machine = "aarch64"
threads = 2
onnx_activations = "int8"
targets = [{ runtime = "onnxruntime", precision = "int8" }]
"""
TARGET = '{ runtime = "onnxruntime", precision = "int8", quantisation = "symmetric" }'


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_all_devices_are_there():
    assert profile_names() == [
        "android-arm64",
        "host",
        "jetson-agx-orin",
        "jetson-nano",
        "jetson-orin-nano",
        "pixel-8",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "raspberry-pi-zero-2w",
    ]


@pytest.mark.parametrize("name", profile_names())
def test_a_built_in_profile_is_whole(name):
    profile = load_profile(name)
    assert profile.name == name
    assert {target.runtime for target in profile.targets} <= set(CONVERTERS)
    assert {target.precision for target in profile.targets} <= {"int8", "fp16", "fp32"}
    assert len(set(profile.targets)) == len(profile.targets)
    # TensorRT comes with the system; every other runtime is installed by pip.
    assert {target.runtime for target in profile.targets} - {"tensorrt"} <= set(profile.requirements)
    assert profile.cores is None or profile.threads <= profile.cores
    assert bool(profile.python) == bool(profile.glibc)
    assert profile.sensors.temperature
    assert from_dict(DeviceProfile, to_dict(profile)) == profile


@pytest.mark.parametrize("name", profile_names())
def test_tensorrt_is_symmetric_and_so_is_openvino_on_arm(name):
    """OpenVINO has no fast kernel on ARM for a convolution whose input has a zero point, or that writes float."""
    profile = load_profile(name)
    schemes = {"tensorrt": "symmetric"}
    if profile.machine == "aarch64" and name != "host":
        schemes["openvino"] = "symmetric-outputs" if "dotprod" in profile.isa else "symmetric"
    for target in (t for t in profile.targets if t.precision == "int8"):
        assert target.quantisation == schemes.get(target.runtime, "asymmetric")


@pytest.mark.parametrize("name", ["jetson-orin-nano", "jetson-agx-orin"])
def test_tensorrt_is_the_first_choice_of_a_jetson(name):
    assert [(t.runtime, t.precision) for t in load_profile(name).targets][:3] == [
        ("tensorrt", "int8"),
        ("tensorrt", "fp16"),
        ("onnxruntime", "int8"),
    ]


def test_a_gpu_without_int8_arithmetic_is_not_asked_for_int8():
    nano = load_profile("jetson-nano")
    assert [t.precision for t in nano.targets if t.runtime == "tensorrt"] == ["fp16"]
    assert (nano.python, nano.glibc) == ("3.6", "2.27")


def test_tflite_runtime_is_kept_away_from_numpy_2():
    for name in profile_names():
        wanted = load_profile(name).requirements.get("tflite_runtime")
        assert wanted is None or "numpy<2" in wanted


def test_instructions_follow_the_cores():
    assert load_profile("raspberry-pi-4").isa == ["neon"]
    assert {"dotprod", "fp16"} <= set(load_profile("raspberry-pi-5").isa)
    assert "i8mm" in load_profile("pixel-8").isa


def test_the_host_is_the_machine_that_reads_its_profile():
    host = load_profile("host")
    assert host.machine == platform.machine()
    assert host.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert host.glibc == platform.libc_ver()[1]


def test_a_profile_of_ones_own_needs_little(tmp_path):
    profile = load_profile(write(tmp_path, MINIMAL))
    assert profile.targets == [Target("onnxruntime", "int8")]
    assert (profile.python, profile.glibc, profile.clusters, profile.requirements) == ("", "", [], {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "colour = 'red'\n", "unknown key 'colour'"),
        (MINIMAL + "[sensors]\nheat = ['x']\n", "sensors: unknown key 'heat'"),
        (MINIMAL.replace("threads = 2", "threads = 'two'"), "threads: expected int"),
        (MINIMAL.replace("threads = 2", "threads = 0"), "threads: expected at least 1"),
        (MINIMAL.replace('"int8"\ntargets', '"int4"\ntargets'), "onnx_activations: expected int8 or uint8"),
        (MINIMAL.replace('precision = "int8"', 'precision = "int8", quantisation = "odd"'), "quantisation: expected"),
        (MINIMAL.replace('machine = "aarch64"\n', ""), "missing key 'machine'"),
        (MINIMAL.replace("targets = [", f"targets = [{TARGET}, "), "onnxruntime int8 is there twice"),
        (MINIMAL + "clusters = [{ cores = 4 }]\n", "clusters[0]: missing key 'core'"),
        ("name = ", "is not valid"),
        (MINIMAL.replace('name = "mine"', 'name = "../../evil"'), "name: expected letters"),
        (MINIMAL.replace('name = "mine"', 'name = ""'), "name: expected letters"),
        (MINIMAL.replace('runtime = "onnxruntime"', 'runtime = "onnxrt"'), "runtime: expected litert or onnxruntime"),
        (MINIMAL.replace('precision = "int8"', 'precision = "fp23"'), "precision: expected fp32 or fp16 or int8"),
        (MINIMAL + "python = 'abc'\n", "python: expected a version of two numbers"),
        (MINIMAL + "python = '3.11.2'\n", "python: expected a version of two numbers"),
        (MINIMAL + "memory_bytes = -1\n", "memory_bytes: expected at least 1"),
        (MINIMAL + "clusters = [{ cores = -3, core = 'x' }]\n", "cores: expected at least 1"),
        (MINIMAL + "requirements = { litert = ['numpy>>1'] }\n", "requirements: 'numpy>>1' is none of pip's"),
    ],
)
def test_a_profile_that_is_wrong_is_refused_with_the_place(tmp_path, text, words):
    with pytest.raises(DeviceError) as caught:
        load_profile(write(tmp_path, text))
    assert words in caught.value.message


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path):
    with pytest.raises(DeviceError, match="cannot be read"):
        load_profile(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DeviceError, match="cannot be read"):
        load_profile(str(tmp_path / "binary.toml"))


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_is_written_as_it_is_read(name, tmp_path):
    profile = dataclasses.replace(load_profile(name), name="mine")
    assert load_profile(write(tmp_path, format_profile(profile))) == profile


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.builds(
        DeviceProfile,
        name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name != "host"),
        description=texts,
        machine=texts,
        threads=st.integers(1, 64),
        onnx_activations=st.sampled_from(["int8", "uint8"]),
        targets=st.lists(
            st.builds(
                Target,
                st.sampled_from(runtime_names()),
                st.sampled_from(PRECISIONS),
                st.sampled_from(["asymmetric", "symmetric", "symmetric-outputs"]),
            ),
            max_size=3,
            unique_by=lambda target: (target.runtime, target.precision),
        ),
        clusters=st.lists(st.builds(Cluster, st.integers(1, 8), texts, st.none() | st.integers(1, 5000)), max_size=2),
        requirements=st.dictionaries(texts, st.lists(st.sampled_from(["numpy<2", "a>=1,<2; python_version>'3'"]))),
        sensors=st.builds(Sensors, temperature=st.lists(texts, max_size=2)),
        notes=st.lists(texts, max_size=2),
    )
)
def test_any_profile_survives_being_written(tmp_path_factory, profile):
    path = tmp_path_factory.mktemp("profile") / "mine.toml"
    path.write_text(format_profile(profile), encoding="utf-8")
    assert load_profile(str(path)) == profile
