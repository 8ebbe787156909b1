"""From what the user asked for to the choices that an export is made with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.errors import ExportError, UsageError
from edgeconv.export.choices import Choices
from edgeconv.export.graphs import Improve
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import PreparedGraph
from edgeconv.export.subject import Subject
from edgeconv.manifest import Port

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeconv.export.search import SearchReport

__all__ = ["improvement", "settles_ranges", "start_choices"]

_BEST = "best"
_QUALITIES = ("default", _BEST)


def start_choices(options: ExportOptions) -> Choices:
    """What the options decide by themselves: the defaults, or the choices of an earlier export's recipe.

    What is said about gates and learning holds against the recipe.

    Raises:
        UsageError: options that exclude each other, or a name that means nothing.
        BundleError: the recipe cannot be read.
    """
    from edgeconv.export.quantize.ranges import range_estimator
    from edgeconv.export.recipe import read_choices

    if options.quality not in _QUALITIES:
        raise UsageError(f"No quality is called {options.quality!r}.", f"There are: {', '.join(_QUALITIES)}.")
    deciding = {
        "--recipe": options.recipe is not None,
        "--ranges": options.ranges is not None,
        "--quality best": options.quality == _BEST,
    }
    given = [flag for flag, is_given in deciding.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other: both decide about the ranges.", "Give one.")
    choices = read_choices(options.recipe) if options.recipe is not None else Choices()
    choices = _with_learning(choices, options)
    if options.ranges is not None:
        choices = dataclasses.replace(choices, ranges=options.ranges)
    range_estimator(choices.ranges)
    return _with_gates(choices, options)


def _with_learning(choices: Choices, options: ExportOptions) -> Choices:
    seconds = options.learn_seconds
    if choices.learn_steps < 0:
        raise UsageError(f"The recipe asks for {choices.learn_steps} steps of learning.", "Expected 0 or more.")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"--learn {seconds:g} is no time to learn for.", "Expected seconds, like 30.")
    if seconds is None and not choices.learn_steps:
        return choices
    if options.min_sqnr_db is not None or options.max_drop is not None:
        raise UsageError(
            "Learning and --min-sqnr or --max-drop exclude each other: which operators must be in float would change.",
            "Learn first; ask for a quality where that is not enough.",
        )
    return choices if seconds is None else dataclasses.replace(choices, learn_steps=0)


def _with_gates(choices: Choices, options: ExportOptions) -> Choices:
    from edgeconv.rewrite.compress_gates import check_gate_form

    form = choices.gates if options.gates is None else options.gates
    rank = choices.gate_rank if options.gate_rank is None else options.gate_rank
    check_gate_form(form, rank)
    if options.gate_rank is not None and form != "expression":
        raise UsageError("--gate-rank is how many terms an expression has.", "Add --gates expression.")
    if form == "expression" and (options.learn_seconds is not None or choices.learn_steps):
        raise UsageError(
            "Learning and --gates expression exclude each other: a product of constants cannot be learned through.",
            "Leave one out, or use --gates reduced.",
        )
    return dataclasses.replace(choices, gates=form, gate_rank=rank)


def settles_ranges(options: ExportOptions) -> bool:
    """Whether the ranges are still to be settled: no flag, recipe or search has decided about them."""
    return options.ranges is None and options.recipe is None and options.quality != _BEST


def improvement(
    options: ExportOptions, subject: Subject, ports: Sequence[Port], progress: Callable[[str], None]
) -> Improve | None:
    """The search of `--quality best`, None where it is not asked for.

    Where there is no int8 graph to make better it returns what it was given: making the graph again says why.

    Raises:
        UsageError: it is asked for, and there are no calibration data to measure on.
    """
    from edgeconv.export.search.search import search_choices

    calibration, best = subject.calibration, options.quality == _BEST
    if options.learn_seconds is not None and calibration is None:
        raise UsageError("--learn needs images to learn from and to measure on.", "Give --calibration.")
    if best and calibration is None:
        raise UsageError("--quality best needs images to measure on.", "Give --calibration.")
    if calibration is None or not best:
        return None

    def improve(prepared: PreparedGraph, start: Choices) -> tuple[Choices, SearchReport | None]:
        try:
            return search_choices(prepared, ports, calibration, start, progress)
        except ExportError:
            return start, None

    return improve
