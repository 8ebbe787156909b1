"""`edgeconv devices`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["app", "show"]

app = App(
    name="devices",
    help="Device profiles: what a bundle for a device contains.",
    help_epilogue="",
    result_action="return_value",
)


@app.default
@app.command(name="list")
def list_devices() -> int:
    """List the built-in device profiles."""
    from rich.table import Table

    from edgeconv.devices.profile import load_profile, profile_names

    table = Table("device", "description", "artefacts", box=None, header_style="bold")
    for profile in map(load_profile, profile_names()):
        targets = ", ".join(f"{t.runtime} {t.precision}" for t in profile.targets)
        table.add_row(profile.name, profile.description, targets)
    Terminal().console.print(table)
    return 0


@app.command
def show(name: str, /, *, json: Annotated[bool, Parameter(negative="", show_default=False)] = False) -> int:
    """Show one profile.

    Parameters
    ----------
    name
        A built-in profile, or the path of a .toml file.
    json
        Print it as JSON.
    """
    from edgeconv.devices.profile import load_profile
    from edgeconv.schema import to_dict

    profile, terminal = load_profile(name), Terminal(json)
    if json:
        terminal.print_json(profile)
    else:
        for key, value in to_dict(profile).items():
            terminal.console.print(f"[bold]{key}[/]: {value}", highlight=False)
    return 0
