"""Index pages of apps: `{{.Name}}` is replaced by what the place needs; nothing in them is ever run. No I/O.

In an attribute and in text a value is escaped for HTML, in a script it becomes a string of JavaScript. Helpers that stand for tags go in
as they are, between tags only. A page with other expressions is no template and goes out as it is.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cozyd import jsons
from cozyd.errors import CozyError

Place = Literal["text", "attribute", "script", "string"]
TAGS = frozenset(("CozyBar", "CozyClientJS", "CozyFonts", "ThemeCSS", "Favicon"))
_EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_NAME = re.compile(r"\.([A-Z][A-Za-z]*)")
_SCRIPT_END = re.compile(r"</script", re.IGNORECASE)
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Template:
    """A page, cut where values go.

    :param texts: one more than there are places.
    :param places: name and kind of place, between two texts.
    """

    texts: tuple[str, ...]
    places: tuple[tuple[str, Place], ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """The page with its values.

        :raises CozyError: it names a value that there is not.
        """
        out = [self.texts[0]]
        for (name, place), text in zip(self.places, self.texts[1:], strict=True):
            if name not in values:
                raise CozyError("The page of the app names what there is not")
            out += (_written(name, values[name], place), text)
        return "".join(out)


def parse(page: str) -> Template | None:
    """Cut a page; None: it is no template, as it has an expression that is none of ours."""
    texts: list[str] = []
    places: list[tuple[str, Place]] = []
    at = 0
    for found in _EXPRESSION.finditer(page):
        name = _NAME.fullmatch(found[1])
        if name is None:
            return None
        texts.append(page[at : found.start()])
        places.append((name[1], _place(page, found.start(), found.end())))
        at = found.end()
    texts.append(page[at:])
    return Template(tuple(texts), tuple(places))


def _place(page: str, start: int, end: int) -> Place:
    """Where in a page an expression stands."""
    before = page[:start]
    script = max((one.start() for one in _SCRIPT.finditer(before)), default=-1)
    opened = before.find(">", script) if script >= 0 else -1
    if opened >= 0 and _SCRIPT_END.search(before, opened) is None:
        is_quoted = before[-1:] in ("'", '"', "`") and page[end : end + 1] == before[-1:]
        return "string" if is_quoted else "script"
    return "attribute" if before.rfind("<") > before.rfind(">") else "text"


def _written(name: str, value: str, place: Place) -> str:
    match place:
        case "text":
            return value if name in TAGS else html.escape(value)
        case "attribute":
            return html.escape(value)
        case "script":
            return _in_script(value)
        case "string":
            return _in_script(value)[1:-1].replace("'", "\\u0027").replace("`", "\\u0060").replace("$", "\\u0024")


def _in_script(value: str) -> str:
    """A string of JavaScript that no parser of HTML takes for its end."""
    text = jsons.dump(value).decode()
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
