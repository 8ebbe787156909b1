"""`edgeconv report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from edgeconv.commands.terminal import Terminal

__all__ = ["report"]


def report(
    *runs: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("report.html"),
    bundle: Annotated[tuple[Path, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (),
    format: Literal["html", "markdown"] | None = None,  # noqa: A002 — the flag's name
) -> int:
    """Write one self-contained page about one or several runs; it needs no network to be read.

    Example: `edgeconv report run.json --bundle bundles/vessels-host -o report.html`.

    Parameters
    ----------
    runs
        Run records that `edgeconv bench` wrote, or ids of runs in the history.
    output
        The page.
    bundle
        Bundle of a run, for sample pictures and what was left in float; repeat for several. Of a page only.
    format
        `markdown` for a pull request; by default what the output's suffix says, .md or anything else for a page.
    """
    import contextlib

    from edgeconv.benchmarks.outputs import outputs_path, read_outputs
    from edgeconv.benchmarks.report import markdown_report, write_report
    from edgeconv.benchmarks.store import read_run
    from edgeconv.bundles import open_bundle
    from edgeconv.errors import UsageError
    from edgeconv.files import atomic_write_bytes

    if not runs:
        raise UsageError("No run record was named.", "For example: edgeconv report run.json -o report.html")
    markdown = (format or ("markdown" if output.suffix == ".md" else "html")) == "markdown"
    if markdown and bundle:
        raise UsageError("A report in Markdown shows nothing of a bundle.", "Leave --bundle out, or write .html.")
    records = [read_run(name) for name in runs]
    # What the runtimes returned lies beside the record where the benchmark left it; a run of the history has none.
    beside = {record.run_id: (outputs_path(Path(name)), record) for name, record in zip(runs, records, strict=True)}
    outputs = {run_id: read_outputs(path, record) for run_id, (path, record) in beside.items() if path.exists()}
    with contextlib.ExitStack() as stack:
        bundles = [stack.enter_context(open_bundle(path)) for path in bundle]
        for path, opened in zip(bundle, bundles, strict=True):
            if opened.manifest_sha256 not in {record.manifest_sha256 for record in records}:
                raise UsageError(
                    f"None of the runs is of {path}: their bundles have other manifests.",
                    "Name the bundle that was measured; one that was exported again since is another one.",
                )
        if markdown:
            atomic_write_bytes(output, markdown_report(records).encode())
        else:
            write_report(records, output, bundles, outputs)
    Terminal().done(str(output))
    return 0
