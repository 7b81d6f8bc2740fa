"""Every operator of a selector, with CouchDB's meaning."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd.documents.selector import field_path, matcher, value_at
from cozyd.errors import BadRequest

DOC: dict[str, Any] = {
    "_id": "b",
    "n": 5,
    "big": 2**53 + 1,
    "text": "Paris",
    "none": None,
    "yes": True,
    "list": [1, 2, "x", [3], {"k": 1}],
    "objects": [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}],
    "empty": [],
    "deep": {"a": {"b": 1}, "o": {}, "x.y": 2},
}

MATCHING = [
    {},
    {"n": 5},
    {"n": 5.0},
    {"n": {"$eq": 5}},
    {"n": {"$ne": 6}},
    {"n": {"$gt": 4, "$lt": 6}},
    {"n": {"$gte": 5, "$lte": 5}},
    {"n": {"$lt": "a"}},
    {"n": {"$gt": None}},
    {"big": 2**53 + 1},
    {"big": {"$gt": 2**53}},
    {"text": {"$gt": "paris"}},
    {"text": {"$lt": "b" * 0 + "Q"}},
    {"n": {"$in": [1, 5]}},
    {"list": {"$in": ["x", "y"]}},
    {"n": {"$nin": [1, 2]}},
    {"list": {"$nin": ["y"]}},
    {"n": {"$nin": []}},
    {"none": None},
    {"none": {"$exists": True}},
    {"gone": {"$exists": False}},
    {"deep.gone": {"$exists": False}},
    {"deep": {"gone": {"$exists": False}}},
    {"gone": {"x": {"$exists": False}}},
    {"gone": {"$or": [{"$exists": False}, {"$eq": 1}]}},
    {"gone": {"$not": {"$exists": True}}},
    {"none": {"$type": "null"}},
    {"yes": {"$type": "boolean"}},
    {"n": {"$type": "number"}},
    {"text": {"$type": "string"}},
    {"list": {"$type": "array"}},
    {"deep": {"$type": "object"}},
    {"list": {"$size": 5}},
    {"empty": {"$size": 0}},
    {"n": {"$mod": [3, 2]}},
    {"big": {"$mod": [10, 3]}},
    {"text": {"$regex": "^Pa"}},
    {"text": {"$regex": "(?i)PARIS"}},
    {"text": {"$beginsWith": "Par"}},
    {"list": {"$all": [1, "x"]}},
    {"list": {"$all": [[3]]}},
    {"list": {"$elemMatch": {"$eq": "x"}}},
    {"objects": {"$elemMatch": {"n": 2, "s": "b"}}},
    {"objects": {"$allMatch": {"n": {"$gt": 0}}}},
    {"deep": {"$keyMapMatch": {"$eq": "a"}}},
    {"deep.a.b": 1},
    {"deep": {"a": {"b": 1}}},
    {"deep": {"a.b": {"$lt": 2}}},
    {"deep.x\\.y": 2},
    {"deep.o": {}},
    {"list.3.0": 3},
    {"list": {"4": {"k": 1}}},
    {"objects.1.s": "b"},
    {"$and": [{"n": 5}, {"yes": True}]},
    {"$or": [{"n": 6}, {"yes": True}]},
    {"$nor": [{"n": 6}, {"yes": False}]},
    {"$not": {"n": 6}},
    {"$not": {"n": {"$gt": 5}}},
    {"$not": {"$and": [{"n": 5}, {"yes": False}]}},
    {"$not": {"$not": {"n": 5}}},
    {"$and": []},
    {"text": {"$not": {"$regex": "x"}}},
    {"n": {"$or": [{"$lt": 3}, {"$gt": 4}]}},
    {"_id": "b"},
    {"_id": {"$gt": "B"}},
    {"_id": {"$gt": None}},
    {"_id": {"$gt": {}}},
    {"n": {"$or": []}},
    {"n": {"$or": [5, {"$exists": True}]}},
    {"_id": {"$not": {"$lt": "a"}}},
    {"list": {"$eq": [1, 2, "x", [3], {"k": 1}]}},
]

FAILING = [
    {"n": 6},
    {"n": "5"},
    {"big": 2**53},
    {"yes": 1},
    {"n": True},
    {"list": {"$eq": [True, 2, "x", [3], {"k": 1}]}},
    {"n": {"$gt": 5}},
    {"n": {"$gt": "a"}},
    {"gone": {"$gt": None}},
    {"gone": {"$ne": 1}},
    {"gone": {"$nin": [1]}},
    {"gone": None},
    {"gone": {"$not": {"$eq": 1}}},
    {"gone": {"$not": {"$regex": "x"}}},
    {"gone": {"$exists": True}},
    {"n": {"$exists": False}},
    {"none": {"$exists": False}},
    {"$not": {"gone": 1}},
    {"n": {"$in": []}},
    {"n": {"$type": "string"}},
    {"yes": {"$type": "number"}},
    {"text": {"$size": 5}},
    {"list": {"$size": 4}},
    {"n": {"$mod": [3, 1]}},
    {"text": {"$mod": [3, 2]}},
    {"n": {"$regex": "5"}},
    {"text": {"$regex": "^aris"}},
    {"text": {"$beginsWith": "par"}},
    {"n": {"$beginsWith": "5"}},
    {"list": {"$all": []}},
    {"list": {"$all": [1, 9]}},
    {"n": {"$all": [5]}},
    {"empty": {"$elemMatch": {"$exists": True}}},
    {"empty": {"$allMatch": {"$exists": True}}},
    {"objects": {"$allMatch": {"n": {"$gt": 1}}}},
    {"objects": {"$elemMatch": {"n": 1, "s": "b"}}},
    {"n": {"$elemMatch": {"$eq": 5}}},
    {"deep": {"$keyMapMatch": {"$eq": "z"}}},
    {"deep.a": {"b": 2}},
    {"list.9": 1},
    {"list.²": 1},
    {"text.0": "P"},
    {"$nor": [{"n": 5}]},
    {"$or": [{"n": 6}]},
    {"_id": {"$lt": "B"}},
    {"_id": {"$lt": {}}},
    {"n": {"x": {"$exists": False}}},
    {"n": {"$type": "date"}},
    {"$and": [5]},
]


@pytest.mark.parametrize("selector", MATCHING, ids=str)
def test_a_selector_that_holds(selector: dict[str, Any]):
    assert matcher(selector)(DOC)


@pytest.mark.parametrize("selector", FAILING, ids=str)
def test_a_selector_that_does_not_hold(selector: dict[str, Any]):
    assert not matcher(selector)(DOC)


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ({"n": {"$nope": 1}}, "invalid_operator"),
        ({"$where": "x"}, "invalid_operator"),
        ({"$and": {"n": 1}}, "bad_arg"),
        ({"n": {"$not": 5}}, "bad_arg"),
        ({"": 1}, "invalid_selector"),
        ({"n.": 1}, "invalid_field_name"),
        ({"n..x": 1}, "invalid_field_name"),
        ({"n": {"$in": 5}}, "bad_arg"),
        ({"n": {"$nin": {}}}, "bad_arg"),
        ({"n": {"$all": 1}}, "bad_arg"),
        ({"n": {"$exists": 1}}, "bad_arg"),
        ({"n": {"$type": 5}}, "bad_arg"),
        ({"n": {"$size": -1}}, "bad_arg"),
        ({"n": {"$size": True}}, "bad_arg"),
        ({"n": {"$mod": [0, 1]}}, "bad_arg"),
        ({"n": {"$mod": [1.5, 1]}}, "bad_arg"),
        ({"n": {"$mod": [1]}}, "bad_arg"),
        ({"n": {"$regex": "("}}, "bad_arg"),
        ({"n": {"$regex": "(?=x)"}}, "bad_arg"),
        ({"n": {"$regex": "x" * 5000}}, "bad_arg"),
        ({"n": {"$beginsWith": 5}}, "invalid_operator"),
        ({"n": {"$regex": 5}}, "invalid_operator"),
        ({"n": {"$elemMatch": 5}}, "bad_arg"),
        (5, "invalid_selector_json"),
        ([], "invalid_selector_json"),
    ],
)
def test_what_is_no_selector_says_why(selector: Any, error: str):
    with pytest.raises(BadRequest) as caught:
        matcher(selector)
    assert caught.value.error == error


def test_a_pattern_that_would_hang_other_engines_ends():
    assert not matcher({"t": {"$regex": "(a+)+$"}})({"t": "a" * 50_000 + "!"})


@pytest.mark.parametrize(
    ("name", "path"),
    [("a", ("a",)), ("a.b", ("a", "b")), ("a\\.b", ("a.b",)), ("a\\.b.c", ("a.b", "c")), ("a..b", ("a", "", "b")), ("", ("",))],
)
def test_field_names_are_split_at_dots(name: str, path: tuple[str, ...]):
    assert field_path(name) == path


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("ab"), inner) | st.lists(inner, max_size=3)), st.data())
def test_any_path_has_a_value_or_none(value: Any, data: st.DataObject):
    path = tuple(data.draw(st.lists(st.sampled_from(["a", "b", "0", "1"]), max_size=4)))
    found = value_at(value, path)
    for part in path:
        value = (
            value.get(part, found)
            if isinstance(value, dict)
            else value[int(part)]
            if isinstance(value, list) and part in "01"[: len(value)]
            else found
        )
    assert found == value
