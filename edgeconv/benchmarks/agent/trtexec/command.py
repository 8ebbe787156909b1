"""The command lines of `trtexec`, so that every version measures the same.

Part of the device agent: Python 3.8, standard library only.

One query is: inputs from host memory to the GPU, the network as one CUDA graph, outputs back to host memory, while the
host spins.  TensorRT 8 and 10 copy by default and are told to use a graph and to spin; TensorRT 11 does both by default
and is told to copy.  Floats are computed in fp32 without TF32, which has the mantissa of fp16.

TensorRT 8 and 10 allow int8 or fp16 by a flag; in 11 the types of the graph decide and the flags are gone
("Migrating trtexec Usage from TensorRT 10.x to 11.x", TensorRT documentation).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Dict, List, Mapping, Optional, Tuple

from edgeconv.benchmarks.agent.trtexec.version import Version
from edgeconv.errors import BundleError, RuntimeUnavailableError, UsageError

__all__ = ["TIMING_WORDS", "build_command", "build_flags", "output_command", "profile_command", "timing_command"]

TIMING_WORDS = "host to device copy + GPU compute + device to host copy; CUDA graph, spin wait"
_WORKSPACE_MIB = 1024  # before 8.4 the default is 16 MiB, too little for most tactics
_PROFILED_QUERIES = 20


@dataclasses.dataclass(frozen=True)
class _Dialect:
    """What a major version calls things; `precisions` are the flags that allow a precision at all."""

    precisions: Mapping[str, Tuple[str, ...]]
    measure: Tuple[str, ...]  # copies, graph, spinning
    copies: Tuple[str, ...]  # copies, no graph: for a profile, and for outputs alone


_BY_FLAG: Dict[str, Tuple[str, ...]] = {"fp32": (), "fp16": ("--fp16",), "int8": ("--int8",)}
_BY_TYPE: Dict[str, Tuple[str, ...]] = {"fp32": (), "fp16": (), "int8": ()}
_DIALECTS: Dict[int, _Dialect] = {
    8: _Dialect(_BY_FLAG, ("--useCudaGraph", "--useSpinWait"), ()),
    10: _Dialect(_BY_FLAG, ("--useCudaGraph", "--useSpinWait"), ()),
    11: _Dialect(_BY_TYPE, ("--includeDataTransfers",), ("--includeDataTransfers", "--noCudaGraph")),
}


def build_flags(version: Version, precision: str) -> List[str]:
    """How an engine is built: what is part of its identity besides the model.

    Raises:
        RuntimeUnavailableError: a version that this does not know.
    """
    flags = [*_dialect(version).precisions[precision], "--noTF32"]
    if version >= (8, 2):
        flags.append("--profilingVerbosity=detailed")
    if version < (8, 4):
        flags.append(f"--workspace={_WORKSPACE_MIB}")
    flags.append("--skipInference" if version >= (8, 6) else "--buildOnly")
    return flags


def build_command(trtexec: str, version: Version, precision: str, model: str, engine: str) -> List[str]:
    """Build `engine` from the ONNX file `model`, and measure nothing."""
    return [trtexec, f"--onnx={model}", f"--saveEngine={engine}", *build_flags(version, precision)]


def timing_command(
    trtexec: str,
    version: Version,
    engine: str,
    inputs: Mapping[str, str],
    times: str,
    warmup_ms: int,
    seconds: float,
    count: int,
) -> List[str]:
    """Time queries for `seconds` and at least `count` of them; every one goes into the file `times`."""
    return [
        *_on_engine(trtexec, engine, inputs),
        *_dialect(version).measure,
        f"--warmUp={warmup_ms}",
        f"--duration={math.ceil(seconds)}",
        f"--iterations={count}",
        f"--exportTimes={times}",
    ]


def profile_command(
    trtexec: str, version: Version, engine: str, inputs: Mapping[str, str], profile: str, layers: Optional[str]
) -> List[str]:
    """Time each layer, which slows the whole down, and describe the layers; before 8.2 they cannot be described."""
    described = [] if layers is None or version < (8, 2) else [f"--exportLayerInfo={layers}"]
    return [
        *_on_engine(trtexec, engine, inputs),
        *_dialect(version).copies,
        *_few(_PROFILED_QUERIES),
        f"--exportProfile={profile}",
        *described,
    ]


def output_command(trtexec: str, version: Version, engine: str, inputs: Mapping[str, str], outputs: str) -> List[str]:
    """One query, and its outputs into the file `outputs`."""
    return [
        *_on_engine(trtexec, engine, inputs),
        *_dialect(version).copies,
        *_few(1),
        f"--exportOutput={outputs}",
    ]


def _dialect(version: Version) -> _Dialect:
    if version.major not in _DIALECTS:
        raise RuntimeUnavailableError(
            f"This trtexec is of TensorRT {version}; how to measure with it is known of 8, 10 and 11.",
            "Update edgeconv, or use the TensorRT of your JetPack.",
        )
    return _DIALECTS[version.major]


def _few(count: int) -> List[str]:
    return ["--warmUp=0", "--duration=0", f"--iterations={count}"]


def _on_engine(trtexec: str, engine: str, inputs: Mapping[str, str]) -> List[str]:
    for name, path in inputs.items():
        if set(name) & set(",'") or not name:
            raise BundleError(f"The input name {name!r} cannot be given to trtexec.", "Rename it before the export.")
        if set(path) & set(",':"):
            raise UsageError(f"The path {path!r} cannot be given to trtexec.", "Choose one without , ' or :")
    loaded = ",".join(f"{name}:{path}" for name, path in inputs.items())
    return [trtexec, f"--loadEngine={engine}", f"--loadInputs={loaded}"]
