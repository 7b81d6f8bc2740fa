"""`Rows`: one tenant's projections on CouchDB.

A projection with a view is that view, under its own name; one without (it is a feed, or reads private data) is kept as
documents of a database of our own, written right after the documents they come from.
"""

import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from cozyd.documents.couchdb import lines, names
from cozyd.documents.couchdb.databases import PAGE, Databases
from cozyd.documents.couchdb.reading import Privates, stored_of
from cozyd.documents.malformed import Malformed
from cozyd.documents.store import Doc, Key, Projection, Ref, Row, Stored, Total
from cozyd.errors import Conflict, NotFound, SeqGone

_SEQ = re.compile(r"(\d{1,18})-([0-9a-f]{1,32})")
_STATE = "_local/cozyd"
LAST: dict[str, Any] = {}
"""An empty object sorts behind every text and number of a key."""


class Rows:
    """A tenant's rows.

    :param projections: every projection of the server.
    """

    def __init__(self, databases: Databases, projections: Sequence[Projection]) -> None:
        self._databases = databases
        self._by_name = {one.name: one for one in projections}
        self._path = databases.own(names.ROWS)
        self._state: Doc | None = None
        self._building = threading.RLock()

    def kept(self, doctype: str) -> Sequence[Projection]:
        """The projections of a doctype that are documents of ours."""
        return [one for one in self._by_name.values() if not one.view and doctype in one.of]

    def viewed(self, doctype: str) -> Sequence[Projection]:
        """The projections of a doctype that are views, and unique."""
        return [one for one in self._by_name.values() if one.view and one.unique and doctype in one.of]

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(
        self,
        name: str,
        prefix: Key,
        *,
        start: Key | None,
        end: Key | None,
        after: tuple[Key, str] | None,
        since: str | None,
        skip: int,
        limit: int | None,
        descending: bool,
    ) -> Sequence[Row]:
        """See `DocumentStore.rows`."""
        projection = self._by_name[name]
        if since is not None:
            return self._since(projection, prefix, since)
        low, high = list(prefix if start is None else start), [*(prefix if end is None else end), LAST]
        exact = projection.unique and bool(prefix)
        ask = self._read_view if projection.view else self._read_kept
        if after is None and not exact:
            return ask(projection, low, high, None, descending, skip, limit)
        found = ask(projection, low, high, after, descending, 0, None if limit is None or exact else skip + limit + 1)
        same = [row for row in found if (row.key, row.ref.id) != after and not (exact and row.key[: len(prefix)] != prefix)]
        return same[skip : None if limit is None else skip + limit]

    def total(self, name: str, prefix: Key) -> Total:
        """See `DocumentStore.total`."""
        projection = self._by_name[name]
        if projection.view:
            return self._view_total(projection, prefix)
        self.build(projection.of)
        reduced = self._view("by-key", startkey=[name, list(prefix)], endkey=[name, [*prefix, LAST]])
        figures = reduced[0]["value"] if reduced else {"count": 0, "sum": 0}
        return Total(figures["count"], figures["sum"], self._seq_text(self._last_seq(projection, prefix)))

    def _since(self, projection: Projection, prefix: Key, since: str) -> Sequence[Row]:
        self.build(projection.of)
        low = self._known_seq(since)
        bounds = {"startkey": [projection.name, list(prefix), low + 1], "endkey": [projection.name, list(prefix), LAST]}
        return self._rows([row["doc"] for row in self._view("feed", include_docs=True, **bounds)])

    def _read_kept(
        self,
        projection: Projection,
        low: list[Any],
        high: list[Any],
        after: tuple[Key, str] | None,
        descending: bool,
        skip: int,
        limit: int | None,
    ) -> Sequence[Row]:
        self.build(projection.of)
        first, last = [projection.name, low], [projection.name, high]
        if descending:
            first, last = last, first
        if after is not None:
            first = [projection.name, list(after[0]), after[1]]
        page = _page(descending, skip, limit)
        found = self._view("by-key", reduce=False, include_docs=True, startkey=first, endkey=last, **page)
        return self._rows([row["doc"] for row in found])

    def _rows(self, found: Sequence[Doc]) -> Sequence[Row]:
        """Rows with the revisions that their documents have now."""
        revs = self._revs({Ref(row["doctype"], row["doc"]) for row in found})
        rows = []
        for row in found:
            ref, seq = Ref(row["doctype"], row["doc"]), row.get("seq")
            text = "" if seq is None else self._seq_text(seq)
            rows.append(Row(tuple(row["key"]), ref, revs.get(ref, ""), row["value"], text, row["gone"]))
        return rows

    def _revs(self, refs: Iterable[Ref]) -> Mapping[Ref, str]:
        by_doctype: dict[str, list[str]] = {}
        for ref in refs:
            if ref.doctype:
                by_doctype.setdefault(ref.doctype, []).append(ref.id)
        found = {}
        for doctype, ids in by_doctype.items():
            for row in self._databases.winners(self._databases.path(doctype), ids):
                if "value" in row:
                    found[Ref(doctype, row["id"])] = row["value"]["rev"]
        return found

    # -- views ------------------------------------------------------------------------------------------------------

    def _read_view(
        self,
        projection: Projection,
        low: list[Any],
        high: list[Any],
        after: tuple[Key, str] | None,
        descending: bool,
        skip: int,
        limit: int | None,
    ) -> Sequence[Row]:
        bounds = _bounds(low, high, scalar=projection.scalar)
        if descending:
            bounds = {"startkey": bounds.get("endkey"), "endkey": bounds.get("startkey")}
        if after is not None:
            bounds |= {"startkey": after[0][0] if projection.scalar else list(after[0]), "startkey_docid": after[1]}
        given = {name: value for name, value in bounds.items() if value is not None} | _page(descending, skip, limit)
        found: list[Row] = []
        for doctype in projection.of:
            privates = Privates(self._databases.privates)
            for row in self._ask_view(projection, doctype, reduce=False, include_docs=True, **given)["rows"]:
                key = (row["key"],) if projection.scalar else tuple(row["key"])
                stored = stored_of(doctype, row["doc"], privates)
                values = dict(projection.of[doctype](stored))
                if len(values) == 1:
                    key = next(iter(values))
                if key in values:
                    found.append(Row(key, stored.ref, stored.rev, values[key], stored=stored))
        return found

    def _view_total(self, projection: Projection, prefix: Key) -> Total:
        count = amount = 0
        bounds = _bounds(list(prefix), [*prefix, LAST], scalar=projection.scalar)
        for doctype in projection.of:
            reduced = self._ask_view(projection, doctype, **bounds)["rows"]
            figure = reduced[0]["value"] if reduced else 0
            if projection.reduce == "count":
                count += figure
                continue
            amount += figure
            if prefix:
                count += len(self._ask_view(projection, doctype, reduce=False, **bounds)["rows"])
            else:
                count += self._ask_view(projection, doctype, reduce=False, limit=0)["total_rows"]
        return Total(count, amount, "")

    def _ask_view(self, projection: Projection, doctype: str, **params: Any) -> Mapping[str, Any]:
        """An answer of a view, which is made when it is not there; an empty one when there is no database."""
        path = self._databases.path(doctype, "_design", projection.name, "_view", projection.name)
        try:
            found: Mapping[str, Any] = self._databases.get(path, **params)
        except NotFound:
            if not self._make_view(projection, doctype):
                return {"rows": [], "total_rows": 0}
            found = self._databases.get(path, **params)
        return found

    def _make_view(self, projection: Projection, doctype: str) -> bool:
        reduce = "_sum" if projection.reduce == "sum" else "_count"
        view = {"map": projection.view, "reduce": reduce}
        design = {"_id": f"_design/{projection.name}", "language": "javascript", "views": {projection.name: view}}
        try:
            self._databases.write(self._databases.path(doctype), [design])
        except NotFound:
            return False
        return True

    def check_views(self, old: Stored | None, new: Stored, batch: Mapping[Ref, Stored], earlier: Sequence[Stored]) -> None:
        """Refuse a document whose row in a unique view another one has, when the batch is done.

        :param batch: the new state of every document of the batch.
        :param earlier: those before it that are not refused.
        :raises Conflict: see above.
        """
        for projection in self.viewed(new.ref.doctype):
            before = set(_keys(projection, old)) if old is not None else set()
            for key in _keys(projection, new):
                there = () if key in before else self._at(projection, key)
                stays = any(row.ref != new.ref and row.ref not in batch for row in there)
                if stays or any(key in _keys(projection, one) for one in earlier):
                    raise Conflict(f"{projection.name} is taken", refs=[new.ref], source=projection.name)

    def _at(self, projection: Projection, key: Key) -> Sequence[Row]:
        return [row for row in self._read_view(projection, list(key), [*key, LAST], None, False, 0, None) if row.key == key]

    # -- writing ----------------------------------------------------------------------------------------------------

    def ledger(self, moves: Sequence[lines.Move]) -> lines.Ledger:
        """The rows that some documents' writes touch."""
        ids = sorted({id for move in moves for id in (*move.old, *move.new)})
        found: dict[str, Doc | None] = dict.fromkeys(ids)
        for row in self._databases.winners(self._path, ids, include_docs=True):
            if row.get("doc"):
                found[row["id"]] = row["doc"]
        return lines.Ledger(found, self._newest() if any(move.feeds for move in moves) else 0)

    def write(self, ledger: lines.Ledger) -> None:
        """Write what changed."""
        self._databases.write_own(names.ROWS, ledger.writes())

    def repair(self, ref: Ref, stored: Stored | None) -> None:
        """Bring the rows of one document to what they have to be, whatever they are."""
        projections = self.kept(ref.doctype)
        if not projections:
            return
        known = {row["doc"]["_id"]: row["doc"] for row in self._of_document(ref)}
        move = lines.move_of(projections, ref, None, stored, strict=False)
        move.old = known
        ledger = self.ledger([move])
        ledger.apply(move)
        self.write(ledger)

    def _of_document(self, ref: Ref) -> Sequence[Mapping[str, Any]]:
        return self._view("by-document", key=[ref.doctype, ref.id], include_docs=True)

    def drop(self, doctype: str) -> None:
        """A doctype went: its rows go, feeds tell of it."""
        if not self.kept(doctype):
            return
        found = [row["doc"] for row in self._view("by-document", startkey=[doctype], endkey=[doctype, LAST], include_docs=True)]
        feeds = {one.name for one in self.kept(doctype) if one.feed}
        seq = self._newest()
        writes: list[Doc] = []
        for number, row in enumerate(found, 1):
            gone = {"gone": True, "value": None, "amount": 0, "doctype": "", "seq": seq + number}
            writes.append(row | gone if row["projection"] in feeds else {"_id": row["_id"], "_rev": row["_rev"], "_deleted": True})
        self._databases.write_own(names.ROWS, writes)

    def drop_orphans(self, there: Sequence[str]) -> None:
        """Remove the rows of doctypes that are not there."""
        doctypes = {doctype for one in self._by_name.values() if not one.view for doctype in one.of}
        for doctype in sorted(doctypes - set(there)):
            self.drop(doctype)

    # -- building ---------------------------------------------------------------------------------------------------

    def build(self, doctypes: Iterable[str]) -> None:
        """Make sure that the rows of doctypes are there: those of an existing database are made at the first need."""
        with self._building:
            built = self._read_state()["built"]
            for doctype in doctypes:
                for projection in self.kept(doctype):
                    mark = f"{projection.name}/{doctype}"
                    if mark not in built:
                        self._fill(projection, doctype)
                        built.append(mark)
                        self._write_state()

    def _fill(self, projection: Projection, doctype: str) -> None:
        for page in self._pages(doctype):
            moves = [lines.move_of([projection], stored.ref, None, stored, strict=False) for stored in page]
            ledger = self.ledger(moves)
            for move in moves:
                ledger.apply(move)
            self.write(ledger)

    def findings(self, doctype: str) -> Iterator[tuple[Stored, Doc, bool]]:
        """Documents and rows they should have but have not; whether another document has the key."""
        projections = self.kept(doctype)
        if not projections:
            return
        self.build([doctype])
        for page in self._pages(doctype):
            moves = [lines.move_of(projections, stored.ref, None, stored, strict=False) for stored in page]
            known = self.ledger(moves).rows
            for stored, move in zip(page, moves, strict=True):
                for id, row in move.new.items():
                    there = known[id]
                    if there is None or there["gone"] or not lines.belongs(there, stored.ref):
                        yield stored, row, lines.is_taken(there, stored.ref)

    def _pages(self, doctype: str) -> Iterator[Sequence[Stored]]:
        """All live documents of a doctype, some at a time."""
        for docs in batched(self._databases.every(self._databases.path(doctype)), PAGE):
            privates = Privates(self._databases.privates)
            yield [stored_of(doctype, doc, privates) for doc in docs]

    # -- seqs -------------------------------------------------------------------------------------------------------

    def begin_epoch(self) -> None:
        """A backup was put back: seqs up to its last one go on, later ones are of a lost future."""
        state = self._read_state()
        state["past"][state["epoch"]] = self._newest()
        state["epoch"] = secrets.token_hex(6)
        self._write_state()

    def forget(self) -> None:
        """The database was replaced: read its state again."""
        self._state = None

    def _seq_text(self, seq: int) -> str:
        return f"{seq}-{self._read_state()['epoch']}"

    def _known_seq(self, since: str) -> int:
        found = _SEQ.fullmatch(since)
        if found is None:
            raise Malformed("the sequence is malformed")
        state, number = self._read_state(), int(found[1])
        last = self._newest() if found[2] == state["epoch"] else state["past"].get(found[2], -1)
        if number > last:
            raise SeqGone("the sequence is of a future that was lost")
        return number

    def _newest(self) -> int:
        found = self._view("by-seq", descending=True, limit=1)
        return int(found[0]["key"]) if found else 0

    def _last_seq(self, projection: Projection, prefix: Key) -> int:
        if not projection.feed:
            return 0
        bounds = {"startkey": [projection.name, list(prefix), LAST], "endkey": [projection.name, list(prefix)]}
        found = self._view("feed", descending=True, limit=1, **bounds)
        return int(found[0]["key"][2]) if found else 0

    def _view(self, view: str, **params: Any) -> Sequence[Mapping[str, Any]]:
        self._read_state()
        found: Sequence[Mapping[str, Any]] = self._databases.get(f"{self._path}/{lines.DESIGN}/_view/{view}", **params)["rows"]
        return found

    def _read_state(self) -> Doc:
        """Epochs, and which rows are built; the database is made at the first need."""
        with self._building:
            if self._state is None:
                try:
                    self._state = self._databases.get(f"{self._path}/{_STATE}")
                except NotFound:
                    self._state = {"_id": _STATE, "epoch": secrets.token_hex(6), "past": {}, "built": []}
                    self._databases.make(self._path)
                    self._databases.write(self._path, [lines.design()])
                    self._write_state()
            return self._state

    def _write_state(self) -> None:
        assert self._state is not None
        self._state["_rev"] = self._databases.put(f"{self._path}/{_STATE}", self._state)["rev"]


def _keys(projection: Projection, stored: Stored) -> Sequence[Key]:
    """The keys of a document's rows, none of a deletion."""
    of = projection.of.get(stored.ref.doctype)
    return [key for key, _ in of(stored)] if of is not None and not stored.deleted else []


def _bounds(low: list[Any], high: list[Any], *, scalar: bool) -> dict[str, Any]:
    """`startkey` and `endkey` of a range of whole keys; a view with bare keys has one value."""
    if not scalar:
        return {"startkey": low, "endkey": high}
    return ({"startkey": low[0]} if low else {}) | ({"endkey": high[0]} if len(high) > 1 else {})


def _page(descending: bool, skip: int, limit: int | None) -> dict[str, Any]:
    return {"descending": descending, "skip": skip} | ({} if limit is None else {"limit": limit})


def batched(docs: Iterator[Doc], size: int) -> Iterator[Sequence[Doc]]:
    """Some documents at a time."""
    while page := list(islice(docs, size)):
        yield page
