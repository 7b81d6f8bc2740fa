"""What is searched of a document, and what a person's query means (pure; docs/http/search.md)."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd.descriptions import Description
from cozyd.errors import BadRequest

LONGEST_TEXT = 100_000
"""Characters of one document that are searched."""
MOST_WORDS = 32
LONGEST_QUERY = 1_000
_PART = re.compile(r'(?P<sign>-?)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))')
_LETTERS = re.compile(r"\w", re.UNICODE)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is searched of one document.

    :param title: what it is called; counts most.
    """

    id: str
    title: str
    text: str


def entry_of(known: Description, doc: Mapping[str, Any]) -> Entry:
    """What is searched of a document, by its doctype's description."""
    titles = [text for path in known.title for text in _texts(doc, path.split("."))]
    texts = [text for path in known.text for text in _texts(doc, path.split("."))]
    return Entry(str(doc.get("_id", "")), _joined(dict.fromkeys(titles)), _joined(texts))


def _texts(value: Any, path: Sequence[str]) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _texts(one, path)
    elif path:
        if isinstance(value, dict):
            yield from _texts(value.get(path[0]), path[1:])
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _joined(texts: Any) -> str:
    return normal(" ".join(texts))[:LONGEST_TEXT]


def normal(text: str) -> str:
    """One form of a text: letters and their accents as one (NFC), no control characters."""
    return unicodedata.normalize("NFC", text.replace("\0", " "))


def expression(query: str, begins_another: Callable[[str], bool] = lambda _: True) -> str:
    """A person's query as FTS5 understands it: every word, the last one as a beginning too; phrases; `-word` leaves out.

    :param begins_another: whether a longer word begins with this one; looking for beginnings costs more than for a word.

    Each part is quoted, so nothing of it is FTS5's own language.
    :raises BadRequest: it has no word, or only such to leave out, or is too long.
    """
    if len(query) > LONGEST_QUERY:
        raise BadRequest(f"A query has at most {LONGEST_QUERY} characters", source="q")
    wanted: list[str] = []
    unwanted: list[str] = []
    parts = [part for part in _PART.finditer(normal(query)) if _LETTERS.search(part[0])]
    if len(parts) > MOST_WORDS:
        raise BadRequest(f"A query has at most {MOST_WORDS} words", source="q")
    for at, part in enumerate(parts):
        word = part["word"]
        begins = word is not None and len(word) > 1 and (word.endswith("*") or (at == len(parts) - 1 and not part["sign"]))
        begins = begins and begins_another(word.rstrip("*"))
        quoted = '"' + (part["phrase"] if word is None else word).replace('"', " ") + '"' + ("*" if begins else "")
        (unwanted if part["sign"] else wanted).append(quoted)
    if not wanted:
        raise BadRequest("A query has at least one word", source="q")
    found = " AND ".join(wanted)
    return f"({found}) NOT ({' OR '.join(unwanted)})" if unwanted else found
