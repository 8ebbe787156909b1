"""What the scripts beside it share."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

__all__ = ["save"]

_HERE = Path(__file__).parent


def save(figure: plt.Figure, name: str) -> None:
    """As a PNG of moderate size."""
    figure.tight_layout()
    figure.savefig(_HERE / name, dpi=100)
    plt.close(figure)
