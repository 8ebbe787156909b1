"""OpenVINO IR from ONNX: fp32, fp16 weights, or int8 lowered from the Q/DQ graph with its ranges."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgeconv.errors import ExportError
from edgeconv.export.jobs import ConversionJob, ConvertedFile
from edgeconv.export.requantisers import drop_requantisers
from edgeconv.graph import load_graph, save_graph
from edgeconv.manifest import TensorSpec
from edgeconv.runtimes.openvino import import_openvino

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
    with tempfile.TemporaryDirectory(prefix="edgeconv-openvino-") as temporary:
        source = Path(temporary) / "source.onnx"
        save_graph(graph, source)
        try:
            model = openvino.convert_model(source)
            openvino.save_model(model, path, compress_to_fp16=job.precision == "fp16")
        except RuntimeError as error:
            raise ExportError(f"OpenVINO cannot convert the model: {str(error).strip().splitlines()[-1]}") from error
    return ConvertedFile(
        path.name,
        [_spec(port) for port in model.inputs],
        [_spec(port) for port in model.outputs],
        [f"{stem}.bin"],
        {"transposes": str(sum(node.get_type_name() == "Transpose" for node in model.get_ops()))},
    )


def _spec(port: Any) -> TensorSpec:
    shape = [int(d) for d in port.get_shape()]
    name = port.get_any_name()
    return TensorSpec(name, name, shape, "NCHW" if len(shape) == 4 else "as-is", "float32")
