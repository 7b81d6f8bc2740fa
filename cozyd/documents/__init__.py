"""`Documents`: the room every document lives in; `commit`, `commit_each` and `graft` are the only ways one changes."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from cozyd.documents.doctype import Doctype
from cozyd.documents.mango import Index, design_of
from cozyd.documents.store import (
    Batch,
    Change,
    ContentEdits,
    Doc,
    DocumentStore,
    Map,
    React,
    Ref,
    RowCount,
    Stale,
    Stored,
    TotalLimit,
    Write,
)
from cozyd.errors import Conflict, CozyError, Locked, NotFound

TRIES = 3
STALE_TRIES = 20
KEPT, LARGEST_KEPT = 2_000, 8_192
"""How many documents are kept in memory, and the largest text, in bytes."""

T = TypeVar("T")


class Documents:
    """One tenant's documents, with the rules of their doctypes.

    :param store: where they lie; its reads are this room's reads.
    :param table: what the rooms know about doctypes.
    :param tell: is told the changes of each commit, once they are durable; never raises, never blocks.
    :param new_id: gives ids that rise.
    :param react: what else a commit writes, beside what the doctypes' own rules ask for; may raise `Stale`.
    :param inform: puts into the `about` of writes what `react` has to know of them and cannot read; asked each time a commit is tried.
    :param check: looks at each body that is written as JSON, replicas' aside; what it raises refuses the write.
    """

    def __init__(
        self,
        store: DocumentStore,
        table: Mapping[str, Doctype],
        *,
        tell: Callable[[Sequence[Change]], None] | None = None,
        new_id: Callable[[], str],
        react: React | None = None,
        inform: Callable[[Sequence[Write]], Sequence[Write]] | None = None,
        check: Callable[[str, Doc], None] | None = None,
    ) -> None:
        self._store = store
        self._reaction = react
        self._inform = inform or (lambda writes: writes)
        self._check = check
        self.atomic = store.atomic
        self.table = table
        self.new_id = new_id
        self._tell = tell
        self._kept: dict[Ref, Stored] = {}
        self._kept_lock = threading.Lock()
        self._commits = 0
        self.shared = store.shared
        store.listen(self._committed, self._forget)
        self.get_many, self.all, self.find = store.get_many, store.all, store.find
        self.rows, self.total, self.changes = store.rows, store.total, store.changes
        self.tree, self.leaves, self.missing_revs = store.tree, store.leaves, store.missing_revs
        self.replicas = store.replicas
        self.local, self.set_local, self.info = store.local, store.set_local, store.info
        self.doctypes, self.make, self.drop, self.purge = store.doctypes, store.make, store.drop, store.purge
        self.check, self.tidy = store.check, store.tidy
        self.holds_contents, self.content, self.contents = store.holds_contents, store.content, store.contents

    # -- changing ---------------------------------------------------------------------------------------------------

    def commit(
        self,
        batch: Batch,
        *,
        while_at: Sequence[tuple[Ref, str]] = (),
        while_counts: Sequence[RowCount] = (),
        while_totals: Sequence[TotalLimit] = (),
        contents: ContentEdits | None = None,
    ) -> Sequence[Change]:
        """Write a batch, all or nothing: see `DocumentStore.commit`."""
        writes = [self._normal(write) for write in batch]
        return self._fresh(
            lambda: self._store.commit(
                self._inform(writes),
                self._react,
                while_at=while_at,
                while_counts=while_counts,
                while_totals=while_totals,
                contents=contents,
            )
        )

    def commit_each(self, batch: Batch) -> Sequence[Change | CozyError]:
        """Write a batch, each for itself: see `DocumentStore.commit_each`."""
        writes = [self._attempt(write) for write in batch]
        sound = [write for write in writes if isinstance(write, Write)]
        done = iter(self._fresh(lambda: self._store.commit_each(self._inform(sound), self._react)))
        return [next(done) if isinstance(write, Write) else write for write in writes]

    def graft(self, doctype: str, docs: Sequence[Doc]) -> Sequence[Change | CozyError | None]:
        """Replication writes: see `DocumentStore.graft`."""
        known = self.table.get(doctype)
        if known is not None and known.seal is not None:
            docs = [known.seal(doc) for doc in docs]
        brought = self._brought(doctype, docs)
        return self._fresh(lambda: self._store.graft(doctype, docs, self._react, private=brought))

    def _brought(self, doctype: str, docs: Sequence[Doc]) -> dict[str, Map]:
        """What replicas' documents bring along, by id."""
        known = self.table.get(doctype)
        if known is None or known.complete is None:
            return {}
        live = [doc for doc in docs if isinstance(doc.get("_id"), str) and doc.get("_deleted") is not True]
        completed = [known.complete(Write(Ref(doctype, doc["_id"]), body=doc, rev="replica"), self._store) for doc in live]
        return {write.ref.id: write.private for write in completed if write.private is not None}

    @staticmethod
    def _fresh(write: Callable[[], T]) -> T:
        """Write again when a reaction knew too little.

        :raises Locked: what it has to know changes faster than it can be read.
        """
        for _ in range(STALE_TRIES):
            try:
                return write()
            except Stale as stale:
                stale.renew()
        raise Locked("What reacts to changes is being changed", retry_after=1)

    def put(self, doctype: str, body: Doc) -> Stored:
        """Write one document: create it (no `_rev`), under its `_id` or a new one, update it, or delete it (`_deleted`).

        :raises Conflict: the revision is not the current one.
        """
        ref = Ref(doctype, body.get("_id") or self.new_id())
        return self.commit([Write(ref, body=body, rev=body.get("_rev"), deleted=body.get("_deleted") is True)])[0].made

    def delete(self, ref: Ref, rev: str) -> str:
        """Delete a document; answers the tombstone's revision.

        :raises NotFound: it is not there.
        :raises Conflict: the revision is not the current one.
        """
        self._store.get(ref)
        return self.commit([Write(ref, rev=rev, deleted=True)])[0].made.rev

    def index(self, doctype: str, fields: Sequence[str], *, name: str, ddoc: str | None = None, where: Map | None = None) -> Ref:
        """Make sure of a Mango index: write its design document unless it is there.

        :param ddoc: the design document's name, the index' own when not given.
        """
        index = Index(ddoc or name, name, tuple(fields), where)
        design = design_of(index)
        ref = Ref(doctype, str(design["_id"]))

        def write() -> None:
            known = self._store.get_many(doctype, [ref.id])[0]
            views = known.doc.get("views") if known is not None else None
            views = views if isinstance(views, dict) else {}
            if views.get(name) == design["views"][name]:
                return
            body = design | {"views": views | design["views"]}
            self.commit([Write(ref, body=body, rev=known.rev if known is not None else None)])

        self.retry(write)
        return ref

    def protected(self, doctype: str) -> frozenset[str]:
        """Names of design documents that doors refuse to delete."""
        known = self.table.get(doctype)
        return known.protected if known is not None else frozenset()

    @staticmethod
    def retry(step: Callable[[], T]) -> T:
        """Run a read-compute-commit again when its base changed meanwhile.

        :raises Conflict: it changed each time.
        """
        for _ in range(TRIES - 1):
            try:
                return step()
            except Conflict:
                continue
        return step()

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, ref: Ref, rev: str | None = None) -> Stored:
        """The winner, or the named revision while its body is kept: see `DocumentStore.get`.

        Small documents that were read lately come from memory, as exact copies: this process is their only writer, as it
        holds the lock of the data folder, and each commit takes what it changed out before it is answered. Of a store that
        other processes share nothing is kept.
        :raises NotFound: `missing` or `deleted`.
        """
        known = self._kept.get(ref) if rev is None else None
        if known is not None:
            return known
        commits = self._commits
        stored = self._store.get(ref, rev)
        if rev is None and not self.shared and len(stored.text) <= LARGEST_KEPT:
            self._keep(stored, commits)
        return stored

    def _keep(self, stored: Stored, commits: int) -> None:
        """Remember a document that was read, unless a commit came between."""
        with self._kept_lock:
            if self._commits != commits:
                return
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[stored.ref] = stored

    # -- inside -----------------------------------------------------------------------------------------------------

    def tell(self, changes: Sequence[Change]) -> None:
        """Tell made-up changes (thumbnail made, NOTIFIED): they are not stored."""
        if self._tell is not None:
            self._tell(changes)

    def _committed(self, changes: Sequence[Change]) -> None:
        with self._kept_lock:
            self._commits += 1
            for change in changes:
                self._kept.pop(change.new.ref, None)
        self.tell(changes)

    def _forget(self) -> None:
        with self._kept_lock:
            self._kept.clear()
            self._commits += 1

    def _attempt(self, write: Write) -> Write | CozyError:
        try:
            return self._normal(write)
        except CozyError as error:
            return error

    def _normal(self, write: Write) -> Write:
        known = self.table.get(write.ref.doctype)
        if self._check is not None and isinstance(write.body, dict) and not write.deleted:
            self._check(write.ref.doctype, write.body)
        if known is not None and known.complete is not None and not write.deleted:
            write = known.complete(write, self._store)
        if known is None or not isinstance(write.body, dict):
            return write
        if known.seal is not None:
            write = replace(write, body=known.seal(write.body))
        if known.normalise is None or write.deleted or not isinstance(write.body, dict):
            return write
        old: Doc | None = None
        if write.rev is not None:
            try:
                old = self._store.get(write.ref).doc
            except NotFound:
                old = None
        body: dict[str, Any] = known.normalise(write.body, old)
        return replace(write, body=body)

    @property
    def _react(self) -> React | None:
        asks = self._reaction is not None or any(known.follow_up or known.ripple for known in self.table.values())
        return self._follow_ups if asks else None

    def _follow_ups(self, changes: Sequence[Change], seq: str) -> Batch:
        """What the rooms want to have written in the same commit."""
        found: list[Write] = list(self._reaction(changes, seq)) if self._reaction is not None else []
        for change in changes:
            known = self.table.get(change.new.ref.doctype)
            if known is not None and known.follow_up is not None:
                found += known.follow_up(change)
        return found + self._ripples(changes)

    def _ripples(self, changes: Sequence[Change]) -> list[Write]:
        """What changes of some doctypes change elsewhere; on SQLite what is read is as it was before the commit."""
        by_rule: dict[Any, list[Change]] = {}
        for change in changes:
            known = self.table.get(change.new.ref.doctype)
            if known is not None and known.ripple is not None:
                by_rule.setdefault(known.ripple, []).append(change)
        return [write for rule, mine in by_rule.items() for write in rule(mine, self._store)]
