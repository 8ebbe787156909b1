"""A module from the user's own code: `file.py:factory` or `package.module:factory`."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from torch import nn

from edgeconv.errors import ModelError

__all__ = ["call_factory"]


def call_factory(spec: str) -> nn.Module:
    """Import the code before the last colon of `spec` and call what is named after it, without arguments.

    Modules are looked for in the current directory too, and a file may import its neighbours.  A name that is a module
    already is taken as it is.

    Raises:
        ModelError: there is no such code or name (the near ones are suggested), it raises, or gives no `nn.Module`.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ModelError(f"{spec!r} does not name a factory.", "Write file.py:factory or package.module:factory.")
    path = Path(place)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise ModelError(f"There is no file {place}, named by {spec!r}.", "Check the path of the model.")
    with _importable(path.resolve().parent if is_file else Path.cwd()):
        # Whatever the user's own code raises is the user's error to read.
        try:
            code = _import_file(path) if is_file else importlib.import_module(place)
        except (Exception, SystemExit) as error:
            raise _import_error(error, place, spec) from error
        factory = _attribute(code, name, place)
        try:
            module = factory if isinstance(factory, nn.Module) or not callable(factory) else factory()
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"{spec} raised {_describe(error)}.", f"A factory takes no arguments; {name}() must return a module."
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{spec} gave {_a(type(module).__name__)}, expected a torch.nn.Module.", "Return the module itself."
        )
    return module


@contextlib.contextmanager
def _importable(directory: Path) -> Iterator[None]:
    entry = str(directory)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)


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


def _import_error(error: BaseException, place: str, spec: str) -> ModelError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and (place == missing or place.startswith(f"{missing}.")):
        return ModelError(
            f"There is no module {missing!r}, named by {spec!r}.",
            "Run in the directory that contains it, or install it; a file is named with its suffix, net.py:factory.",
        )
    return ModelError(f"Importing {place} raised {_describe(error)}.", "Check that it imports by itself.")


def _attribute(code: ModuleType, name: str, place: str) -> object:
    if hasattr(code, name):
        return getattr(code, name)
    callables = [key for key, value in vars(code).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, callables, n=3)
    own = [key for key in callables if getattr(getattr(code, key), "__module__", None) == code.__name__]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It defines {', '.join(own[:10]) or 'no factory'}."
    raise ModelError(f"{place} has no {name!r}.", hint)


def _describe(error: BaseException) -> str:
    message = (str(error) or "no message").splitlines()[0].rstrip(".")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and f.lineno]
    own = [f for f in frames if not f.filename.startswith("<")]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {message}{where}"


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"
