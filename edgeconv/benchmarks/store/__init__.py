"""The store: every run with its evidence, in one SQLite file.

`save_run` keeps a run record, `find_run` gives it back, `query` finds runs by model, device, runtime and precision,
`export_runs` and `import_runs` carry them to other machines as JSON lines or Parquet.
"""

from edgeconv.benchmarks.store.database import default_path
from edgeconv.benchmarks.store.exchange import Imported, export_runs, import_runs
from edgeconv.benchmarks.store.index import StoredResult, StoredRun
from edgeconv.benchmarks.store.runs import (
    find_run,
    query,
    read_run,
    remove_run,
    save_run,
    save_runs,
)

__all__ = [
    "Imported",
    "StoredResult",
    "StoredRun",
    "default_path",
    "export_runs",
    "find_run",
    "import_runs",
    "query",
    "read_run",
    "remove_run",
    "save_run",
    "save_runs",
]
