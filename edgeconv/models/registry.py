"""The built-in networks by name.

Example:
    >>> from edgeconv.models import build_model
    >>> model = build_model("small-unet", widths=(8, 16), height=64, width=96)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from edgeconv.errors import UsageError

__all__ = ["build_model", "model_names", "register"]

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])

_FACTORIES: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Decorate a class or function so that `build_model(name)` calls it; it must work without arguments.

    Raises:
        UsageError: the name is taken.
    """

    def decorate(factory: Factory) -> Factory:
        if name in _FACTORIES:
            raise UsageError(f"There is a model named {name!r} already.", "Register yours under another name.")
        _FACTORIES[name] = factory
        return factory

    return decorate


def model_names() -> list[str]:
    """Names that `build_model` knows, sorted."""
    return sorted(_FACTORIES)


def build_model(name: str, **options: Any) -> nn.Module:
    """The network of this name, untrained; `options` go to its factory.

    Raises:
        UsageError: no network has this name; the near ones are suggested.
        ModelError: the options do not fit together.
    """
    if name not in _FACTORIES:
        near = difflib.get_close_matches(name, _FACTORIES, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(model_names())}."
        raise UsageError(f"There is no model named {name!r}.", hint)
    return _FACTORIES[name](**options)
