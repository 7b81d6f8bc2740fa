"""What mappings of contacts, events and todos share: empty values, hashes of fields, nested names."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from cozyd import jsons
from cozyd.documents.store import Doc

OVERRIDES = "overrides"
_UNSAFE = re.compile(r"[/\\:%?#~\x00-\x1f]|^\.")


def tidy(value: Any) -> Any:
    """A value without what is empty; empty equals absent: None."""
    if isinstance(value, Mapping):
        kept = {name: tidied for name, item in value.items() if (tidied := tidy(item)) is not None}
        return kept or None
    if isinstance(value, list | tuple):
        items = [tidied for item in value if (tidied := tidy(item)) is not None]
        return items or None
    return None if value == "" else value


def digest(value: Any) -> str:
    """A short hash of a value; equal values, empty parts left out, have equal ones."""
    return hashlib.md5(jsons.canonical(tidy(value)), usedforsecurity=False).hexdigest()[:16]


def digest_of(path: str, value: Any) -> str:
    """The hash of a mapped field; an override that is empty says something: a date more."""
    if path == OVERRIDES and isinstance(value, Mapping):
        value = {key: item or {"added": True} for key, item in value.items()}
    return digest(value)


def look(doc: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None when there is none."""
    value: Any = doc
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def place(doc: Doc, path: str, value: Any) -> None:
    """Put a value at a dotted path; an empty one is taken out."""
    *names, last = path.split(".")
    inner = doc
    for name in names:
        below = inner.get(name)
        if not isinstance(below, dict):
            if tidy(value) is None:
                return
            below = inner[name] = {}
        else:
            below = inner[name] = dict(below)
        inner = below
    if tidy(value) is None:
        inner.pop(last, None)
    else:
        inner[last] = value


def text_of(value: Any) -> str:
    """A value as plain text; other types than text and numbers are nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def is_text(value: Any) -> bool:
    """Whether a value can be told as text."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Whether a value is a list with something in it that can be told."""
    return isinstance(value, list) and any(isinstance(item, dict | str) for item in value)


def is_object(value: Any) -> bool:
    """Whether a value has named members."""
    return isinstance(value, Mapping)


def items_of(value: Any) -> list[Doc]:
    """A list of objects; anything else in it, or in its place, is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def part_of(id: str) -> str:
    """An id as one part of a path that every client and Radicale take: what they may not is percent-encoded in the name itself."""
    return _UNSAFE.sub(lambda found: f"%{ord(found.group()):02X}", id)
