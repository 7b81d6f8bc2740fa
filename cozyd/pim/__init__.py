"""`Pim`: address books and calendars as collections of resources (docs/pim.md; RFC 4791, RFC 6352).

A resource is the text of one document; there is no second storage. Every change is one commit of that document.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from functools import partial

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Map, Ref, Row, Stored, Write
from cozyd.errors import Conflict, CozyError, Forbidden, Invalid, NotFound, PreconditionFailed, UidTaken
from cozyd.locks import Lock, Locks
from cozyd.pim import groupcards, ical, photo, ranges, split, vcard, vcard21
from cozyd.pim.collections import DOCTYPE, Collection, Collections, Kind
from cozyd.pim.content import Component, make
from cozyd.pim.feeds import Feeds
from cozyd.pim.fields import look
from cozyd.pim.linking import Linking
from cozyd.pim.photos import PHOTO_SIZE, Photos, noted
from cozyd.pim.record import CONTACTS, DEFAULT_BOOK, GROUPS, KIND_OF, new_record, record_of
from cozyd.pim.resource import text, with_names
from cozyd.pim.rows import ANY_MONTH, DAV, DAV_MONTHS, DAV_UID, DAV_WORDS, DEFAULT_CALENDAR, served_of
from cozyd.pim.times import utc_text

__all__ = ["LONGEST_HREF", "Collection", "Kind", "Pim"]

LONGEST_HREF = 255


class Pim:
    """One tenant's address books and calendars.

    :param tenant: what its names are held under, beside those of other tenants.
    :param secret: of the instance: what addresses that nobody guesses are made from.
    :param usage: bytes that the owner's data take, and the quota: photos count.
    """

    def __init__(
        self,
        docs: Documents,
        tenant: str,
        locks: Locks,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        secret: Callable[[], bytes],
        usage: Callable[[], tuple[int, int | None]],
    ) -> None:
        self._docs = docs
        self._tenant = tenant
        self._locks = locks
        self._now = now
        self._new_id = new_id
        self._linking = Linking(docs, new_id, now)
        self.name_groups = self._linking.name_groups
        self.photos = Photos(docs, now, usage)
        known = Collections(docs, self._hold, new_id)
        self.feeds = Feeds(docs, known, secret, now)
        self.collections, self.collection, self.has = known.all, known.get, known.has
        self.make, self.change, self.remove = known.make, known.change, known.remove

    def _hold(self, name: str) -> AbstractContextManager[Lock]:
        return self._locks.hold(f"pim/{self._tenant}/{name}")

    # -- listings ---------------------------------------------------------------------------------------------------

    def rows(
        self,
        collection: Collection,
        *,
        hrefs: Sequence[str] | None = None,
        since: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        zone: tzinfo | None = None,
        component: str | None = None,
    ) -> Sequence[Row]:
        """Rows without texts; `Row.value` is {uid, etag, size, mtime, comp, start, end}, `Row.key` (collection, href).

        :param since: a token: what changed after it, gone ones included, in the order of the changes.
        :param start: with `end`: what touches this time.
        :param zone: the zone of all-day and floating times; None: UTC.
        :raises SeqGone: the token is of a lost future.
        """
        if hrefs is not None:
            found = [row for href in hrefs for row in self._docs.rows(DAV, (collection.id, href), limit=1)]
        elif months := ranges.months(start, end):
            found = self._in_months(collection, months)
        else:
            found = list(self._docs.rows(DAV, (collection.id,), since=since))
        if component is not None:
            found = [row for row in found if row.gone or row.value["comp"] == component]
        if start is not None or end is not None:
            found = ranges.touching(found, start or ranges.LOW, end or ranges.HIGH, zone, self._documents)
        return found

    def _in_months(self, collection: Collection, months: range) -> list[Row]:
        """What may touch some months, without a look at the others."""
        read = partial(self._docs.rows, DAV_MONTHS)
        found = [*read((collection.id, ANY_MONTH)), *read(start=(collection.id, months[0]), end=(collection.id, months[-1]))]
        by_href = {row.key[2]: row._replace(key=(collection.id, row.key[2])) for row in found}
        return [by_href[href] for href in sorted(by_href)]

    def words(self, collection: Collection, sieve: Sequence[str] = ()) -> Mapping[str, Map | None]:
        """By href, the words that queries ask for, without a text read; None: they were too many to keep (`words.py`).

        :param sieve: what has none of these texts in its words may be left out, as of `DocumentStore.rows`.
        """
        return {row.key[1]: row.value for row in self._docs.rows(DAV_WORDS, (collection.id,), sieve=sieve)}

    def texts(self, rows: Sequence[Row]) -> Mapping[str, bytes]:
        """Texts by href of the rows of one collection; what has gone meanwhile is left out."""
        docs = self._documents(rows)
        return {row.key[1]: served_of(row, docs[row.ref]) for row in rows if not row.gone and row.ref in docs}

    def _documents(self, rows: Sequence[Row]) -> dict[Ref, Stored]:
        found: dict[Ref, Stored] = {}
        for doctype in {row.ref.doctype for row in rows if not row.gone}:
            ids = [row.ref.id for row in rows if row.ref.doctype == doctype and not row.gone]
            found |= {stored.ref: stored for stored in self._docs.get_many(doctype, ids) if stored is not None}
        return found

    # -- resources --------------------------------------------------------------------------------------------------

    def put(self, collection: Collection, href: str, raw: bytes, *, match: str | None) -> Row:
        """Store a text under an href.

        :param match: None: no condition; "": there must be none; else the ETag that must be there.
        :raises Invalid: `source` names the precondition of RFC 4791 or RFC 6352 that fails.
        :raises PreconditionFailed: `match` does not hold.
        :raises QuotaExceeded: a card's picture does not fit.
        """
        kind, uid, parsed, raw = self._read(collection, raw)
        doctype = GROUPS if kind == "VCARD" and groupcards.is_group(parsed) else collection.components[kind]
        if not href or len(href.encode()) > LONGEST_HREF or "/" in href:
            raise Invalid("The name is too long, or has a slash", source="valid-name")
        said = _said(doctype, parsed)

        def step() -> None:
            row = self._matching(collection, href, match)
            self._check_uid(collection, href, uid, row)
            known = self._docs.get(row.ref) if row is not None else None
            batch: list[Write] = []
            _check_writable(collection, known)
            if known is not None and known.ref.doctype != doctype:  # an event that becomes a todo is another document
                batch, known = [Write(known.ref, rev=known.rev, deleted=True)], None
            ref = known.ref if known is not None else Ref(doctype, self._new_id())
            body = self._body(collection, doctype, known, parsed, said)
            more, private = self._linked(collection, ref, uid, known, parsed, body)
            record = new_record(kind, href, uid, raw, _fields(doctype, parsed, said, (body, private)), utc_text(self._now()))
            write = Write(ref, body=body, rev=known.rev if known else None, private={"dav": record, **private}, strict=row is None)
            self._commit(*batch, *more, write)

        self._locked(collection, step)
        return self.rows(collection, hrefs=[href])[0]

    def _linked(
        self, collection: Collection, ref: Ref, uid: str, known: Stored | None, parsed: Component, body: Doc
    ) -> tuple[Sequence[Write], Map]:
        """What a text changes of groups beside its own document, and its private data about them; `body` is changed."""
        if ref.doctype == GROUPS:
            return self._linking.of_group(collection.id, ref.id, parsed)
        if ref.doctype != CONTACTS:
            return (), {}
        before: Map = known.private if known is not None else {}
        if known is None:
            self._linking.waiting_for(uid, body)
        made, names = self._linking.of_card(collection.id, parsed, body, before)
        people = self._linking.of_related(collection.id, parsed, body, before)
        picture = photo.read(parsed)
        self.photos.check_room(picture, known)
        body |= noted(body, picture)
        private = {"groups": names, "related": people, PHOTO_SIZE: len(picture or b"")}
        return made, {name: value for name, value in private.items() if value}

    def add_all(self, collection: Collection, raw: bytes) -> Sequence[tuple[str, Row | CozyError]]:
        """Store the objects of a file, each under the name it has by its UID, or a new one; what refuses is told beside it.

        :raises Invalid: the text is no file of cards or calendars.
        """
        found: list[tuple[str, Row | CozyError]] = []
        end = ".vcf" if collection.kind == "book" else ".ics"
        if collection.kind == "book":
            raw = vcard21.upgraded(raw)
        for one in split.objects(raw, collection.kind):
            href = self._new_id() + end
            try:
                _, uid, _, text = self._read(collection, one)
                twins = self._docs.rows(DAV_UID, (collection.id, uid), limit=1)
                href = str(twins[0].value) if twins else href
                found.append((href, self.put(collection, href, text, match=None)))
            except CozyError as error:
                found.append((href, error))
        return found

    def exported(self, collections: Sequence[Collection], *, name: str = "", private: bool = True) -> bytes:
        """All that is in collections of one kind, as one file.

        :param private: with events that others are not to see.
        :param name: what it is called; empty: what the one collection is.
        """
        rows = [[row for row in self.rows(one) if private or row.value.get("private") is not True] for one in collections]
        texts = [text for some in rows for text in self.texts(some).values()]
        if collections[0].kind == "book":
            return b"".join(text if text.endswith(b"\n") else text + b"\r\n" for text in texts)
        return split.joined(texts, name or (collections[0].props.get("name", "") if len(collections) == 1 else ""))

    def delete(self, collection: Collection, href: str, *, match: str | None) -> None:
        """Remove what is under an href; a contact that another service syncs goes to the trash.

        :raises NotFound: there is nothing.
        :raises PreconditionFailed: `match` does not hold.
        :raises Forbidden: it is the owner's own card.
        """

        def step() -> None:
            row = self._matching(collection, href, match)
            if row is None:
                raise NotFound("There is no such resource")
            stored = self._docs.get(row.ref)
            _check_writable(collection, stored)
            if row.ref.doctype == GROUPS:
                self._commit(*self._linking.unlinked(row.ref.id), Write(row.ref, rev=stored.rev, deleted=True))
                return
            if stored.doc.get("me") is True:
                raise Forbidden("Your own card cannot be removed")
            metadata = stored.doc.get("cozyMetadata")
            if isinstance(metadata, Mapping) and metadata.get("sync"):
                self._commit(Write(row.ref, patch={"trashed": True}, rev=stored.rev))
            else:
                self._end_conflicts(row.ref)
                self._commit(Write(row.ref, rev=stored.rev, deleted=True))

        self._locked(collection, step)

    def _end_conflicts(self, ref: Ref) -> None:
        """End the branches that lost: else one would stand in for what a phone has removed, which shows no conflicts."""
        for rev in self._docs.tree(ref).conflicts:
            number, _, digest = rev.partition("-")
            end = hashlib.md5(rev.encode(), usedforsecurity=False).hexdigest()
            revisions = {"start": int(number) + 1, "ids": [end, digest]}
            self._docs.graft(ref.doctype, [{"_id": ref.id, "_rev": f"{int(number) + 1}-{end}", "_deleted": True, "_revisions": revisions}])

    def move(
        self, collection: Collection, href: str, to: Collection, name: str, *, overwrite: bool = False, match: str | None = None
    ) -> Row:
        """Move a resource, to another collection or name.

        :raises Invalid: the other one does not take it, or has its UID.
        :raises PreconditionFailed: something is there, and may not be overwritten.
        """
        if not name or len(name.encode()) > LONGEST_HREF:
            raise Invalid("The name is too long", source="valid-name")

        def step() -> None:
            row = self._matching(collection, href, match)
            if row is None:
                raise NotFound("There is no such resource")
            if collection.kind != to.kind:
                raise Invalid("This is no place for cards, or for events and todos", source="supported-data")
            if row.value["comp"] not in to.components:
                raise Invalid("The collection does not take it", source="supported-calendar-component")
            there = self._matching(to, name, None)
            if there is not None and not overwrite:
                raise PreconditionFailed("Something is there already")
            stored = self._docs.get(row.ref)
            _check_writable(collection, stored)
            batch = [Write(there.ref, rev=there.rev, deleted=True)] if there is not None and there.ref != row.ref else []
            if to.id != collection.id:
                self._check_twin(to, name, row.value["uid"])
            relation = {"relationships": self._relationships(to, stored.doc)}
            patch = {key: value or ... for key, value in relation.items()}
            private = dict(stored.private) | {"dav": self._renamed(stored, name)}
            batch.append(Write(row.ref, patch=patch, rev=stored.rev, private=private, strict=True))
            self._commit(*batch)

        self._locked(to, step)
        return self.rows(to, hrefs=[name])[0]

    def _locked(self, collection: Collection, step: Callable[[], None]) -> None:
        """Read, compute, commit, again when something came between.

        :raises PreconditionFailed: something came between each time.
        """
        with self._hold(collection.id):
            try:
                self._docs.retry(step)
            except Conflict as conflict:
                raise PreconditionFailed("It has changed meanwhile") from conflict

    def _renamed(self, stored: Stored, name: str) -> Map:
        """The private record under another href; a document an app has made gets its text fixed by it."""
        record = record_of(stored)
        if record:
            return dict(record) | {"href": name}
        raw = text(stored)
        kind, uid, parsed = _parsed(raw, is_card=KIND_OF[stored.ref.doctype] == "VCARD")
        fields = _fields(stored.ref.doctype, parsed, _said(stored.ref.doctype, parsed), (stored.doc, stored.private))
        return new_record(kind, name, uid, raw, fields, utc_text(self._now()))

    def _read(self, collection: Collection, raw: bytes) -> tuple[str, str, Component, bytes]:
        """Kind, UID, the parsed text, and the text; a card without a UID gets one."""
        kind, uid, parsed = _parsed(raw, is_card=collection.kind == "book")
        if kind not in collection.components:
            raise Invalid(f"The collection takes no {kind}", source="supported-calendar-component")
        if not uid:
            uid = self._new_id()
            parsed.insert(make("UID", uid), after=("VERSION",))
            raw = parsed.render()
        return kind, uid, parsed, raw

    def _matching(self, collection: Collection, href: str, match: str | None) -> Row | None:
        rows = self.rows(collection, hrefs=[href])
        row = rows[0] if rows else None
        if match == "" and row is not None:
            raise PreconditionFailed("Something is there already")
        if match and (row is None or (match != "*" and row.value["etag"] != match)):
            raise PreconditionFailed("It has changed meanwhile")
        return row

    def _check_uid(self, collection: Collection, href: str, uid: str, row: Row | None) -> None:
        if row is not None and row.value["uid"] != uid:
            raise UidTaken("The UID of a resource cannot change", href=href)
        if row is None:  # apps may make twins; each of them stays what it is
            self._check_twin(collection, href, uid)

    def _check_twin(self, collection: Collection, href: str, uid: str) -> None:
        twins = self._docs.rows(DAV_UID, (collection.id, uid), limit=1)
        if twins and twins[0].value != href:
            raise UidTaken("Another resource of the collection has this UID", href=str(twins[0].value))

    def _body(self, collection: Collection, doctype: str, known: Stored | None, parsed: Component, said: Map) -> Doc:
        old: Doc = {key: value for key, value in known.doc.items() if key[:1] != "_"} if known is not None else {}
        body: Doc = _apply(doctype, parsed, old, said)
        if known is not None:
            before = _parsed(text(known), is_card=collection.kind == "book")[2]
            body = _changed(old, _apply(doctype, before, old, _said(doctype, before)), body)
        relationships = self._relationships(collection, body)
        if relationships:
            body["relationships"] = relationships
        else:
            body.pop("relationships", None)
        now = utc_text(self._now())
        metadata = dict(
            body.get("cozyMetadata") or {"doctypeVersion": 3 if doctype == CONTACTS else 1, "metadataVersion": 1, "createdAt": now}
        )
        return body | {"cozyMetadata": metadata | {"updatedAt": now}}

    @staticmethod
    def _relationships(collection: Collection, doc: Doc) -> Doc:
        """The document's relationships with the collection it is in; the default one is not named."""
        name = "book" if collection.kind == "book" else "calendar"
        found = dict(doc.get("relationships") or {})
        found.pop(name, None)
        if collection.id not in (DEFAULT_BOOK, DEFAULT_CALENDAR):
            found[name] = {"data": {"_id": collection.id, "_type": DOCTYPE[collection.kind]}}
        return found

    def _commit(self, *batch: Write) -> None:
        try:
            self._docs.commit(batch)
        except Conflict as conflict:
            if conflict.source == DAV_UID:
                raise Invalid("Another resource of the collection has this UID", source="no-uid-conflict") from conflict
            raise


def _parsed(raw: bytes, *, is_card: bool) -> tuple[str, str, Component]:
    if is_card:
        card = vcard.parse(raw)
        return "VCARD", vcard.uid_of(card), card
    calendar = ical.parse(raw)
    return ical.kind_of(calendar), ical.uid_of(calendar), calendar


def _check_writable(collection: Collection, stored: Stored | None) -> None:
    """:raises Forbidden: whoever makes the collection, or the document, says that nobody else changes it."""
    if collection.read_only or (stored is not None and stored.doc.get("readOnly") is True):
        raise Forbidden("This one is only to be read", source="need-privileges")


def _said(doctype: str, parsed: Component) -> Map:
    """What a text says, by path."""
    if doctype == GROUPS:
        return groupcards.read(parsed)
    return vcard.read(parsed) if doctype == CONTACTS else ical.read(parsed)


def _fields(doctype: str, parsed: Component, said: Map, left: tuple[Doc, Map]) -> Map:
    """What a document has of what its text says, by the names that its record has.

    :param left: the document as the text has left it, and its private data.
    """
    if doctype == CONTACTS:
        return vcard.said(parsed, with_names(*left))
    return said if doctype == GROUPS else {path: look(left[0], path) for path in said}


def _changed(old: Doc, before: Doc, after: Doc) -> Doc:
    """A document in which only the fields are other whose meaning the client changed.

    :param before: what the text that was served means; what it cannot say is lost there as in `after`, and no change.
    """
    same = {name for name in old if after.get(name, ...) == before.get(name, ...)}
    return {name: value for name, value in after.items() if name not in same} | {name: old[name] for name in same}


def _apply(doctype: str, parsed: Component, old: Doc, said: Map) -> Doc:
    """A document with what a text says."""
    if doctype == GROUPS:
        return old | {"name": said["name"], "metadata": {"version": 1} | (old.get("metadata") or {})}
    return vcard.apply(parsed, old, said) if doctype == CONTACTS else ical.apply(parsed, old, said)
