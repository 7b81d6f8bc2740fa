"""Rows of projections as documents of `cozyd-rows`: what a document's write does to them (pure)."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cozyd import jsons
from cozyd.documents.store import Doc, Projection, Ref, Stored
from cozyd.errors import Conflict

DESIGN = "_design/rows"
_BY_KEY = "function (doc) { if (!doc.gone) { emit([doc.projection, doc.key, doc.doc], doc.amount) } }"
_BY_DOCUMENT = "function (doc) { if (!doc.gone) { emit([doc.doctype, doc.doc]) } }"
_BY_SEQ = "function (doc) { if (doc.seq) { emit(doc.seq) } }"
_FEED = (
    "function (doc) { if (doc.seq) { for (var at = 0; at <= doc.key.length; at++) { "
    "emit([doc.projection, doc.key.slice(0, at), doc.seq]) } } }"
)


def design() -> Doc:
    """The design document of the database of rows."""
    views: dict[str, Doc] = {name: {"map": text} for name, text in (("by-document", _BY_DOCUMENT), ("by-seq", _BY_SEQ), ("feed", _FEED))}
    return {"_id": DESIGN, "language": "javascript", "views": views | {"by-key": {"map": _BY_KEY, "reduce": "_stats"}}}


def row_id(projection: Projection, key: Sequence[Any], ref: Ref) -> str:
    """The id of a row: of a unique projection the key alone decides it, so that CouchDB itself keeps it unique."""
    digest = hashlib.sha256(jsons.dump(list(key)))
    if not projection.unique:
        digest.update(f"\n{ref.doctype}\n{ref.id}".encode())
    return f"{projection.name}:{digest.hexdigest()[:40]}"


def rows_of(projection: Projection, stored: Stored) -> Mapping[str, Doc]:
    """The rows a live document has in a projection, by their ids."""
    if stored.deleted or stored.ref.id.startswith("_design/") or stored.ref.doctype not in projection.of:
        return {}
    found: dict[str, Doc] = {}
    for key, value in projection.of[stored.ref.doctype](stored):
        amount = value if projection.reduce == "sum" and value is not None else 0
        row = {"projection": projection.name, "key": list(key), "doctype": stored.ref.doctype, "doc": stored.ref.id}
        found[row_id(projection, key, stored.ref)] = row | {"value": value, "amount": amount, "gone": False}
    return found


def belongs(row: Doc | None, ref: Ref) -> bool:
    """Whether a row that is there is this document's."""
    return row is not None and (row["doctype"], row["doc"]) == (ref.doctype, ref.id)


def is_taken(row: Doc | None, ref: Ref) -> bool:
    """Whether a row is another document's."""
    return row is not None and not row["gone"] and not belongs(row, ref)


@dataclass(slots=True)
class Move:
    """One document's rows before and after a write.

    :param strict: a unique row that is taken is a Conflict, else it is left out.
    """

    ref: Ref
    old: Mapping[str, Doc]
    new: Mapping[str, Doc]
    feeds: frozenset[str]
    strict: bool = False


def move_of(projections: Iterable[Projection], ref: Ref, old: Stored | None, new: Stored | None, *, strict: bool) -> Move:
    """What a write does to the rows of a document."""
    move = Move(ref, {}, {}, frozenset(one.name for one in projections if one.feed), strict)
    for projection in projections:
        move.old = {**move.old, **(rows_of(projection, old) if old is not None else {})}
        move.new = {**move.new, **(rows_of(projection, new) if new is not None else {})}
    return move


@dataclass(slots=True)
class Ledger:
    """Rows as they lie in the database, and what is to be written of them.

    :param rows: by id; None where there is none.
    :param seq: the last number of a feed.
    """

    rows: dict[str, Doc | None]
    seq: int = 0
    changed: set[str] = field(default_factory=set)

    def apply(self, move: Move) -> None:
        """Move a document's rows.

        :raises Conflict: `source` is the projection where a row is taken; nothing is moved then.
        """
        taken = {id for id in move.new if is_taken(self.rows.get(id), move.ref)}
        if taken and move.strict:
            projection = move.new[min(taken)]["projection"]
            raise Conflict(f"{projection} is taken", refs=[move.ref], source=projection)
        for id in move.old.keys() - move.new.keys():
            if belongs(self.rows.get(id), move.ref):
                self._remove(id, feed=move.old[id]["projection"] in move.feeds)
        for id, row in move.new.items():
            if id not in taken and not _equal(self.rows.get(id), row):
                self._put(id, row, feed=row["projection"] in move.feeds)

    def _remove(self, id: str, *, feed: bool) -> None:
        known = self.rows[id]
        if known is None or known["gone"]:
            return
        self._put(id, known | {"gone": True, "value": None, "amount": 0}, feed=feed)

    def _put(self, id: str, row: Doc, *, feed: bool) -> None:
        known = self.rows.get(id)
        head = {"_id": id} | ({"_rev": known["_rev"]} if known is not None and "_rev" in known else {})
        if feed:
            self.seq += 1
            head["seq"] = self.seq
        self.rows[id] = {name: value for name, value in row.items() if name[:1] != "_" and name != "seq"} | head
        self.changed.add(id)

    def writes(self) -> Sequence[Doc]:
        """What has to be written: a gone row stays only where a feed tells of it."""
        found = []
        for id in self.changed:
            row = self.rows[id]
            if row is None:
                continue
            if not row["gone"] or "seq" in row:
                found.append(row)
            elif "_rev" in row:
                found.append({"_id": id, "_rev": row["_rev"], "_deleted": True})
        return found


def _equal(known: Doc | None, row: Doc) -> bool:
    return known is not None and all(known.get(name) == value for name, value in row.items())
