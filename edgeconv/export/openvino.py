"""OpenVINO IR from ONNX: fp32, fp16 weights, or int8 lowered from the Q/DQ graph with its ranges."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edgeconv.errors import ExportError
from edgeconv.export.byte_operands import store_operands_as_bytes
from edgeconv.export.constant_expressions import expression_constants, spell_out_quantisers
from edgeconv.export.float_outputs import free_outputs
from edgeconv.export.jobs import ROUNDED_OUTPUTS, ConversionJob, ConvertedFile
from edgeconv.export.relus_behind_quantisers import move_relus
from edgeconv.export.requantisers import drop_requantisers
from edgeconv.export.upsampled_rows import split_upsampling
from edgeconv.graph import load_graph, save_graph
from edgeconv.manifest import TensorSpec
from edgeconv.runtimes.openvino import import_openvino

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["convert"]


def convert(job: ConversionJob) -> ConvertedFile:
    """Write `model.<precision>.xml` and `.bin`.

    Raises:
        ExportError: OpenVINO refuses the model; its own words are passed on.
    """
    openvino = import_openvino()
    stem = f"model.{job.precision}"
    path = Path(job.directory) / f"{stem}.xml"
    graph = load_graph(Path(job.source))
    # else OpenVINO joins the quantisers around a Concat into one behind it: the convolutions before it write float
    drop_requantisers(graph)
    split_upsampling(graph)
    freed = job.float_outputs and free_outputs(graph)
    if job.scheme == ROUNDED_OUTPUTS:
        move_relus(graph)
    store_operands_as_bytes(graph)
    spell_out_quantisers(graph)
    stored = _open_constants(graph)
    with tempfile.TemporaryDirectory(prefix="edgeconv-openvino-") as temporary:
        source = Path(temporary) / "source.onnx"
        save_graph(graph, source)
        try:
            model = openvino.convert_model(source)
            _close_constants(model, stored, openvino)
            openvino.save_model(model, path, compress_to_fp16=job.precision == "fp16")
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot convert the model: {str(error).strip().splitlines()[-1]}") from error
    return ConvertedFile(
        path.name,
        [_spec(port) for port in model.inputs],
        [_spec(port) for port in model.outputs],
        [f"{stem}.bin"],
        {"transposes": str(sum(node.get_type_name() == "Transpose" for node in model.get_ops()))},
        freed,
    )


def _open_constants(graph: ir.Model) -> dict[str, npt.NDArray[Any]]:
    """Make inputs of what constant expressions are computed from, else the conversion writes down their results."""
    stored = {}
    for value, array in expression_constants(graph.graph).items():
        stored[str(value.name)] = array
        del graph.graph.initializers[str(value.name)]
        value.const_value = None
        graph.graph.inputs.append(value)
    return stored


def _close_constants(model: Any, stored: Mapping[str, npt.NDArray[Any]], openvino: Any) -> None:
    """The inverse of `_open_constants`, on OpenVINO's model."""
    for name, array in stored.items():
        parameter = next(p for p in model.get_parameters() if name in p.output(0).get_names())
        parameter.output(0).replace(openvino.op.Constant(array).output(0))
        model.remove_parameter(parameter)


def _spec(port: Any) -> TensorSpec:
    shape = [int(d) for d in port.get_shape()]
    name = port.get_any_name()
    return TensorSpec(name, name, shape, "NCHW" if len(shape) == 4 else "as-is", "float32")
