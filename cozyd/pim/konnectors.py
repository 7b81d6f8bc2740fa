"""Calendars of konnectors: what one brings from an account is in a calendar of that account, only to be read (contract/pim.md, 3.1).

A konnector writes events and todos, and knows no calendars. The calendar of its account is made with the first of them; of those that were
moved in from elsewhere there is one without a document.
"""

from collections.abc import Sequence

from cozyd.documents.store import Change, Doc, Map, Ref, Write
from cozyd.pim.fields import look, part_of, text_of
from cozyd.pim.groups import Look
from cozyd.pim.ical import COMPONENTS

CALENDARS = "io.cozy.calendar.calendars"
PREFIX = "konnector-"


def calendar_of(doc: Map) -> str:
    """The id of the calendar of a document that a konnector has brought; empty of others."""
    account = text_of(look(doc, "cozyMetadata.sourceAccount"))
    return PREFIX + part_of(account) if account else ""


def ripple(changes: Sequence[Change], look_up: Look) -> list[Write]:
    """The calendars that new documents of konnectors ask for, in the same commit."""
    wanted = {
        id: change.new.doc
        for change in changes
        if change.verb != "DELETED" and not change.new.deleted and not look(change.new.doc, "relationships.calendar")
        if (id := calendar_of(change.new.doc))
    }
    ids = list(wanted)
    known = look_up.get_many(CALENDARS, ids) if ids else ()
    return [Write(Ref(CALENDARS, id), body=calendar(wanted[id])) for id, stored in zip(ids, known, strict=True) if stored is None]


def calendar(doc: Map) -> Doc:
    """The calendar of a document's account, named after the konnector and whose account it is."""
    slug = text_of(look(doc, "cozyMetadata.createdByApp"))
    whose = text_of(look(doc, "cozyMetadata.sourceAccountIdentifier"))
    name = " ".join(part for part in (slug, f"({whose})" if whose and slug else whose) if part)
    account = text_of(look(doc, "cozyMetadata.sourceAccount"))
    source = {"type": "konnector", "account": account}
    return {"name": name or account, "components": list(COMPONENTS), "readOnly": True, "source": source}
