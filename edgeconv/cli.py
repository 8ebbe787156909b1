"""The command line: it parses, calls the API and prints.  `EdgeconvError` is caught here and nowhere else."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from rich.console import Console

import edgeconv
from edgeconv.commands.bench import bench
from edgeconv.commands.check import check
from edgeconv.commands.compare import compare
from edgeconv.commands.compress import compress
from edgeconv.commands.devices import app as devices
from edgeconv.commands.drift import drift
from edgeconv.commands.export import export
from edgeconv.commands.history import app as history
from edgeconv.commands.inspect import inspect
from edgeconv.commands.quickstart import quickstart
from edgeconv.commands.report import report
from edgeconv.commands.reproduce import reproduce
from edgeconv.commands.train import train
from edgeconv.commands.tune import tune
from edgeconv.commands.watch import watch
from edgeconv.errors import EdgeconvError

__all__ = ["EXIT_USAGE", "app", "run"]

EXIT_USAGE = 2  # bad input; nothing was written
_EXIT_INTERRUPTED = 130
_EXIT_PIPE = 141

_EPILOGUE = """\
Examples: `edgeconv quickstart` | `edgeconv export vessels --device raspberry-pi-5` |
`edgeconv export net.py:factory --weights w.safetensors --input-shape 1x3x160x224 --calibration images/` |
`edgeconv bench bundles/vessels-host --on local: --json run.json` | `edgeconv check run.json`.
Every verb has its own `--help`. Exit codes: 0 good, 1 a check failed, 2 bad input."""

app = App(
    name="edgeconv",
    help="From a trained PyTorch model to tested, measured bundles for edge devices.",
    help_epilogue=_EPILOGUE,
    version=lambda: edgeconv.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `run` says what became of what was half done
)

for _verb in (
    quickstart,
    export,
    bench,
    tune,
    watch,
    check,
    drift,
    compare,
    report,
    inspect,
    compress,
    train,
    reproduce,
):
    app.command(_verb, help_epilogue="")
app.command(devices)
app.command(history)
app.register_install_completion_command(name="--install-completion")


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code: 0 good, 1 a check failed, 2 bad input."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any library of ours can load onnxruntime
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a mark that a terminal lacks is no reason to stop
    errors = Console(stderr=True)
    try:
        result = app(arguments, exit_on_error=False, print_error=True, error_console=errors)
    except BrokenPipeError:  # whoever read has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_PIPE
    except (EdgeconvError, OSError) as error:  # an OSError is a full disk, or a folder that is not ours
        errors.print(f"[bold red]edgeconv:[/] {_escape(str(error))}", highlight=False, soft_wrap=True)
        return EXIT_USAGE
    except CycloptsError:
        return EXIT_USAGE
    except KeyboardInterrupt:
        errors.print("edgeconv: interrupted; nothing half-written was left.")
        return _EXIT_INTERRUPTED
    return result if isinstance(result, int) else 0


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
