"""`Pim`: address books and calendars as collections of resources (docs/pim.md; RFC 4791, RFC 6352).

A resource is the text of one document; there is no second storage. Every change is one commit of that document.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from cozyd.documents import Documents
from cozyd.documents.store import Doc, Map, Ref, Row, Stored, Write
from cozyd.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from cozyd.locks import Locks
from cozyd.pim import ical, occurrence, vcard
from cozyd.pim.content import make
from cozyd.pim.resource import CONTACTS, new_record, record_of, text
from cozyd.pim.rows import DAV, DAV_UID, DEFAULT_BOOK, DEFAULT_CALENDAR
from cozyd.pim.times import ENDLESS, utc_text

Kind = Literal["book", "calendar"]
BOOKS, CALENDARS = "io.cozy.contacts.books", "io.cozy.calendar.calendars"
_DOCTYPE: Mapping[Kind, str] = {"book": BOOKS, "calendar": CALENDARS}
_PROPERTIES = ("name", "color", "order", "description", "timezone", "components")
LONGEST_HREF = 255


@dataclass(frozen=True, slots=True)
class Collection:
    """An address book or a calendar.

    :param components: component -> doctype of what may be in it.
    :param token: moves exactly when something in it does.
    :param props: `name`, `color`, `order`, `description`, `timezone` as text, where they are set.
    :param dead: properties that mean nothing to us, by the door's names.
    """

    id: str
    kind: Kind
    components: Mapping[str, str]
    token: str
    props: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)


class Pim:
    """One tenant's address books and calendars."""

    def __init__(self, docs: Documents, locks: Locks, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._docs = docs
        self._locks = locks
        self._now = now
        self._new_id = new_id

    # -- collections ------------------------------------------------------------------------------------------------

    def collections(self) -> Sequence[Collection]:
        """All of them: the two that always are, then those that were made."""
        found = [self.collection(DEFAULT_BOOK), self.collection(DEFAULT_CALENDAR)]
        for kind, doctype in _DOCTYPE.items():
            try:
                page = self._docs.all(doctype)
            except NotFound:
                continue
            found += [self._collection(kind, one) for one in page.rows if one.ref.id not in (DEFAULT_BOOK, DEFAULT_CALENDAR)]
        return found

    def collection(self, id: str) -> Collection:
        """One by id.

        :raises NotFound: there is none.
        """
        for kind, doctype in _DOCTYPE.items():
            stored = self._docs.get_many(doctype, [id])[0]
            if stored is not None:
                return self._collection(kind, stored)
        if id == DEFAULT_BOOK:
            return Collection(id, "book", {"VCARD": CONTACTS}, self._token(id))
        if id == DEFAULT_CALENDAR:
            return Collection(id, "calendar", dict(ical.COMPONENTS), self._token(id))
        raise NotFound("There is no such collection")

    def make(self, kind: Kind, props: Map, *, id: str | None = None, dead: Map | None = None) -> Collection:
        """Make a collection.

        :param props: see `Collection.props`; `components` of a calendar: names.
        :raises Conflict: one has this id.
        """
        id = id or self._new_id()
        if any(one.id == id for one in self.collections()):
            raise Conflict("The collection exists")
        body = _body(kind, props)
        stored = self._docs.commit([Write(Ref(_DOCTYPE[kind], id), body=body, private={"dead": dict(dead or {})})])[0].new
        return self._collection(kind, stored)

    def change(self, collection: Collection, props: Map, *, dead: Map | None = None) -> Collection:
        """Change properties; empty ones are taken out. `components` stay as they are.

        :param dead: the dead properties it has from now on; None: as they are.
        """
        ref = Ref(_DOCTYPE[collection.kind], collection.id)

        def write() -> Stored:
            known = self._docs.get_many(ref.doctype, [ref.id])[0]
            old: Doc = {key: value for key, value in known.doc.items() if key[:1] != "_"} if known else _body(collection.kind, {})
            changed = {key: value for key, value in _body(collection.kind, props).items() if key != "components" and key in props}
            body = {key: value for key, value in (old | changed).items() if value not in ("", None)}
            private = None if dead is None else {"dead": dict(dead)}
            return self._docs.commit([Write(ref, body=body, rev=known.rev if known else None, private=private)])[0].new

        return self._collection(collection.kind, self._docs.retry(write))

    def remove(self, collection: Collection) -> None:
        """Remove a collection with all that is in it.

        :raises Forbidden: it is one of the two that always are.
        """
        if collection.id in (DEFAULT_BOOK, DEFAULT_CALENDAR):
            raise Forbidden("This collection cannot be removed")
        stored = self._docs.get(Ref(_DOCTYPE[collection.kind], collection.id))
        with self._locks.hold(f"pim/{collection.id}"):
            members = [Write(row.ref, rev=row.rev, deleted=True) for row in self.rows(collection)]
            self._docs.commit([*members, Write(stored.ref, rev=stored.rev, deleted=True)])

    def _collection(self, kind: Kind, stored: Stored) -> Collection:
        doc = stored.doc
        names = doc.get("components") if kind == "calendar" else None
        chosen = {name: ical.COMPONENTS[name] for name in names or () if name in ical.COMPONENTS}
        components = {"VCARD": CONTACTS} if kind == "book" else chosen or dict(ical.COMPONENTS)
        props = {name: str(doc[name]) for name in _PROPERTIES[:-1] if doc.get(name) not in (None, "")}
        dead = stored.private.get("dead") or {}
        return Collection(stored.ref.id, kind, components, self._token(stored.ref.id), props, dead)

    def _token(self, id: str) -> str:
        return self._docs.total(DAV, (id,)).seq

    # -- listings ---------------------------------------------------------------------------------------------------

    def rows(
        self,
        collection: Collection,
        *,
        hrefs: Sequence[str] | None = None,
        since: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        component: str | None = None,
    ) -> Sequence[Row]:
        """Rows without texts; `Row.value` is {uid, etag, size, mtime, comp, start, end}, `Row.key` (collection, href).

        :param since: a token: what changed after it, gone ones included.
        :param start: with `end`: what touches this time.
        :raises SeqGone: the token is of a lost future.
        """
        if hrefs is not None:
            found = [row for href in hrefs for row in self._docs.rows(DAV, (collection.id, href), limit=1)]
        else:
            found = list(self._docs.rows(DAV, (collection.id,), since=since))
        if component is not None:
            found = [row for row in found if row.gone or row.value["comp"] == component]
        if start is not None or end is not None:
            low, high = start or datetime.min.replace(tzinfo=UTC), end or datetime.max.replace(tzinfo=UTC)
            found = self._touching(found, low, high)
        return found

    def _touching(self, rows: Sequence[Row], low: datetime, high: datetime) -> list[Row]:
        """What touches a time range: by the rows alone, but for recurring ones."""
        first = _bound_text(low)
        last = _bound_text(high)
        found = [row for row in rows if not row.gone and _overlaps(row.value, first, last)]
        odd = [row for row in found if row.value.get("recurs")]
        docs: dict[Ref, Stored] = {}
        for doctype in {row.ref.doctype for row in odd}:
            mine = [row.ref.id for row in odd if row.ref.doctype == doctype]
            docs |= {stored.ref: stored for stored in self._docs.get_many(doctype, mine) if stored is not None}
        out = {row.key for row in odd if row.ref in docs and not _happens(docs[row.ref], row.value["comp"], low, high)}
        return [row for row in found if row.key not in out]

    def text(self, collection: Collection, hrefs: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Texts by href, None for what is not there."""
        rows = {row.key[1]: row for row in self.rows(collection, hrefs=hrefs)}
        docs: dict[Ref, Stored] = {}
        for doctype in set(collection.components.values()):
            mine = [row.ref.id for row in rows.values() if row.ref.doctype == doctype]
            docs |= {stored.ref: stored for stored in self._docs.get_many(doctype, mine) if stored is not None}
        for href in hrefs:
            stored = docs.get(rows[href].ref) if href in rows else None
            yield href, text(stored) if stored is not None else None

    # -- resources --------------------------------------------------------------------------------------------------

    def put(self, collection: Collection, href: str, raw: bytes, *, match: str | None) -> Row:
        """Store a text under an href.

        :param match: None: no condition; "": there must be none; else the ETag that must be there.
        :raises Invalid: `source` names the precondition of RFC 4791 or RFC 6352 that fails.
        :raises PreconditionFailed: `match` does not hold.
        """
        kind, uid, fields, raw = self._read(collection, raw)
        if not href or len(href.encode()) > LONGEST_HREF or "/" in href:
            raise Invalid("The name is too long, or has a slash", source="valid-name")
        with self._locks.hold(f"pim/{collection.id}"):
            row = self._matching(collection, href, match)
            self._check_uid(collection, href, uid, row)
            known = self._docs.get(row.ref) if row is not None else None
            ref = known.ref if known is not None else Ref(collection.components[kind], self._new_id())
            body = self._body(collection, kind, known, raw)
            private = {"dav": new_record(kind, href, uid, raw, fields, utc_text(self._now()))}
            self._commit(Write(ref, body=body, rev=known.rev if known else None, private=private, strict=True))
            return self.rows(collection, hrefs=[href])[0]

    def delete(self, collection: Collection, href: str, *, match: str | None) -> None:
        """Remove what is under an href; a contact that another service syncs goes to the trash.

        :raises NotFound: there is nothing.
        :raises PreconditionFailed: `match` does not hold.
        :raises Forbidden: it is the owner's own card.
        """
        with self._locks.hold(f"pim/{collection.id}"):
            row = self._matching(collection, href, match)
            if row is None:
                raise NotFound("There is no such resource")
            stored = self._docs.get(row.ref)
            if stored.doc.get("me") is True:
                raise Forbidden("Your own card cannot be removed")
            metadata = stored.doc.get("cozyMetadata")
            if isinstance(metadata, Mapping) and metadata.get("sync"):
                self._commit(Write(row.ref, patch={"trashed": True}, rev=stored.rev))
            else:
                self._commit(Write(row.ref, rev=stored.rev, deleted=True))

    def move(self, collection: Collection, href: str, to: Collection, name: str, *, overwrite: bool = False) -> Row:
        """Move a resource, to another collection or name.

        :raises Invalid: the other one does not take it, or has its UID.
        :raises PreconditionFailed: something is there, and may not be overwritten.
        """
        with self._locks.hold(f"pim/{to.id}"):
            row = self._matching(collection, href, None)
            if row is None:
                raise NotFound("There is no such resource")
            if row.value["comp"] not in to.components:
                raise Invalid("The collection does not take it", source="supported-calendar-component")
            there = self._matching(to, name, None)
            if there is not None and not overwrite:
                raise PreconditionFailed("Something is there already")
            stored = self._docs.get(row.ref)
            if to.id != collection.id:
                self._check_uid(to, name, row.value["uid"], there)
            batch = [Write(there.ref, rev=there.rev, deleted=True)] if there is not None and there.ref != row.ref else []
            relation = {"relationships": self._relationships(to, stored.doc)}
            patch = {key: value or ... for key, value in relation.items()}
            batch.append(Write(row.ref, patch=patch, rev=stored.rev, private={"dav": self._renamed(stored, name)}, strict=True))
            self._commit(*batch)
            return self.rows(to, hrefs=[name])[0]

    def _renamed(self, stored: Stored, name: str) -> Map:
        """The private record under another href; a document an app has made gets its text fixed by it."""
        record = record_of(stored)
        if record:
            return dict(record) | {"href": name}
        raw = text(stored)
        kind, uid, fields = _parsed(raw, stored.ref.doctype == CONTACTS)
        return new_record(kind, name, uid, raw, fields, utc_text(self._now()))

    def _read(self, collection: Collection, raw: bytes) -> tuple[str, str, Doc, bytes]:
        """Kind, UID, fields, and the text; a card without a UID gets one."""
        kind, uid, fields = _parsed(raw, collection.kind == "book")
        if kind not in collection.components:
            raise Invalid(f"The collection takes no {kind}", source="supported-calendar-component")
        if not uid:
            uid = self._new_id()
            card = vcard.parse(raw)
            card.insert(make("UID", uid), after=("VERSION",))
            raw = card.render()
        return kind, uid, fields, raw

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
            raise Invalid("The UID of a resource cannot change", source="no-uid-conflict")
        twins = self._docs.rows(DAV_UID, (collection.id, uid), limit=1)
        if twins and twins[0].value != href:
            raise Invalid("Another resource of the collection has this UID", source="no-uid-conflict")

    def _body(self, collection: Collection, kind: str, known: Stored | None, raw: bytes) -> Doc:
        old: Doc = {key: value for key, value in known.doc.items() if key[:1] != "_"} if known is not None else {}
        body = vcard.apply(vcard.parse(raw), old) if kind == "VCARD" else ical.apply(ical.parse(raw), old)
        relationships = self._relationships(collection, body)
        if relationships:
            body["relationships"] = relationships
        else:
            body.pop("relationships", None)
        now = utc_text(self._now())
        metadata = dict(body.get("cozyMetadata") or {"doctypeVersion": 3 if kind == "VCARD" else 1, "metadataVersion": 1, "createdAt": now})
        return body | {"cozyMetadata": metadata | {"updatedAt": now}}

    @staticmethod
    def _relationships(collection: Collection, doc: Doc) -> Doc:
        """The document's relationships with the collection it is in; the default one is not named."""
        name = "book" if collection.kind == "book" else "calendar"
        found = dict(doc.get("relationships") or {})
        found.pop(name, None)
        if collection.id not in (DEFAULT_BOOK, DEFAULT_CALENDAR):
            found[name] = {"data": {"_id": collection.id, "_type": _DOCTYPE[collection.kind]}}
        return found

    def _commit(self, *batch: Write) -> None:
        try:
            self._docs.commit(batch)
        except Conflict as conflict:
            if conflict.source == DAV_UID:
                raise Invalid("Another resource of the collection has this UID", source="no-uid-conflict") from conflict
            raise PreconditionFailed("It has changed meanwhile") from conflict


def _parsed(raw: bytes, is_card: bool) -> tuple[str, str, Doc]:
    if is_card:
        card = vcard.parse(raw)
        return "VCARD", vcard.uid_of(card), vcard.read(card)
    calendar = ical.parse(raw)
    return ical.kind_of(calendar), ical.uid_of(calendar), ical.read(calendar)


def _body(kind: Kind, props: Map) -> Doc:
    found: Doc = {name: props[name] for name in _PROPERTIES if name in props}
    if kind == "calendar":
        given = found.get("components")
        names = given.split() if isinstance(given, str) else list(given or ())
        found["components"] = [name for name in names if name in ical.COMPONENTS] or list(ical.COMPONENTS)
    else:
        found.pop("components", None)
    if isinstance(found.get("color"), str):
        found["color"] = found["color"][:7]
    return found


def _bound_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 1 else "0001-01-01T00:00:00Z"


def _overlaps(value: Map, first: str, last: str) -> bool:
    """Whether the bounds of a row touch a range; undated todos match any."""
    start, end = value.get("start"), value.get("end")
    if not start or not end:
        return True
    return bool(start < last and (end > first or (start == end and start >= first) or end == ENDLESS))


def _happens(stored: Stored, kind: str, low: datetime, high: datetime) -> bool:
    return occurrence.happens_between(stored.doc, kind, low, high)
