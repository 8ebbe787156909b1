"""The command line of `benchmark_model` (tensorflow/lite/tools/benchmark/README.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.errors import BundleError, UsageError
from edgeconv.manifest import TensorSpec

__all__ = ["output_command", "timing_command"]

_OURS = (
    "graph",
    "input_layer",
    "input_layer_shape",
    "input_layer_value_files",
    "max_secs",
    "min_secs",
    "num_runs",
    "num_threads",
    "output_filepath",
    "warmup_min_secs",
    "warmup_runs",
)
_MAX_SECONDS = 150.0  # the tool's default


def timing_command(
    binary: str,
    graph: str,
    specs: Sequence[TensorSpec],
    files: Sequence[str],
    threads: int,
    protocol: LatencyProtocol,
    options: Mapping[str, str],
) -> list[str]:
    """Time inferences of one golden case.

    Args:
        binary, graph: paths on the target.
        specs: inputs of the model, in its own order.
        files: the raw array of each input, on the target.
        threads: of the CPU.
        protocol: its seconds and counts; the tool knows no other rule.
        options: further flags of the tool, such as {"use_gpu": "true"}.

    Raises:
        UsageError: an option that is ours to set, or a path that the tool cannot take.
        BundleError: an input name that the tool cannot take.
    """
    return [
        *_common(binary, graph, specs, files, threads, options),
        f"--num_runs={protocol.min_count}",
        f"--min_secs={protocol.min_seconds:g}",
        f"--max_secs={max(_MAX_SECONDS, 2 * protocol.min_seconds):g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={protocol.warmup_seconds:g}",
    ]


def output_command(
    binary: str,
    graph: str,
    specs: Sequence[TensorSpec],
    files: Sequence[str],
    threads: int,
    options: Mapping[str, str],
    output: str,
) -> list[str]:
    """Run one golden case, and leave its raw outputs in the file `output`; see `timing_command`."""
    return [
        *_common(binary, graph, specs, files, threads, options),
        "--num_runs=1",
        "--min_secs=0",
        "--warmup_runs=1",
        "--warmup_min_secs=0",
        f"--output_filepath={output}",
    ]


def _common(
    binary: str,
    graph: str,
    specs: Sequence[TensorSpec],
    files: Sequence[str],
    threads: int,
    options: Mapping[str, str],
) -> list[str]:
    for name in options:
        if name in _OURS or not name.isidentifier():
            raise UsageError(
                f"--{name} of benchmark_model is not for you to set.", "Give options such as use_gpu=true."
            )
    for spec in specs:
        if "," in spec.name or not spec.name:
            raise BundleError(f"The input name {spec.name!r} cannot be given to benchmark_model.")
    for path in files:
        if set(path) & set(",:"):
            raise UsageError(f"The path {path!r} cannot be given to benchmark_model.", "Choose one without , or :")
    shapes = ":".join(",".join(map(str, spec.shape)) for spec in specs)
    values = ",".join(f"{spec.name.replace(':', '::')}:{path}" for spec, path in zip(specs, files, strict=True))
    return [
        binary,
        f"--graph={graph}",
        f"--num_threads={threads}",
        f"--input_layer={','.join(spec.name for spec in specs)}",
        f"--input_layer_shape={shapes}",
        f"--input_layer_value_files={values}",
        *(f"--{name}={value}" for name, value in options.items()),
    ]
