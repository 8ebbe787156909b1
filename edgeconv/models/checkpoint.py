"""Weights from a file into a module, checked: every key, every shape, every number."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeconv.errors import CheckpointError
from edgeconv.wording import listed

__all__ = ["check_finite", "load_weights", "read_state_dict"]

_LISTED = 10
_CONTAINERS = ("state_dict", "model_state_dict", "model")
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a checkpoint into `module`, strictly.

    Raises:
        CheckpointError: the file is missing or unreadable, keys are missing or unexpected, shapes differ, or weights
            are not finite; the keys are listed.
    """
    state = _without_wrapper(read_state_dict(path), module.state_dict().keys())
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    differing = {name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape}
    foreign = {name for name in state.keys() & expected.keys() if _loses(state[name], expected[name])} - differing
    fitting = {name: value for name, value in state.items() if name not in differing | foreign}
    try:
        found = module.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit {type(module).__name__}: {error}", "Use a checkpoint of this very model."
        ) from error
    missing = [name for name in found.missing_keys if name not in differing | foreign]
    problems = [
        _listing(missing, "missing"),
        _listing(found.unexpected_keys, "unexpected"),
        _listing(
            [f"{k} is {_shape(state[k])}, expected {_shape(expected[k])}" for k in expected if k in differing],
            "of another shape",
        ),
        _listing(
            [f"{k} is {_kind(state[k])}, expected {_kind(expected[k])}" for k in expected if k in foreign],
            "of another type",
        ),
    ]
    if any(problems):
        raise CheckpointError(
            f"{path} does not fit {type(module).__name__}: {'; '.join(filter(None, problems))}.",
            "Check that the checkpoint was saved from this model, built with the same arguments.",
        )
    check_finite(module.named_parameters(), module.named_buffers(), str(path))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors`, `.pt` or `.pth` file, on the CPU.

    A `.pt` file may hold the state dict itself, or have it under "state_dict", "model_state_dict" or "model".  Pickled
    code is never run.

    Raises:
        CheckpointError: there is no such file, or it does not hold tensors by name.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise CheckpointError(
            f"The weights {path} are of an unknown kind.", f"Known suffixes are {', '.join(sorted(_READERS))}."
        )
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.", "Check the path given with --weights.")
    return reader(path)


def check_finite(parameters: Iterable[tuple[str, Tensor]], buffers: Iterable[tuple[str, Tensor]], source: str) -> None:
    """Raise `CheckpointError` naming the tensors with NaN or infinity; masks (buffers) may hold minus infinity."""
    broken = [name for name, value in parameters if not torch.isfinite(value).all()]
    broken += [name for name, value in buffers if value.isnan().any() or value.isposinf().any()]
    if broken:
        raise CheckpointError(
            f"The weights of {source} are not finite: {_listing(broken, 'with NaN or infinity')}.",
            "The training diverged or the file is damaged: use another checkpoint.",
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable safetensors file: {error}.", "Save or copy it again.") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain containers, or is damaged: it is not unpickled, because that "
            "could run code.",
            'Save only the weights, torch.save(model.state_dict(), "weights.pt"), or use safetensors.',
        ) from error
    # For a file that is cut off or something else altogether, torch's readers raise what they stumble over.
    except Exception as error:
        raise CheckpointError(
            f"{path} is no readable PyTorch checkpoint: {_first_line(error)}", "Save or copy it again."
        ) from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected tensors by name.",
            'Save it by torch.save(model.state_dict(), "weights.pt").',
        )
    strange = [f"{key} ({type(value).__name__})" for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(
            f"{path} is no state dict: {_listing(strange, 'no tensors')}.",
            f"Save the state dict alone, or under the key {' or '.join(map(repr, _CONTAINERS))}.",
        )
    return {str(key): value for key, value in content.items()}


def _without_wrapper(state: dict[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    names = list(expected)
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in state) and not any(name.startswith(prefix) for name in names):
            shorter = {name.removeprefix(prefix): value for name, value in state.items()}
            return _without_wrapper(shorter, names)
    return state


def _listing(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what} ({listed(names, _LISTED)})" if names else ""


def _loses(stored: Tensor, expected: Tensor) -> bool:
    """Whether it is no number as the module has: quantised integers need their scale, complex numbers two places."""
    return expected.is_floating_point() and not stored.is_floating_point()


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


_READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_pickle,
    ".pth": _read_pickle,
}
