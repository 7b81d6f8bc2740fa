"""Address books and calendars themselves: found, made, changed, removed; what is in them is `Pim`'s (docs/pim.md)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from cozyd import jsons
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Key, Map, Ref, Stored, Write
from cozyd.errors import Conflict, Forbidden, NotFound
from cozyd.locks import Lock
from cozyd.pim import birthdays, ical, konnectors
from cozyd.pim.konnectors import CALENDARS
from cozyd.pim.record import BOOKS, CONTACTS, DEFAULT_BOOK
from cozyd.pim.rows import DAV, DEFAULT_CALENDAR

Kind = Literal["book", "calendar"]
DOCTYPE: Mapping[Kind, str] = {"book": BOOKS, "calendar": CALENDARS}
_PROPERTIES = ("name", "color", "order", "description", "timezone", "transparent", "components")
_LAST = "\U0010ffff"
_USUAL = {name: ical.COMPONENTS[name] for name in ical.USUAL}


SYNC = "http://cozyd.org/ns/sync/"


@dataclass(frozen=True, slots=True)
class Collection:
    """An address book or a calendar.

    :param components: component -> doctype of what may be in it.
    :param token: moves exactly when something in it does.
    :param props: `name`, `color`, `order`, `description`, `timezone` as text, where they are set.
    :param read_only: what is in it is not changed through DAV.
    :param owner: address of the principal it belongs to, where that is somebody else.
    :param dead: properties that mean nothing to us, by the door's names.
    """

    id: str
    kind: Kind
    components: Mapping[str, str]
    token: str
    props: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    owner: str = ""

    @property
    def doctypes(self) -> frozenset[str]:
        """What has to be readable by whoever reads it."""
        return frozenset(self.components.values()) | (frozenset((CONTACTS,)) if self.id == birthdays.ID else frozenset())


def sync_token(collection: Collection) -> str:
    """The token of a collection as clients are told it (RFC 6578)."""
    return f"{SYNC}{collection.id}/{collection.token}"


Hold = Callable[[str], AbstractContextManager[Lock]]


class Collections:
    """One tenant's address books and calendars.

    :param hold: holds a name of this room's while a block runs.
    """

    def __init__(self, docs: Documents, hold: Hold, new_id: Callable[[], str]) -> None:
        self._docs = docs
        self._hold = hold
        self._new_id = new_id

    def all(self) -> Sequence[Collection]:
        """All of them: the two that always are, then those that were made."""
        found = [self.get(DEFAULT_BOOK), self.get(DEFAULT_CALENDAR)]
        for kind, doctype in DOCTYPE.items():
            try:
                page = self._docs.all(doctype)
            except NotFound:
                continue
            found += [self._collection(kind, one) for one in page.rows if one.ref.id not in (DEFAULT_BOOK, DEFAULT_CALENDAR)]
        known = {one.id for one in found}
        return [*found, *(self.get(id) for id in self._of_konnectors() if id not in known)]

    def _of_konnectors(self) -> Iterator[str]:
        """The ids of the calendars that konnectors have brought something for, each found by one row."""
        start: Key = (konnectors.PREFIX,)
        while rows := self._docs.rows(DAV, start=start, end=(f"{konnectors.PREFIX}{_LAST}",), limit=1):
            yield rows[0].key[0]
            start = (rows[0].key[0], _LAST)

    def get(self, id: str) -> Collection:
        """One by id.

        :raises NotFound: there is none.
        """
        for kind, doctype in DOCTYPE.items():
            stored = self._docs.get_many(doctype, [id])[0]
            if stored is not None:
                return self._collection(kind, stored)
        if id == DEFAULT_BOOK:
            return Collection(id, "book", {"VCARD": CONTACTS}, self._token(id))
        if id == DEFAULT_CALENDAR:
            return Collection(id, "calendar", _USUAL, self._token(id))
        body = self._brought(id)
        if not body:
            raise NotFound("There is no such collection")
        return self._collection("calendar", Stored(Ref(CALENDARS, id), "", jsons.dump(body)))

    def _brought(self, id: str) -> Doc:
        """What the calendar of a konnector's account would have as its document; empty of any other."""
        rows = self._docs.rows(DAV, (id,), limit=1) if id.startswith(konnectors.PREFIX) else ()
        return konnectors.calendar(self._docs.get(rows[0].ref).doc) if rows else {}

    def has(self, id: str) -> bool:
        """Whether there is a collection of an id."""
        try:
            self.get(id)
        except NotFound:
            return False
        return True

    def make(self, kind: Kind, props: Map, *, id: str | None = None, dead: Map | None = None) -> Collection:
        """Make a collection.

        :param props: see `Collection.props`; `components` of a calendar: names.
        :raises Conflict: one has this id.
        """
        id = id or self._new_id()
        if self.has(id):
            raise Conflict("The collection exists")
        body = _body(kind, props)
        if id == birthdays.ID:
            body |= {"readOnly": True, "source": {"type": "birthdays"}, "components": ["VEVENT"]}
        stored = self._docs.commit([Write(Ref(DOCTYPE[kind], id), body=body, private={"dead": dict(dead or {})})])[0].new
        return self._collection(kind, stored)

    def change(self, collection: Collection, props: Map, *, dead: Map | None = None) -> Collection:
        """Change properties; empty ones are taken out. `components` stay as they are.

        :param dead: the dead properties it has from now on; None: as they are.
        """
        ref = Ref(DOCTYPE[collection.kind], collection.id)

        def write() -> Stored:
            known = self._docs.get_many(ref.doctype, [ref.id])[0]
            fresh = self._brought(collection.id) or _body(collection.kind, {})
            old: Doc = {key: value for key, value in known.doc.items() if key[:1] != "_"} if known else fresh
            changed = {key: value for key, value in _body(collection.kind, props).items() if key != "components" and key in props}
            body = {key: value for key, value in (old | changed).items() if value not in ("", None)}
            private = None if dead is None else {"dead": dict(dead)}
            return self._docs.commit([Write(ref, body=body, rev=known.rev if known else None, private=private)])[0].new

        return self._collection(collection.kind, self._docs.retry(write))

    def remove(self, collection: Collection) -> None:
        """Remove a collection with all that is in it.

        :raises Forbidden: it is one of the two that always are, or has what a konnector has brought.
        """
        if collection.id in (DEFAULT_BOOK, DEFAULT_CALENDAR) or self._brought(collection.id):
            raise Forbidden("This collection cannot be removed", source="need-privileges")
        stored = self._docs.get_many(DOCTYPE[collection.kind], [collection.id])[0]
        with self._hold(collection.id):
            rows = self._docs.rows(DAV, (collection.id,)) if collection.id != birthdays.ID else ()
            members = [Write(row.ref, rev=row.rev, deleted=True) for row in rows]
            itself = [Write(stored.ref, rev=stored.rev, deleted=True)] if stored is not None else []
            self._docs.commit([*members, *itself])

    def _collection(self, kind: Kind, stored: Stored) -> Collection:
        doc = stored.doc
        names = doc.get("components") if kind == "calendar" else None
        chosen = {name: ical.COMPONENTS[name] for name in names or () if name in ical.COMPONENTS}
        components = {"VCARD": CONTACTS} if kind == "book" else chosen or _USUAL
        props = {name: str(doc[name]) for name in _PROPERTIES[:-1] if doc.get(name) not in (None, "")}
        dead = stored.private.get("dead") or {}
        return Collection(
            stored.ref.id,
            kind,
            components,
            self._token(stored.ref.id),
            props,
            dead,
            doc.get("readOnly") is True or stored.ref.id == birthdays.ID,
        )

    def _token(self, id: str) -> str:
        return self._docs.total(DAV, (id,)).seq


def _body(kind: Kind, props: Map) -> Doc:
    found: Doc = {name: props[name] for name in _PROPERTIES if name in props}
    if kind == "calendar":
        given = found.get("components")
        names = given.split() if isinstance(given, str) else list(given or ())
        found["components"] = [name for name in names if name in ical.COMPONENTS] or list(ical.USUAL)
    else:
        found.pop("components", None)
    if isinstance(found.get("color"), str):
        found["color"] = found["color"][:7]
    return found
