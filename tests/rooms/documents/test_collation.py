"""Keys sort as CouchDB sorts JSON values, and each ends where it ends."""

import itertools
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyuca.collator import Collator_10_0_0

from cozyd.documents import collation
from cozyd.documents.collation import AFTER, compare, key, tuple_key

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)

# The order CouchDB's documentation gives for view keys, its own examples and the boundaries between the types.
ORDER: list[Any] = [
    None, False, True, -(2**63), -1.5, -1, 0, 0.5, 1, 2, 3.0, 4, 2**53, 2**53 + 1, 2**64 - 1, 1e300,
    "", " ", "_", "1", "a", "A", "aa", "b", "B", "ba", "bb", "z", "zz",
    [], [None], ["a"], ["b"], ["b", "c"], ["b", "c", "a"], ["b", "d"], ["b", "d", "e"], [[]], [{}],
    {}, {"a": 1}, {"a": 2}, {"b": 1}, {"b": 2}, {"b": 2, "a": 1}, {"b": 2, "c": 2},
]  # fmt: skip


def sign(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def test_values_sort_by_type_then_as_couchdb_documents():
    for (at, one), (to, other) in itertools.combinations(enumerate(ORDER), 2):
        assert compare(one, other) == sign(at, to), (one, other)


@pytest.mark.parametrize(
    "words",
    [
        ["a", "A", "á", "Á", "ab", "aB", "Ab", "AB", "b", "ß", "t"],
        ["cote", "coté", "côte", "côté"],
        ["resume", "Resume", "résumé", "Résumé", "resumes"],
        ["-", "1", "10", "2", "a", "z", "α", "я", "中"],
        ["zażółć", "zebra", "Żubr", "α", "Ω", "я"],
    ],
)  # fmt: skip
def test_words_sort_as_people_expect(words: list[str]):
    backwards = words[::-1]
    assert sorted(backwards, key=key) == words


_ROOT = Collator_10_0_0()


def levels(text: str) -> Sequence[list[int]]:
    elements = _ROOT.collation_elements(unicodedata.normalize("NFD", text))
    return [[element[level] for element in elements if element[level]] for level in range(3)]


LATIN = st.text(st.characters(max_codepoint=0x24F), max_size=8)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=500)
@given(LATIN, LATIN)
def test_the_own_table_gives_unicode_s_root_order(one: str, other: str):
    assert compare(one, other) == sign(levels(one), levels(other))


@settings(max_examples=300)
@given(ANY, ANY)
def test_any_text_has_unicode_s_root_order(one: str, other: str):
    assert compare(one, other) == sign(levels(one), levels(other))


@given(st.lists(LATIN | ANY, min_size=2, max_size=2), st.characters(exclude_categories=["Cs"]))
def test_one_character_s_difference_is_placed_alike(pair: list[str], char: str):
    one, other = pair[0] + char + pair[1], pair[0] + pair[1]
    assert compare(one, other) == sign(levels(one), levels(other))


@settings(max_examples=500)
@given(NUMBERS, NUMBERS)
def test_numbers_compare_exactly(one: float, other: float):
    assert compare(one, other) == sign(one, other)


@given(st.integers(-(2**63) + 5, 2**64 - 6), st.integers(-5, 5))
def test_neighbours_beyond_doubles_are_told_apart(number: int, step: int):
    assert compare(number, number + step) == sign(0, step)


@given(VALUES, VALUES)
def test_no_key_is_the_beginning_of_another(one: Any, other: Any):
    left, right = key(one), key(other)
    assert left == right or not (left.startswith(right) or right.startswith(left))


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_tuples_with_a_prefix_are_one_range(prefix: list[Any], values: list[Any]):
    start, stop = tuple_key(prefix), tuple_key(prefix) + AFTER
    inside = start <= tuple_key(values) < stop
    assert inside == (len(values) >= len(prefix) and all(compare(*pair) == 0 for pair in zip(prefix, values, strict=False)))
    assert start <= tuple_key([*prefix, *values]) < stop


@given(st.lists(SCALARS, min_size=1, max_size=3), st.lists(SCALARS, min_size=1, max_size=3))
def test_exact_keys_are_equal_for_equal_tuples_only(one: list[Any], other: list[Any]):
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]
    if same and repr(one) == repr(other):
        assert collation.exact(one) == collation.exact(other)
    if collation.exact(one) == collation.exact(other):
        assert same
