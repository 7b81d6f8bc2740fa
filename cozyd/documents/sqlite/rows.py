"""Rows of projections and Mango indexes, and their totals, kept in the document's own transaction."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cozyd import jsons
from cozyd.documents import collation
from cozyd.documents.mango import Index, index_from_design
from cozyd.documents.store import Key, Projection, Stored
from cozyd.errors import Conflict

T = TypeVar("T")
_ROWS_AT_ONCE = 16
PROJECTIONS_DOCTYPE = 0
"""`idx.doctype` of projections, which may span doctypes."""
_PATCHES_KNOWN = 1_000
"""For how many kinds of patches it is known which rows they can move."""


@dataclass(slots=True)
class Line:
    """One row to be, or one that is there: key bytes as stored, the key as JSON, its value as JSON."""

    key: bytes
    name: bytes | None
    value: bytes | None
    parts: Key | None = field(default=None, compare=False)
    """The key as it was told, where it need not be read again."""
    amount: Any = field(default=None, compare=False)
    """The value likewise."""


@dataclass(frozen=True)
class Table:
    """A projection or an index under its number in the file."""

    num: int
    projection: Projection | None = None
    index: Index | None = None

    def encode(self, key: Key) -> bytes:
        """A key, or a prefix of one, as stored."""
        if self.projection is not None and self.projection.unique:
            return collation.exact(key)
        return collation.tuple_key(key)

    def lines(self, stored: Stored) -> dict[bytes, Line]:
        """The rows a live document has, by key."""
        if self.index is not None:
            values = self.index.keys(stored.doc)
            return {} if values is None else {(key := collation.tuple_key(values)): Line(key, None, None)}
        assert self.projection is not None
        rows = self.projection.of[stored.ref.doctype](stored)
        lines = {}
        for parts, value in rows:
            at = self.encode(parts)
            lines[at] = Line(at, jsons.dump(list(parts)), None if value is None else jsons.dump(value), parts, value)
        return lines


class Tables:
    """Which tables a doctype feeds, in one tenant's file.

    :param projections: every projection of the server.
    """

    def __init__(self, projections: Sequence[Projection]) -> None:
        self._projections = projections
        self._by_name: dict[str, Table] = {}
        self._by_doctype: dict[str, list[Table]] = {}
        self._indexes: dict[str, list[Table]] = {}
        self._moved: dict[tuple[str, frozenset[str]], Sequence[Table]] = {}

    def load(self, connection: sqlite3.Connection, doctypes: Mapping[str, int]) -> list[Table]:
        """Read the numbers; answers projections that are new to this file and have to be built."""
        known = dict(connection.execute("SELECT name, num FROM idx WHERE doctype = ?", (PROJECTIONS_DOCTYPE,)).fetchall())
        new: list[Table] = []
        for projection in self._projections:
            num = known.get(projection.name)
            if num is None:
                cursor = connection.execute("INSERT INTO idx (doctype, name) VALUES (?, ?)", (PROJECTIONS_DOCTYPE, projection.name))
                num = int(cursor.lastrowid or 0)
                new.append(Table(num, projection))
            self._by_name[projection.name] = table = Table(num, projection)
            for doctype in projection.of:
                self._by_doctype.setdefault(doctype, []).append(table)
        for doctype, num in doctypes.items():
            self.load_indexes(connection, doctype, num)
        return new

    def load_indexes(self, connection: sqlite3.Connection, doctype: str, num: int) -> None:
        """Read the Mango indexes of a doctype from its design documents."""
        sql = "SELECT id, text FROM doc WHERE doctype = ? AND id >= '_design/' AND id < '_design0' AND deleted = 0"
        numbers = dict(connection.execute("SELECT name, num FROM idx WHERE doctype = ?", (num,)).fetchall())
        found = []
        for id, text in connection.execute(sql, (num,)).fetchall():
            for index in index_from_design(jsons.load_object(text) | {"_id": id}):
                name = index_name(index)
                if name in numbers:
                    found.append(Table(numbers[name], index=index))
        self._indexes[doctype] = found
        self._moved.clear()

    def projection(self, name: str) -> Table:
        """The table of a projection."""
        return self._by_name[name]

    def projections(self) -> Sequence[Table]:
        """Every projection's table."""
        return list(self._by_name.values())

    def indexes(self, doctype: str) -> Sequence[Table]:
        """The Mango indexes of a doctype."""
        return self._indexes.get(doctype, ())

    def fed_by(self, doctype: str) -> Sequence[Table]:
        """Every table that documents of the doctype have rows in."""
        projections, indexes = self._by_doctype.get(doctype), self._indexes.get(doctype)
        if not indexes:
            return projections or ()
        return [*(projections or ()), *indexes]

    def moved_by(self, doctype: str, changed: Iterable[str] | None) -> Sequence[Table]:
        """The tables whose rows a change of these fields can move; asked again for each of thousands of like patches.

        :param changed: None: any may have changed.
        """
        if changed is None:
            return self.fed_by(doctype)
        at = (doctype, frozenset(changed))
        found = self._moved.get(at)
        if found is None:
            if len(self._moved) >= _PATCHES_KNOWN:
                self._moved.clear()
            found = self._moved[at] = [table for table in self.fed_by(doctype) if _looks_at(table, at[1])]
        return found

    def forget(self, doctype: str) -> None:
        """A doctype was dropped."""
        self._indexes.pop(doctype, None)
        self._moved.clear()


def index_name(index: Index) -> str:
    """An index' name in the file."""
    return f"{index.ddoc}/{index.name}"


@dataclass(slots=True)
class Tally:
    """What a transaction adds to the totals, written once at its end."""

    deltas: dict[tuple[int, bytes], list[int | float]] = field(default_factory=dict)
    seqs: dict[tuple[int, bytes], int] = field(default_factory=dict)

    def add(self, table: Table, line: Line, sign: int, seq: int) -> None:
        """Count a row in or out under each prefix of its key."""
        projection = table.projection
        if projection is None or line.name is None:
            return
        key = line.parts if line.parts is not None else jsons.load(line.name)
        amount = 0
        if projection.reduce == "sum" and line.value is not None:
            amount = sign * (line.amount if line.amount is not None else jsons.load(line.value))
        for length in range(projection.depth + 1):
            at = (table.num, table.encode(key[:length]) if length else b"")
            delta = self.deltas.setdefault(at, [0, 0])
            delta[0] += sign
            delta[1] += amount
            if projection.feed:
                self.seqs[at] = seq

    def flush(self, connection: sqlite3.Connection) -> None:
        """Write the totals; those that are as before are left alone."""
        moved = {at: delta for at, delta in self.deltas.items() if delta[0] or delta[1] or at in self.seqs}
        rows = [(idx, prefix, *delta, self.seqs.get((idx, prefix), 0)) for (idx, prefix), delta in moved.items()]
        for some in _in_pieces(rows):
            values = ", ".join(["(?, ?, ?, ?, ?)"] * len(some))
            connection.execute(
                f"INSERT INTO total VALUES {values} ON CONFLICT DO UPDATE SET "  # noqa: S608
                "count = count + excluded.count, sum = sum + excluded.sum, seq = max(seq, excluded.seq)",
                [part for row in some for part in row],
            )


class Rows:
    """Brings the rows of documents up to date inside one transaction."""

    def __init__(self, connection: sqlite3.Connection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self.tally = Tally()

    def replace(
        self, doc: int, old: Stored | None, new: Stored | None, seq: int, *, strict: bool, changed: Iterable[str] | None = None
    ) -> None:
        """Replace a document's rows.

        :param doc: its number in the file.
        :param new: None: it is gone.
        :param strict: a unique row that is taken is a Conflict, else it is left out.
        :param changed: top-level fields a patch changed; None: any may have.
        :raises Conflict: see `strict`; nothing is written then.
        """
        known = new or old
        if known is None:
            return
        ref = known.ref
        tables = self._tables.moved_by(ref.doctype, changed)
        if not tables or ref.id.startswith("_design/"):
            return
        wanted = {table.num: (table.lines(new) if new is not None else {}) for table in tables}
        found = self._found(doc, wanted) if old is not None else {}
        for table in tables:
            self._drop_taken(table, doc, wanted[table.num], strict=strict)
        fresh = [row for table in tables for row in self._moved(table, ref.id, doc, found.get(table.num, {}), wanted[table.num], seq)]
        self._insert(fresh)

    def add(self, table: Table, doc: int, stored: Stored, seq: int) -> None:
        """Write the rows of one document into a table that has none of it yet; taken unique ones are left out."""
        lines = table.lines(stored) if not stored.ref.id.startswith("_design/") else {}
        self._drop_taken(table, doc, lines, strict=False)
        self._insert(self._moved(table, stored.ref.id, doc, {}, lines, seq))

    def _found(self, doc: int, wanted: Mapping[int, Any]) -> dict[int, dict[bytes, Line]]:
        found: dict[int, dict[bytes, Line]] = {}
        sql = "SELECT idx, key, name, value FROM entry WHERE doc = ? AND gone = 0"
        for idx, key, name, value in self._connection.execute(sql, (doc,)):
            if idx in wanted:
                found.setdefault(idx, {})[key] = Line(key, name, value)
        return found

    def _drop_taken(self, table: Table, doc: int, lines: dict[bytes, Line], *, strict: bool) -> None:
        """Leave out rows of a unique projection that another document has."""
        if table.projection is None or not table.projection.unique:
            return
        for key in list(lines):
            sql = "SELECT doc FROM entry WHERE idx = ? AND key = ? AND gone = 0 AND doc <> ?"
            if self._connection.execute(sql, (table.num, key, doc)).fetchone():
                if strict:
                    raise Conflict(f"{table.projection.name} is taken", source=table.projection.name)
                del lines[key]

    def _moved(
        self, table: Table, id: str, doc: int, found: Mapping[bytes, Line], wanted: Mapping[bytes, Line], seq: int
    ) -> list[tuple[Any, ...]]:
        """Take out what is not as before, count, and tell the rows that are to be written."""
        feed = table.projection is not None and table.projection.feed
        for key, line in found.items():
            if key in wanted and wanted[key] == line:
                continue
            if key not in wanted:
                self._remove(table, id, doc, line, seq if feed else None)
            elif table.projection is not None:
                self.tally.add(table, line, -1, seq)
        fresh = []
        for key, line in wanted.items():
            if found.get(key) == line:
                continue
            if feed and key not in found:
                self._connection.execute("DELETE FROM entry WHERE idx = ? AND key = ? AND gone = 1", (table.num, key))
            fresh.append((table.num, key, id, doc, line.name, line.value, seq if feed else None))
            self.tally.add(table, line, 1, seq)
        return fresh

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for some in _in_pieces(rows):
            values = ", ".join(["(?, ?, ?, ?, ?, ?, ?, 0)"] * len(some))
            self._connection.execute(f"INSERT OR REPLACE INTO entry VALUES {values}", [part for row in some for part in row])  # noqa: S608

    def _remove(self, table: Table, id: str, doc: int, line: Line, seq: int | None) -> None:
        at = (table.num, line.key, id, doc)
        if seq is None:
            self._connection.execute("DELETE FROM entry WHERE idx = ? AND key = ? AND id = ? AND doc = ?", at)
        else:
            sql = "UPDATE entry SET gone = 1, value = NULL, seq = ? WHERE idx = ? AND key = ? AND id = ? AND doc = ?"
            self._connection.execute(sql, (seq, *at))
        self.tally.add(table, line, -1, seq or 0)


def _in_pieces(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Rows that one statement writes: each statement lets other threads run, which costs more than a row."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE]


def _looks_at(table: Table, changed: frozenset[str]) -> bool:
    """Whether a change of these top-level fields can move the table's rows."""
    if table.index is not None:
        return table.index.where is not None or any(path[0] in changed for path in table.index.paths)
    reads = table.projection.reads if table.projection is not None else frozenset()
    return not reads or not reads.isdisjoint(changed)
