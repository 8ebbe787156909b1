"""LiteRT's artefact: the ONNX graph, float or Q/DQ, written as a TFLite file."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgeconv.export.jobs import ConversionJob, ConvertedFile
from edgeconv.files import atomic_write_bytes

__all__ = ["convert"]


def convert(job: ConversionJob) -> ConvertedFile:
    """Write `model.<precision>.tflite`: NHWC, int8 input and output when the graph is a Q/DQ one."""
    from edgeconv.export.tflite import to_tflite

    result = to_tflite(ir.load(job.source))
    path = Path(job.directory) / f"model.{job.precision}.tflite"
    atomic_write_bytes(path, result.data)
    return ConvertedFile(
        path.name, list(result.inputs), list(result.outputs), facts={"transposes": str(result.transposes)}
    )
