"""`edgeconv drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["drift"]

_Flag = Parameter(negative="", show_default=False)
_Repeat = Parameter(negative="", consume_multiple=False, show_default=False)


def drift(
    bundle: Path,
    /,
    *,
    layers: Annotated[bool, _Flag] = False,
    on: str = "local:",
    runtime: Annotated[tuple[str, ...], _Repeat] = (),
    case: int | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Show how far the artefacts of a bundle are from PyTorch and in which part that arises, or in which layer.

    With --layers, each layer is put into int8 alone (simulated here with the bundle's own graphs), its weights and its
    activations apart, and every runtime is asked for its own inner tensors and for each operator by itself on the
    target. Example: `edgeconv drift bundles/vessels-host --layers -o drift.html`.

    Parameters
    ----------
    bundle
        A bundle directory or its .zip.
    layers
        Layer by layer, of the int8 artefacts.
    on
        Where the runtimes run; `local:` is this machine.
    runtime
        Only this runtime; repeat for several.
    case
        The golden case for --layers, counted from 0; by default the first two together.
    output
        Also write all of it to a file: .html, .svg, .md or .json.
    json
        Print it as JSON.
    """
    from edgeconv.bundles import open_bundle
    from edgeconv.errors import UsageError
    from edgeconv.files import check_writable
    from edgeconv.parity.drift import measure_drift, measure_layers
    from edgeconv.parity.drift.views import drift_table
    from edgeconv.parity.drift.write import check_suffix, write_drift

    if case is not None and not layers:
        raise UsageError("--case goes with --layers; end to end all golden cases count.", "Add --layers.")
    if output is not None:
        check_suffix(output, layers=layers)
        check_writable(output)
    terminal = Terminal(json)
    with open_bundle(bundle) as opened, terminal.steps("drift") as step:
        report = measure_layers(opened, on, runtime, case, step) if layers else measure_drift(opened, on, runtime, step)
    if json:
        terminal.print_json(report)
    else:
        terminal.console.print(drift_table(report))
    if output is not None:
        write_drift(report, output)
        terminal.done(str(output))
    return 0
