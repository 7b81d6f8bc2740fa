"""The JSON library's one home."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd import jsons
from cozyd.errors import BadRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert jsons.load(jsons.dump(value)) == value


@given(st.dictionaries(st.text(min_size=1), st.integers(-5, 5), max_size=6), st.randoms())
def test_equal_objects_have_one_canonical_text(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert jsons.canonical(dict(items)) == jsons.canonical(value)


@pytest.mark.parametrize("text", [b"", b"{", b"nul", b'{"a":NaN}', b'"\\ud800"', b"\xff", b"[" * 200_000, b"[" * 1025 + b"]" * 1025])
def test_what_is_no_json_is_a_bad_request(text):
    with pytest.raises(BadRequest):
        jsons.load(text)


def test_an_object_is_not_a_list():
    with pytest.raises(BadRequest):
        jsons.load_object(b"[1]")


def test_integers_beyond_64_bits_become_floats():
    assert jsons.load(b"18446744073709551616") == 1.8446744073709552e19
    assert jsons.load(jsons.dump({"n": 2**70})) == {"n": float(2**70)}


@pytest.mark.parametrize("value", ["\ud800", {"a": object()}])
def test_what_has_no_json_form_is_refused(value):
    with pytest.raises(BadRequest):
        jsons.dump(value)


def test_nesting_too_deep_to_write_is_refused():
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    with pytest.raises(BadRequest):
        jsons.dump(deep)


def test_fields_are_spliced_in_front_of_a_text():
    assert jsons.splice(b'{"a":1}', {"_id": "x", "_rev": "1-y"}) == b'{"_id":"x","_rev":"1-y","a":1}'
    assert jsons.splice(b"{}", {"_id": "x"}) == b'{"_id":"x"}'
    assert jsons.splice(b'{"a":1}', {}) == b'{"a":1}'
