"""What maps a JSON field to a property of an event or todo; the simplest ones (pure)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim.content import Component, Line, escape, make, parts, unescape, uri_of
from cozyd.pim.fields import is_number, is_text, text_of, tidy
from cozyd.pim.zones import Zones

MOST_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Context:
    """What reading and writing needs beside the component."""

    calendar: Component
    zones: Zones


@dataclass(frozen=True, slots=True)
class Mapped:
    """One JSON field and how a component has it.

    :param write: component, new value, whole document, context.
    :param fits: whether a value that is not empty can be written; of one that cannot, the lines stay as they are.
    """

    path: str
    read: Callable[[Component, Context], Any]
    write: Callable[[Component, Any, Doc, Context], None]
    fits: Callable[[Any], bool] = is_text

    def takes(self, value: Any) -> bool:
        """Whether a value is written: an empty one takes lines away."""
        return tidy(value) is None or self.fits(value)


def put_value(component: Component, name: str, value: str, old: Line | None = None) -> None:
    """Have a property with this value, or none."""
    before = old or component.get(name)
    if not value:
        component.set(name, None)
    else:
        component.set(name, before.with_value(value) if before is not None else make(name, value))


def text_field(path: str, name: str, *dropped: str) -> Mapped:
    """A field that is one text property; what repeats its old text in another form goes when it changes."""

    def write_text(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        old = component.get(name)
        if old is not None and old.first("ALTREP"):
            component.replace(old, old.with_parameter("ALTREP", ()))
        put_value(component, name, escape(text_of(value)))
        for other in dropped:
            component.remove(*component.all(other))

    return Mapped(path, lambda component, _: unescape(component.value(name)) or None, write_text)


def uri_field(path: str, name: str) -> Mapped:
    """A field that is one address."""

    def write_uri(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        put_value(component, name, text_of(value).strip())

    return Mapped(path, lambda component, _: uri_of(component.value(name)) or None, write_uri)


def words_of(lines: Iterable[Line]) -> list[str]:
    """The words of CATEGORIES lines, as people read them."""
    return [word for line in lines for one in parts(line.value, ",") if (word := unescape(one).strip())]


def write_words(component: Component, name: str, words: Sequence[str], known: Callable[[str], str] = str.strip) -> None:
    """Have these words in the lines of a property; those that stay keep their line and spelling.

    :param known: what words are compared by.
    """
    left = list(dict.fromkeys(known(word) for word in words if word.strip()))
    for line in component.all(name):
        tokens = parts(line.value, ",")
        kept = [token for token in tokens if known(unescape(token)) in left]
        found = {known(unescape(token)) for token in kept}
        left = [word for word in left if word not in found]
        if not kept:
            component.remove(line)
        elif kept != tokens:
            component.replace(line, line.with_value(",".join(kept)))
    if left:
        first = component.get(name)
        more = ",".join(escape(word) for word in left)
        component.set(name, first.with_value(f"{first.value},{more}") if first is not None else make(name, more))


def word_field(path: str, name: str, words: Mapping[str, str] | None = None) -> Mapped:
    """A field that is one keyword; `words`: as it is written -> as JSON has it."""
    back = {value: key for key, value in (words or {}).items()}

    def read_word(component: Component, _: Context) -> Any:
        word = component.value(name).strip()
        return (words.get(word.upper(), word.lower()) if words is not None else word) or None

    def write_word(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        put_value(component, name, back.get(text_of(value), text_of(value).upper() if words is not None else text_of(value)))

    return Mapped(path, read_word, write_word)


def number_field(path: str, name: str) -> Mapped:
    """A field that is one whole number."""

    def read_number(component: Component, _: Context) -> Any:
        text = component.value(name).strip()
        return int(text) if re.fullmatch(r"[+-]?\d{1,9}", text) else None

    def write_number(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        put_value(component, name, str(value) if isinstance(value, int) and not isinstance(value, bool) else "")

    return Mapped(path, read_number, write_number, is_number)
