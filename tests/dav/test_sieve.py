"""The sieve of a filter never leaves out an object that passes it."""

from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from cozyd import jsons
from dav import filters
from dav.sieve import needed

CR = "urn:ietf:params:xml:ns:carddav"
TEXTS = st.text(alphabet='aAbK ſKé"\\\n,;<&', max_size=4)
MATCHES = st.sampled_from(["contains", "equals", "starts-with", "ends-with"])
JOINS = st.sampled_from([None, "anyof", "allof"])
NAMES = st.sampled_from(["FN", "EMAIL", "N"])


@st.composite
def book_filters(draw: Any) -> ElementTree.Element:
    def made(kind: str, parent: ElementTree.Element | None = None, /, **attributes: str | None) -> ElementTree.Element:
        given = {key: value for key, value in attributes.items() if value is not None}
        tag = f"{{{CR}}}{kind}"
        return ElementTree.Element(tag, given) if parent is None else ElementTree.SubElement(parent, tag, given)

    top = made("filter", test=draw(JOINS))
    for _ in range(draw(st.integers(1, 3))):
        one = made("prop-filter", top, name=draw(NAMES), test=draw(JOINS))
        kind = draw(st.sampled_from(["texts", "texts", "absent", "any"]))
        if kind == "absent":
            made("is-not-defined", one)
        for _ in range(draw(st.integers(1, 2)) if kind == "texts" else 0):
            match = made("text-match", one)
            match.set("match-type", draw(MATCHES))
            match.set("collation", draw(st.sampled_from(filters.COLLATIONS)))
            match.set("negate-condition", draw(st.sampled_from(["no", "no", "yes"])))
            match.text = draw(TEXTS)
    return top


@given(book_filters(), st.dictionaries(NAMES, st.lists(TEXTS, min_size=1, max_size=2)))
def test_what_passes_a_filter_passes_its_sieve(asked: ElementTree.Element, words: dict[str, list[str]]):
    text = jsons.dump(words).decode()
    sieve = needed(asked)
    if filters.read_book(asked).test(filters.WordNode("VCARD", words)):
        assert not sieve or not text.isascii() or any(one in text.lower() for one in sieve)


def test_the_sieve_of_what_people_type_is_what_they_typed():
    text = (
        f'<filter xmlns="{CR}"><prop-filter name="FN"><text-match>Person 42</text-match></prop-filter>'
        '<prop-filter name="EMAIL"><text-match>42@</text-match></prop-filter></filter>'
    )
    assert list(needed(ElementTree.fromstring(text))) == ["person 42", "42@"]
    assert needed(ElementTree.fromstring(text.replace("42@", "é"))) == ()
