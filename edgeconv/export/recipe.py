"""`recipe.json`: everything that an export decided, in one readable document of the bundle.

With the same model and the same calibration data, `edgeconv export --recipe recipe.json` gives the same model files
byte for byte, where the tools have the versions that it names.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from edgeconv.errors import BundleError
from edgeconv.export.choices import Choices
from edgeconv.export.fingerprint import CalibrationData
from edgeconv.export.graphs import Graphs
from edgeconv.export.learn import LearnReport
from edgeconv.export.quantize.scheme import Recipe
from edgeconv.export.search import SearchReport
from edgeconv.manifest import AppliedRewrite, Manifest
from edgeconv.schema import SchemaError, from_dict, refuse_newer

__all__ = ["RECIPE_PATH", "SCHEMA_VERSION", "BundleRecipe", "make_recipe", "read_choices", "read_recipe"]

RECIPE_PATH = "recipe.json"
SCHEMA_VERSION = 1
_ZIP = ".zip"


@dataclasses.dataclass(frozen=True)
class BundleRecipe:
    """What was decided, by whom (tool versions), and on what (model and data).

    `choices` is what an export can be made to repeat; the rest follows from it, the model and the data:
    `rewrites` of the graph in the order in which they were applied, and for each quantisation scheme the grid of every
    tensor and what became of every operator.  `search` is what was tried to find the choices,
    None without a search, and `learn` what learning gained; `calibration` is None where there was none, hence no int8.
    """

    schema_version: int
    model: str
    weights_sha256: str | None
    choices: Choices
    calibration: CalibrationData | None
    rewrites: list[AppliedRewrite]
    schemes: Mapping[str, Recipe]
    tools: Mapping[str, str]
    search: SearchReport | None = None
    learn: LearnReport | None = None


def make_recipe(manifest: Manifest, graphs: Graphs) -> BundleRecipe:
    """The recipe of the bundle that `manifest` describes."""
    return BundleRecipe(
        SCHEMA_VERSION,
        manifest.model.name,
        manifest.model.weights_sha256,
        graphs.choices,
        graphs.calibration,
        manifest.rewrites,
        {scheme: result.recipe for scheme, result in graphs.int8.items()},
        manifest.tools,
        graphs.search,
        graphs.learn,
    )


def read_recipe(path: Path) -> BundleRecipe:
    """Read and check a recipe: the file itself, or the bundle that it is in, a directory or its `.zip`.

    Raises:
        BundleError: there is none, it is no JSON, of a newer schema, a key is missing, unknown or mistyped, or a choice
            has a value that means nothing.
    """
    path = path / RECIPE_PATH if path.is_dir() else path
    try:
        document = json.loads(_read(path), parse_constant=_refuse_constant)
    except (FileNotFoundError, KeyError):
        raise BundleError(
            f"There is no recipe at {path}.",
            f"Name the {RECIPE_PATH} of a bundle; one that an older export made has none.",
        ) from None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{path} is no recipe: {error}.", f"Name the {RECIPE_PATH} of a bundle.") from error
    refuse_newer(document, SCHEMA_VERSION, str(path), BundleError)
    try:
        recipe = from_dict(BundleRecipe, document)
    except (SchemaError, RecursionError) as error:
        raise BundleError(f"{path} is damaged or foreign: {error}.", f"Name the {RECIPE_PATH} of a bundle.") from error
    for problem in _problems(recipe.choices):
        raise BundleError(f"{path}: choices.{problem}.", f"Correct it, or name the {RECIPE_PATH} of a bundle.")
    return recipe


def read_choices(path: Path) -> Choices:
    """The choices of a recipe, for an export that repeats them; see `read_recipe`."""
    return read_recipe(path).choices


def _read(path: Path) -> str:
    """The text of the file, or of the member of a packed bundle."""
    if path.suffix != _ZIP:
        return path.read_text(encoding="utf-8")
    with zipfile.ZipFile(path) as archive:
        return archive.read(RECIPE_PATH).decode()


def _refuse_constant(name: str) -> NoReturn:
    """JSON knows no infinity, though Python reads it."""
    raise ValueError(f"{name} is no number")


def _problems(choices: Choices) -> Iterator[str]:
    """What of the choices means nothing, each as what was found and what was expected.

    Names are checked elsewhere: those of ranges and gates by `start_choices`, of nodes and tensors with the graph.
    """
    if not 0 <= choices.equalisation <= 1:
        yield f"equalisation is {choices.equalisation:g}, expected 0 to 1"
    for name, (low, high) in choices.tensor_ranges.items():
        if not (math.isfinite(low) and math.isfinite(high) and low <= 0 <= high and low < high):
            yield f"tensor_ranges.{name} is {low:g} to {high:g}, expected low < high with 0 between or at one end"
    for name, rank in [("gate_rank", choices.gate_rank), *((f"ranks.{pair}", r) for pair, r in choices.ranks.items())]:
        if rank < 1:
            yield f"{name} is {rank}, expected 1 or more"
