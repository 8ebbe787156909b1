"""The default tolerance class of each precision."""

from __future__ import annotations

from edgeconv.manifest import Tolerance

__all__ = ["default_tolerances"]

# A float graph is the same function up to the order of sums; fp16 keeps 11 bits of every weight; int8 is judged by what
# it loses against PyTorch and by whether a runtime's kernels lose more than the Q/DQ graph itself does.
_DEFAULTS = (
    Tolerance(
        precision="fp32",
        export_min_sqnr_db=90.0,
        runtime_min_sqnr_db=80.0,
        total_min_sqnr_db=80.0,
        total_max_loss_to_reference_db=None,
        max_metric_drop=0.01,
    ),
    Tolerance(
        precision="fp16",
        export_min_sqnr_db=90.0,
        runtime_min_sqnr_db=50.0,
        total_min_sqnr_db=None,
        total_max_loss_to_reference_db=None,
        max_metric_drop=0.01,
    ),
    Tolerance(
        precision="int8",
        export_min_sqnr_db=90.0,
        runtime_min_sqnr_db=None,
        total_min_sqnr_db=28.0,
        total_max_loss_to_reference_db=0.3,
        max_metric_drop=0.01,
    ),
)


def default_tolerances() -> list[Tolerance]:
    """One for each precision."""
    return list(_DEFAULTS)
