from __future__ import annotations

from edgeconv.export.wheels.closure import needed_at_import
from edgeconv.export.wheels.pip import Candidate
from edgeconv.export.wheels.platform import WheelPlatform

PI = WheelPlatform("pi", "aarch64", "3.9", (2, 31))


def candidate(name, *requires):
    return Candidate(name, "1.0", f"{name}-1.0-py3-none-any.whl", "0" * 64, requires)


def names(candidates):
    return {found.name for found in candidates}


def test_what_only_tools_of_a_runtime_import_is_left_out_with_all_behind_it():
    candidates = [
        candidate("ai-edge-litert", "numpy>=1.23.2", "flatbuffers", "tqdm", "protobuf", "ml_dtypes"),
        *(candidate("ml-dtypes", "numpy>=2"), candidate("tqdm", 'colorama; platform_system == "Windows"')),
        *map(candidate, ("numpy", "flatbuffers", "protobuf")),
    ]
    needed, missing = needed_at_import(candidates, ["ai-edge-litert>=2.0"], PI)
    assert names(needed) == {"ai-edge-litert", "numpy"}
    assert missing == []


def test_what_is_asked_for_by_name_is_never_left_out():
    needed, _ = needed_at_import([candidate("protobuf"), candidate("numpy")], ["protobuf", "numpy<2"], PI)
    assert names(needed) == {"protobuf", "numpy"}


def test_markers_are_read_for_the_device_and_not_for_this_python():
    runtime = candidate(
        "runtime",
        *('backport; python_version < "3.10"', 'newer>=2; python_version >= "3.10"'),
        *('neon; platform_machine == "aarch64"', 'sse; platform_machine == "x86_64"', 'extra-only; extra == "all"'),
    )
    needed, missing = needed_at_import([runtime, candidate("neon")], ["runtime"], PI)
    assert names(needed) == {"runtime", "neon"}
    assert missing == ["backport"]


def test_names_are_compared_as_registries_do():
    needed, missing = needed_at_import([candidate("a-b-c"), candidate("d", "A.b_C>=1")], ["D"], PI)
    assert names(needed) == {"a-b-c", "d"}
    assert missing == []
