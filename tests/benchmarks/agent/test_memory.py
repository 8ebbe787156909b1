"""Of this process with real models, and of a made-up /proc for what this system does not do."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeconv.benchmarks.agent.memory import MemoryPhases, mapped_bytes

MB = 1 << 20

CHILD = """
import mmap, sys
from pathlib import Path
from edgeconv.benchmarks.agent.memory import MemoryPhases
def touch(megabytes): return bytearray(b"x") * (megabytes << 20)
touch(64)                       # before the import is measured: no phase's own
phases = MemoryPhases()
phases.imported()
kept = touch(40); touch(80)     # load: 40 MB stay, 120 MB at most
phases.loaded()
touch(100)                      # making the inputs
phases.prepared()
touch(24)                       # run
phases.ran([])
from edgeconv.schema import to_json
print(to_json(phases.finish()), end="")
"""


@pytest.fixture(scope="module")
def memory():
    import json

    from edgeconv.records import Memory
    from edgeconv.schema import from_dict

    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    return from_dict(Memory, json.loads(done.stdout))


def test_the_phases_have_peaks_of_their_own(memory):
    assert "so that each phase has its own peak" in memory.method
    added = memory.load_peak_rss_bytes - memory.baseline_rss_bytes
    assert 115 * MB < added < 130 * MB
    assert memory.peak_rss_bytes == memory.load_peak_rss_bytes  # the run needed 64 MB, its inputs do not count


def test_what_is_shared_counts_less_in_pss(memory):
    assert 0 < memory.baseline_pss_bytes <= memory.baseline_rss_bytes
    assert 30 * MB < memory.pss_bytes - memory.baseline_pss_bytes < 50 * MB


def fake(tmp_path, *, peak, reset=True):
    (tmp_path / "status").write_text(f"Name:\tpython3\nVmHWM:\t  {peak} kB\nVmRSS:\t  1000 kB\n")
    if reset:
        (tmp_path / "clear_refs").touch()
    else:
        (tmp_path / "clear_refs").mkdir()
    return tmp_path


def test_a_kernel_that_cannot_reset_the_peak_is_named_in_the_method(tmp_path):
    phases = MemoryPhases(fake(tmp_path, peak=3000, reset=False))
    phases.imported()
    phases.loaded()
    phases.prepared()
    phases.ran([])
    memory = phases.finish()
    assert "cannot be set back" in memory.method
    assert memory.peak_rss_bytes == 3000 * 1024
    assert memory.baseline_rss_bytes == 1000 * 1024
    assert (memory.pss_bytes, memory.baseline_pss_bytes, memory.mapped_model_bytes) == (None, None, None)


def test_a_system_that_does_not_tell_gives_none(tmp_path):
    phases = MemoryPhases(tmp_path / "nothing")
    phases.imported()
    phases.loaded()
    phases.prepared()
    phases.ran([])
    memory = phases.finish()
    assert (memory.peak_rss_bytes, memory.baseline_rss_bytes, memory.load_peak_rss_bytes) == (None, None, None)
    assert memory.method == "the system does not tell"


def test_mapped_pages_of_a_file_are_counted_when_they_were_touched(tmp_path):
    path = tmp_path / "a model.bin"
    path.write_bytes(bytes(3 * MB))
    assert mapped_bytes([path]) == 0
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as pages:
        assert sum(pages[i] for i in range(0, 2 * MB, 4096)) == 0
        assert 2 * MB <= mapped_bytes([path]) <= 3 * MB
        assert mapped_bytes([tmp_path / "another.bin"]) == 0
    assert mapped_bytes([path]) == 0


def test_litert_maps_its_model(tiny):
    from edgeconv.runtimes import get_runtime

    path = tiny.directory / "model.fp32.tflite"
    session = get_runtime("litert").load(path, 1)
    session.run([np.zeros((1, 24, 32, 3), np.float32)])
    assert mapped_bytes([Path(path)]) > 0
