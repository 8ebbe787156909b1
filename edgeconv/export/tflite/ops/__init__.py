"""One module for each kind of operator; importing them fills the registry."""

from __future__ import annotations

from edgeconv.export.tflite.ops import (  # noqa: F401
    activation,
    convolution,
    depth,
    elementwise,
    matmul,
    normalisation,
    pooling,
    reduction,
    resize,
    selection,
    shape,
    transposed_convolution,
)
