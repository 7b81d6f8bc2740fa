"""What the words of an object have to have in them for it to pass a filter, so that the store leaves the others out (pure)."""

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

_PLAIN = re.compile(r"[ !#-\[\]-~]+")
"""ASCII without quotes and backslashes, which JSON writes otherwise."""
MOST = 20


def needed(element: Element) -> Sequence[str]:
    """Of a filter or a part of one: lower-case texts of which an object that passes has one; empty: nothing is known.

    Words beyond ASCII are not judged: what folds to a letter of ASCII is more than its two cases.
    """
    kind = element.tag.rpartition("}")[2]
    if kind == "text-match":
        return _of_text(element)
    if kind not in ("filter", "comp-filter", "prop-filter"):
        return ()
    each = [needed(child) for child in element]
    if element.get("test", _default(element.tag)) == "allof":
        return next(filter(None, each), ())
    found = [text for texts in each for text in texts]
    return found if all(each) and len(found) <= MOST else ()


def _default(tag: str) -> str:
    return "anyof" if "carddav" in tag else "allof"


def _of_text(element: Element) -> Sequence[str]:
    text = element.text or ""
    negated = element.get("negate-condition", "no") != "no"
    return (text.lower(),) if _PLAIN.fullmatch(text) and not negated else ()
