from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trees import Tree

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def sample() -> Callable[[str], str]:
    """A genuine output by its file name; samples/README.md says whose."""
    return lambda name: (SAMPLES / name).read_text(encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "system")
