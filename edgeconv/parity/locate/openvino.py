"""OpenVINO files laid open: inner tensors become results, and parameters for their readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv.manifest import Artifact, TensorSpec
from edgeconv.parity.locate.layers import Grid, Layer
from edgeconv.parity.locate.variant import FED, Variant
from edgeconv.runtimes.openvino import import_openvino

__all__ = ["open_file"]


def open_file(source: Path, artifact: Artifact, layers: Sequence[Layer], loose: bool, to: Path) -> Variant:
    """See `Opener`; what is fed to an int8 layer is quantised on its grid again, so that integer kernels still run."""
    openvino = import_openvino()
    model = openvino.Core().read_model(str(source))
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() not in ("Parameter", "Result")]
    by_name = {name: output for node in nodes for output in node.outputs() for name in output.get_names()}
    parameters, results, opened = list(model.get_parameters()), [], []
    inputs, taken = list(artifact.inputs), set()
    for layer in layers:
        output = next((by_name[name] for name in (*layer.aliases, layer.name) if name in by_name), None)
        if output is None or _key(output) in taken or [int(d) for d in output.get_shape()] != list(layer.shape):
            continue
        taken.add(_key(output))
        opened.append(layer.name)
        readers = [t for t in output.get_target_inputs() if t.get_node().get_type_name() != "Result"]
        results.append(openvino.op.Result(output))
        if loose and readers:
            parameter = openvino.op.Parameter(output.get_element_type(), output.get_partial_shape())
            parameter.output(0).set_names({f"{layer.name}{FED}"})
            parameters.append(parameter)
            inputs.append(_spec(layer, f"{layer.name}{FED}"))
            fed = _on_grid(parameter.output(0), layer.grid)
            for reader in readers:
                reader.replace_source_output(fed)
    variant = openvino.Model(results, parameters, "variant")
    outputs = [_spec_of(name, port) for name, port in zip(opened, variant.outputs, strict=True)]
    path = to / "variant.xml"
    openvino.save_model(variant, path, compress_to_fp16=False)
    return Variant(path, inputs, outputs, opened)


def _on_grid(output: Any, grid: Grid | None) -> Any:
    if grid is None:
        return output
    import numpy as np
    from openvino import opset13

    lowest = -128 if grid.dtype == "int8" else 0
    low, high = (np.float32((bound - grid.zero_point) * grid.scale) for bound in (lowest, lowest + 255))
    return opset13.fake_quantize(output, low, high, low, high, 256).output(0)


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _spec(layer: Layer, name: str) -> TensorSpec:
    return TensorSpec(layer.name, name, list(layer.shape), "NCHW" if len(layer.shape) == 4 else "as-is", "float32")


def _spec_of(layer: str, port: Any) -> TensorSpec:
    shape = [int(size) for size in port.get_shape()]
    return TensorSpec(layer, port.get_any_name(), shape, "NCHW" if len(shape) == 4 else "as-is", "float32")
