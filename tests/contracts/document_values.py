"""What every part of the document store's contract works with: three doctypes and their projections."""

from collections.abc import Iterator
from typing import Any

from cozyd.documents.mango import Index, design_of
from cozyd.documents.store import DocumentStore, Projection, Ref, Stored, Write

THINGS, FILES, LENIENT_TYPE = "io.cozy.things", "io.cozy.test.files", "io.cozy.test.cards"


def _names(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    doc = stored.doc
    if "dir" in doc:
        yield (doc["dir"], doc["name"]), doc.get("size", 0)


def _sizes(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if "dir" in stored.doc:
        yield (stored.doc["dir"],), stored.doc.get("size", 0)


def _members(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    doc = stored.doc
    if "col" in doc:
        yield (doc["col"], stored.private.get("href") or stored.ref.id), {"n": doc.get("n")}


def _weights(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if "weight" in stored.doc:
        yield (stored.ref.id,), stored.doc["weight"]


PROJECTIONS = (
    Projection("by-name", of={FILES: _names}, reads=frozenset(("dir", "name", "size"))),
    Projection("unique-names", of={FILES: _names}, reads=frozenset(("dir", "name", "size")), unique=True),
    Projection("sizes", of={FILES: _sizes}, reads=frozenset(("dir", "size")), reduce="sum"),
    Projection("weights", of={LENIENT_TYPE: _weights}, reduce="sum", depth=0),
    Projection("members", of={LENIENT_TYPE: _members}, unique=True, feed=True),
)
LENIENT = frozenset((LENIENT_TYPE,))


def design(name: str, *fields: str) -> dict[str, Any]:
    """The body of a design document with one index."""
    body = design_of(Index(name, name, fields))
    return {member: value for member, value in body.items() if member != "_id"}


def put(store: DocumentStore, doctype: str, id: str, rev: str | None = None, /, **body: Any) -> Stored:
    return store.commit([Write(Ref(doctype, id), body=body, rev=rev)])[0].new


def ids(page: Any) -> list[str]:
    return [stored.ref.id for stored in page.rows]
