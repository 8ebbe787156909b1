"""What a reader must know about the machine and the run before believing a number."""

from __future__ import annotations

import dataclasses

from edgeconv.records import Host, RunRecord

__all__ = ["Fact", "host_facts", "int8_support", "warnings_of"]

# Flags of /proc/cpuinfo that decide which int8 and fp16 kernels a runtime takes.
_INT8_DOT = {
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX int8",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
}
_OTHER = {"avx2": "AVX2", "avx512f": "AVX-512", "asimd": "NEON", "neon": "NEON", "asimdhp": "fp16", "sve": "SVE"}


@dataclasses.dataclass(frozen=True)
class Fact:
    """A line of the header; `note` is its long form."""

    term: str
    text: str
    note: str = ""


def int8_support(host: Host) -> str:
    """Which instructions for int8 dot products the CPU has."""
    if not host.cpu_flags:
        return "unknown"
    found = [name for flag, name in _INT8_DOT.items() if flag in host.cpu_flags]
    missing = "VNNI" if host.machine.lower() in ("x86_64", "amd64", "i686") else "dotprod"
    return ", ".join(found) or f"none (no {missing})"


def host_facts(record: RunRecord) -> list[Fact]:
    """Header lines: machine, run and provenance."""
    host = record.host
    threads = sorted({result.threads for result in record.results})
    memory = f", {host.memory_bytes / 1e9:.1f} GB memory" if host.memory_bytes else ""
    vectors = dict.fromkeys(name for flag, name in _OTHER.items() if flag in host.cpu_flags)
    parts = ", ".join(host.cpu_parts)
    facts = [
        Fact("Device profile", record.device),
        Fact("Measured on", record.target),
        Fact("Board", host.board or ""),
        Fact("CPU", " · ".join(dict.fromkeys(filter(None, [host.cpu_model, parts]))) or "unknown"),
        Fact("Cores", f"{host.cpus} × {host.machine}{memory}"),
        Fact("int8 dot product", int8_support(host)),
        Fact("Vector units", ", ".join(vectors) or "unknown", " ".join(host.cpu_flags)),
        Fact("Threads", ", ".join(str(count) for count in threads) or "–"),
        Fact("Governor", host.governor or "unknown"),
        Fact("Clock", host.clock + (", emulated CPU" if host.emulated else "")),
        Fact("System", ", ".join(filter(None, [host.distribution, host.system, host.libc]))),
        Fact("Python", host.python),
        Fact("edgeconv", record.edgeconv_version),
        Fact("Protocol", ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in record.settings.items())),
        Fact("Made with", ", ".join(f"{name} {version}" for name, version in record.tools.items())),
        Fact("Bundle", record.bundle),
        Fact("Weights", (record.model_sha256 or "")[:12], record.model_sha256 or ""),
        Fact("Manifest", record.manifest_sha256[:12], record.manifest_sha256),
        Fact("Started", record.started_at),
        Fact("Run", record.run_id),
        *(Fact(term, text) for term, text in host.facts.items()),
    ]
    return [fact for fact in facts if fact.text]


def warnings_of(record: RunRecord) -> list[str]:
    """What holds for every number of the run, in the order of its weight."""
    host = record.host
    found = []
    if host.emulated:
        found.append("Emulated CPU: latencies say nothing about the real device.")
    if host.clock != "wall":
        found.append(f"The clock is {host.clock}: times are counted instructions, not seconds of a real device.")
    if record.results and not any(result.valid for result in record.results):
        found.append("No result of this run is valid.")
    if not record.results:
        found.append("No artefact was measured.")
    return found
