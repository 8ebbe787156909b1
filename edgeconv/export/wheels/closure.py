"""Which of the packages that pip would install a device needs: those that a runtime imports to run a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgeconv.export.wheels.pip import Candidate
from edgeconv.export.wheels.platform import WheelPlatform

__all__ = ["needed_at_import"]

# Declared by runtimes, imported only by their converters, tools or telemetry. Measured: the agent measures with every
# runtime on Python 3.9 to 3.13 without them (tests/benchmarks/agent/test_python_versions.py).
_NOT_IMPORTED = frozenset(
    {
        *("backports-strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm", "typing-extensions"),  # ai-edge-litert
        *("coloredlogs", "packaging", "sympy"),  # onnxruntime
        "openvino-telemetry",
    }
)


def needed_at_import(
    candidates: Sequence[Candidate], asked: Iterable[str], platform: WheelPlatform
) -> tuple[list[Candidate], list[str]]:
    """The candidates that `asked` lead to on `platform`, and the requirements that no candidate meets.

    The second is for markers: pip reads `python_version` and the like as those of the Python that it runs on.
    """
    by_name = {candidate.name: candidate for candidate in candidates}
    environment = _environment(platform)
    needed: dict[str, Candidate] = {}
    missing: list[str] = []
    waiting = [Requirement(text) for text in asked]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        candidate = by_name.get(name)
        if candidate is None:
            missing.append(f"{requirement.name}{requirement.specifier}")
        elif name not in needed:
            needed[name] = candidate
            waiting += [
                wanted
                for wanted in map(Requirement, candidate.requires)
                if canonicalize_name(wanted.name) not in _NOT_IMPORTED
                and (wanted.marker is None or wanted.marker.evaluate(environment))
            ]
    return list(needed.values()), missing


def _environment(platform: WheelPlatform) -> dict[str, str]:
    """The device's values of the markers; extras are never asked for."""
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": f"{platform.python}.0",
        "os_name": "posix",
        "platform_machine": platform.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{platform.python}.0",
        "python_version": platform.python,
        "sys_platform": "linux",
    }
