"""What the factorisations of a network found in an image, as images: the point of an interpretable mixing."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.layers.matricise import Matricise
from edgeconv.models.factorizer import FactMixer

__all__ = ["NmfComponents", "mixer_names", "nmf_components"]


@dataclasses.dataclass(frozen=True)
class NmfComponents:
    """Of one layer for a batch of B images.

    maps: (B, heads, R, *size), never negative: how much each position of the layer's map has of each component.
        A component is one of its window; the shifted copies of the windows are averaged, as in the layer.
    directions: (B, copies, heads, windows, d, R): the components as vectors over the d channels of the head, of norm 1.
    """

    maps: Tensor
    directions: Tensor


def mixer_names(model: nn.Module) -> list[str]:
    """The layers of a model that factorise, by module path."""
    return [name for name, module in model.named_modules() if isinstance(module, FactMixer)]


def nmf_components(model: nn.Module, image: Tensor, layer: str) -> NmfComponents:
    """Run `model` on `image` (B, C, …) and look at what the factorisation of `layer` found.

    Raises:
        UsageError: the model has no such layer.
    """
    names = mixer_names(model)
    if layer not in names:
        known = f"There are: {', '.join(names)}." if names else "It has none that factorises."
        raise UsageError(f"{type(model).__name__} has no layer {layer!r} that factorises.", known)
    mixer = model.get_submodule(layer)
    if not isinstance(mixer, FactMixer):
        raise UsageError(f"{layer!r} is no FactMixer.")
    inputs: list[Tensor] = []
    handle = mixer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    try:
        with torch.no_grad():
            model(image)
            u, v = mixer.components(inputs[0])
    finally:
        handle.remove()
    return _as_images(mixer.matricise, u, v)


def _as_images(layout: Matricise, u: Tensor, v: Tensor) -> NmfComponents:
    """The scale that ``(a U) (V / a)^T`` leaves free is given to V, which is what is looked at."""
    norms = u.norm(dim=-2, keepdim=True)
    heads, rank, copies = layout.channels // layout.head_dim, u.shape[-1], len(layout.shifts)
    onto_map = Matricise(heads * rank, layout.size, rank, layout.window, layout.shifts)
    maps = onto_map.inverse((v * norms).transpose(-1, -2))
    directions = (u / norms.clamp_min(torch.finfo(u.dtype).tiny)).reshape(copies, -1, heads, *u.shape[1:])
    return NmfComponents(maps.reshape(-1, heads, rank, *layout.size), directions.transpose(0, 1))
