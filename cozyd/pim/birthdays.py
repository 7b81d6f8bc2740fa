"""The calendar of birthdays and anniversaries: rows and texts made from contacts, nothing is stored (pure; docs/pim.md).

Addresses, UIDs and texts depend on the contact's id, name and dates alone: the same everywhere and always, so that a phone that syncs
again finds nothing new. Who has no year is shown from 1972 on, a leap year; who was born on 29 February on the last day of the month.
"""

import re
from collections.abc import Iterator
from datetime import date

from cozyd.documents.store import Doc, Map, Stored
from cozyd.pim.content import escape, make
from cozyd.pim.fields import look, part_of, text_of

ID = "contact-birthdays"
"""The calendar's; who makes one of this id gets this one."""
_SIGNS = {"birthday": "🎂", "anniversary": "💍"}
_DATE = re.compile(r"(?P<year>\d{4}|-)-(?P<month>\d\d)-(?P<day>\d\d)(T.*)?")
_SOME_LEAP_YEAR = 1972


def kinds_of(contact: Stored) -> Iterator[str]:
    """Which of the two a contact has."""
    return (kind for kind in _SIGNS if _date(contact.doc, kind) is not None)


def href_of(contact: Stored, kind: str) -> str:
    """Its address in the calendar."""
    return f"{part_of(contact.ref.id)}-{kind}.ics"


def uid_of(contact: Stored, kind: str) -> str:
    """Its UID."""
    return f"{contact.ref.id}-{kind}"


def kind_at(href: str) -> str:
    """What is under an address."""
    return href.removesuffix(".ics").rpartition("-")[2]


def event(contact: Stored, kind: str) -> Doc:
    """As an event of `io.cozy.calendar.events` would be."""
    found = _date(contact.doc, kind)
    assert found is not None
    day, _ = found
    rule: Doc = {"frequency": "yearly"}
    if (day.month, day.day) == (2, 29):
        rule |= {"byMonth": [2], "byMonthDay": [-1]}
    return {"start": day.isoformat(), "rrule": rule}


def text(contact: Stored, kind: str) -> bytes:
    """The event as it is served."""
    found = _date(contact.doc, kind)
    assert found is not None
    day, has_year = found
    name = text_of(contact.doc.get("fullname")) or text_of(contact.doc.get("displayName")) or text_of(contact.doc.get("company")) or "?"
    shown = f"{_SIGNS[kind]} {name}" + (f" ({day.year})" if has_year else "")
    rule = "FREQ=YEARLY" + (";BYMONTH=2;BYMONTHDAY=-1" if (day.month, day.day) == (2, 29) else "")
    plain = day.strftime("%Y%m%d").rjust(8, "0")
    lines = (
        make("BEGIN", "VCALENDAR"),
        make("VERSION", "2.0"),
        make("PRODID", "-//cozyd//cozyd//EN"),
        make("BEGIN", "VEVENT"),
        make("UID", uid_of(contact, kind)),
        make("DTSTAMP", "19700101T000000Z"),
        make("DTSTART", plain, (("VALUE", ("DATE",)),)),
        make("RRULE", rule),
        make("SUMMARY", escape(shown)),
        make("TRANSP", "TRANSPARENT"),
        make("END", "VEVENT"),
        make("END", "VCALENDAR"),
    )
    return b"".join(line.raw for line in lines)


def _date(doc: Map, kind: str) -> tuple[date, bool] | None:
    """The day, and whether its year is known; None of none, or of one that no calendar has."""
    given = [look(doc, f"metadata.card.{kind}")] + ([doc.get("birthday")] if kind == "birthday" else [])
    for text in given:
        found = _DATE.fullmatch(text_of(text).strip())
        if found is None:
            continue
        has_year = found["year"].isdigit() and int(found["year"]) > 0
        try:
            return date(int(found["year"]) if has_year else _SOME_LEAP_YEAR, int(found["month"]), int(found["day"])), has_year
        except ValueError:
            continue
    return None
