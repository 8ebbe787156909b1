"""One LiteRT artefact by `benchmark_model` on a target: its summary, and its raw outputs for drift."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeconv.benchmarks.agent.feeds import make_inputs, read_outputs
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.benchmarks.agent.percentiles import too_few
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.benchmark_model.command import output_command, timing_command
from edgeconv.benchmarks.benchmark_model.parse import TOOL, Report, parse_report
from edgeconv.benchmarks.target_agent import failed_result
from edgeconv.bundles import Bundle
from edgeconv.devices.transports import Transport
from edgeconv.errors import BundleError, ConnectionLostError, DeviceError, RuntimeUnavailableError, UsageError
from edgeconv.files import sha256_file
from edgeconv.manifest import Artifact, TensorSpec
from edgeconv.records import Execution, Latency, Memory, Result

__all__ = ["measure_with_benchmark_model"]

_RUNTIME = "litert"
_OVERHEAD_SECONDS = 240.0
_OUTPUTS = "outputs.bin"
_LAST_LINES = 3
_ELF_MACHINES = {0x03: "i686", 0x28: "armv7l", 0x3E: "x86_64", 0xB7: "aarch64"}  # of the ELF specification
_ALIASES = {"arm64": "aarch64", "amd64": "x86_64", "armv8l": "armv7l"}
_DELEGATES = {"use_gpu": "gpu", "use_nnapi": "nnapi", "use_hexagon": "hexagon", "use_xnnpack": "xnnpack"}
Outputs = dict[str, npt.NDArray[np.float32]]


def measure_with_benchmark_model(
    transport: Transport,
    binary: Path,
    bundle: Bundle,
    artifact: Artifact,
    threads: int,
    protocol: LatencyProtocol | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[Result, Outputs]:
    """Measure `artifact` with the user's `benchmark_model`.

    It tells count, minimum, maximum, mean and standard deviation, and so does the result: no samples, no percentiles.

    Args:
        transport: of the target.
        binary: of the tool, for the target's processor; it is sent there.
        bundle: whose golden cases are fed.
        artifact: a LiteRT one of it.
        threads: of the CPU.
        protocol: its seconds and counts.
        options: further flags of the tool, such as {"use_gpu": "true"}.

    Returns:
        The result, without drift and task metric, and the outputs of all golden cases by port; none where it failed.

    Raises:
        UsageError: an artefact of another runtime, a file that is no such tool or for another processor, or an option
            that is not for the user.
        DeviceError: the target cannot be reached.
    """
    protocol, options = protocol or LatencyProtocol(), dict(options or {})
    if artifact.runtime != _RUNTIME:
        raise UsageError(f"benchmark_model runs {_RUNTIME} artefacts, this one is for {artifact.runtime}.")
    _check_binary(binary, transport.system.machine)
    with tempfile.TemporaryDirectory(prefix="edgeconv-benchmark-model-") as folder:
        cases = _write_cases(Path(folder), bundle, artifact)
        tool = _Tool(transport, binary, bundle, artifact, threads, options, transport.push(Path(folder)))
        try:
            report = tool.time(cases[0], protocol)
            outputs = [tool.outputs(case) for case in cases]
        except RuntimeUnavailableError as error:
            return failed_result(artifact, threads, str(error)), {}
    stacked = {port: np.stack([case[port] for case in outputs]) for port in outputs[0]}
    return _result(report, artifact, threads, protocol, options, binary), stacked


class _Tool:
    """The tool and what it needs, on the target."""

    def __init__(
        self,
        transport: Transport,
        binary: Path,
        bundle: Bundle,
        artifact: Artifact,
        threads: int,
        options: Mapping[str, str],
        inputs: str,
    ) -> None:
        self._transport, self._bundle, self._artifact = transport, bundle, artifact
        self._threads, self._options, self._inputs = threads, options, inputs
        self._binary = transport.push(binary)
        self._graph = f"{transport.push(bundle.directory)}/{artifact.path}"

    def time(self, case: Sequence[str], protocol: LatencyProtocol) -> Report:
        """The report on timed runs of one case."""
        argv = timing_command(
            self._binary, self._graph, self._artifact.inputs, self._files(case), self._threads, protocol, self._options
        )
        text = self._run(argv, _OVERHEAD_SECONDS + protocol.deadline_seconds)
        report = parse_report(text)
        if report is None:
            raise RuntimeUnavailableError(f"what ran is no benchmark_model, or it was cut off: {_end(text)}")
        return report

    def outputs(self, case: Sequence[str]) -> Outputs:
        """What one case gives, by port."""
        target = f"{self._transport.workspace}/{_OUTPUTS}"
        argv = output_command(
            self._binary,
            self._graph,
            self._artifact.inputs,
            self._files(case),
            self._threads,
            self._options,
            target,
        )
        self._run(argv, _OVERHEAD_SECONDS)
        arrays = _split(self._pull(target), self._artifact.outputs)
        return read_outputs(arrays, self._bundle.manifest.outputs, self._artifact.outputs)

    def _pull(self, path: str) -> bytes:
        try:
            return self._transport.pull(path)
        except ConnectionLostError:
            raise
        except DeviceError as error:
            raise RuntimeUnavailableError(
                f"benchmark_model wrote no outputs: {error} Older builds do not know --output_filepath."
            ) from error

    def _files(self, case: Sequence[str]) -> list[str]:
        return [f"{self._inputs}/{name}" for name in case]

    def _run(self, argv: list[str], seconds: float) -> str:
        done = self._transport.run(argv, environment={}, timeout_seconds=seconds)
        if done.returncode is None:
            raise RuntimeUnavailableError(f"benchmark_model took longer than {seconds:.0f} s and was ended")
        text = f"{done.stdout}\n{done.stderr}"
        if done.returncode < 0:
            raise RuntimeUnavailableError(f"benchmark_model was killed by signal {-done.returncode}")
        if done.returncode:
            raise RuntimeUnavailableError(f"benchmark_model ended with exit code {done.returncode}: {_end(text)}")
        return text


def _check_binary(binary: Path, machine: str) -> None:
    """Refuse what the target cannot start; a script is the user's business."""
    try:
        with binary.open("rb") as stream:
            head = stream.read(20)
    except OSError as error:
        raise UsageError(f"{binary} cannot be read: {error}.", "Name the benchmark_model binary itself.") from error
    if head[:2] == b"PK":
        raise UsageError(
            f"{binary} is an archive, perhaps the app benchmark_model.apk.", "Name the command-line binary instead."
        )
    if head[:4] != b"\x7fELF":
        return
    (code,) = struct.unpack("<H", head[18:20].ljust(2, b"\0"))
    found, expected = _ELF_MACHINES.get(code, f"machine {code}"), _ALIASES.get(machine, machine)
    if found != expected:
        raise UsageError(
            f"{binary} is for {found}, the target is {expected}.",
            "There is a build for each processor, such as android_aarch64_benchmark_model.",
        )


def _write_cases(folder: Path, bundle: Bundle, artifact: Artifact) -> list[list[str]]:
    """Every golden case as raw files, one for each input, in the order of the model's inputs."""
    ports, cases = bundle.manifest.inputs, []
    for number, case in enumerate(read_cases(bundle.golden, ports)):
        names = [f"{number}-{index}.bin" for index in range(len(artifact.inputs))]
        for name, array in zip(names, make_inputs(case, ports, artifact.inputs), strict=True):
            (folder / name).write_bytes(array.tobytes())
        cases.append(names)
    if not cases:
        raise BundleError(f"{bundle.golden} has no case.")
    return cases


def _split(data: bytes, specs: Sequence[TensorSpec]) -> list[npt.NDArray[np.generic]]:
    """The tool writes its output tensors one behind the other."""
    sizes = [int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize for spec in specs]
    if sum(sizes) != len(data):
        raise RuntimeUnavailableError(f"benchmark_model wrote {len(data)} bytes of outputs, {sum(sizes)} were expected")
    ends = np.cumsum(sizes)
    return [
        np.frombuffer(data[end - size : end], spec.dtype).reshape(spec.shape)
        for spec, size, end in zip(specs, sizes, ends, strict=True)
    ]


def _result(
    report: Report, artifact: Artifact, threads: int, protocol: LatencyProtocol, options: dict[str, str], binary: Path
) -> Result:
    execution = _execution(report, options)
    checks = (
        too_few(report.summary.count),
        f"{execution.requested} was asked for and {execution.used} ran" if execution.share == 0 else None,
    )
    reasons = [reason for reason in checks if reason]
    evidence = {"tool": f"{TOOL} {sha256_file(binary)[:12]}", "latency": "as the tool summarises it: no percentiles"}
    if report.overall_megabytes is not None:
        evidence["memory growth"] = f"{report.overall_megabytes:.1f} MB, {report.init_megabytes or 0:.1f} MB by loading"
    return Result(
        runtime=artifact.runtime,
        precision=artifact.precision,
        valid=not reasons,
        invalid_reasons=reasons,
        artifact_sha256=artifact.sha256,
        artifact_bytes=artifact.total_bytes,
        latency_ns=Latency([], None, None, None, [], summary=report.summary),
        import_ns=None,
        load_ns=report.init_ns,
        first_inference_ns=report.first_ns,
        memory=Memory(None, None, "benchmark_model tells only how far its own resident set grew, see the evidence"),
        drift=None,
        task=None,
        provider=TOOL,
        threads=threads,
        evidence=evidence,
        execution=execution,
        options=options,
        mode=protocol.mode,
    )


def _execution(report: Report, options: Mapping[str, str]) -> Execution:
    """What was asked of the tool and what it says of its delegates; without a word on any it is unknown."""
    asked = [word for flag, word in _DELEGATES.items() if options.get(flag) in ("true", "1")]
    requested = asked[0] if asked else "xnnpack"
    operators = {name: replaced for name, (replaced, _) in report.delegates.items()}
    total = max((total for _, total in report.delegates.values()), default=0)
    rest = total - sum(operators.values())
    if rest > 0:
        operators["no delegate"] = rest
    ours = sum(count for name, count in operators.items() if requested in name.lower())
    if report.applied is not None and report.applied.lower() == requested:
        return Execution(requested, requested, operators, 1.0)
    if not total:
        # XNNPACK is there by default and needs no word; what was asked for would be named.
        return Execution(requested, "unknown" if not asked else "no delegate", {}, 0.0 if asked else None)
    used = max(operators, key=lambda name: operators[name])
    return Execution(requested, used, operators, ours / total)


def _end(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_LAST_LINES:]) or "it said nothing"
