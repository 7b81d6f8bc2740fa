"""DAV listings as projections of contacts, events and todos (pure)."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cozyd.documents.store import Change, Key, Projection, Stored, Write
from cozyd.pim import groups, ical, occurrence, words
from cozyd.pim.fields import text_of
from cozyd.pim.record import CONTACTS, GROUPS, KIND_OF, record_of
from cozyd.pim.resource import etag, modified, text

log = logging.getLogger("cozyd.pim")

DEFAULT_BOOK, DEFAULT_CALENDAR = "contacts", "calendar"
DAV, DAV_UID, DAV_WORDS = "dav", "dav-uid", "dav-words"


def collection_of(stored: Stored) -> str:
    """The address book or calendar a document is in."""
    relation, default = ("book", DEFAULT_BOOK) if KIND_OF[stored.ref.doctype] == "VCARD" else ("calendar", DEFAULT_CALENDAR)
    relationships = stored.doc.get("relationships")
    found = relationships.get(relation) if isinstance(relationships, Mapping) else None
    data = found.get("data") if isinstance(found, Mapping) else None
    if isinstance(data, list):
        data = data[0] if data else None
    return text_of(data.get("_id")) or default if isinstance(data, Mapping) else default


def href_of(stored: Stored) -> str:
    """The last part of a document's address in its collection."""
    known = text_of(record_of(stored).get("href"))
    return known or stored.ref.id + (".vcf" if stored.ref.doctype == CONTACTS else ".ics")


def uid_of(stored: Stored) -> str:
    """The UID of a document; one made by an app has its id."""
    return text_of(record_of(stored).get("uid")) or stored.ref.id


_served = lru_cache(maxsize=4)(text)
"""A document's text, made once for all of its rows."""


def _is_listed(stored: Stored) -> bool:
    doc = stored.doc
    if doc.get("trashed") is True or (stored.ref.doctype == GROUPS and not groups.is_card(stored)):
        return False
    return stored.ref.doctype != ical.EVENTS or isinstance(doc.get("start"), str)


def _listing(stored: Stored) -> Iterable[tuple[Key, Any]]:
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
        value |= _times(stored, kind)
    return (((collection_of(stored), href_of(stored)), value),)


def _times(stored: Stored, kind: str) -> dict[str, Any]:
    doc = stored.doc
    bounds = doc.get("bounds") or occurrence.bounds(doc, kind) or {}
    found: dict[str, Any] = {"start": bounds.get("start"), "end": bounds.get("end")}
    if doc.get("rrule") or doc.get("overrides"):
        found["recurs"] = True
    elif bounds and not occurrence.is_fixed(doc):
        found["floats"] = True
    return found


def _uids(stored: Stored) -> Iterable[tuple[Key, Any]]:
    return (((collection_of(stored), uid_of(stored)), href_of(stored)),) if _is_listed(stored) else ()


def _words(stored: Stored) -> Iterable[tuple[Key, Any]]:
    if not _is_listed(stored):
        return ()
    try:
        found = words.words_of(_served(stored), card=KIND_OF[stored.ref.doctype] == "VCARD")
    except Exception:  # noqa: BLE001 - as in `_listing`, which has said so
        return ()
    return (((collection_of(stored), href_of(stored)), found),)


_OF = dict.fromkeys(KIND_OF, _listing)
PROJECTIONS = (
    Projection(DAV_WORDS, of=dict.fromkeys(KIND_OF, _words), depth=0),
    Projection(DAV, of=_OF, unique=True, feed=True),
    Projection(DAV_UID, of=dict.fromkeys(KIND_OF, _uids), unique=True, depth=0),
    *groups.PROJECTIONS,
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
