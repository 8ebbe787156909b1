"""Device profiles: what a bundle for a device must contain.  Data, one TOML file a device."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from pathlib import Path
from typing import Any

from edgeconv.errors import DeviceError
from edgeconv.schema import SchemaError, from_dict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["DeviceProfile", "Target", "load_profile", "profile_names"]

_PROFILES = Path(__file__).parent / "profiles"


@dataclasses.dataclass(frozen=True)
class Target:
    """One artefact that the device wants: a runtime and a precision."""

    runtime: str
    precision: str


@dataclasses.dataclass(frozen=True)
class DeviceProfile:
    """A kind of device.

    `onnx_activations` is "int8" or "uint8": ONNX Runtime fuses only uint8 Q/DQ on x86 and runs int8 well on ARM.
    `targets` are in order of preference.
    """

    name: str
    description: str
    machine: str
    threads: int
    onnx_activations: str
    targets: list[Target]

    def __post_init__(self) -> None:
        if self.onnx_activations not in ("int8", "uint8"):
            raise SchemaError(f"onnx_activations: expected int8 or uint8, found {self.onnx_activations!r}")


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
        return from_dict(DeviceProfile, document)
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"Device profile {path} cannot be read: {error}.") from error
    except (tomllib.TOMLDecodeError, SchemaError) as error:
        raise DeviceError(f"Device profile {path} is not valid: {error}.", "Unknown keys are refused.") from error
