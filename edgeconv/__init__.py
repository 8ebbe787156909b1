"""edgeconv: from a trained PyTorch model to tested, measured bundles for edge devices.

The verbs of the command line are functions here: `build_bundle`, `load_bundle`, `run_benchmark`, `check_parity`,
`compare_runs`, `write_report`.  They are imported when first used; importing edgeconv loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_API = {
    "ExportOptions": "edgeconv.export.options",
    "RunSettings": "edgeconv.benchmarks.settings",
    "build_bundle": "edgeconv.export.pipeline",
    "check_parity": "edgeconv.parity.verdict",
    "compare_runs": "edgeconv.benchmarks.compare",
    "load_bundle": "edgeconv.bundles",
    "read_record": "edgeconv.records",
    "find_run": "edgeconv.benchmarks.store",
    "run_benchmark": "edgeconv.benchmarks.run",
    "save_run": "edgeconv.benchmarks.store",
    "tune_bundle": "edgeconv.benchmarks.tune",
    "write_report": "edgeconv.benchmarks.report",
}
__all__ = [  # noqa: PLE0604 — the names are resolved by __getattr__
    "__version__",
    *_API,
]


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(importlib.import_module(_API[name]), name)
    raise AttributeError(f"module 'edgeconv' has no attribute {name!r}")
