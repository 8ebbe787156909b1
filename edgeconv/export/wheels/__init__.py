"""`edgeconv export --with-wheels`: what a device needs to run the agent, chosen by what its system really has."""

from __future__ import annotations

from edgeconv.export.wheels.supply import make_supply

__all__ = ["make_supply"]
