"""The user's own Python by name: `file.py:name` or `package.module:name`.

Only what the user typed comes here: a name read from a bundle, a record or any other file that was handed over is never
imported.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from edgeconv.errors import EdgeconvError

__all__ = ["describe_error", "user_attribute"]

_neighbours: dict[str, str] = {}
"""The modules that user code imported, each with the directory that it was found in."""


@contextlib.contextmanager
def user_attribute(spec: str, role: str, error: type[EdgeconvError]) -> Iterator[object]:
    """Import the code before the last colon of `spec` and yield what is named after it.

    Modules are looked for in the current directory too, and a file may import its neighbours, for as long as the block
    lasts.  A file is read anew each time, under a name of its own.  What is printed in the block goes to standard
    error, for standard output may be read by a machine.

    Args:
        spec: as the user typed it.
        role: what the name stands for ("factory", "metric"), for messages.
        error: the class of the errors.

    Raises:
        EdgeconvError: of class `error`: there is no such code or name (the near ones are suggested), or it raises.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise error(f"{spec!r} does not name a {role}.", f"Write file.py:{role} or package.module:{role}.")
    path = Path(place)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise error(f"There is no file {place}, named by {spec!r}.", "Check the path.")
    with _importable(path.resolve().parent if is_file else Path.cwd()), contextlib.redirect_stdout(sys.stderr):
        # Whatever the user's own code raises is the user's error to read.
        try:
            code = _import_file(path) if is_file else importlib.import_module(place)
        except (Exception, SystemExit) as raised:
            raise error(*_why(raised, place, spec, role)) from raised
        yield _attribute(code, name, place, role, error)


def describe_error(error: BaseException) -> str:
    """Type, first line and place of what the user's code raised."""
    message = next((line for line in str(error).splitlines() if line.strip()), "no message").rstrip(".")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and f.lineno]
    own = [f for f in frames if not f.filename.startswith("<")]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {message}{where}"


@contextlib.contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Its modules can be imported; those of another directory are forgotten, which may have some of the same names."""
    entry = str(directory)
    for name in [name for name, place in _neighbours.items() if place != entry]:
        sys.modules.pop(name, None)
        del _neighbours[name]
    before = set(sys.modules)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
        _neighbours.update({name: entry for name in set(sys.modules) - before if _lies_in(entry, name)})


def _lies_in(directory: str, name: str) -> bool:
    """Whether a module was found in `directory` itself, not in a `.venv` or another path of modules below it."""
    file = getattr(sys.modules[name], "__file__", None) or ""
    first = file.removeprefix(directory + os.sep).partition(os.sep)[0]
    return file.startswith(directory + os.sep) and first.partition(".")[0] == name.partition(".")[0]


def _import_file(path: Path) -> ModuleType:
    # A name of its own, so that a user's `net.py` never hides or meets another module.
    name = f"edgeconv_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _why(error: BaseException, place: str, spec: str, role: str) -> tuple[str, str]:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and (place == missing or place.startswith(f"{missing}.")):
        return (
            f"There is no module {missing!r}, named by {spec!r}.",
            f"Run in the directory that contains it, or install it; a file is named with its suffix, file.py:{role}.",
        )
    return f"Importing {place} raised {describe_error(error)}.", "Check that it imports by itself."


def _attribute(code: ModuleType, name: str, place: str, role: str, error: type[EdgeconvError]) -> object:
    if hasattr(code, name):
        return getattr(code, name)
    callables = [key for key, value in vars(code).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, callables, n=3)
    own = [key for key in callables if getattr(getattr(code, key), "__module__", None) == code.__name__]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It defines {', '.join(own[:10]) or f'no {role}'}."
    raise error(f"{place} has no {name!r}.", hint)
