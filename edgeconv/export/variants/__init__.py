"""Other graphs of the model of a bundle: made from the bundle itself, measured beside it, the best written down."""

from edgeconv.export.variants.report import GraphTrial, GraphTuning, VariantResult

__all__ = ["GraphTrial", "GraphTuning", "VariantResult"]
