"""A module from the user's own code: `file.py:factory` or `package.module:factory`."""

from __future__ import annotations

from torch import nn

from edgeconv.errors import ModelError
from edgeconv.user_code import describe_error, user_attribute

__all__ = ["call_factory"]


def call_factory(spec: str) -> nn.Module:
    """Import the code before the last colon of `spec` and call what is named after it, without arguments.

    A name that is a module already is taken as it is; see `user_attribute` for where code is looked for.

    Raises:
        ModelError: there is no such code or name (the near ones are suggested), it raises, or gives no `nn.Module`.
    """
    with user_attribute(spec, "factory", ModelError) as factory:
        try:
            module = factory if isinstance(factory, nn.Module) or not callable(factory) else factory()
        except (Exception, SystemExit) as error:  # the user's own code: whatever it raises is theirs to read
            name = spec.rpartition(":")[2]
            raise ModelError(
                f"{spec} raised {describe_error(error)}.",
                f"A factory takes no arguments; {name}() must return a module.",
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{spec} gave {_a(type(module).__name__)}, expected a torch.nn.Module.", "Return the module itself."
        )
    return module


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"
