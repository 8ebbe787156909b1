"""Device profiles: what a kind of device is and what a bundle for it must contain.  Data, one TOML file a device."""

from __future__ import annotations

import dataclasses
import difflib
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from edgeconv.errors import DeviceError
from edgeconv.manifest import PRECISIONS
from edgeconv.runtimes import runtime_names
from edgeconv.schema import SchemaError, from_dict, to_dict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Cluster",
    "DeviceProfile",
    "Sensors",
    "Target",
    "check_name",
    "format_profile",
    "load_profile",
    "onnx_activations",
    "profile_names",
]

_PROFILES = Path(__file__).parent / "profiles"
_HOST = "host"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"(\d+\.\d+)?")


@dataclasses.dataclass(frozen=True)
class Target:
    """One artefact that the device wants.

    `quantisation` is the scheme of int8 activations: "asymmetric" (a zero point); "symmetric" as TensorRT needs it; or
    "symmetric-outputs", where convolutions write integers too, as OpenVINO on ARM needs it.
    """

    runtime: str
    precision: str
    quantisation: str = "asymmetric"

    def __post_init__(self) -> None:
        _one_of("runtime", self.runtime, (*runtime_names(), "tensorrt"))  # which is run by its own tool
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("quantisation", self.quantisation, ("asymmetric", "symmetric", "symmetric-outputs"))


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Cores of one kind; `max_mhz` is None where boards of this kind differ."""

    cores: int
    core: str
    max_mhz: int | None = None


@dataclasses.dataclass(frozen=True)
class Sensors:
    """Where the state of the device is read: files and commands, the first that is there is used; [] means nowhere."""

    temperature: list[str] = dataclasses.field(default_factory=list)
    throttling: list[str] = dataclasses.field(default_factory=list)
    power_mode: list[str] = dataclasses.field(default_factory=list)
    energy: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class DeviceProfile:
    """A kind of device.

    `onnx_activations` is "int8" or "uint8": ONNX Runtime fuses only uint8 Q/DQ on x86 and runs int8 well on ARM.
    `targets` are in order of preference.  `python` and `glibc` are those of `os`, like "3.11" and "2.36"; "" means that
    the device has none.  `isa` names what kernels are chosen by: neon, dotprod, fp16, i8mm, bf16, sve, sve2.
    `memory_bytes` is that of the smallest model sold, None where they differ too much.  `channel_multiple` is what
    channels are best rounded up to.  `requirements` are pip's, by runtime.  `compatible` are the names of the board in
    its device tree, or of the Android product.
    """

    name: str
    description: str
    machine: str
    threads: int
    onnx_activations: str
    targets: list[Target]
    os: str = ""
    python: str = ""
    glibc: str = ""
    isa: list[str] = dataclasses.field(default_factory=list)
    clusters: list[Cluster] = dataclasses.field(default_factory=list)
    memory_bytes: int | None = None
    channel_multiple: int = 8
    requirements: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    sensors: Sensors = dataclasses.field(default_factory=Sensors)
    compatible: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        check_name(self.name)
        _one_of("onnx_activations", self.onnx_activations, ("int8", "uint8"))
        _matching("python", self.python, _VERSION, "a version of two numbers like 3.11, or nothing")
        _at_least_one("threads", self.threads)
        _at_least_one("channel_multiple", self.channel_multiple)
        if self.memory_bytes is not None:
            _at_least_one("memory_bytes", self.memory_bytes)
        for cluster in self.clusters:
            _at_least_one("cores", cluster.cores)
        for requirement in (one for listed in self.requirements.values() for one in listed):
            try:
                Requirement(requirement)
            except InvalidRequirement as error:
                raise SchemaError(f"requirements: {requirement!r} is none of pip's ({error})") from error
        wanted = [(target.runtime, target.precision) for target in self.targets]
        twice = next((pair for pair in wanted if wanted.count(pair) > 1), None)
        if twice is not None:
            raise SchemaError(f"targets: {' '.join(twice)} is there twice; a bundle holds one artefact of a kind")

    @property
    def cores(self) -> int | None:
        """How many, None where the profile does not say."""
        return sum(cluster.cores for cluster in self.clusters) or None


def profile_names() -> list[str]:
    """The built-in profiles, sorted."""
    return sorted(path.stem for path in _PROFILES.glob("*.toml"))


def load_profile(name: str) -> DeviceProfile:
    """A built-in profile by name, or a user's own by the path of its TOML file.

    Raises:
        DeviceError: no such profile (near names are suggested), or the file is not a profile.
    """
    path = Path(name) if name.endswith(".toml") else _PROFILES / f"{name}.toml"
    if not name.endswith(".toml") and name not in profile_names():
        near = difflib.get_close_matches(name, profile_names(), n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(profile_names())}."
        raise DeviceError(f"No device is called {name!r}.", hint)
    try:
        document: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        profile = from_dict(DeviceProfile, document)
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"Device profile {path} cannot be read: {error}.") from error
    except (tomllib.TOMLDecodeError, SchemaError) as error:
        raise DeviceError(f"Device profile {path} is not valid: {error}.", "Unknown keys are refused.") from error
    return _this_machine(profile) if name == _HOST else profile


def onnx_activations(machine: str) -> str:
    """What ONNX Runtime's int8 kernels for this machine read: "int8" or "uint8"."""
    return "int8" if machine in ("aarch64", "arm64") else "uint8"


def format_profile(profile: DeviceProfile) -> str:
    """The profile as the TOML of a file that `load_profile` reads."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in to_dict(profile).items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{_toml(key)} = {_toml(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # Strings and numbers are written as in JSON, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _this_machine(profile: DeviceProfile) -> DeviceProfile:
    """The host's profile has no facts of its own: they are those of the machine that it is read on."""
    libc, version = platform.libc_ver()
    machine = platform.machine()
    return dataclasses.replace(
        profile,
        machine=machine,
        onnx_activations=onnx_activations(machine),
        os=f"{platform.system()} {platform.release()}",
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        glibc=version if libc == "glibc" else "",
    )


def check_name(name: str) -> None:
    """Raise `SchemaError` where a profile cannot be called so: bundles have it in the names of their folders."""
    _matching("name", name, _NAME, "letters, digits, '.', '_' and '-', a letter or digit first")


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise SchemaError(f"{name}: expected at least 1, found {value}")


def _matching(name: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    if not pattern.fullmatch(value):
        raise SchemaError(f"{name}: expected {expected}, found {value!r}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SchemaError(f"{name}: expected {' or '.join(allowed)}, found {value!r}")
