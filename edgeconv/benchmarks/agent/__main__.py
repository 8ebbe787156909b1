"""The agent's command line: ``python3 agent.pyz run|tune|list|host``.  Part of the device agent: Python 3.8."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any, List, Mapping, Optional, Tuple

from edgeconv import __version__
from edgeconv.benchmarks.agent import job
from edgeconv.benchmarks.agent.progress import Progress
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.agent.state import watch as state
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.manifest import read_manifest
from edgeconv.runtimes import get_runtime, runtime_names
from edgeconv.runtimes.base import not_installed
from edgeconv.schema import to_json

__all__ = ["main"]

_EXIT_ERROR = 2


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the agent; 0 good, 2 an error that is told in one line of JSON on standard error."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return _EXIT_ERROR
    try:
        options.command(options)
    except EdgeconvError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}), file=sys.stderr)
        return _EXIT_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent.pyz", description="Measures a bundle's artefacts on this machine.")
    parser.add_argument("--version", action="version", version=f"edgeconv agent {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands")
    default_bundle = Path(sys.argv[0]).resolve().parent

    listing = commands.add_parser("list", help="what the bundle holds, and which runtimes are installed here")
    listing.add_argument("--bundle", type=Path, default=default_bundle, help="default: where agent.pyz is")
    listing.set_defaults(command=_list)

    host = commands.add_parser("host", help="what this machine is, as JSON")
    host.set_defaults(command=_host)

    state.add_parser(commands)

    install = commands.add_parser(
        "install", help="make an environment of the bundle's wheels, offline; prints its Python"
    )
    install.add_argument("--wheels", type=Path, default=default_bundle / "wheels", help="default: %(default)s")
    install.add_argument("--into", type=Path, required=True, help="the environment's folder")
    install.set_defaults(command=_install)

    run = commands.add_parser("run", help="measure one artefact in this process, as JSON")
    run.add_argument("--runtime", required=True)
    run.add_argument("--precision", required=True)
    run.add_argument("--bundle", type=Path, default=default_bundle, help="default: where agent.pyz is")
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the runtime; repeatable")
    for field in dataclasses.fields(LatencyProtocol):
        flag = "--" + field.name.replace("_", "-")
        run.add_argument(flag, type=type(field.default), default=field.default, help="default: %(default)s")
    run.add_argument("--json", type=Path, help="where to write the result; default: standard output, without progress")
    run.add_argument("--outputs", type=Path, help="where to write the outputs of the golden cases (.npz)")
    run.set_defaults(command=_run)

    tune = commands.add_parser("tune", help="try threads and options of one artefact's runtime, as JSON")
    tune.add_argument("--runtime", required=True)
    tune.add_argument("--precision", required=True)
    tune.add_argument("--bundle", type=Path, default=default_bundle, help="default: where agent.pyz is")
    tune.add_argument("--seconds", type=float, default=10.0, help="of inference for all trials; default: %(default)s")
    tune.add_argument("--json", type=Path, help="where to write the outcome; default: standard output")
    tune.add_argument("--outputs", type=Path, help="where to write the finalists' outputs of the golden cases (.npz)")
    tune.set_defaults(command=_tune)

    job.add_parser(commands, main)
    return parser


def _list(options: argparse.Namespace) -> None:
    manifest = read_manifest(options.bundle)
    print(f"{manifest.name}: {manifest.model.name} for {manifest.device}")
    for artifact in manifest.artifacts:
        print(f"  {artifact.runtime} {artifact.precision}  {artifact.path}  {artifact.total_bytes} bytes")
    print("runtimes here:")
    for name in runtime_names():
        try:
            print(f"  {name} {get_runtime(name).version()}")
        except EdgeconvError as error:
            print(f"  {name}: {error}")


def _host(options: argparse.Namespace) -> None:
    from edgeconv.benchmarks.agent.host import read_host

    print(to_json(read_host()), end="")


def _install(options: argparse.Namespace) -> None:
    from edgeconv.benchmarks.agent.install import install_wheels

    print(install_wheels(options.wheels.resolve(), options.into.absolute()))


def _run(options: argparse.Namespace) -> None:
    _need_numpy()
    from edgeconv.benchmarks.agent.measure import measure

    names = [field.name for field in dataclasses.fields(LatencyProtocol)]
    protocol = LatencyProtocol(**{name: getattr(options, name) for name in names})
    chosen = dict(_option(text) for text in options.option)
    result, outputs = measure(
        options.bundle,
        options.runtime,
        options.precision,
        options.threads,
        protocol,
        chosen,
        _progress(options),
        with_outputs=options.outputs is not None,
    )
    _deliver(options, result, outputs)


def _tune(options: argparse.Namespace) -> None:
    _need_numpy()
    from edgeconv.benchmarks.agent.tune import tune

    outcome, outputs = tune(options.bundle, options.runtime, options.precision, options.seconds, _progress(options))
    _deliver(options, outcome, outputs)


def _need_numpy() -> None:
    try:
        import numpy  # noqa: F401 (here and not above: `list` and `host` do without)
    except ImportError as error:
        raise not_installed("numpy", "numpy", error) from error


def _progress(options: argparse.Namespace) -> Progress:
    """On standard output, unless the result itself goes there."""
    return Progress.on_stdout() if options.json is not None else Progress()


def _option(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"{text!r} is no option of a runtime; it needs NAME=VALUE.")
    return name, value


def _deliver(options: argparse.Namespace, result: Any, outputs: Mapping[str, Any]) -> None:
    from edgeconv.benchmarks.agent.golden import pack_arrays

    if options.outputs is not None:
        _write(options.outputs, pack_arrays(outputs))
    text = to_json(result)
    if options.json is None:
        print(text, end="")
    else:
        _write(options.json, text.encode("utf-8"))


def _write(path: Path, data: bytes) -> None:
    """Write under a temporary name, then move into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(str(temporary), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}.", "Name a place that you may write to.") from error


if __name__ == "__main__":
    sys.exit(main())
