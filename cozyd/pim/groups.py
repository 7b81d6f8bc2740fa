"""Groups of contacts, and what cards say of them: names as CATEGORIES, and members of a group's own card (docs/pim.md).

A contact names its groups (`relationships.groups`). So that its text is a function of the document alone, the names lie in its private
data: `groups`, {id: name, or None where none is served}. A group that is served as a card has `members` {contact's id: UID} and `waiting`
(UIDs of nobody yet) in its own. `complete` and `ripple` keep both true, whatever door a change comes through.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from cozyd.documents.store import Change, Key, Map, Page, Projection, Ref, Row, Stored, Write
from cozyd.errors import NotFound
from cozyd.pim import related
from cozyd.pim.fields import items_of, look, text_of
from cozyd.pim.record import BOOKS, CONTACTS, DEFAULT_BOOK, GROUPS, record_of
from cozyd.pim.related import bare

MEMBERS, WAITING, UNNAMED = "group-members", "group-waiting", "group-unnamed"


class Look(Protocol):
    """What has to be read: a part of the document store."""

    def get_many(self, doctype: str, ids: Sequence[str]) -> Sequence[Stored | None]:
        """See `DocumentStore`."""

    def rows(self, projection: str, prefix: Key = ()) -> Sequence[Row]:
        """See `DocumentStore`."""

    def all(self, doctype: str) -> Page:
        """See `DocumentStore`."""


def folded(name: str) -> str:
    """What names are compared by."""
    return unicodedata.normalize("NFC", name).strip()


def ids_of(doc: Map) -> list[str]:
    """The groups a contact is in, in its order."""
    return list(dict.fromkeys(text_of(item.get("_id")) for item in items_of(look(doc, "relationships.groups.data")) if item.get("_id")))


def words_of(doc: Map, private: Map) -> list[str] | None:
    """The words of a contact's CATEGORIES: names of its groups, and those that are no groups'; sorted, each once."""
    names = private.get("groups") or {}
    plain = look(doc, "metadata.card.categories")
    found = [names.get(id) for id in ids_of(doc)] + (plain if isinstance(plain, list) else [])
    return sorted({folded(one) for one in found if isinstance(one, str) and folded(one)}) or None


def is_card(group: Stored) -> bool:
    """Whether a group is served as a card: it came as one, or its address book has them all so."""
    return bool(record_of(group)) or group.private.get("card") is True


def has_cards(book: Stored | None) -> bool:
    """Whether an address book has its groups as cards, whoever made them: `groups: "cards"`."""
    return book is not None and not book.deleted and book.doc.get("groups") == "cards"


def book_of(doc: Map) -> str:
    """The address book that a group is in."""
    return text_of(look(doc, "relationships.book.data._id")) or DEFAULT_BOOK


def served_name(group: Stored | None) -> str | None:
    """The name that members' cards have; None of a group that is gone, trashed, or in a book that has its groups as cards."""
    if group is None or group.deleted or group.doc.get("trashed") is True or group.private.get("card") is True:
        return None
    return folded(text_of(group.doc.get("name"))) or None


def with_group(doc: Map, id: str, *, member: bool) -> dict[str, Any]:
    """A contact's relationships with, or without, a group."""
    relationships = dict(doc.get("relationships") or {})
    known = relationships.get("groups")
    groups = dict(known) if isinstance(known, Mapping) else {}
    data = [item for item in items_of(groups.get("data")) if item.get("_id") != id]
    groups["data"] = [*data, {"_id": id, "_type": GROUPS}] if member else data
    return relationships | {"groups": groups}


# -- kept true ----------------------------------------------------------------------------------------------------------


def complete_group(write: Write, look: Look) -> Write:
    """A new group of an app with the form that its address book has groups in."""
    if not isinstance(write.body, Mapping) or write.rev is not None or write.private is not None:
        return write
    book = look.get_many(BOOKS, [book_of(write.body)])[0]
    return replace(write, private={"card": True}) if has_cards(book) else write


def complete(write: Write, look: Look) -> Write:
    """A write of a contact with the names of groups, and the UIDs of people, that it does not know yet."""
    fields = write.body if write.body is not None else write.patch
    if not isinstance(fields, Mapping) or not isinstance(fields.get("relationships"), Mapping):
        return write
    if not fields["relationships"].keys() & {"groups", "related"}:
        return write
    private = write.private
    if private is None:
        stored = look.get_many(CONTACTS, [write.ref.id])[0]
        private = stored.private if stored is not None else {}
    more = _missing(fields, private, look)
    return replace(write, private={**private, **more}) if more else write


def _missing(doc: Map, private: Map, look: Look) -> dict[str, Any]:
    """Members of a contact's private data that its relationships ask for, where something is to be added."""
    names, uids = private.get("groups") or {}, private.get("related") or {}
    groups = [id for id in ids_of(doc) if id not in names]
    people = related.missing(doc, private, look)
    found = {"groups": {**names, **_names(groups, look)}} if groups else {}
    return found | ({"related": {**uids, **people}} if people else {})


def _names(ids: Sequence[str], look: Look) -> dict[str, str | None]:
    return {id: served_name(group) for id, group in zip(ids, look.get_many(GROUPS, ids), strict=True)}


def names_of(contacts: Iterable[Map], groups: Mapping[str, Map]) -> dict[str, Map]:
    """Private data for contacts that come from a store without any: the names of their groups, by the contacts' ids.

    :param groups: documents by id.
    """
    found: dict[str, dict[str, str | None]] = {}
    for contact in contacts:
        for id in ids_of(contact) if contact.get("_deleted") is not True else ():
            group = groups.get(id, {})
            name = folded(text_of(group.get("name"))) if group.get("trashed") is not True else ""
            found.setdefault(contact["_id"], {})[id] = name or None
    return {id: {"groups": names} for id, names in found.items()}


def ripple(changes: Sequence[Change], look: Look) -> list[Write]:
    """What else changes with contacts and groups: names in members' cards, members in groups' cards."""
    return _Ripple(changes, look).writes()


class _Ripple:
    """The changes of one commit, and what is read for them; a document is changed once."""

    def __init__(self, changes: Sequence[Change], look: Look) -> None:
        self._look = look
        self._changes = changes
        self._latest = {change.new.ref: change.new for change in changes}
        self._private: dict[Ref, dict[str, Any]] = {}
        self._reformed: dict[str, str | None] = {}

    def writes(self) -> list[Write]:
        for change in self._changes:
            if change.new.ref.doctype == BOOKS:
                self._book(change)
        for change in self._changes:
            if change.new.ref.doctype == CONTACTS:
                self._contact(change)
        renamed = self._renamed() | self._reformed
        for contact in self._members_of(renamed):
            names = self._now(contact).get("groups") or {}
            fresh = {id: renamed[id] for id in ids_of(contact.doc) + list(names) if id in renamed}
            if any(names.get(id, "") != name for id, name in fresh.items()):
                self._set(contact, groups={**names, **fresh})
        found = [(ref, private) for ref, private in self._private.items() if not self._latest[ref].deleted]
        return [Write(ref, patch={}, rev=self._latest[ref].rev, private=private) for ref, private in found]

    def _book(self, change: Change) -> None:
        """An address book has its groups in the other form now: names come into its cards, or leave them."""
        cards = has_cards(change.new)
        if cards == has_cards(change.old):
            return
        try:
            groups = self._look.all(GROUPS).rows
        except NotFound:
            return
        for group in groups:
            if book_of(group.doc) != change.new.ref.id or group.ref in self._latest:
                continue
            self._reformed[group.ref.id] = None if cards else served_name(Stored(group.ref, group.rev, group.text))
            if record_of(group):  # it came as a card, and stays one
                self._set(group, card=cards)
                continue
            rows = self._look.rows(MEMBERS, (group.ref.id,)) if cards else ()
            members = [one for one in self._get(CONTACTS, [row.ref.id for row in rows]) if group.ref.id in ids_of(one.doc)]
            uids = {one.ref.id: bare(text_of(record_of(one).get("uid")) or one.ref.id) for one in members}
            self._set(group, card=cards, members=uids)

    def _renamed(self) -> dict[str, str | None]:
        groups = [change for change in self._changes if change.new.ref.doctype == GROUPS]
        names = {change.new.ref.id: (served_name(change.old), _name_after(change)) for change in groups}
        return {id: after for id, (before, after) in names.items() if before != after}

    def _members_of(self, groups: Iterable[str]) -> list[Stored]:
        """The contacts that name one of these groups, or did."""
        ids = {row.ref.id: None for id in groups for row in self._look.rows(MEMBERS, (id,))}
        ids |= {ref.id: None for ref, new in self._latest.items() if ref.doctype == CONTACTS and not new.deleted} if ids or groups else {}
        return [one for one in self._get(CONTACTS, list(ids)) if not one.deleted]

    def _contact(self, change: Change) -> None:
        new = change.new
        now = [] if _is_gone(change) else ids_of(new.doc)
        more = _missing(new.doc, new.private, self._look) if not _is_gone(change) else {}
        if more:
            self._set(new, **more)
        before = ids_of(change.old.doc) if change.old is not None else []
        for group in self._get(GROUPS, list(dict.fromkeys([*before, *now]))):
            if is_card(group) and not group.deleted:
                self._member(group, new, member=group.ref.id in now)

    def _member(self, group: Stored, contact: Stored, *, member: bool) -> None:
        private = self._now(group)
        members, waiting = dict(private.get("members") or {}), list(private.get("waiting") or ())
        uid = text_of(record_of(contact).get("uid")) or contact.ref.id
        if member:
            members[contact.ref.id] = bare(uid)
            waiting = [one for one in waiting if one != bare(uid)]
        else:
            members.pop(contact.ref.id, None)
        if members != (private.get("members") or {}) or waiting != list(private.get("waiting") or ()):
            self._set(group, members=members, waiting=waiting)

    def _get(self, doctype: str, ids: Sequence[str]) -> list[Stored]:
        """Documents as they are after the commit."""
        unknown = [id for id in ids if Ref(doctype, id) not in self._latest]
        if unknown:
            self._latest |= {one.ref: one for one in self._look.get_many(doctype, unknown) if one is not None}
        return [self._latest[Ref(doctype, id)] for id in ids if Ref(doctype, id) in self._latest]

    def _now(self, stored: Stored) -> Map:
        return self._private.get(stored.ref, stored.private)

    def _set(self, stored: Stored, **values: Any) -> None:
        self._latest.setdefault(stored.ref, stored)
        self._private[stored.ref] = {**self._now(stored), **values}


def _is_gone(change: Change) -> bool:
    return change.verb == "DELETED" or change.new.deleted or change.new.doc.get("trashed") is True


def _name_after(change: Change) -> str | None:
    return None if change.verb == "DELETED" else served_name(change.new)


# -- rows ---------------------------------------------------------------------------------------------------------------


def _memberships(stored: Stored) -> Iterable[tuple[Key, Any]]:
    names = stored.private.get("groups") or {}
    return [((id,), None) for id in dict.fromkeys([*ids_of(stored.doc), *names])]


def _waiting(stored: Stored) -> Iterable[tuple[Key, Any]]:
    return [((uid,), None) for uid in stored.private.get("waiting") or ()]


def _unnamed(stored: Stored) -> Iterable[tuple[Key, Any]]:
    """A contact whose groups nobody has named: it was written by another program, into a store that is opened in place."""
    names = stored.private.get("groups") or {}
    return (((stored.ref.id,), None),) if any(id not in names for id in ids_of(stored.doc)) else ()


PROJECTIONS = (
    Projection(MEMBERS, of={CONTACTS: _memberships}, reads=frozenset(("relationships",))),
    Projection(WAITING, of={GROUPS: _waiting}),
    Projection(UNNAMED, of={CONTACTS: _unnamed}, depth=0),
)
