"""Replace dense convolutions by factored ones, of ranks chosen from their spectra."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgeconv.compression.finetune import finetune
from edgeconv.compression.layers import ConvLayer, observe_layers
from edgeconv.compression.ranks import Spectrum, ranks_by_budget, ranks_by_energy
from edgeconv.errors import ModelError, UsageError
from edgeconv.layers.sfconv import SFConv2d, unfold_kernel
from edgeconv.sqnr import sqnr_db

__all__ = ["CompressionReport", "LayerReport", "compress"]

Sample = tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """One convolution: `rank` None and a `reason` where it stays dense.

    `energy_lost` is the share of the layer's output energy on the samples (of the kernel's, without data).
    """

    name: str
    kernel: list[int]  # a, b, kH, kW
    rank: int | None
    full_rank: int
    break_even_rank: int
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    energy_lost: float
    reason: str


@dataclasses.dataclass(frozen=True)
class CompressionReport:
    """The whole model.

    Multiply-accumulates are of its dense convolutions, those listed in `layers`, alone.  `output_sqnr_db` is of the
    compressed model against the dense one, on samples that nothing was fitted to where there are two or more; None
    where they are identical.  `finetuned_steps` is 0 where fine-tuning brought the output no nearer.
    """

    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    output_sqnr_db: float | None
    finetuned_steps: int
    layers: list[LayerReport]


def compress(
    model: nn.Module,
    samples: Sequence[Sample],
    *,
    energy: float | None = None,
    budget: float | None = None,
    data_aware: bool = True,
    multiple: int = 1,
    finetune_steps: int = 0,
    sve_weight: float = 0.1,
    progress: Callable[[str], None] = lambda stage: None,
) -> tuple[nn.Module, CompressionReport]:
    """An SFConv copy of a trained model; the model itself is left as it is.

    Args:
        model: in evaluation mode; every `Conv2d` that is called counts.
        samples: inputs of the model, each the arguments of one call; the first half (the larger one) chooses and fits,
            the other judges.
        energy: of each layer's output, a share that its rank must keep; or
        budget: a share of all convolutions' multiply-accumulates that may be left.  Exactly one of both.
        data_aware: weigh each layer's kernel by what its input really looks like on the samples.
        multiple: ranks are multiples of this where they can be; int8 kernels like 8.
        finetune_steps: of distillation towards the dense model on the samples, with singular-value equalisation.
        sve_weight: of that equalisation.
        progress: called with the name of each stage.

    Raises:
        UsageError: options do not fit, or nothing can be won by factoring.
        ModelError: the model has no convolution, or gives values that are not finite.
    """
    _check(samples, energy, budget, multiple, finetune_steps)
    half = (len(samples) + 1) // 2
    fitting, judging = samples[:half], samples[half:] or samples
    _check_output(model, samples[0])
    progress("observe")
    layers = observe_layers(model, fitting, data_aware=data_aware)
    if not layers:
        raise ModelError("The model calls no Conv2d on these samples.", "Only dense 2-D convolutions are factored.")
    candidates = [layer for layer in layers if not layer.refusal]
    if not candidates:
        reasons = "; ".join(f"{layer.name}: {layer.refusal}" for layer in layers[:5])
        raise UsageError(f"Factoring can win in none of the model's convolutions: {reasons}.")
    progress("decompose")
    decomposed = [_Decomposed(layer) for layer in candidates]
    spectra = [d.spectrum for d in decomposed]
    if budget is None:
        ranks = ranks_by_energy(spectra, 1.0 if energy is None else energy, multiple)
    else:
        ranks = ranks_by_budget(spectra, _candidate_budget(layers, candidates, budget), multiple)
    compressed = copy.deepcopy(model)
    chosen = {d.layer.name: (d, rank) for d, rank in zip(decomposed, ranks, strict=True)}
    for name, (kernel, chosen_rank) in chosen.items():
        if chosen_rank is not None:
            compressed = _replaced(compressed, name, kernel.factored(chosen_rank))
    finetuned_steps = 0
    if finetune_steps:
        progress("fine-tune")
        finetuned_steps = finetune(compressed, model, fitting, finetune_steps, sve_weight)
    progress("judge")
    dense = "no rank below break-even keeps enough" if budget is None else "within the budget"
    reports = []
    for layer in layers:
        found, rank = chosen.get(layer.name, (None, None))
        reports.append(_report(layer, found, rank, dense))
    return compressed, CompressionReport(
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in compressed.parameters()),
        sum(r.macs_before for r in reports),
        sum(r.macs_after for r in reports),
        _sqnr_db(model, compressed, judging),
        finetuned_steps,
        reports,
    )


class _Decomposed:
    """A layer's kernel in the singular directions of its output on the samples."""

    def __init__(self, layer: ConvLayer) -> None:
        self.layer = layer
        values, vectors = torch.linalg.eigh(layer.moment)
        root = values.clamp_min(values.max() * 1e-12).sqrt()
        whiten, self._unwhiten = (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
        self._u, self._s, self._vh = torch.linalg.svd(
            unfold_kernel(layer.conv.weight.detach().double()) @ whiten, full_matrices=False
        )
        energy = self._s.square()
        tail = energy.sum() - torch.cat([torch.zeros(1, dtype=energy.dtype), energy.cumsum(0)])
        lost = (tail / energy.sum().clamp_min(1e-300)).clamp_min(0).numpy()
        self.spectrum = Spectrum(np.asarray(lost), layer.largest_rank, layer.dense_macs, layer.macs_per_rank)

    def factored(self, rank: int) -> SFConv2d:
        """The layer of this rank, halves of equal norm."""
        root = self._s[:rank].sqrt()
        p, q = self._u[:, :rank] * root, (root[:, None] * self._vh[:rank]) @ self._unwhiten
        return SFConv2d.from_factors(self.layer.conv, p, q, rank=rank)


def _check(
    samples: Sequence[Sample], energy: float | None, budget: float | None, multiple: int, finetune_steps: int
) -> None:
    if (energy is None) == (budget is None):
        raise UsageError("Give either an energy that each layer keeps or a budget of multiply-accumulates, not both.")
    if budget is not None and not 0 < budget <= 1:
        raise UsageError(f"A budget of {budget} was asked for; it is a share, more than 0 and at most 1.")
    if not samples:
        raise UsageError("No sample was given; at least one input is needed to see the layers' sizes.")
    if multiple < 1 or finetune_steps < 0:
        raise UsageError(f"multiple ({multiple}) must be at least 1 and finetune_steps ({finetune_steps}) at least 0.")


def _check_output(model: nn.Module, sample: Sample) -> None:
    with torch.no_grad():
        output = model(*sample)
    if not isinstance(output, Tensor):
        raise ModelError(
            f"The model returns something of type {type(output).__name__}, not one tensor.",
            "Wrap it in a module whose forward returns the tensor that counts.",
        )


def _candidate_budget(layers: Sequence[ConvLayer], candidates: Sequence[ConvLayer], budget: float) -> float:
    """What is left of a budget for the whole model when the layers that stay dense have had theirs."""
    total = sum(layer.dense_macs for layer in layers)
    mine = sum(layer.dense_macs for layer in candidates)
    share = (budget * total - (total - mine)) / mine
    if share <= 0:
        raise UsageError(
            f"A budget of {budget:.2f} cannot be met: layers that stay dense take {1 - mine / total:.2f} alone.",
            "Ask for more.",
        )
    return min(share, 1.0)


def _replaced(model: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """`model` with `layer` in the place of the module `name`, under whatever other names it is registered too."""
    old = model.get_submodule(name)
    if old is model:
        return layer
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, layer)
    return model


def _report(layer: ConvLayer, found: _Decomposed | None, rank: int | None, dense: str) -> LayerReport:
    conv = layer.conv
    a, b, kernel_h, kernel_w = conv.weight.shape
    bias = a if conv.bias is not None else 0
    weights = conv.weight.numel() + bias
    reason = layer.refusal or (dense if rank is None else "")
    return LayerReport(
        layer.name,
        [a, b, kernel_h, kernel_w],
        rank,
        min(a * kernel_h, b * kernel_w),
        max(layer.largest_rank, 0),
        weights,
        weights if rank is None else rank * (a * kernel_h + b * kernel_w) + bias,
        layer.dense_macs,
        layer.dense_macs if rank is None else rank * layer.macs_per_rank,
        0.0 if rank is None or found is None else float(found.spectrum.lost[rank]),
        reason,
    )


def _sqnr_db(model: nn.Module, compressed: nn.Module, samples: Sequence[Sample]) -> float | None:
    signal = noise = 0.0
    with torch.no_grad():
        for sample in samples:
            before, after = model(*sample), compressed(*sample)
            if not bool(torch.isfinite(after).all()):
                raise ModelError("The compressed model gives values that are not finite.", "Check the weights.")
            signal += float(before.double().square().sum())
            noise += float((before.double() - after.double()).square().sum())
    return sqnr_db(signal, noise)
