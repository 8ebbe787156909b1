from __future__ import annotations

import pytest

from edgeconv.errors import UsageError
from edgeconv.manifest import Tolerance
from edgeconv.parity.tolerance import default_tolerances, override_tolerances, split_tolerances


def by_precision(tolerances):
    return {tolerance.precision: tolerance for tolerance in tolerances}


def test_without_overrides_the_defaults_stand():
    assert override_tolerances((), ()) == default_tolerances()


def test_an_override_changes_one_bound_of_one_precision():
    changed = by_precision(override_tolerances((), ["int8.total_min_sqnr_db=25.5", "fp16.max_metric_drop = none"]))
    default = by_precision(default_tolerances())
    assert changed["int8"].total_min_sqnr_db == 25.5
    assert changed["int8"].export_min_sqnr_db == default["int8"].export_min_sqnr_db
    assert changed["fp16"].max_metric_drop is None
    assert changed["fp32"] == default["fp32"]


def test_a_bundles_own_classes_come_before_the_defaults_and_overrides_before_both():
    own = Tolerance("int8", None, None, 35.0, None, None)
    assert by_precision(override_tolerances([own], ()))["int8"] == own
    changed = by_precision(override_tolerances([own], ["int8.max_metric_drop=0.1"]))["int8"]
    assert (changed.total_min_sqnr_db, changed.max_metric_drop) == (35.0, 0.1)


def test_a_share_of_int8_is_asked_for_by_nobody_until_a_user_does():
    assert all(t.min_int8_share is None for t in default_tolerances())
    assert by_precision(override_tolerances((), ["int8.min_int8_share=0.9"]))["int8"].min_int8_share == 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int8", r"cannot be read. Write PRECISION.BOUND=VALUE"),
        ("int8=3", "cannot be read"),
        ("=3", "cannot be read"),
        ("int9.total_min_sqnr_db=3", "no precision is called 'int9'. Did you mean int8"),
        ("int8.total_min_sqnr=3", "no bound is called 'total_min_sqnr'. Did you mean total_min_sqnr_db"),
        ("int8.precision=fp32", "no bound is called 'precision'"),
        ("int8.total_min_sqnr_db=many", "has no number"),
        ("int8.total_min_sqnr_db=nan", "has no number"),
        ("int8.total_min_sqnr_db=inf", "has no number"),
        ("int8.total_min_sqnr_db=", "has no number"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        override_tolerances((), [text])


def test_an_approximated_graph_may_differ_as_much_as_an_int8_one():
    exact, approximated = by_precision(default_tolerances()), by_precision(default_tolerances("approximated"))
    for precision, tolerance in approximated.items():
        assert tolerance.export_min_sqnr_db == exact["int8"].total_min_sqnr_db
        assert tolerance.runtime_min_sqnr_db == exact[precision].runtime_min_sqnr_db
        assert tolerance.max_metric_drop == exact[precision].max_metric_drop
    assert approximated["fp32"].total_min_sqnr_db == exact["int8"].total_min_sqnr_db


OWN = Tolerance("int8", None, None, 35.0, None, None)
WORDS = "int8.total_min_sqnr_db=28"


@pytest.mark.parametrize(
    ("given", "classes", "words"),
    [
        (None, [], []),
        ((), [], []),
        (WORDS, [], [WORDS]),
        (OWN, [OWN], []),
        ([OWN, WORDS, None], [OWN], [WORDS]),
    ],
)
def test_what_a_test_gives_is_classes_and_words(given, classes, words):
    assert split_tolerances(given) == (classes, words)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3.0, "3.0 is neither words nor a Tolerance"),
        ([OWN, 3], "3 is neither words nor a Tolerance"),
        (["int8.totl=3"], "no bound is called 'totl'"),
        (Tolerance("fp23", None, None, 35.0, None, None), "no precision is called 'fp23'. Did you mean fp32"),
        (Tolerance("fp32", None, None, "35", None, None), "total_min_sqnr_db of the tolerance fp32 is '35', no number"),
        (Tolerance("fp32", float("nan"), None, None, None, None), "export_min_sqnr_db of the tolerance fp32 is nan"),
    ],
)
def test_what_is_no_tolerance_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        split_tolerances(given)
