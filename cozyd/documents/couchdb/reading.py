"""What CouchDB answers -> values of the port (pure, but for private data, which is fetched at the first look)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cozyd import jsons
from cozyd.documents.attachments import MEMBER
from cozyd.documents.revtree import Tree
from cozyd.documents.store import Doc, FeedRow, Map, Ref, Stored

Fetch = Callable[[Sequence[Ref]], Mapping[Ref, Map]]


class Privates:
    """Private data of the documents of one answer: fetched for all of them when one is looked at.

    :param fetch: gives the private data of those that have some.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._expected: list[Ref] = []
        self._found: dict[Ref, Map] = {}

    def expect(self, ref: Ref) -> None:
        """A document of the answer."""
        self._expected.append(ref)

    def get(self, ref: Ref) -> Map:
        """The private data of a document, empty when it has none."""
        if ref not in self._found:
            self._found |= {key: {} for key in self._expected} | dict(self._fetch(self._expected))
            self._expected = []
        return self._found[ref]


class CouchStored(Stored):
    """A revision whose private data lies in another database."""

    __slots__ = ("_privates",)

    def __init__(self, ref: Ref, rev: str, text: bytes, privates: Privates, *, deleted: bool = False) -> None:
        super().__init__(ref, rev, text, deleted=deleted)
        self._privates = privates
        privates.expect(ref)

    @property
    def private(self) -> Map:
        """See `Stored.private`."""
        return {} if self.deleted else self._privates.get(self.ref)

    @property
    def private_text(self) -> bytes | None:
        """See `Stored.private_text`."""
        found = self.private
        return jsons.dump(dict(found)) if found else None


def stored_of(doctype: str, doc: Doc, privates: Privates) -> Stored:
    """One revision that CouchDB gave."""
    text = jsons.dump(fields_of(doc))
    return CouchStored(Ref(doctype, doc["_id"]), doc["_rev"], text, privates, deleted=doc.get("_deleted") is True)


def fields_of(doc: Doc) -> Doc:
    """A document's fields without CouchDB's own members; stubs of attachments stay, as an edit that left them out would delete them."""
    return {name: value for name, value in doc.items() if name[:1] != "_" or name == MEMBER}


def tree_of(leaves: Iterable[Doc]) -> Tree:
    """The revision tree, from its leaves with their `_revisions`."""
    tree = Tree()
    for leaf in leaves:
        revisions = leaf["_revisions"]
        path = [f"{revisions['start'] - back}-{digest}" for back, digest in enumerate(revisions["ids"])]
        tree.merge(path, deleted=leaf.get("_deleted") is True)
    return tree


def feed_row(doctype: str, row: Mapping[str, Any], privates: Privates, *, docs: bool) -> FeedRow:
    """One row of a `_changes` answer of style `all_docs`."""
    doc = row.get("doc")
    stored = stored_of(doctype, doc, privates) if docs and doc is not None else None
    return FeedRow(row["id"], row["seq"], [change["rev"] for change in row["changes"]], row.get("deleted") is True, stored)
