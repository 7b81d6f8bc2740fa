"""`SqliteStore`: the documents of one tenant in one file (docs/documents.md)."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, ClassVar, Literal

from cozyd import jsons
from cozyd.documents import edits, mango, revtree
from cozyd.documents.revtree import Tree, next_local
from cozyd.documents.sqlite import attached, projected, snapshot, upkeep
from cozyd.documents.sqlite import contents as content_table
from cozyd.documents.sqlite.database import Database
from cozyd.documents.sqlite.projected import Bounds
from cozyd.documents.sqlite.reading import FIRST, LAST, Reader
from cozyd.documents.sqlite.rows import Tables
from cozyd.documents.sqlite.snapshot import NO_DATABASE
from cozyd.documents.sqlite.together import Together
from cozyd.documents.sqlite.writing import TRIGGERS, Transaction
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
    Query,
    React,
    Ref,
    Row,
    RowCount,
    Stored,
    Total,
    TotalLimit,
)
from cozyd.errors import Conflict, Counted, CozyError, NotFound, QuotaExceeded

SOME_PAGES = 5000
"""How many free pages a dropped doctype gives back to the disk at once: the rest follows when the tenant rests, or by `tidy`."""
BRANCHED = "SELECT num FROM doc INDEXED BY doc_branched WHERE doctype = ? AND leaves > 1"
SCANNED_MUCH = (
    "The number of documents examined is high in proportion to the number of results returned. "
    "Consider adding a more specific index to improve this."
)


class SqliteStore:
    """One tenant's documents.

    :param database: its file.
    :param tables: which projections and indexes its documents feed.
    :param doctypes: doctype -> number in the file.
    :param lenient: doctypes where a taken unique row is left out instead of refusing the document.
    :param shared: other processes have the file open too.
    """

    atomic: ClassVar[bool] = True
    holds_contents: ClassVar[bool] = True

    def __init__(self, database: Database, tables: Tables, doctypes: dict[str, int], lenient: frozenset[str], *, shared: bool) -> None:
        self._database = database
        self._tables = tables
        self._doctypes = doctypes
        self._lenient = lenient
        self.shared = shared
        self._tell: Callable[[Sequence[Change]], None] | None = None
        self._forget: Callable[[], None] = lambda: None
        self._together = Together(database.lock, self._writing, self._begin, self._undo, self._tell_of)

    def renew(self, tables: Tables, doctypes: dict[str, int]) -> None:
        """The file has other content now: a backup was put in its place."""
        self._tables, self._doctypes = tables, doctypes
        self._forget()

    # -- documents --------------------------------------------------------------------------------------------------

    def get(self, ref: Ref, rev: str | None = None) -> Stored:
        """See `DocumentStore.get`."""
        num = self._number(ref.doctype)
        with self._database.reading(snapshot=rev is not None) as connection:
            return snapshot.revision(connection, num, ref, rev)

    def get_many(self, doctype: str, ids: Sequence[str], *, deleted: bool = False) -> Sequence[Stored | None]:
        """See `DocumentStore.get_many`."""
        num = self._find_number(doctype)
        if num is None:
            return [None] * len(ids)
        found: dict[str, Stored] = {}
        # CROSS: the ids first, each by the index; the planner would rather walk the whole doctype
        join = "{} CROSS JOIN doc d ON d.doctype = ? AND d.id = j.value WHERE d.deleted <= ?"
        sql = f"SELECT d.id, d.rev, d.deleted, d.text, d.private FROM {join}"  # noqa: S608 - no text of anybody's
        reads: list[tuple[str, Any]] = [("json_each(?) j", json.dumps([id for id in ids if "\0" not in id]))]
        reads += [("(SELECT ? AS value) j", id) for id in ids if "\0" in id]  # SQLite's JSON ends a text at its first NUL
        with self._database.reading(snapshot=len(reads) > 1) as connection:
            for source, given in reads:
                for id, rev, gone, text, private in connection.execute(sql.format(source), (given, num, deleted)):
                    found[id] = Stored(Ref(doctype, id), rev, text, deleted=bool(gone), private=private)
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
        num = self._number(doctype)
        low, high = (end or FIRST, start or LAST) if descending else (start, LAST if end is None else end)
        columns = "text, private" if docs else "x'7b7d', NULL"
        order = "DESC" if descending else "ASC"
        sql = (  # one statement: the rows and the total are of one state, without a transaction around them
            "SELECT NULL, NULL, count, NULL FROM doctype WHERE num = ?1 UNION ALL "  # noqa: S608
            f"SELECT * FROM (SELECT id, rev, {columns} FROM doc WHERE doctype = ?1 AND id >= ?2 AND id <= ?3 AND deleted = 0 "
            f"ORDER BY id {order} LIMIT ?4 OFFSET ?5)"
        )
        with self._database.reading() as connection:
            rows = connection.execute(sql, (num, low, high, -1 if limit is None else limit, skip)).fetchall()
        total = rows.pop(0)[2] if rows and rows[0][0] is None else 0
        return Page([Stored(Ref(doctype, id), rev, text, private=private) for id, rev, text, private in rows], total=total)

    # -- queries ----------------------------------------------------------------------------------------------------

    def find(self, doctype: str, query: Query) -> Page:
        """See `DocumentStore.find`."""
        num = self._number(doctype)
        began = time.perf_counter()
        known = self._tables.indexes(doctype)
        with self._database.reading(snapshot=True) as connection:
            there = {one for (one,) in connection.execute("SELECT num FROM idx WHERE doctype = ?", (num,))}
            tables = [table for table in known if table.num in there]  # one that is just built or dropped is not in this state
            plan = mango.plan(query, [table.index for table in tables if table.index is not None])
            match = None if plan.covered else mango.matcher(query.selector)
            reader = Reader(doctype, num, plan, next((table.num for table in tables if table.index == plan.index), None))
            rows = reader.read(connection, query, match)
        stats = {
            "total_keys_examined": reader.examined if plan.index is not None else 0,
            "total_docs_examined": reader.examined,
            "total_quorum_docs_examined": 0,
            "results_returned": len(rows),
            "execution_time_ms": round((time.perf_counter() - began) * 1000, 3),
        }
        warnings = [plan.warning] if plan.warning else []
        if not plan.warning and reader.examined > 10 * max(1, len(rows)):
            warnings.append(SCANNED_MUCH)
        return Page(rows, bookmark=reader.bookmark, warning="\n".join(warnings) or None, stats=stats)

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
        sieve: Sequence[str] = (),
        docs: bool = False,
    ) -> Sequence[Row]:
        """See `DocumentStore.rows`."""
        table = self._tables.projection(projection)
        bounds = Bounds(table, prefix, start=start, end=end, after=after, since=since, descending=descending, sieve=sieve)
        feed = table.projection is not None and table.projection.feed
        with self._database.reading(snapshot=feed) as connection:  # one statement is one state
            return projected.read(connection, bounds, skip=skip, limit=limit, docs=docs, feed=feed)

    def total(self, projection: str, prefix: Key = ()) -> Total:
        """See `DocumentStore.total`."""
        table = self._tables.projection(projection)
        sql = "SELECT t.count, t.sum, t.seq, m.epoch FROM meta m LEFT JOIN total t ON t.idx = ? AND t.prefix = ?"
        with self._database.reading() as connection:
            count, amount, seq, epoch = connection.execute(sql, (table.num, table.encode(prefix))).fetchone()
        return Total(count or 0, amount or 0, f"{seq or 0}-{epoch}")

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
        num = self._number(doctype)
        wanted = None if ids is None else frozenset(ids)
        columns = "text, private" if docs or match else "NULL, NULL"  # without them the index by seq has it all
        sql = (
            f"SELECT id, rev, seq, deleted, num, {columns} FROM doc INDEXED BY doc_by_seq WHERE doctype = ? AND seq > ? "  # noqa: S608
            f"ORDER BY seq {'DESC' if descending else 'ASC'}"
        )
        rows: list[FeedRow] = []
        with self._database.reading(snapshot=True) as connection:
            last, epoch = snapshot.last_seq(connection, num)
            position = 0 if descending else snapshot.start_of(connection, since, last, epoch)
            branched = {doc for (doc,) in connection.execute(BRANCHED, (num,))}
            for id, rev, seq, deleted, doc, text, private in connection.execute(sql, (num, position)):
                if wanted is not None and id not in wanted:
                    continue
                stored = None if text is None else Stored(Ref(doctype, id), rev, text, deleted=bool(deleted), private=private)
                if match is not None and stored is not None and not match(stored.doc):
                    continue
                named = snapshot.tree_of(connection, doc).leaves if doc in branched else [rev]
                rows.append(FeedRow(id, f"{seq}-{epoch}", named, bool(deleted), stored if docs else None))
                if limit is not None and len(rows) >= limit:
                    break
            ended = limit is None or len(rows) < limit
            at = last if (ended and not descending) or not rows else int(rows[0 if descending else -1].seq.partition("-")[0])
            pending = (
                connection.execute("SELECT count(*) FROM doc WHERE doctype = ? AND seq > ?", (num, at)).fetchone()[0] if not ended else 0
            )
        return Feed(rows, f"{at}-{epoch}", pending)

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(
        self,
        batch: Batch,
        react: React | None = None,
        *,
        while_at: Sequence[tuple[Ref, str]] = (),
        while_counts: Sequence[RowCount] = (),
        while_totals: Sequence[TotalLimit] = (),
        contents: ContentEdits | None = None,
    ) -> Sequence[Change]:
        """See `DocumentStore.commit`; it shares its transaction with commits that wait for the writer too."""

        def step(transaction: Transaction, changes: list[Change]) -> None:
            stale = [ref for ref, rev in while_at if not transaction.holds(ref, rev)]
            if not all(transaction.counts(self._tables.projection(name), prefix, count) for name, prefix, count in while_counts):
                raise Counted("Something came or went meanwhile")
            for write in batch:
                try:
                    changes.append(transaction.apply(write))
                except Conflict as conflict:
                    if conflict.source:
                        raise Conflict(conflict.detail, refs=[write.ref], source=conflict.source) from conflict
                    stale.append(write.ref)
            if stale:
                raise Conflict(refs=stale)
            if contents is not None:
                content_table.edit(transaction.connection, contents)
            self._react(transaction, changes, react)
            for names, limit in while_totals:
                if transaction.total([self._tables.projection(name) for name in names]) > limit:
                    raise QuotaExceeded("The file is too big and exceeds the disk quota")

        if any(_is_alone(write.ref) for write in batch):
            with self._transaction() as (transaction, changes):
                step(transaction, changes)
            return changes
        return self._together.do(step)

    def _begin(self, connection: sqlite3.Connection) -> Transaction:
        return Transaction(connection, self._tables, self._doctypes, self._lenient)

    def _undo(self, transaction: Transaction) -> None:
        """Forget the doctypes that a transaction made which is not committed."""
        for doctype in transaction.made:
            self._doctypes.pop(doctype, None)

    def _tell_of(self, changes: Sequence[Change]) -> None:
        if changes and self._tell is not None:
            self._tell(changes)

    def commit_each(self, batch: Batch, react: React | None = None) -> Sequence[Change | CozyError]:
        """See `DocumentStore.commit_each`."""
        answers: list[Change | CozyError] = []
        with self._transaction() as (transaction, changes):
            answers += [_attempt(transaction.apply, write) for write in batch]
            changes += [answer for answer in answers if isinstance(answer, Change)]
            self._react(transaction, changes, react)
        return answers

    def graft(
        self, doctype: str, docs: Sequence[Doc], react: React | None = None, *, private: Mapping[str, Map] | None = None
    ) -> Sequence[Change | CozyError | None]:
        """See `DocumentStore.graft`."""
        answers: list[Change | CozyError | None] = []
        given = private or {}
        with self._transaction() as (transaction, changes):
            transaction.make(doctype)
            answers += [_attempt(lambda one: transaction.graft(doctype, one, given.get(str(one.get("_id")))), doc) for doc in docs]
            changes += [answer for answer in answers if isinstance(answer, Change)]
            self._react(transaction, changes, react)
        return answers

    def listen(self, tell: Callable[[Sequence[Change]], None], forget: Callable[[], None] = lambda: None) -> None:
        """See `DocumentStore.listen`."""
        self._tell, self._forget = tell, forget

    @staticmethod
    def _react(transaction: Transaction, changes: list[Change], react: React | None) -> None:
        if react is None or not changes:
            return
        for write in react(tuple(changes), transaction.triggers_seq()):
            if write.rev is None and transaction.exists(write.ref):
                continue
            changes.append(transaction.apply(write))

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Transaction, list[Change]]]:
        """A write transaction; what it changed is told after it is durable, still under the writer's lock."""
        with self._together.writer():
            changes: list[Change] = []
            made: list[str] = []
            try:
                with self._writing() as connection:
                    transaction = self._begin(connection)
                    made = transaction.made
                    yield transaction, changes
                    transaction.finish()
            except BaseException:
                for doctype in made:
                    self._doctypes.pop(doctype, None)
                self._reload_indexes(changes)
                raise
            self._tell_of(changes)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The writer; when another process wrote meanwhile, what is known in memory is read again first."""
        with self._database.writing() as connection:
            if self._database.was_written_elsewhere():
                self._reload(connection)
            yield connection

    def _reload(self, connection: sqlite3.Connection) -> None:
        found = dict(connection.execute("SELECT name, num FROM doctype").fetchall())
        for doctype in self._doctypes.keys() - found.keys():
            self._doctypes.pop(doctype)
            self._tables.forget(doctype)
        self._doctypes.update(found)
        for doctype, num in found.items():
            self._tables.load_indexes(connection, doctype, num)
        self._forget()

    def _reload_indexes(self, changes: Sequence[Change]) -> None:
        """A transaction that was rolled back may have touched the indexes known in memory."""
        doctypes = {change.new.ref.doctype for change in changes if change.new.ref.id.startswith("_design/")}
        if not doctypes:
            return
        with self._database.reading(snapshot=True) as connection:
            for doctype in doctypes & self._doctypes.keys():
                self._tables.load_indexes(connection, doctype, self._doctypes[doctype])

    # -- small contents ---------------------------------------------------------------------------------------------

    def content(self, key: str) -> bytes | None:
        """See `DocumentStore.content`."""
        with self._database.reading() as connection:
            return content_table.get(connection, key)

    def contents(self) -> Iterator[tuple[str, int, datetime]]:
        """See `DocumentStore.contents`."""
        with self._database.reading() as connection:
            found = list(content_table.listed(connection))
        yield from found

    # -- revisions --------------------------------------------------------------------------------------------------

    def tree(self, ref: Ref) -> Tree:
        """See `DocumentStore.tree`."""
        num = self._number(ref.doctype)
        with self._database.reading(snapshot=True) as connection:
            return snapshot.tree(connection, num, ref)

    def leaves(self, ref: Ref, revs: Sequence[str] | Literal["all"] = "all", *, latest: bool = False) -> Sequence[Stored]:
        """See `DocumentStore.leaves`."""
        num, found = self._number(ref.doctype), []
        with self._database.reading(snapshot=True) as connection:
            tree = snapshot.tree(connection, num, ref)
            wanted = list(tree.leaves) if revs == "all" else list(revs)
            if latest and revs != "all":
                wanted = list(dict.fromkeys(leaf for rev in revs for leaf in tree.grown_into(rev)))
            for rev in wanted:
                with suppress(NotFound):
                    found.append(snapshot.revision(connection, num, ref, rev))
        return found

    def replicas(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> Sequence[Doc]:
        """See `DocumentStore.replicas`."""
        num, found = self._number(doctype), []
        with self._database.reading(snapshot=True) as connection:
            for ref, wanted in ((Ref(doctype, id), wanted) for id, wanted in revs.items()):
                with suppress(NotFound):
                    tree = snapshot.tree(connection, num, ref)
                    for rev in wanted:
                        stored = snapshot.revision(connection, num, ref, rev)
                        more = {"_revisions": revtree.revisions_of(tree.path(rev))} | attached.read(connection, num, stored)
                        found.append(stored.doc | more)
        return found

    def missing_revs(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[Sequence[str], Sequence[str]]]:
        """See `DocumentStore.missing_revs`."""
        num = self._find_number(doctype)
        found: dict[str, tuple[Sequence[str], Sequence[str]]] = {}
        with self._database.reading(snapshot=True) as connection:
            for id, wanted in revs.items():
                row = connection.execute("SELECT num FROM doc WHERE doctype = ? AND id = ?", (num, id)).fetchone()
                tree = snapshot.tree_of(connection, row[0]) if row else Tree()
                missing = tree.missing(wanted)
                if missing:
                    found[id] = (missing, tree.possible_ancestors(missing))
        return found

    # -- local documents --------------------------------------------------------------------------------------------

    def local(self, doctype: str, id: str) -> Doc | None:
        """See `DocumentStore.local`."""
        with self._database.reading() as connection:
            sql = "SELECT rev, text FROM local WHERE doctype = ? AND id = ?"
            row = connection.execute(sql, (self._number(doctype), id)).fetchone()
        return None if row is None else {"_id": f"_local/{id}", "_rev": f"0-{row[0]}"} | jsons.load_object(row[1])

    def locals(self, doctype: str) -> Sequence[str]:
        """See `DocumentStore.locals`."""
        with self._database.reading() as connection:
            found = connection.execute("SELECT id FROM local WHERE doctype = ? ORDER BY id", (self._number(doctype),))
            return [id for (id,) in found]

    def set_local(self, doctype: str, id: str, body: Doc) -> str:
        """See `DocumentStore.set_local`."""
        text, rev = jsons.dump(edits.clean(body)), next_local(body.get("_rev"))
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO local VALUES (?, ?, ?, ?)", (self._number(doctype), id, rev, text))
        return f"0-{rev}"

    # -- doctypes ---------------------------------------------------------------------------------------------------

    def info(self, doctype: str) -> Info:
        """See `DocumentStore.info`."""
        sql = "SELECT count, deleted, size, t.seq, epoch FROM doctype t, meta WHERE num = ?"
        with self._database.reading() as connection:
            row = connection.execute(sql, (self._number(doctype),)).fetchone()
        if row is None:
            raise NotFound(NO_DATABASE)
        return Info(row[0], row[1], f"{row[3]}-{row[4]}", row[2])

    def doctypes(self) -> Sequence[str]:
        """See `DocumentStore.doctypes`."""
        return sorted(self._doctypes)

    def make(self, doctype: str) -> bool:
        """See `DocumentStore.make`."""
        with self._transaction() as (transaction, _):
            transaction.make(doctype)
            return doctype in transaction.made

    def drop(self, doctype: str) -> None:
        """See `DocumentStore.drop`."""
        with self._database.lock:
            with self._writing() as connection:
                upkeep.drop(connection, self._tables, self._number(doctype))
            self._doctypes.pop(doctype, None)
            self._tables.forget(doctype)
            self._forget()
            with self._database.maintaining() as connection:
                upkeep.give_back(connection, SOME_PAGES)

    def purge(self, doctype: str, revs: Mapping[str, Sequence[str]]) -> None:
        """See `DocumentStore.purge`."""
        self._number(doctype)
        with self._transaction() as (transaction, _):
            for id, leaves in revs.items():
                for rev in leaves:
                    transaction.purge(Ref(doctype, id), rev)
        self._forget()

    # -- upkeep -----------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[str]:
        """See `DocumentStore.check`."""
        with self._database.reading(snapshot=True) as connection:
            findings = list(upkeep.findings(connection, self._tables, self._doctypes))
        yield from findings

    def tidy(self) -> None:
        """See `DocumentStore.tidy`."""
        with self._transaction() as (transaction, _):
            upkeep.restore_left_out(transaction, self._tables, self._doctypes)
        with self._database.reading(snapshot=True) as connection:
            wrong = upkeep.wrong_tables(connection, self._tables)
        if wrong:
            with self._database.lock, self._writing() as connection:
                upkeep.restore_totals(connection, wrong)
        with self._database.maintaining() as connection:
            upkeep.tidy(connection)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _number(self, doctype: str) -> int:
        num = self._find_number(doctype)
        if num is None:
            raise NotFound(NO_DATABASE)
        return num

    def _find_number(self, doctype: str) -> int | None:
        """A doctype's number; one that is not known here may have been made by another process."""
        num = self._doctypes.get(doctype)
        if num is None:
            with self._database.reading() as connection:
                row = connection.execute("SELECT num FROM doctype WHERE name = ?", (doctype,)).fetchone()
            num = row[0] if row else None
        return num


def _is_alone(ref: Ref) -> bool:
    """Whether a write shares its transaction with no other commit: what an index makes in memory is undone as a whole, and whoever
    reacts to the next commit has to be able to read the triggers that are in force.
    """
    return ref.doctype == TRIGGERS or ref.id.startswith("_design/")


def _attempt(step: Callable[[Any], Any], argument: Any) -> Any:
    """What a step answers, or the error it ended with; a step that fails has written nothing."""
    try:
        return step(argument)
    except CozyError as error:
        return error
