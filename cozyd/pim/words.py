"""Words of cards, events and todos that queries ask for, kept beside the listings so that no text is parsed for them (pure)."""

from collections.abc import Iterable, Mapping
from typing import Any

from cozyd.pim.content import Component, Line, tree, unescape

WORDS = frozenset(
    "ATTENDEE BDAY CATEGORIES CLASS COMPLETED CREATED DTSTART DUE EMAIL FN IMPP KIND LAST-MODIFIED LOCATION N NICKNAME ORG "
    "ORGANIZER PERCENT-COMPLETE PRIORITY RECURRENCE-ID RELATED-TO ROLE RRULE SEQUENCE STATUS SUMMARY TEL TITLE TRANSP UID URL "
    "X-ADDRESSBOOKSERVER-KIND".split()
)
LONGEST = 4096


def words_of(text: bytes, *, card: bool) -> dict[str, Any] | None:
    """Words of a text: `{"FN": [..]}` of a card, `{"VEVENT": [{"SUMMARY": [..], "VALARM": [{}]}]}` of a calendar object.

    None: they are too many to be kept; who asks has to parse.
    """
    top = tree(text, "VCARD" if card else "VCALENDAR")
    found: dict[str, Any] = dict(_words(top.lines))
    if not card:
        for one in top.components():
            if one.name != "VTIMEZONE":
                found.setdefault(one.name, []).append(_words(one.lines) | _below(one))
    return found if _size(found) <= LONGEST else None


def _below(component: Component) -> dict[str, Any]:
    alarms = [_words(alarm.lines) for alarm in component.components("VALARM")]
    return {"VALARM": alarms} if alarms else {}


def _words(lines: Iterable[Line]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.name in WORDS:
            found.setdefault(line.name, []).append(unescape(line.value))
    return found


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(one) for one in value.values())
    return sum(_size(one) for one in value)
