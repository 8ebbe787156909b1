"""What tuning found as a recipe for `edgeconv export --recipe`."""

from __future__ import annotations

from pathlib import Path

from edgeconv.bundles import Bundle
from edgeconv.export.recipe import RECIPE_PATH, SCHEMA_VERSION, BundleRecipe, read_recipe
from edgeconv.export.variants.report import GraphTuning
from edgeconv.files import atomic_write_bytes
from edgeconv.schema import to_json

__all__ = ["write_tuned_recipe"]


def write_tuned_recipe(bundle: Bundle, tuning: GraphTuning, path: Path) -> None:
    """Write the recipe of `bundle` with the tuned choices, whole or not at all.

    What follows from choices, model and data (search, rewrites, grids) is left out: it is that of another graph.

    Raises:
        BundleError: the bundle's recipe is damaged.
    """
    manifest, own = bundle.manifest, bundle.directory / RECIPE_PATH
    calibration = read_recipe(own).calibration if own.is_file() else None
    model = manifest.model
    recipe = BundleRecipe(
        schema_version=SCHEMA_VERSION,
        model=model.name,
        weights_sha256=model.weights_sha256,
        choices=tuning.choices,
        calibration=calibration,
        rewrites=[],
        schemes={},
        tools=manifest.tools,
    )
    atomic_write_bytes(path, to_json(recipe).encode())
