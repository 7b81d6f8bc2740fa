"""One write transaction: compare revisions, write documents and their rows, count."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd import jsons
from cozyd.documents import attachments, edits, revtree
from cozyd.documents.mango import index_from_design
from cozyd.documents.revtree import Tree
from cozyd.documents.sqlite.attached import Attached
from cozyd.documents.sqlite.rows import Rows, Table, Tables, index_name
from cozyd.documents.store import Change, Doc, Key, Map, Ref, Stored, Write
from cozyd.errors import Conflict

STEM_EVERY = 100
TRIGGERS = "io.cozy.triggers"

Seq = str
Parents = Mapping[str, str | None]


@dataclass(slots=True)
class _Row:
    """A document as it lies in the file."""

    num: int
    rev: str
    seq: int
    deleted: bool
    leaves: int
    text: bytes
    private: bytes | None

    def stored(self, ref: Ref) -> Stored:
        return Stored(ref, self.rev, self.text, deleted=self.deleted, private=self.private)


class Transaction:
    """The writes of one transaction, in order.

    :param doctypes: doctype -> its number; doctypes made here are added.
    :param lenient: doctypes where a taken unique row is left out.
    """

    def __init__(self, connection: sqlite3.Connection, tables: Tables, doctypes: dict[str, int], lenient: frozenset[str]) -> None:
        self.connection = connection
        self._tables = tables
        self._doctypes = doctypes
        self._lenient = lenient
        self._rows = Rows(connection, tables)
        self._attached = Attached(connection)
        self._counts: dict[int, list[int]] = {}
        self._seq, self._epoch = connection.execute("SELECT seq, epoch FROM meta").fetchone()
        self._began = self._seq
        self._triggers: Seq | None = None
        self._last_num = 0
        self.made: list[str] = []

    def seq_text(self, seq: int) -> Seq:
        """A sequence as it is told: with the epoch."""
        return f"{seq}-{self._epoch}"

    def triggers_seq(self) -> Seq:
        """The last sequence of io.cozy.triggers before this transaction."""
        if self._triggers is None:
            row = self.connection.execute("SELECT seq FROM doctype WHERE name = ?", (TRIGGERS,)).fetchone()
            self._triggers = self.seq_text(row[0] if row else 0)
        return self._triggers

    def holds(self, ref: Ref, rev: str) -> bool:
        """Whether a document still has this revision."""
        row = self._find(ref)
        return row is not None and not row.deleted and row.rev == rev

    def counts(self, table: Table, prefix: Key, count: int) -> bool:
        """Whether so many rows are under a key prefix."""
        sql, at = "SELECT count FROM total WHERE idx = ? AND prefix = ?", (table.num, table.encode(prefix))
        row = self.connection.execute(sql, at).fetchone()
        return (row[0] if row else 0) + self._rows.tally.deltas.get(at, (0, 0))[0] == count

    def total(self, tables: Sequence[Table]) -> int:
        """What the values of all rows of some tables add up to now."""
        sql = f"SELECT coalesce(sum(sum), 0) FROM total WHERE prefix = x'' AND idx IN ({', '.join('?' * len(tables))})"  # noqa: S608
        written = self.connection.execute(sql, [table.num for table in tables]).fetchone()[0]
        return int(written + sum(self._rows.tally.deltas.get((table.num, b""), (0, 0))[1] for table in tables))

    def exists(self, ref: Ref) -> bool:
        """Whether there is a live document."""
        row = self._find(ref)
        return row is not None and not row.deleted

    def check(self, write: Write) -> None:
        """Refuse a write whose base has changed; nothing is written.

        :raises Conflict: see `Write.rev`.
        """
        self._base(write, self._find(write.ref))

    def apply(self, write: Write) -> Change:
        """Make one edit.

        :raises Conflict: its base has changed, or a unique row is taken.
        :raises Invalid, BadRequest, TooLarge: the body cannot be stored; nothing is written then.
        """
        row = self._find(write.ref)
        base = self._base(write, row)
        fields, contents = self._fields(write, row, base)
        text = edits.text_of(write.ref, fields)
        rev = revtree.next_rev(base, fields, deleted=write.deleted)
        private = self._private(write, row)
        stored = Stored(write.ref, rev, text, deleted=write.deleted, private=private)
        if row is not None and base is not None and (row.leaves > 1 or base != row.rev):
            change = self._edit_conflict(write, row, base, stored)
        else:
            changed = write.patch.keys() if write.patch is not None and write.private is None else None
            change = self._put(write, row, stored, base, changed)
        self._settle_contents(write.ref, row, contents)
        return change

    def graft(self, doctype: str, doc: Doc, given: Map | None = None) -> Change | None:
        """Merge a replica's revision; None: it was known, though perhaps not all of its ancestors.

        :param given: private data that comes with it; None keeps what is there.
        :raises BadRequest, Invalid, TooLarge: it is no revision, or cannot be stored.
        """
        ref = Ref(doctype, edits.check_id(doc.get("_id")))
        path = revtree.given_path(doc)
        fields = edits.clean(doc)
        deleted = doc.get("_deleted") is True
        row = self._find(ref)
        contents: attachments.Contents = {}
        if doc.get(attachments.MEMBER):
            known = self._attached.stubs(row.num) if row is not None else {}
            fields[attachments.MEMBER], contents = attachments.take(doc[attachments.MEMBER], known, revtree.generation(path[0]))
            self._attached.check(row.num if row is not None else 0, contents)
        tree = self._tree(row.num) if row is not None else Tree()
        before = dict(tree.parents)
        if not tree.merge(path, deleted=deleted):
            return None
        private = row.private if row is not None and not row.deleted and not deleted else None
        if given is not None:
            private = jsons.dump(dict(given)) if given else None
        stored = Stored(ref, path[0], edits.text_of(ref, fields), deleted=deleted, private=private)
        if row is not None and path[0] in before and revtree.leaves_of(before) == revtree.leaves_of(tree.parents):
            self._rewrite(row.num, tree, before, tree.stem())
            return None
        change = self._settle(ref, row, tree, before, stored)
        self._settle_contents(ref, row, contents)
        return change

    def _settle_contents(self, ref: Ref, row: _Row | None, contents: attachments.Contents) -> None:
        """Write new contents of attachments, and remove those that no revision names any more."""
        if not contents and (row is None or not attachments.may_have(row.text)):
            return
        now = self._find(ref)
        if now is not None:
            self._attached.settle(now.num, contents)

    def purge(self, ref: Ref, rev: str) -> None:
        """Forget a leaf; the next best one wins, or the document is gone."""
        row = self._find(ref)
        if row is None:
            return
        tree = self._tree(row.num)
        gone = tree.purge(rev)
        if not gone:
            return
        old = row.stored(ref) if not row.deleted else None
        self.connection.executemany("DELETE FROM rev WHERE doc = ? AND rev = ?", [(row.num, one) for one in gone])
        seq = self._seq = self._seq + 1
        if tree.parents:
            winner = self._winner(row, row.num, tree.winner, row.stored(ref))
            self._rows.replace(row.num, old, None if winner.deleted else winner, seq, strict=False)
            self._update(row, winner, seq, leaves=len(tree.leaves))
            self._count(self._doctypes[ref.doctype], row, winner, seq)
            self._attached.settle(row.num, {})
            return
        self._rows.replace(row.num, old, None, seq, strict=False)
        self._attached.drop(row.num)
        self.connection.execute("UPDATE OR REPLACE entry SET doc = -doc WHERE doc = ?", (row.num,))  # a feed's gone rows
        self.connection.execute("DELETE FROM doc WHERE num = ?", (row.num,))
        counts = self._counts.setdefault(self._doctypes[ref.doctype], [0, 0, 0, 0])
        counts[int(row.deleted)] -= 1
        counts[2] -= len(row.text)

    def refresh(self, table: Table, stored: Stored) -> None:
        """Write the rows of a document that a table lacks."""
        row = self._find(stored.ref)
        if row is not None:
            self._seq += 1
            self._rows.add(table, row.num, stored, self._seq)

    def finish(self) -> None:
        """Write counters and totals."""
        self._rows.tally.flush(self.connection)
        if self._seq != self._began:
            self.connection.execute("UPDATE meta SET seq = ?", (self._seq,))
        self.connection.executemany(
            "UPDATE doctype SET count = count + ?, deleted = deleted + ?, size = size + ?, seq = max(seq, ?) WHERE num = ?",
            [(*counts, num) for num, counts in self._counts.items()],
        )

    def make(self, doctype: str) -> int:
        """A doctype's number; it is made when it was not there."""
        num = self._doctypes.get(doctype)
        if num is None:
            row = self.connection.execute("SELECT num FROM doctype WHERE name = ?", (doctype,)).fetchone()
            if row is None:
                num = int(self.connection.execute("INSERT INTO doctype (name) VALUES (?)", (doctype,)).lastrowid or 0)
                self.made.append(doctype)
            else:
                num = int(row[0])
            self._doctypes[doctype] = num
        return num

    def build(self, table: Table, doctype: str) -> None:
        """Fill a new table with the rows of the documents that are there."""
        num = self._doctypes.get(doctype)
        sql = "SELECT num, id, rev, text, private, seq FROM doc WHERE doctype = ? AND deleted = 0 ORDER BY seq"
        for doc, id, rev, text, private, seq in self.connection.execute(sql, (num,)).fetchall():
            self._rows.add(table, doc, Stored(Ref(doctype, id), rev, text, private=private), seq)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _find(self, ref: Ref) -> _Row | None:
        num = self._doctypes.get(ref.doctype) or self.make(ref.doctype)
        sql = "SELECT num, rev, seq, deleted, leaves, text, private FROM doc WHERE doctype = ? AND id = ?"
        row = self.connection.execute(sql, (num, ref.id)).fetchone()
        return None if row is None else _Row(row[0], row[1], row[2], bool(row[3]), row[4], row[5], row[6])

    def _base(self, write: Write, row: _Row | None) -> str | None:
        """The revision an edit grows from."""
        if row is None:
            if write.rev is not None or (write.deleted and write.body is None):
                raise Conflict(refs=[write.ref])
            return None
        if write.rev is None:
            if not row.deleted:
                raise Conflict(refs=[write.ref])
            return row.rev
        if write.rev == row.rev:
            return row.rev
        if row.leaves > 1 and write.rev in self._tree(row.num).conflicts:
            return write.rev
        raise Conflict(refs=[write.ref])

    def _fields(self, write: Write, row: _Row | None, base: str | None) -> tuple[Doc, attachments.Contents]:
        """The new body, and contents of attachments that come with it; those that are there stay, unless the body has others."""
        if write.patch is None and write.body is None:
            return {}, {}
        text = self._text_of(row, base) if row is not None else b""
        before = jsons.load_object(text) if write.patch is not None or attachments.may_have(text) else {}
        old = before.pop(attachments.MEMBER, {}) if not write.deleted else {}
        if write.patch is not None:
            return edits.patched(before, edits.clean(write.patch)) | ({attachments.MEMBER: old} if old else {}), {}
        body = jsons.load_object(write.body) if isinstance(write.body, bytes) else write.body
        fields = edits.clean(body or {})
        contents: attachments.Contents = {}
        if body and body.get(attachments.MEMBER):
            old, contents = attachments.take(body[attachments.MEMBER], old, revtree.generation(base) + 1 if base else 1)
            self._attached.check(row.num if row is not None else 0, contents)
        return fields | ({attachments.MEMBER: old} if old else {}), contents

    def _text_of(self, row: _Row, base: str | None) -> bytes:
        if base is None or base == row.rev:
            return row.text
        found = self.connection.execute("SELECT text FROM rev WHERE doc = ? AND rev = ?", (row.num, base)).fetchone()
        text: bytes = found[0]
        return text

    @staticmethod
    def _private(write: Write, row: _Row | None) -> bytes | None:
        if write.deleted:
            return None
        if write.private is not None:
            return jsons.dump(dict(write.private)) if write.private else None
        return row.private if row is not None and not row.deleted else None

    def _put(self, write: Write, row: _Row | None, stored: Stored, base: str | None, changed: Any) -> Change:
        """Replace the winner by its child, or make the document."""
        doctype = self._doctypes[write.ref.doctype]
        old = row.stored(write.ref) if row is not None and not row.deleted else None
        live = None if stored.deleted else stored
        strict = write.strict or write.ref.doctype not in self._lenient
        seq = self._seq + 1
        num = row.num if row is not None else self._next_num()
        self._rows.replace(num, old, live, seq, strict=strict, changed=changed if old is not None else None)
        self._seq = seq
        if row is None:
            self._insert(num, doctype, stored, seq)
        else:
            self._update(row, stored, seq)
        self._insert_rev(num, stored.rev, base, stored.deleted)
        if base is not None and revtree.generation(stored.rev) % STEM_EVERY == 0:
            self._stem(num)
        self._count(doctype, row, stored, seq)
        if stored.ref.id.startswith("_design/"):
            self._index(stored, old)
        patched = write.patch.keys() if write.patch is not None else None
        return edits.change_of(old, stored, seq=self.seq_text(seq), about=write.about, bodied=write.body is not None, patched=patched)

    def _edit_conflict(self, write: Write, row: _Row, base: str, stored: Stored) -> Change:
        """Let a losing branch grow."""
        tree = self._tree(row.num)
        before = dict(tree.parents)
        tree.merge([stored.rev, *tree.path(base)], deleted=stored.deleted)
        change = self._settle(write.ref, row, tree, before, stored)
        leaf = stored if stored.rev != change.new.rev else None
        return Change(change.verb, change.new, change.old, write.about, change.seq, leaf)

    def _settle(self, ref: Ref, row: _Row | None, tree: Tree, before: Parents, stored: Stored) -> Change:
        """Write a merged tree: the new leaf, the winner, and what was stemmed."""
        doctype = self._doctypes[ref.doctype]
        num = row.num if row is not None else self._next_num()
        old = row.stored(ref) if row is not None and not row.deleted else None
        gone = tree.stem()
        leaves = tree.leaves
        winner = self._winner(row, num, leaves[0], stored)
        live = None if winner.deleted else winner
        seq = self._seq = self._seq + 1
        self._rows.replace(num, old, live, seq, strict=False)
        if row is None:
            self._insert(num, doctype, winner, seq, leaves=len(leaves))
        else:
            if row.rev in leaves and winner.rev != row.rev:
                self.connection.execute("UPDATE rev SET text = ? WHERE doc = ? AND rev = ?", (row.text, num, row.rev))
            self._update(row, winner, seq, leaves=len(leaves))
        self._rewrite(num, tree, before, gone)
        if stored.rev not in before and stored.rev != winner.rev:
            self.connection.execute("UPDATE rev SET text = ? WHERE doc = ? AND rev = ?", (stored.text, num, stored.rev))
        self._count(doctype, row, winner, seq)
        if ref.id.startswith("_design/"):
            self._index(winner, old)
        return edits.change_of(old, winner, seq=self.seq_text(seq), about={}, bodied=True)

    def _winner(self, row: _Row | None, num: int, rev: str, stored: Stored) -> Stored:
        """The winning leaf with its body; private data belongs to the document and stays, unless it is deleted."""
        if rev == stored.rev:
            return stored
        if row is not None and rev == row.rev:
            return row.stored(stored.ref)
        text, deleted = self.connection.execute("SELECT text, deleted FROM rev WHERE doc = ? AND rev = ?", (num, rev)).fetchone()
        private = row.private if row is not None and not row.deleted else None
        return Stored(stored.ref, rev, text or b"{}", deleted=bool(deleted), private=private)

    def _rewrite(self, num: int, tree: Tree, before: Parents, gone: Sequence[str]) -> None:
        """Write what a merge changed: new revisions, known ones that got a parent, lost one, or are no leaf any more."""
        for rev, parent in tree.parents.items():
            if rev not in before:
                self._insert_rev(num, rev, parent, rev in tree.deleted)
            elif before[rev] != parent:
                self.connection.execute("UPDATE rev SET parent = ? WHERE doc = ? AND rev = ?", (parent, num, rev))
        inner = revtree.leaves_of(before) - revtree.leaves_of(tree.parents)
        self.connection.executemany("UPDATE rev SET text = NULL WHERE doc = ? AND rev = ?", [(num, rev) for rev in inner])
        self.connection.executemany("DELETE FROM rev WHERE doc = ? AND rev = ?", [(num, rev) for rev in gone if rev in before])

    def _next_num(self) -> int:
        """The number of a new document: one more than any has or had in this transaction."""
        if not self._last_num:
            found = self.connection.execute("SELECT num FROM doc NOT INDEXED ORDER BY num DESC LIMIT 1").fetchone()
            self._last_num = int(found[0]) if found else 0
        self._last_num += 1
        return self._last_num

    def _insert(self, num: int, doctype: int, stored: Stored, seq: int, *, leaves: int = 1) -> None:
        self.connection.execute(
            "INSERT INTO doc VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (num, doctype, stored.ref.id, stored.rev, seq, stored.deleted, leaves, stored.text, stored.private_text),
        )

    def _update(self, row: _Row, stored: Stored, seq: int, *, leaves: int | None = None) -> None:
        self.connection.execute(
            "UPDATE doc SET rev = ?, seq = ?, deleted = ?, leaves = ?, text = ?, private = ? WHERE num = ?",
            (stored.rev, seq, stored.deleted, leaves or row.leaves, stored.text, stored.private_text, row.num),
        )

    def _insert_rev(self, num: int, rev: str, parent: str | None, deleted: bool) -> None:
        self.connection.execute("INSERT OR REPLACE INTO rev VALUES (?, ?, ?, ?, NULL)", (num, rev, parent, deleted))

    def _tree(self, num: int) -> Tree:
        tree = Tree()
        for rev, parent, deleted in self.connection.execute("SELECT rev, parent, deleted FROM rev WHERE doc = ?", (num,)):
            tree.parents[rev] = parent
            if deleted:
                tree.deleted.add(rev)
        return tree

    def _stem(self, num: int) -> None:
        tree = self._tree(num)
        before = dict(tree.parents)
        self._rewrite(num, tree, before, tree.stem())

    def _count(self, doctype: int, row: _Row | None, new: Stored, seq: int) -> None:
        counts = self._counts.setdefault(doctype, [0, 0, 0, 0])
        was_live, was_deleted = (row is not None and not row.deleted), (row is not None and row.deleted)
        counts[0] += (not new.deleted) - was_live
        counts[1] += new.deleted - was_deleted
        counts[2] += len(new.text) - (len(row.text) if row is not None else 0)
        counts[3] = seq

    def _index(self, new: Stored, old: Stored | None) -> None:
        """Build the indexes a design document describes, drop those that the old one did."""
        doctype = self._doctypes[new.ref.doctype]
        wanted = {index_name(index): index for index in index_from_design(new.doc)} if not new.deleted else {}
        before = {index_name(index): index for index in index_from_design(old.doc)} if old is not None else {}
        for name, index in before.items():
            if wanted.get(name) == index:
                del wanted[name]
                continue
            found = self.connection.execute("SELECT num FROM idx WHERE doctype = ? AND name = ?", (doctype, name)).fetchone()
            if found:
                self.connection.execute("DELETE FROM entry WHERE idx = ?", found)
                self.connection.execute("DELETE FROM idx WHERE num = ?", found)
        for name, index in wanted.items():
            num = int(self.connection.execute("INSERT INTO idx (doctype, name) VALUES (?, ?)", (doctype, name)).lastrowid or 0)
            self.build(Table(num, index=index), new.ref.doctype)
        self._tables.load_indexes(self.connection, new.ref.doctype, doctype)
