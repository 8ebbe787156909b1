# ruff: noqa: UP006, UP035, UP045 (the schema is read on Python 3.8)
from __future__ import annotations

import dataclasses
import json
import math
from typing import Dict, List, Mapping, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.schema import SchemaError, from_dict, to_dict, to_json


@dataclasses.dataclass(frozen=True)
class Inner:
    name: str
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Rows:
    names: Tuple[str, ...]
    ranges: Mapping[str, Tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int
    ready: bool
    inner: Inner
    many: List[Inner]
    by_name: Dict[str, Optional[float]]
    note: Optional[str] = None


TEXT = st.text(max_size=5)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
INNER = st.builds(Inner, TEXT, FINITE)
OUTER = st.builds(
    Outer,
    st.integers(),
    st.booleans(),
    INNER,
    st.lists(INNER, max_size=3),
    st.dictionaries(TEXT, st.none() | FINITE, max_size=3),
    st.none() | TEXT,
)


@settings(max_examples=30)
@given(OUTER)
def test_what_is_written_is_read_back(value):
    assert from_dict(Outer, json.loads(to_json(value))) == value


def good():
    return to_dict(Outer(1, True, Inner("a"), [Inner("b", 2.0)], {"c": None}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 1.5}, "count: expected int, found float 1.5"),
        ({"count": True}, "count: expected int, found bool True"),
        ({"count": None}, "count: expected int, found null"),
        ({"ready": 1}, "ready: expected bool, found int 1"),
        ({"inner": {"name": 3}}, "inner.name: expected str, found int 3"),
        ({"inner": {}}, "inner: missing key 'name'"),
        ({"inner": []}, r"inner: expected an object, found list \[\]"),
        ({"many": [{"name": "x"}, {"name": "y", "size": 1}]}, r"many\[1\]: unknown key 'size', expected name, weight"),
        ({"many": {}}, r"many: expected a list, found dict {}"),
        ({"by_name": {"c": "x"}}, "by_name.c: expected float, found str 'x'"),
        ({"colour": 1}, "document: unknown key 'colour'"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_path_to_it(change, words):
    with pytest.raises(SchemaError, match=words):
        from_dict(Outer, {**good(), **change})


def test_a_missing_key_is_refused_and_one_with_a_default_is_not():
    document = good()
    del document["note"]
    assert from_dict(Outer, document).note is None
    del document["many"]
    with pytest.raises(SchemaError, match="missing key 'many'"):
        from_dict(Outer, document)


def test_a_whole_number_is_a_float_where_one_is_declared():
    weight = from_dict(Inner, {"name": "a", "weight": 2}).weight
    assert weight == 2.0
    assert isinstance(weight, float)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_json_cannot_say_is_null(value):
    assert json.loads(to_json(Inner("a", value)))["weight"] is None


def test_keys_keep_the_order_of_declaration():
    assert list(json.loads(to_json(Inner("a")))) == ["name", "weight"]
    assert to_json(Inner("a")).endswith("}\n")


def test_tuples_and_mappings_are_read_back_and_their_lengths_checked():
    rows = Rows(("a", "b"), {"x": (0.0, 1.5)})
    assert from_dict(Rows, json.loads(to_json(rows))) == rows
    with pytest.raises(SchemaError, match=r"ranges\.x: expected 2 values, found 3"):
        from_dict(Rows, {"names": [], "ranges": {"x": [0, 1, 2]}})
    with pytest.raises(SchemaError, match=r"names\[1\]: expected str, found int 1"):
        from_dict(Rows, {"names": ["a", 1], "ranges": {}})
    with pytest.raises(SchemaError, match="names: expected a list"):
        from_dict(Rows, {"names": "ab", "ranges": {}})
