"""From a trained dense CNN to an SFConv network: which layers, of which rank, and what it costs in fidelity."""

from edgeconv.compression.compress import CompressionReport, LayerReport, compress

__all__ = ["CompressionReport", "LayerReport", "compress"]
