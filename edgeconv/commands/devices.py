"""`edgeconv devices`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from edgeconv.commands.emulate import emulate
from edgeconv.commands.terminal import EXIT_FAILED, Terminal

if TYPE_CHECKING:
    from edgeconv.devices.probe import Findings, Probe
    from edgeconv.devices.profile import DeviceProfile

__all__ = ["app", "list_devices", "probe", "show"]

_Flag = Parameter(negative="", show_default=False)

app = App(
    name="devices",
    help="Device profiles, what a board is and lacks, and emulated boards.",
    help_epilogue="",
    result_action="return_value",
)
app.command(emulate)


@dataclasses.dataclass(frozen=True)
class _Profiles:
    profiles: list[Any]


@app.default
@app.command(name="list")
def list_devices(*, json: Annotated[bool, _Flag] = False) -> int:
    """List the built-in device profiles.

    Parameters
    ----------
    json
        Print them as JSON, whole.
    """
    from edgeconv.devices.profile import load_profile, profile_names
    from edgeconv.tables import plain_table

    profiles, terminal = [load_profile(name) for name in profile_names()], Terminal(json)
    if json:
        terminal.print_json(_Profiles(profiles))
        return 0
    table = plain_table("device", "description", "artefacts, the preferred first")
    for profile in profiles:
        precisions: dict[str, list[str]] = {}
        for target in profile.targets:
            precisions.setdefault(target.runtime, []).append(target.precision)
        artefacts = ", ".join(f"{runtime} {'/'.join(each)}" for runtime, each in precisions.items())
        table.add_row(profile.name, profile.description, artefacts)
    terminal.console.print(table)
    return 0


@app.command
def show(name: str, /, *, json: Annotated[bool, _Flag] = False) -> int:
    """Show one profile.

    Example: `edgeconv devices show raspberry-pi-5`.

    Parameters
    ----------
    name
        A built-in profile, or the path of a .toml file.
    json
        Print it as JSON.
    """
    from edgeconv.devices.profile import load_profile

    profile, terminal = load_profile(name), Terminal(json)
    if json:
        terminal.print_json(profile)
    else:
        _print_facts(terminal, profile.name, _profile_facts(profile))
    return 0


@app.command
def probe(
    target: str,
    /,
    *,
    save: Path | None = None,
    force: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Say what a board is, what it has and what it lacks, and propose a profile for it. Needs nothing but sh there.

    The exit code is 1 where nothing can run on it as it is.

    Example: `edgeconv devices probe ssh://pi@raspberrypi.local`.

    Parameters
    ----------
    target
        `local:`, `ssh://[user@]host[:port]`, `adb:SERIAL` or `emulated:BOARD`.
    save
        Write the proposed profile with this board's own facts as a .toml file, for `export --device FILE.toml`.
    force
        Replace that file.
    json
        Print everything that was found as JSON.
    """
    from edgeconv.devices.probe import fitted_profile, probe_target
    from edgeconv.devices.profile import check_name, format_profile
    from edgeconv.devices.transports import open_transport
    from edgeconv.errors import UsageError
    from edgeconv.files import atomic_write_bytes, check_writable, refuse_existing_file
    from edgeconv.schema import SchemaError

    if save is not None:
        if save.suffix != ".toml":
            raise UsageError(f"{save} is no profile's name: it must end in .toml, like board.toml.")
        try:
            check_name(save.stem)
        except SchemaError as error:
            raise UsageError(
                f"{save} would make a profile that cannot be used: {error}.", "Name it otherwise."
            ) from error
        refuse_existing_file(save, force)
        check_writable(save)
    elif force:
        raise UsageError("--force replaces the file of --save.", "Name it.")
    terminal = Terminal(json)
    with terminal.stages("probe") as progress:
        progress(target)
        transport = open_transport(target)
        try:
            found = probe_target(transport, target)
        finally:
            transport.close()
    if save is not None:
        atomic_write_bytes(save, format_profile(fitted_profile(found.findings, save.stem)).encode())
    if json:
        terminal.print_json(found)
    else:
        _print_probe(terminal, found, save)
    return EXIT_FAILED if any(lack.fatal for lack in found.lacks) else 0


def _print_probe(terminal: Terminal, found: Probe, saved: Path | None) -> None:
    _print_facts(terminal, found.target, _finding_facts(found.findings))
    console = terminal.console
    console.print()
    if not found.lacks:
        terminal.done("nothing is missing")
    for lack in found.lacks:
        console.print(f"[{'red]✗' if lack.fatal else 'yellow]![/]'.removesuffix('[/]')}[/] ", end="")
        console.print(lack.what, highlight=False, markup=False, soft_wrap=True)
        console.print(f"  {lack.mend}", highlight=False, markup=False, soft_wrap=True)
    proposal = found.proposal
    words = "" if proposal.exact else ", the nearest of those that there are"
    console.print(f"\nprofile [bold]{proposal.profile}[/]{words}", highlight=False)
    for difference in proposal.differences:
        console.print(f"  {difference}", highlight=False, markup=False)
    if saved is not None:
        terminal.done(f"{saved}: use it with --device {saved}")
    elif proposal.differences:
        console.print("  --save FILE.toml writes a profile with this board's own facts", highlight=False)


def _print_facts(terminal: Terminal, title: str, facts: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, title=title, title_justify="left", title_style="bold")
    for name, value in facts.items():
        table.add_row(name, Text(value or "unknown"))
    terminal.console.print(table)


def _profile_facts(profile: DeviceProfile) -> dict[str, str]:
    def cluster(cores: int, core: str, max_mhz: int | None) -> str:
        return f"{cores} x {core}{f' at {max_mhz} MHz' if max_mhz else ''}"

    sensors = dataclasses.asdict(profile.sensors).items()
    facts = {
        "description": profile.description,
        "system": profile.os,
        "machine": profile.machine,
        "python": profile.python or "none",
        "C library": f"glibc {profile.glibc}" if profile.glibc else "no glibc",
        "cores": ", ".join(cluster(c.cores, c.core, c.max_mhz) for c in profile.clusters),
        "instructions": ", ".join(profile.isa),
        "memory": _size(profile.memory_bytes, "from "),
        "threads": str(profile.threads),
        "channels": f"best in multiples of {profile.channel_multiple}",
        "artefacts": "\n".join(
            f"{t.runtime} {t.precision}{'' if t.quantisation == 'asymmetric' else f', {t.quantisation}'}"
            for t in profile.targets
        ),
        "int8 in ONNX": profile.onnx_activations,
        "requirements": "\n".join(f"{name}: {', '.join(wanted)}" for name, wanted in profile.requirements.items()),
        **{name.replace("_", " "): ", then ".join(places) or "not told" for name, places in sensors},
        "notes": "\n".join(profile.notes),
    }
    return {name: value for name, value in facts.items() if value or name != "notes"}


def _finding_facts(findings: Findings) -> dict[str, str]:
    bits = f", {findings.program_bits}-bit programs" if findings.program_bits else ""
    pythons = [
        f"{python.version} ({python.path}): "
        + (", ".join(f"{name} {version}" for name, version in python.packages.items()) or "no runtime, no numpy")
        for python in findings.pythons
    ]
    kinds = ", ".join(findings.cpu_parts) or findings.cpu_model or "kind unknown"
    facts = {
        "board": findings.board or "",
        "system": findings.os or "",
        "kernel": f"{findings.system} {findings.kernel}, {findings.machine}{bits}",
        "page": f"{findings.page_bytes} bytes" if findings.page_bytes else "",
        "C library": f"{findings.libc} {findings.libc_version}".strip(),
        "cores": f"{findings.cpus or 'unknown'}: {kinds}",
        "instructions": ", ".join(findings.isa),
        "memory": _size(findings.memory_bytes),
        "free for bundles": _size(findings.disk_free_bytes),
        "python": "\n".join(pythons) or "none",
        "tools": ", ".join(findings.tools) or "none",
    }
    if findings.l4t:
        facts["Jetson Linux"] = findings.l4t
        facts["CUDA"] = findings.cuda or ""
        facts["packages"] = ", ".join(f"{name} {version}" for name, version in findings.packages.items())
    return facts


def _size(count: int | None, before: str = "") -> str:
    return "" if count is None else f"{before}{count / 1e9:.1f} GB"
