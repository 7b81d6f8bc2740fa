"""Moves a tenant's documents from one store to another, as they are, and proves that both hold the same.

What moves: every leaf with its history, deletions too, private data, local and design documents. What does not: sequences of
feeds, whose readers begin again, and replaced bodies that a store may still have.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from cozyd import jsons
from cozyd.documents import attachments, revtree
from cozyd.documents.store import Doc, DocumentStore, FeedRow
from cozyd.errors import Conflict, CozyError

BATCH = 200
SHOWN = 5
Step = dict[str, Any]
"""A line of progress: `step` is `copy` or `compare`, `doctype`, and how many of its documents are `done`."""


class Transfer:
    """One tenant's move.

    :param made: ids of design documents that a driver makes by itself: they are no part of the move.
    """

    def __init__(self, source: DocumentStore, target: DocumentStore, *, made: frozenset[str] = frozenset()) -> None:
        self._source = source
        self._target = target
        self._made = made

    def copy(self) -> Iterator[Step]:
        """Bring the target up to date; what it has already is not sent again.

        :raises Conflict: the target has revisions that the source does not know.
        """
        for doctype in self._source.doctypes():
            self._target.make(doctype)
            done = 0
            for rows in self._batches(self._source, doctype):
                self._check_known(doctype, rows)
                self._copy_batch(doctype, rows)
                done += len(rows)
                yield {"step": "copy", "doctype": doctype, "done": done}
            self._copy_locals(doctype)

    def _check_known(self, doctype: str, rows: Sequence[FeedRow]) -> None:
        """Refuse a target that was written to by others: its revisions would be lost among the source's."""
        ids = [row.id for row in rows]
        there = {id: [one.rev] for id, one in zip(ids, self._target.get_many(doctype, ids, deleted=True), strict=True) if one is not None}
        unknown = self._source.missing_revs(doctype, there) if there else {}
        if unknown:
            shown = ", ".join(sorted(unknown)[:SHOWN])
            raise Conflict(f"The target has newer revisions of {len(unknown)} documents of {doctype}: {shown}")

    def _copy_batch(self, doctype: str, rows: Sequence[FeedRow]) -> None:
        missing = self._target.missing_revs(doctype, {row.id: list(row.leaves) for row in rows})
        wanted = {row.id: row.leaves[::-1] for row in rows if row.id in missing}  # the winner last, so that private data meets it
        if not wanted:
            return
        found = self._source.get_many(doctype, list(wanted))
        private = {stored.ref.id: stored.private for stored in found if stored is not None and stored.private}
        docs = self._source.replicas(doctype, wanted)
        for answer in self._target.graft(doctype, docs, private=private):
            if isinstance(answer, CozyError):
                raise answer

    def _copy_locals(self, doctype: str) -> None:
        for id in self._source.locals(doctype):
            local = self._source.local(doctype, id)
            if local is not None and local != self._target.local(doctype, id):
                number = int(local["_rev"].partition("-")[2])
                base = {"_rev": f"0-{number - 1}"} if number > 1 else {}
                self._target.set_local(doctype, id, {name: value for name, value in local.items() if name[:1] != "_"} | base)

    def compare(self) -> Iterator[Step]:
        """Read both and compare all of it; the last step, `equal`, has what was counted and its SHA-256.

        :raises Conflict: they differ; the text says where.
        """
        ours, theirs = self._source.doctypes(), self._target.doctypes()
        if list(ours) != list(theirs):
            raise Conflict(f"The doctypes differ: {', '.join(sorted(set(ours) ^ set(theirs)))}")
        counts = {"doctypes": len(ours), "documents": 0, "deleted": 0, "revisions": 0, "private": 0, "locals": 0}
        whole = hashlib.sha256()
        for doctype in ours:
            ours_lines, theirs_lines = self._lines(self._source, doctype), self._lines(self._target, doctype)
            for name in sorted(ours_lines.keys() | theirs_lines.keys()):
                if ours_lines.get(name) != theirs_lines.get(name):
                    raise Conflict(f"{name} of {doctype} differs")
                kind, digest = ours_lines[name]
                counts[kind] += 1
                whole.update(f"{doctype} {name} {digest}\n".encode())
            yield {"step": "compare", "doctype": doctype, "done": len(ours_lines)}
        yield {"step": "equal", **counts, "sha256": whole.hexdigest()}

    def _lines(self, store: DocumentStore, doctype: str) -> dict[str, tuple[str, str]]:
        """What a doctype holds: what it is -> its kind and hash."""
        found: dict[str, tuple[str, str]] = {}
        for rows in self._batches(store, doctype):
            for doc in store.replicas(doctype, {row.id: row.leaves for row in rows}):
                found[f"{doc['_id']} {doc['_rev']}"] = ("revisions", digest_of(doc))
            for row in rows:
                found[row.id] = ("deleted" if row.deleted else "documents", _digest(list(row.leaves)))
            for winner in store.get_many(doctype, [row.id for row in rows]):
                if winner is not None and winner.private:
                    found[f"{winner.ref.id} (private data)"] = ("private", _digest(dict(winner.private)))
        for id in store.locals(doctype):
            found[f"_local/{id}"] = ("locals", _digest(store.local(doctype, id)))
        return found

    def _batches(self, store: DocumentStore, doctype: str) -> Iterator[Sequence[FeedRow]]:
        since = ""
        while True:
            feed = store.changes(doctype, since=since, limit=BATCH)
            rows = [row for row in feed.rows if row.id not in self._made]
            if rows:
                yield rows
            if not feed.pending:
                return
            since = feed.last_seq


def digest_of(doc: Doc) -> str:
    """A hash of a revision as replication sends it: its history, fields, and the contents of its attachments."""
    fields = {name: value for name, value in doc.items() if name not in ("_id", "_rev", "_revisions", attachments.MEMBER)}
    contents = {name: entry["data"] for name, entry in doc.get(attachments.MEMBER, {}).items()}
    return _digest(list(revtree.given_path(doc)), fields, contents)


def _digest(*values: Any) -> str:
    """A hash of JSON values; zero has no sign, as CouchDB keeps none."""
    text = b"\n".join(map(jsons.canonical, values))
    if b"-0.0" in text:
        text = b"\n".join(jsons.canonical(_unsigned(value)) for value in values)
    return hashlib.sha256(text).hexdigest()


def _unsigned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unsigned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_unsigned(item) for item in value]
    return 0.0 if isinstance(value, float) and value == 0 else value
