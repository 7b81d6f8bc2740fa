"""A file of many cards or calendar objects <-> the objects of address books and calendars (pure; RFC 4791, section 4.1)."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from cozyd.errors import Invalid
from cozyd.pim.content import Component, Line, forest, make

MOST_LINES = 2_000_000
"""Of a whole file; each object in it has the limit of its own."""
_TZID = re.compile(rb"TZID=\"?([^\";:\r\n]+)")


def objects(raw: bytes, kind: Literal["book", "calendar"]) -> Iterator[bytes]:
    """The objects of a text, each with what it needs; a text of one object is given as it is.

    METHOD, which no stored object has, is left out; an object without a UID gets one that its content decides.
    :raises Invalid: the text is no file of this kind.
    """
    name = "VCARD" if kind == "book" else "VCALENDAR"
    source = "valid-address-data" if kind == "book" else "valid-calendar-data"
    try:
        found = forest(raw, most=MOST_LINES)
    except Invalid as error:
        raise Invalid(error.detail, source=source) from error
    other = next((one.name for one in found if one.name != name), None)
    if other is not None or not found:
        raise Invalid(f"A {other or 'text without objects'} stands where a {name} is expected", source=source)
    if kind == "book":
        yield from (one.render() for one in found) if len(found) > 1 else (raw,)
        return
    for calendar in found:
        given = list(_groups(calendar))
        if len(found) == len(given) == 1 and calendar.get("METHOD") is None and given[0][0].value("UID").strip():
            yield raw
            return
        yield from (_object(calendar, group) for group in given)


def _groups(calendar: Component) -> Iterator[list[Component]]:
    """The components of a calendar, those of one UID and kind together."""
    found: dict[tuple[str, str], list[Component]] = {}
    for number, one in enumerate(calendar.components()):
        if one.name != "VTIMEZONE":
            found.setdefault((one.name, one.value("UID").strip() or f"none {number}"), []).append(one)
    yield from found.values()


def _object(calendar: Component, group: list[Component]) -> bytes:
    if not group[0].value("UID").strip():
        uid = hashlib.md5(group[0].render(), usedforsecurity=False).hexdigest()
        group[0].set("UID", make("UID", uid))
    needed = {name.decode("utf-8", "replace") for one in group for name in _TZID.findall(one.render())}
    kept: list[Line | Component] = [line for line in calendar.lines if line.name != "METHOD"]
    kept += [one for one in calendar.components("VTIMEZONE") if one.value("TZID") in needed]
    return Component(calendar.name, calendar.begin, [*kept, *group], calendar.end).render()


def joined(texts: Iterable[bytes], name: str) -> bytes:
    """One calendar of many objects; each time zone is given once, by the first that has it."""
    lines: list[Line | Component] = [make("VERSION", "2.0"), make("PRODID", "-//cozyd//cozyd//EN")]
    if name:
        lines += [make("X-WR-CALNAME", name)]
    zones: dict[str, Component] = {}
    others: list[Component] = []
    for text in texts:
        for calendar in forest(text):
            for one in calendar.components():
                if one.name == "VTIMEZONE":
                    zones.setdefault(one.value("TZID"), one)
                else:
                    others.append(one)
    whole = Component("VCALENDAR", make("BEGIN", "VCALENDAR"), [*lines, *zones.values(), *others], make("END", "VCALENDAR"))
    return whole.render()
