"""What a card that was sent does to groups: names link, unknown ones are made; members of a group's card are linked (docs/pim.md)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Change, Doc, Map, Ref, Stored, Write
from cozyd.errors import NotFound
from cozyd.pim import groupcards, related, vcard
from cozyd.pim.content import Component
from cozyd.pim.fields import items_of, look, place, text_of
from cozyd.pim.groups import MEMBERS, UNNAMED, WAITING, folded, has_cards, ids_of, is_card, served_name, with_group
from cozyd.pim.record import BOOKS, CONTACTS, GROUPS
from cozyd.pim.related import bare
from cozyd.pim.rows import DAV_UID
from cozyd.pim.times import utc_text

SLICE = 500
"""Contacts of one go."""


class Linking:
    """One tenant's groups, as cards speak of them."""

    def __init__(self, docs: Documents, new_id: Callable[[], str], now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._new_id = new_id
        self._now = now

    def of_card(self, book: str, card: Component, body: Doc, private: Map) -> tuple[list[Write], Mapping[str, Any]]:
        """Link a contact with the groups that its CATEGORIES name; `body` is changed.

        :param book: where it is: one that has its groups as cards has words in CATEGORIES.
        :param private: the contact's private data so far.
        :returns: groups to be made, and the names for the contact's private data.
        """
        words, plain = vcard.categories(card), {folded(text_of(one)) for one in look(body, "metadata.card.categories") or ()}
        data = items_of(look(body, "relationships.groups.data"))
        if not words and not data:
            place(body, "metadata.card.categories", None)
            return [], {}
        groups = self._groups()
        mine = set(ids_of(body))
        in_order = sorted(groups.values(), key=lambda one: (one.ref.id in mine, not is_card(one)))
        by_name = {folded(text_of(one.doc.get("name"))): one for one in in_order}
        linked: dict[str, str] = {}
        extra: list[str] = []
        made: list[Write] = []
        for word in words:
            group = by_name.get(word)
            if group is not None and served_name(group) is not None:
                linked[group.ref.id] = word
            elif group is not None or word in plain or self._has_cards(book):
                extra.append(word)
            else:
                made.append(self._new(word))
                linked[made[-1].ref.id] = word
        told = private.get("groups") or {}
        kept = [
            item for item in data if item.get("_id") in linked or not told.get(item.get("_id")) or _stays(groups.get(item["_id"]), words)
        ]
        there = {item.get("_id") for item in kept}
        kept += [{"_id": id, "_type": GROUPS} for id in linked if id not in there]
        if kept or data:
            place(body, "relationships.groups", dict(look(body, "relationships.groups") or {}) | {"data": kept})
        place(body, "metadata.card.categories", extra or None)
        ids = [text_of(item.get("_id")) for item in kept]
        return made, {id: linked.get(id) or served_name(groups.get(id)) for id in ids}

    def of_related(self, book: str, card: Component, body: Doc, private: Map) -> Map:
        """Link a contact with the people that its card names; `body` is changed.

        :param private: the contact's private data so far.
        :returns: the UIDs for them.
        """
        if not related.is_said(card):
            return private.get("related") or {}
        named = related.uids_of(card)
        found = {id: (uid, types) for uid, types in named.items() if (id := self._contact(book, uid))}
        changed = related.linked(body, found, private)
        if changed is not None:
            place(body, "relationships.related", changed)
        return {id: uid for id, (uid, _) in found.items()}

    def _contact(self, book: str, uid: str) -> str | None:
        """The id of the contact with a UID."""
        rows = [row for one in (uid, f"urn:uuid:{uid}") for row in self._docs.rows(DAV_UID, (book, one), limit=1)]
        return next((row.ref.id for row in rows if row.ref.doctype == CONTACTS), None)

    def waiting_for(self, uid: str, body: Doc) -> None:
        """Put a new contact in the groups whose cards have named it before it was there; `body` is changed."""
        for row in self._docs.rows(WAITING, (bare(uid),)):
            body["relationships"] = with_group(body, row.ref.id, member=True)

    def of_group(self, collection: str, group: str, card: Component) -> tuple[list[Write], Mapping[str, Any]]:
        """Link the members of a group's card, and unlink who is none any more.

        :param group: its id.
        :returns: the contacts' writes, and the group's private data beside its record.
        """
        found: dict[str, str] = {}
        waiting: list[str] = []
        for uid in groupcards.members_of(card):
            contact = self._contact(collection, uid)
            if contact is None:
                waiting.append(uid)
            else:
                found[contact] = uid
        before = {one.ref.id: one for one in self._members(group)}
        joined = self._docs.get_many(CONTACTS, [id for id in found if id not in before])
        writes = [_linked(one, group, member=True) for one in joined if one is not None]
        writes += [_linked(one, group, member=False) for id, one in before.items() if id not in found]
        return writes, {"members": found, "waiting": waiting, "card": self._has_cards(collection)}

    def _has_cards(self, book: str) -> bool:
        return has_cards(self._docs.get_many(BOOKS, [book])[0])

    def name_groups(self) -> None:
        """Have contacts that came without private data name their groups to phones; each is a revision more."""
        while rows := self._docs.rows(UNNAMED, limit=SLICE):
            found = [one for one in self._docs.get_many(CONTACTS, [row.ref.id for row in rows]) if one is not None]
            done = self._docs.commit_each([Write(one.ref, patch={"relationships": one.doc["relationships"]}, rev=one.rev) for one in found])
            if not any(isinstance(one, Change) for one in done):
                return  # somebody is at them: another time

    def unlinked(self, group: str) -> list[Write]:
        """The writes that take everybody out of a group."""
        return [_linked(one, group, member=False) for one in self._members(group)]

    def _members(self, group: str) -> list[Stored]:
        ids = [row.ref.id for row in self._docs.rows(MEMBERS, (group,))]
        return [one for one in self._docs.get_many(CONTACTS, ids) if one is not None and group in ids_of(one.doc)]

    def _groups(self) -> dict[str, Stored]:
        try:
            return {one.ref.id: one for one in self._docs.all(GROUPS).rows if one.doc.get("trashed") is not True}
        except NotFound:
            return {}

    def _new(self, name: str) -> Write:
        """A group of this name; two phones that name it at once make one."""
        id = hashlib.md5(f"group {name}".encode(), usedforsecurity=False).hexdigest()
        if self._docs.get_many(GROUPS, [id])[0] is not None:  # it was renamed since
            id = self._new_id()
        now = utc_text(self._now())
        metadata = {"doctypeVersion": 1, "metadataVersion": 1, "createdAt": now, "updatedAt": now}
        return Write(Ref(GROUPS, id), body={"name": name, "metadata": {"version": 1}, "cozyMetadata": metadata})


def _stays(group: Stored | None, words: Sequence[str]) -> bool:
    """Whether a card that does not name a group any more leaves its contact in it; one whose name it never had is left in any case.

    Its book has no names in cards, or it is trashed; or the group came as a card, and nothing is named: devices that know groups as
    cards often send a contact without its CATEGORIES (decisions/0065).
    """
    return served_name(group) is None or (not words and group is not None and is_card(group))


def _linked(contact: Stored, group: str, *, member: bool) -> Write:
    return Write(contact.ref, patch={"relationships": with_group(contact.doc, group, member=member)}, rev=contact.rev)
