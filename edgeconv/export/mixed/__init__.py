"""Mixed precision with a price: operators left in float until a quality is met, and what each of them costs."""

from edgeconv.export.mixed.report import MIXED_PATH, MixedReport, read_mixed
from edgeconv.export.mixed.target import QualityTarget, make_target

__all__ = ["MIXED_PATH", "MixedReport", "QualityTarget", "make_target", "read_mixed"]
