"""DAV listings as projections of contacts, events and todos (pure)."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cozyd.documents.store import Change, Doc, Key, Map, Projection, Row, Stored, Write
from cozyd.pim import birthdays, groups, ical, konnectors, occurrence, photos, words
from cozyd.pim.caltimes import is_time
from cozyd.pim.fields import part_of, text_of
from cozyd.pim.record import CONTACTS, DEFAULT_BOOK, EPOCH, GROUPS, KIND_OF, raw_of, record_of
from cozyd.pim.resource import etag, modified, text

log = logging.getLogger("cozyd.pim")

DEFAULT_CALENDAR = "calendar"
DAV, DAV_MONTHS, DAV_UID, DAV_WORDS = "dav", "dav-months", "dav-uid", "dav-words"
ANY_MONTH, MOST_MONTHS = 0, 12
"""What has no times, or lasts for more months, has one row in `dav-months`, under the first number."""


def collection_of(stored: Stored) -> str:
    """The address book or calendar a document is in."""
    is_card, relationships = KIND_OF[stored.ref.doctype] == "VCARD", stored.doc.get("relationships")
    relation, default = ("book", DEFAULT_BOOK) if is_card else ("calendar", konnectors.calendar_of(stored.doc) or DEFAULT_CALENDAR)
    found = relationships.get(relation) if isinstance(relationships, Mapping) else None
    data = found.get("data") if isinstance(found, Mapping) else None
    if isinstance(data, list):
        data = data[0] if data else None
    return text_of(data.get("_id")) or default if isinstance(data, Mapping) else default


def href_of(stored: Stored) -> str:
    """The last part of a document's address in its collection."""
    known = text_of(record_of(stored).get("href"))
    return known or part_of(stored.ref.id) + (".vcf" if KIND_OF[stored.ref.doctype] == "VCARD" else ".ics")


def uid_of(stored: Stored) -> str:
    """The UID of a document; one made by an app has its id."""
    return text_of(record_of(stored).get("uid")) or stored.ref.id


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_served = lru_cache(maxsize=4)(text)
"""A document's text, made once for all of its rows."""


def month_of(moment: str) -> int:
    """The number of a month, of a UTC text: those that follow each other have numbers that do."""
    return int(moment[:4]) * 12 + int(moment[5:7])


def _is_listed(stored: Stored) -> bool:
    doc = stored.doc
    if doc.get("trashed") is True or (stored.ref.doctype == GROUPS and not groups.is_card(stored)):
        return False
    start = doc.get("start")
    return stored.ref.doctype != ical.EVENTS or is_time(start) or (isinstance(start, str) and start != "" and bool(record_of(stored)))


@lru_cache(maxsize=4)
def _listing(stored: Stored) -> Sequence[tuple[Key, Any]]:
    if not _is_listed(stored):
        return ()
    try:
        served = _served(stored)
    except Exception:  # an app may store anything: its write stands, DAV does not list it
        log.warning("%s %s has no text", stored.ref.doctype, stored.ref.id, exc_info=True)
        return ()
    kind = KIND_OF[stored.ref.doctype]
    value: dict[str, Any] = {"uid": uid_of(stored), "etag": etag(served), "size": len(served), "mtime": modified(stored), "comp": kind}
    if kind != "VCARD":
        value |= _times(stored.doc, kind)
    return [((collection_of(stored), href_of(stored)), value), *_birthdays(stored)]


def _birthdays(stored: Stored) -> Iterable[tuple[Key, Any]]:
    """Rows of the calendar that is made from contacts."""
    for one in birthdays.kinds_of(stored) if stored.ref.doctype == CONTACTS else ():
        served = birthdays.text(stored, one)
        value = {"uid": birthdays.uid_of(stored, one), "etag": etag(served), "size": len(served), "mtime": EPOCH, "comp": "VEVENT"}
        yield (birthdays.ID, birthdays.href_of(stored, one)), value | _times(birthdays.event(stored, one), "VEVENT")


def served_at(key: Key, stored: Stored) -> bytes:
    """The text under a row's address."""
    return birthdays.text(stored, birthdays.kind_at(key[1])) if key[0] == birthdays.ID else text(stored)


def served_of(row: Row, stored: Stored) -> bytes:
    """The same; what was sent needs no look at the fields when the row, made of this revision, says that it is what is served."""
    record = record_of(stored)
    if record and row.rev == stored.rev:
        raw = raw_of(record)
        if etag(raw) == row.value["etag"]:
            return raw
    return served_at(row.key, stored)


def event_at(key: Key, stored: Stored) -> Doc:
    """The event or todo under a row's address, as JSON."""
    return birthdays.event(stored, birthdays.kind_at(key[1])) if key[0] == birthdays.ID else stored.doc


def _times(doc: Doc, kind: str) -> dict[str, Any]:
    bounds: Map = doc.get("bounds") or {}
    if not isinstance(bounds, Mapping) or not all(_MOMENT.fullmatch(text_of(bounds.get(name))) for name in ("start", "end")):
        bounds = occurrence.bounds(doc, kind) or {}  # a replica may send anything, until `follow_up` has seen it
    found: dict[str, Any] = {"start": bounds.get("start"), "end": bounds.get("end")}
    if doc.get("privacy") in ("private", "secret"):
        found["private"] = True
    if doc.get("rrule") or doc.get("overrides"):
        found["recurs"] = True
    elif bounds and not occurrence.is_fixed(doc):
        found["floats"] = True
    return found


def _months(stored: Stored) -> Iterable[tuple[Key, Any]]:
    """The rows of a listing once more, by the months they touch: what a month holds is read without the other years."""
    for (collection, href), value in _listing(stored):
        if value["comp"] != "VCARD":
            yield from (((collection, month, href), value) for month in _months_of(value))


def _months_of(value: Map) -> Iterable[int]:
    start, end = value.get("start"), value.get("end")
    if not start or not end:
        return (ANY_MONTH,)
    found = range(month_of(start), month_of(end) + 1)
    return found if 0 < len(found) <= MOST_MONTHS else (ANY_MONTH,)


def _uids(stored: Stored) -> Iterable[tuple[Key, Any]]:
    if not _is_listed(stored):
        return
    yield (collection_of(stored), uid_of(stored)), href_of(stored)
    for one in birthdays.kinds_of(stored) if stored.ref.doctype == CONTACTS else ():
        yield (birthdays.ID, birthdays.uid_of(stored, one)), birthdays.href_of(stored, one)


def _words(stored: Stored) -> Iterable[tuple[Key, Any]]:
    if not _is_listed(stored):
        return ()
    try:
        found = words.words_of(_served(stored), card=KIND_OF[stored.ref.doctype] == "VCARD")
    except Exception:  # noqa: BLE001 - as in `_listing`, which has said so
        return ()
    made = birthdays.kinds_of(stored) if stored.ref.doctype == CONTACTS else ()
    more = [((birthdays.ID, birthdays.href_of(stored, one)), words.words_of(birthdays.text(stored, one), card=False)) for one in made]
    return [((collection_of(stored), href_of(stored)), found), *more]


_OF = dict.fromkeys(KIND_OF, _listing)
PROJECTIONS = (
    Projection(DAV_WORDS, of=dict.fromkeys(KIND_OF, _words), depth=0),
    Projection(DAV, of=_OF, unique=True, feed=True),
    Projection(DAV_MONTHS, of=dict.fromkeys(KIND_OF, _months), depth=0),
    Projection(DAV_UID, of=dict.fromkeys(KIND_OF, _uids), unique=True, depth=0),
    *groups.PROJECTIONS,
    *photos.PROJECTIONS,
)


def follow_up(change: Change) -> Sequence[Write]:
    """Bounds of an event or todo that came without them, or with wrong ones, by a replica or a patch."""
    if change.verb == "DELETED" or change.new.deleted:
        return ()
    kind = KIND_OF[change.new.ref.doctype]
    try:
        bounds = occurrence.bounds(change.new.doc, kind)
    except Exception:  # as in `_listing`
        log.warning("%s %s has no bounds", change.new.ref.doctype, change.new.ref.id, exc_info=True)
        return ()
    if bounds == change.new.doc.get("bounds"):
        return ()
    return (Write(change.new.ref, patch={"bounds": bounds if bounds else ...}, rev=change.new.rev),)
