"""The export looked into: PyTorch against the graph traced from it, module by module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.benchmarks.agent.feeds import normalise
from edgeconv.benchmarks.agent.golden import read_cases
from edgeconv.benchmarks.drift import golden_outputs
from edgeconv.bundles import Bundle
from edgeconv.errors import ModelError
from edgeconv.export.executor import Array
from edgeconv.parity.locate.layers import Layer, StepReference
from edgeconv.parity.locate.readings import sqnr_db
from edgeconv.parity.location import Location
from edgeconv.records import LayerDrift

if TYPE_CHECKING:
    from torch import nn

__all__ = ["compare_modules", "locate_in_export"]

_HEALTHY_DB = 90.0
_SAME_MODEL_DB = 100.0


def locate_in_export(bundle: Bundle, runtime: str, precision: str, model: str, weights: Path | None) -> Location:
    """The first module of `model` whose output its traced graph does not reproduce.

    Raises:
        EdgeconvError: the model cannot be loaded or traced, or is not the one that the bundle was exported from.
    """
    from edgeconv.export.onnx import to_onnx
    from edgeconv.models.loading import load_model

    loaded = load_model(model, weights)
    if loaded.module is None:
        raise ModelError(f"{model} is no PyTorch module, so it has no modules to look into.")
    import torch

    raw = next(iter(read_cases(bundle.golden, bundle.manifest.inputs)))
    feeds = {port.name: normalise(raw[port.name], port) for port in bundle.manifest.inputs}
    traced = to_onnx(loaded.module, {name: torch.from_numpy(array) for name, array in feeds.items()})
    outputs = _recorded(loaded.module, feeds)
    golden = golden_outputs(bundle.golden_arrays(), "torch")
    closeness = sqnr_db(next(iter(golden.values()))[0], outputs[""]) if len(golden) == 1 and "" in outputs else None
    if closeness is not None and closeness < _SAME_MODEL_DB:
        raise ModelError(
            f"{model} is not the model of this bundle: its output is at {closeness:.1f} dB of the golden one",
            "Give the --model and --weights that the bundle was exported from.",
        )
    readings = compare_modules(outputs, traced, feeds)
    rows = [LayerDrift(path or "the whole model", layer.operator, None, db) for path, layer, db in readings]
    broken = next(((p, layer, db) for p, layer, db in readings if db is not None and db < _HEALTHY_DB), None)
    if broken is None:
        kept = [r for r in bundle.manifest.rewrites if r.kept and r.sqnr_db is not None]
        least = min(kept, key=lambda r: r.sqnr_db or math.inf, default=None)
        words = f"; of the rewrites {least.name} is the least exact, {least.sqnr_db:.1f} dB" if least else ""
        message = (
            f"export: the trace reproduces PyTorch in all {len(rows)} modules, so what breaks comes after it{words}."
        )
        return Location(runtime, precision, "export", "", "", "", None, None, None, message, rows)
    path, layer, after = broken
    earlier = [db for _, _, db in readings[: readings.index(broken)] if db is not None]
    before = earlier[-1] if earlier else None
    earlier_words = "no difference" if before is None else f"{before:.1f} dB"
    message = (
        f"export: the graph first departs from PyTorch in module {path or 'the root'} ({layer.operator}, tensor "
        f"{layer.name}): {after:.1f} dB there, {earlier_words} before it."
    )
    return Location(runtime, precision, "export", layer.operator, path, layer.name, before, after, None, message, rows)


def compare_modules(
    outputs: Mapping[str, Array], graph: Any, feeds: Mapping[str, Array]
) -> list[tuple[str, Layer, float | None]]:
    """Module path, the graph's last tensor of that module and its SQNR, in the order in which they are computed.

    Args:
        outputs: what each module returned, by path.
        graph: the `onnx_ir.Model` traced from it.
        feeds: what both were fed with.
    """
    reference = StepReference(graph)
    _, values = reference.run(feeds)
    found = []
    for path, output in outputs.items():
        last = _last(reference.layers, path)
        if last is not None and last[1].shape == output.shape:
            index, layer = last
            found.append((index, -len(path), path, layer, sqnr_db(output, values[layer.name])))
    return [(path, layer, db) for _, _, path, layer, db in sorted(found, key=lambda item: item[:3])]


def _last(layers: Sequence[Layer], path: str) -> tuple[int, Layer] | None:
    inside = [
        (index, layer)
        for index, layer in enumerate(layers)
        if not path or layer.module == path or layer.module.startswith(f"{path}.")
    ]
    return inside[-1] if inside else None


def _recorded(module: nn.Module, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The output of each module that is called once and returns one tensor, by path; "" is the whole model."""
    import torch

    calls: dict[str, list[Any]] = {}
    hooks = [
        part.register_forward_hook(lambda _, __, output, path=path: calls.setdefault(path, []).append(output))
        for path, part in module.named_modules()
    ]
    try:
        with torch.inference_mode():
            module(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feeds.items()})
    finally:
        for hook in hooks:
            hook.remove()
    return {
        path: found[0].detach().numpy().copy()
        for path, found in calls.items()
        if len(found) == 1 and isinstance(found[0], torch.Tensor)
    }
