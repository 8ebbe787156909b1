"""ONNX to TFLite without TensorFlow: reads the graph, plans NHWC operators, writes the FlatBuffer."""

from __future__ import annotations

from edgeconv.export.tflite.convert import TFLiteResult, check_supported, to_tflite
from edgeconv.export.tflite.writer import count_transposes

__all__ = ["TFLiteResult", "check_supported", "count_transposes", "to_tflite"]
