"""`CouchStore`: the documents of one tenant on CouchDB (docs/documents.md)."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, Literal

from cozyd import jsons
from cozyd.documents import edits, mango, revtree
from cozyd.documents.couchdb import names
from cozyd.documents.couchdb.databases import NO_DATABASE, PAGE, Databases
from cozyd.documents.couchdb.reading import CouchStored, Privates, feed_row, stored_of, tree_of
from cozyd.documents.couchdb.redo import Notes, note_of
from cozyd.documents.couchdb.replicas import Graft
from cozyd.documents.couchdb.rows import Rows
from cozyd.documents.couchdb.writing import Commit, Step
from cozyd.documents.revtree import Tree
from cozyd.documents.store import (
    Batch,
    Change,
    ContentEdits,
    Doc,
    Feed,
    FeedRow,
    Info,
    Key,
    Map,
    Page,
    Projection,
    Query,
    React,
    Ref,
    Row,
    RowCount,
    Stored,
    Total,
    TotalLimit,
    Write,
)
from cozyd.errors import Conflict, CozyError, NotFound
from cozyd.locks import Locks

TRIGGERS = "io.cozy.triggers"
COUCHDB_OWN = ("purge-", "shard-sync-")
"""Local documents that CouchDB makes for itself."""
_MOST = 2**31 - 1
"""The largest limit CouchDB is asked for."""
_FOREIGN_SEQ = re.compile(r"\d{1,18}-[0-9a-f]{1,32}")
"""A seq of the embedded driver, which a replica may have from before the tenant moved here: its feed begins again."""


class CouchStore:
    """One tenant's documents.

    :param projections: every projection of the server.
    :param lenient: doctypes where a taken unique row is left out instead of refusing the document.
    :param locks: shared by all processes that write.
    """

    atomic: ClassVar[bool] = False
    holds_contents: ClassVar[bool] = False

    def __init__(self, databases: Databases, projections: Sequence[Projection], lenient: frozenset[str], locks: Locks) -> None:
        self._databases = databases
        self._rows = Rows(databases, projections)
        self._lenient = lenient
        self._locks = locks
        self._notes = Notes(databases, self._rows, lenient)
        self._cut = True
        self._tell: Callable[[Sequence[Change]], None] | None = None
        self._forget: Callable[[], None] = lambda: None

    @property
    def shared(self) -> bool:
        """See `DocumentStore.shared`: whoever has CouchDB's address may write."""
        return True

    # -- documents --------------------------------------------------------------------------------------------------

    def get(self, ref: Ref, rev: str | None = None) -> Stored:
        """See `DocumentStore.get`."""
        params = {} if rev is None else {"rev": rev}
        doc = self._databases.get(self._databases.path(ref.doctype, *names.document_parts(ref.id)), **params)
        return stored_of(ref.doctype, doc, self._privates())

    def get_many(self, doctype: str, ids: Sequence[str], *, deleted: bool = False) -> Sequence[Stored | None]:
        """See `DocumentStore.get_many`."""
        try:
            path = self._databases.path(doctype)
        except NotFound:
            return [None] * len(ids)
        privates = self._privates()
        found: dict[str, Stored] = {}
        tombstones = []
        for row in self._databases.winners(path, list(dict.fromkeys(ids)), include_docs=True):
            if row.get("doc"):
                found[row["id"]] = stored_of(doctype, row["doc"], privates)
            elif deleted and "value" in row:
                tombstones.append((row["id"], row["value"]["rev"]))
        for doc in self._databases.revisions(path, tombstones):
            if doc is not None:
                found[doc["_id"]] = stored_of(doctype, doc, privates)
        return [found.get(id) for id in ids]

    def all(
        self,
        doctype: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        descending: bool = False,
        docs: bool = True,
    ) -> Page:
        """See `DocumentStore.all`."""
        params: dict[str, Any] = {"descending": descending, "skip": skip, "include_docs": docs}
        params |= {"startkey": start} if start else {}
        params |= {"endkey": end} if end is not None else {}
        params |= {"limit": min(limit, _MOST)} if limit is not None else {}
        answer = self._databases.get(self._databases.path(doctype, "_all_docs"), **params)
        privates = self._privates()
        found = [
            stored_of(doctype, row["doc"], privates) if docs else CouchStored(Ref(doctype, row["id"]), row["value"]["rev"], b"{}", privates)
            for row in answer["rows"]
        ]
        return Page(found, total=answer["total_rows"])

    def find(self, doctype: str, query: Query) -> Page:
        """See `DocumentStore.find`."""
        mango.check(query.selector)
        body: dict[str, Any] = {"selector": dict(query.selector), "limit": query.limit, "skip": query.skip, "execution_stats": True}
        if query.sort:
            body["sort"] = [{name: direction} for name, direction in query.sort]
        if query.bookmark:
            body["bookmark"] = query.bookmark
        if query.index:
            body["use_index"] = list(query.index)
        answer = self._databases.post(self._databases.path(doctype, "_find"), body)
        privates = self._privates()
        rows = [stored_of(doctype, doc, privates) for doc in answer["docs"]]
        bookmark = answer.get("bookmark")
        stats = {name: value for name, value in answer.get("execution_stats", {}).items() if isinstance(value, int | float)}
        return Page(rows, None if bookmark == "nil" else bookmark, warning=answer.get("warning"), stats=stats)

    def rows(
        self,
        projection: str,
        prefix: Key = (),
        *,
        start: Key | None = None,
        end: Key | None = None,
        after: tuple[Key, str] | None = None,
        since: str | None = None,
        skip: int = 0,
        limit: int | None = None,
        descending: bool = False,
        sieve: Sequence[str] = (),  # noqa: ARG002 - CouchDB cannot look into values: all come through
        docs: bool = False,
    ) -> Sequence[Row]:
        """See `DocumentStore.rows`."""
        found = self._rows.read(
            projection, prefix, start=start, end=end, after=after, since=since, skip=skip, limit=limit, descending=descending
        )
        return self._with_documents(found) if docs else found

    def _with_documents(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows with the documents that did not come with them; one that is gone meanwhile has none."""
        missing: dict[str, list[str]] = {}
        for row in rows:
            if row.stored is None and not row.gone:
                missing.setdefault(row.ref.doctype, []).append(row.ref.id)
        found = {one.ref: one for doctype, ids in missing.items() for one in self.get_many(doctype, ids) if one is not None}
        return [row if row.ref not in found else row._replace(stored=found[row.ref]) for row in rows]

    def total(self, projection: str, prefix: Key = ()) -> Total:
        """See `DocumentStore.total`."""
        return self._rows.total(projection, prefix)

    # -- the change feed --------------------------------------------------------------------------------------------

    def changes(
        self,
        doctype: str,
        *,
        since: str = "",
        limit: int | None = None,
        descending: bool = False,
        docs: bool = False,
        ids: Iterable[str] | None = None,
        match: Callable[[Doc], bool] | None = None,
    ) -> Feed:
        """See `DocumentStore.changes`."""
        params: dict[str, Any] = {"style": "all_docs", "descending": descending}
        if docs or match is not None:
            params["include_docs"] = True
        if since and not since.isdigit() and not _FOREIGN_SEQ.fullmatch(since):
            params["since"] = since
        if match is not None:
            return self._matching(doctype, params, limit, docs=docs, match=match)
        if limit is not None:
            params["limit"] = limit
        return self._feed(doctype, params, docs=docs, ids=ids)

    def _feed(self, doctype: str, params: Map, *, docs: bool, ids: Iterable[str] | None = None) -> Feed:
        path = self._databases.path(doctype, "_changes")
        if ids is None:
            answer = self._databases.get(path, **params)
        else:
            answer = self._databases.post(path, {"doc_ids": list(ids)}, filter="_doc_ids", **params)
        privates = self._privates()
        rows = [feed_row(doctype, row, privates, docs=docs) for row in answer["results"]]
        return Feed(rows, answer["last_seq"], answer["pending"])

    def _matching(self, doctype: str, params: dict[str, Any], limit: int | None, *, docs: bool, match: Callable[[Doc], bool]) -> Feed:
        """A feed narrowed by a function, read page by page."""
        found: list[FeedRow] = []
        while True:
            page = self._feed(doctype, params | {"limit": PAGE}, docs=True)
            for number, row in enumerate(page.rows, start=1):
                if row.stored is not None and match(row.stored.doc):
                    found.append(row if docs else FeedRow(row.id, row.seq, row.leaves, row.deleted))
                    if limit is not None and len(found) >= limit:
                        return Feed(found, row.seq, page.pending + len(page.rows) - number)
            if not page.pending or params["descending"]:
                return Feed(found, page.last_seq, 0)
            params = params | {"since": page.last_seq}

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(
        self,
        batch: Batch,
        react: React | None = None,
        *,
        while_at: Sequence[tuple[Ref, str]] = (),
        while_counts: Sequence[RowCount] = (),  # noqa: ARG002 - no commit is atomic here: the lock of the files guards them
        while_totals: Sequence[TotalLimit] = (),  # noqa: ARG002 - likewise
        contents: ContentEdits | None = None,
    ) -> Sequence[Change]:
        """See `DocumentStore.commit`."""
        assert contents is None, "this driver holds no contents"
        with self._writing(react):
            commit = self._commit()
            held = commit.load([ref for ref, _ in while_at]) if while_at else {}
            stale = [ref for ref, rev in while_at if ref not in held or held[ref].deleted or held[ref].rev != rev]
            changes: list[Change] = []
            for group in _groups(batch):
                steps = self._sound(commit, group, stale)
                changes += self._send(commit, steps, changes, react)
            return self._told(changes + self._reacted(changes, react))

    def _sound(self, commit: Commit, group: Sequence[Write], stale: list[Ref]) -> Sequence[Step]:
        """Every write of a group, ready to be sent.

        :raises CozyError: one cannot be made; `refs` of a Conflict are all that are stale.
        """
        plan = commit.plan(group)
        for answer in plan:
            if isinstance(answer, CozyError) and not isinstance(answer, Conflict):
                raise answer
        stale = stale + [ref for answer in plan if isinstance(answer, Conflict) for ref in answer.refs]
        if stale:
            raise Conflict(refs=stale)
        steps = [step for step in plan if isinstance(step, Step)]
        for refused in commit.check_rows(steps):
            if refused is not None:
                raise refused
        return steps

    def _send(self, commit: Commit, steps: Sequence[Step], before: Sequence[Change], react: React | None) -> Sequence[Change]:
        answers = self._noted(commit, steps, react)
        changes = [answer for answer in answers if isinstance(answer, Change)]
        refused = [step.ref for step, answer in zip(steps, answers, strict=True) if isinstance(answer, Conflict)]
        errors = [answer for answer in answers if isinstance(answer, CozyError)]
        if errors:
            self._told([*before, *changes])
            done = [change.new.ref for change in (*before, *changes)]
            raise Conflict(refs=refused, done=done) if refused else errors[0]
        return changes

    @staticmethod
    def content(_key: str) -> bytes | None:
        """See `DocumentStore.content`."""
        return None

    @staticmethod
    def contents() -> Iterator[tuple[str, int, datetime]]:
        """See `DocumentStore.contents`."""
        return iter(())

    def commit_each(self, batch: Batch, react: React | None = None) -> Sequence[Change | CozyError]:
        """See `DocumentStore.commit_each`."""
        with self._writing(react):
            commit = self._commit()
            answers: list[Change | CozyError] = []
            for group in _groups(batch):
                answers += self._each(commit, group, react)
            changes = [answer for answer in answers if isinstance(answer, Change)]
            self._told(changes + self._reacted(changes, react))
            return answers

    def _each(self, commit: Commit, group: Sequence[Write], react: React | None) -> Sequence[Change | CozyError]:
        plan = list(commit.plan(group))
        sound = [(number, step) for number, step in enumerate(plan) if isinstance(step, Step)]
        refused = commit.check_rows([step for _, step in sound])
        answers: list[Any] = list(plan)
        for (number, _), error in zip(sound, refused, strict=True):
            if error is not None:
                answers[number] = error
        left = [number for number, answer in enumerate(answers) if isinstance(answer, Step)]
        for number, answer in zip(left, self._noted(commit, [answers[number] for number in left], react), strict=True):
            answers[number] = answer
        return answers

    def graft(
        self, doctype: str, docs: Sequence[Doc], react: React | None = None, *, private: Mapping[str, Map] | None = None
    ) -> Sequence[Change | CozyError | None]:
        """See `DocumentStore.graft`."""
        with self._writing(react):
            self._databases.make_doctype(doctype)
            graft = Graft(self._databases, self._rows, self._commit(), doctype)
            note = note_of([], graft.prepare(docs))
            if note["grafted"]:
                self._note(note)
            answers = graft.send(private or {})
            changes = [answer for answer in answers if isinstance(answer, Change)]
            self._told(changes + self._reacted(changes, react))
            return answers

    def listen(self, tell: Callable[[Sequence[Change]], None], forget: Callable[[], None] = lambda: None) -> None:
        """See `DocumentStore.listen`."""
        self._tell, self._forget = tell, forget

    # -- inside of writing ------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, react: React | None = None) -> Iterator[None]:
        """The tenant's lock; what a cut commit left is done first, and this one's note goes when it is done."""
        with self._databases.alone(self._locks):
            cut, self._cut = self._cut, True
            self._open_notes: list[Doc] = []
            if cut:
                self._heal(react)
            try:
                yield
                self._cut = False
            except CozyError as error:
                self._cut = error.status >= 500
                raise
            finally:
                if not self._cut:
                    self._cut = not self._notes.remove(self._open_notes)

    def _heal(self, react: React | None) -> None:
        for note in self._notes.found():
            changes = list(self._notes.redo(note))
            self._told(changes + self._reacted(changes, react))
            self._notes.remove([note])

    def _note(self, note: Doc) -> None:
        self._notes.write(note)
        self._open_notes.append(note)

    def _noted(self, commit: Commit, steps: Sequence[Step], react: React | None) -> Sequence[Change | CozyError]:
        """Send writes; what takes more than one request is noted before."""
        if not steps:
            return []
        one = steps[0]
        if len(steps) > 1 or one.write.private is not None or self._rows.kept(one.ref.doctype):
            self._note(note_of(steps))
        elif react is not None:
            self._note(note_of([], [(one.ref, one.current.rev if one.current is not None else None)], one.write.about))
        return commit.send(steps)

    def _reacted(self, changes: Sequence[Change], react: React | None) -> list[Change]:
        """What reactions to some changes wrote: a write without a revision whose document exists was made before."""
        if react is None or not changes:
            return []
        commit = self._commit()
        found: list[Change] = []
        for group in _groups(react(tuple(changes), commit.seq(TRIGGERS))):
            steps = [step for step in commit.plan(group) if isinstance(step, Step)]
            found += [answer for answer in self._noted(commit, steps, None) if isinstance(answer, Change)]
        return found

    def _told(self, changes: Sequence[Change]) -> Sequence[Change]:
        if changes and self._tell is not None:
            self._tell(changes)
        return changes

    def _commit(self) -> Commit:
        return Commit(self._databases, self._rows, self._lenient)

    def _privates(self) -> Privates:
        return Privates(self._databases.privates)

    # -- revisions --------------------------------------------------------------------------------------------------

    def tree(self, ref: Ref) -> Tree:
        """See `DocumentStore.tree`."""
        return tree_of(self._leaves(ref, open_revs="all"))

    def leaves(self, ref: Ref, revs: Sequence[str] | Literal["all"] = "all", *, latest: bool = False) -> Sequence[Stored]:
        """See `DocumentStore.leaves`."""
        if revs == "all":
            docs = self._leaves(ref, open_revs="all")
            order = list(tree_of(docs).leaves)
            docs = sorted(docs, key=lambda doc: order.index(doc["_rev"]))
        else:
            docs = self._leaves(ref, open_revs=list(revs), latest=latest)
            if latest:
                docs = sorted(docs, key=lambda doc: (not doc.get("_deleted"), revtree.rank(doc["_rev"])), reverse=True)
        privates = self._privates()
        return list({doc["_rev"]: stored_of(ref.doctype, doc, privates) for doc in docs}.values())

    def _leaves(self, ref: Ref, **params: Any) -> Sequence[Doc]:
        path = self._databases.path(ref.doctype, *names.document_parts(ref.id))
        docs = [one["ok"] for one in self._databases.get(path, revs=True, **params) if "ok" in one]
        if not docs and not self._databases.winners(self._databases.path(ref.doctype), [ref.id])[:1]:
            raise NotFound("missing")
        return docs

    def replicas(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> Sequence[Doc]:
        """See `DocumentStore.replicas`."""
        asked = [(id, rev) for id, wanted in revs.items() for rev in wanted]
        found = self._databases.revisions(self._databases.path(doctype), asked, revs=True, attachments=True)
        return [doc for doc in found if doc is not None]

    def missing_revs(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[Sequence[str], Sequence[str]]]:
        """See `DocumentStore.missing_revs`."""
        try:
            answer = self._databases.post(self._databases.path(doctype, "_revs_diff"), {id: list(wanted) for id, wanted in revs.items()})
        except NotFound:
            return {id: (list(dict.fromkeys(wanted)), []) for id, wanted in revs.items()}
        return {
            id: (list(dict.fromkeys(found["missing"])), found.get("possible_ancestors", []))
            for id, found in answer.items()
            if found["missing"]
        }

    # -- local documents --------------------------------------------------------------------------------------------

    def local(self, doctype: str, id: str) -> Doc | None:
        """See `DocumentStore.local`."""
        try:
            found: Doc = self._databases.get(self._databases.path(doctype, "_local", id))
        except NotFound as error:
            if error.detail == NO_DATABASE:
                raise
            return None
        return found

    def locals(self, doctype: str) -> Sequence[str]:
        """See `DocumentStore.locals`."""
        rows = self._databases.get(self._databases.path(doctype, "_local_docs"))["rows"]
        found = (row["id"].removeprefix("_local/") for row in rows)
        return sorted(id for id in found if not id.startswith(COUCHDB_OWN))

    def set_local(self, doctype: str, id: str, body: Doc) -> str:
        """See `DocumentStore.set_local`."""
        revtree.next_local(body.get("_rev"))
        head = {"_rev": body["_rev"]} if body.get("_rev") is not None else {}
        rev: str = self._databases.put(self._databases.path(doctype, "_local", id), edits.clean(body) | head)["rev"]
        return rev

    # -- doctypes ---------------------------------------------------------------------------------------------------

    def info(self, doctype: str) -> Info:
        """See `DocumentStore.info`."""
        found = self._databases.get(self._databases.path(doctype))
        return Info(found["doc_count"], found["doc_del_count"], found["update_seq"], found["sizes"]["external"])

    def doctypes(self) -> Sequence[str]:
        """See `DocumentStore.doctypes`."""
        found = (names.doctype_of(self._databases.tenant, name) for name in self._databases.all())
        return sorted(name for name in found if name is not None)

    def make(self, doctype: str) -> bool:
        """See `DocumentStore.make`."""
        return self._databases.make_doctype(doctype)

    def drop(self, doctype: str) -> None:
        """See `DocumentStore.drop`."""
        with self._writing():
            self._databases.delete(self._databases.path(doctype))
            self._rows.drop(doctype)
            self._databases.drop_privates(doctype)
        self._forget()

    def purge(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> None:
        """See `DocumentStore.purge`."""
        with self._writing():
            path, commit = self._databases.path(doctype), self._commit()
            refs = [Ref(doctype, id) for id in revs]
            before = commit.load(refs)
            leaves = {ref.id: self._leaves(ref, open_revs="all", attachments=True) for ref in refs if ref in before}
            kept = [leaf for id, found in leaves.items() for leaf in found if leaf["_rev"] not in revs[id]]
            note = note_of([], [(ref, before[ref].rev) for ref in refs if ref in before]) | {"kept": {doctype: kept}}
            self._note(note)
            # A document that loses some leaves is forgotten whole and gets the others again: CouchDB 3.5 counts it wrongly else.
            self._databases.purge(path, {id: [leaf["_rev"] for leaf in found] for id, found in leaves.items()})
            self._notes.restore(note)
            after = commit.load(refs)
            for ref in refs:
                current = after.get(ref)
                self._rows.repair(ref, current.stored if current is not None else None)
            self._databases.set_privates({ref: None for ref in refs if ref not in after or after[ref].deleted})
        self._forget()

    # -- upkeep -----------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[str]:
        """See `DocumentStore.check`."""
        for note in self._notes.found():
            yield f"A commit was cut and not finished yet: {note['_id']}"
        for doctype in self.doctypes():
            for stored, row, taken in self._rows.findings(doctype):
                key, name = jsons.dump(row["key"]).decode(), row["projection"]
                yield f"{doctype} {stored.ref.id} has no row in {name}: {key} {'is taken' if taken else 'is missing'}"

    def tidy(self) -> None:
        """See `DocumentStore.tidy`."""
        with self._writing():
            there = self.doctypes()
            for doctype in there:
                for stored, _, taken in list(self._rows.findings(doctype)):
                    if not taken:
                        self._rows.repair(stored.ref, stored)
            self._rows.drop_orphans(there)

    def begin_epoch(self) -> None:
        """A backup was put in the tenant's place."""
        self._rows.forget()
        self._rows.begin_epoch()
        self._forget()


def _groups(batch: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """A batch in parts that have each document once."""
    group: list[Write] = []
    seen: set[Ref] = set()
    for write in batch:
        if write.ref in seen:
            yield group
            group, seen = [], set()
        group.append(write)
        seen.add(write.ref)
    if group:
        yield group
