"""Rows of a projection as they are read: by key, or of a feed by seq."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from cozyd import jsons
from cozyd.documents.sqlite import snapshot
from cozyd.documents.sqlite.rows import Table
from cozyd.documents.store import Key, Ref, Row, Stored

BEYOND_ASCII, HAS = "length(e.value) <> length(CAST(e.value AS TEXT))", "instr(lower(CAST(e.value AS TEXT)), ?) > 0"


class Bounds:
    """Which rows of a table are asked for; members as `DocumentStore.rows` has them."""

    def __init__(
        self,
        table: Table,
        prefix: Key,
        *,
        start: Key | None,
        end: Key | None,
        after: tuple[Key, str] | None,
        since: str | None,
        descending: bool,
        sieve: Sequence[str],
    ) -> None:
        low = table.encode(prefix) if start is None else table.encode(start)
        high = (table.encode(prefix) if end is None else table.encode(end)) + b"\xff"
        self.since = since
        self.by = "NOT INDEXED" if since is None else "INDEXED BY entry_by_seq"  # by key, or by seq, whatever the statistics say
        self.order = "e.seq" if since is not None else "e.key DESC, e.id DESC" if descending else "e.key, e.id"
        self.where, self.values = ["e.idx = ?", "e.key >= ?", "e.key < ?"], [table.num, low, high]
        if after is not None:
            self.where.append(f"(e.key, e.id) {'<' if descending else '>'} (?, ?)")
            self.values += [table.encode(after[0]), after[1]]
        if sieve:
            self.where.append(f"(e.value IS NULL OR {' OR '.join([BEYOND_ASCII, *[HAS] * len(sieve)])})")
            self.values += sieve


def read(connection: sqlite3.Connection, bounds: Bounds, *, skip: int, limit: int | None, docs: bool, feed: bool) -> Sequence[Row]:
    """The rows within bounds, their documents with them where `docs` asks for them.

    :param feed: whether the rows have seqs; the connection reads one state then.
    :raises SeqGone: `since` is of a lost future.
    """
    where, values = list(bounds.where), list(bounds.values)
    last, epoch = connection.execute("SELECT seq, epoch FROM meta").fetchone() if feed else (0, "")
    if bounds.since is not None:
        where.append("e.seq > ?")
        values.append(snapshot.known_seq(connection, bounds.since, last, epoch))
    else:
        where.append("e.gone = 0")
    columns = "d.text, d.private" if docs else "NULL, NULL"
    sql = (
        f"SELECT e.name, e.id, d.rev, e.value, e.seq, e.gone, t.name, {columns} "  # noqa: S608
        f"FROM entry e {bounds.by} LEFT JOIN doc d NOT INDEXED ON d.num = e.doc "
        f"LEFT JOIN doctype t ON t.num = d.doctype WHERE {' AND '.join(where)} ORDER BY {bounds.order} LIMIT ? OFFSET ?"
    )
    found = connection.execute(sql, (*values, -1 if limit is None else limit, skip)).fetchall()
    return _rows(found, epoch)


def _rows(found: Sequence[Sequence[Any]], epoch: str) -> list[Row]:
    """Rows of a projection; their keys and values are parsed at once, as there may be thousands."""
    keys = jsons.load(b"[%b]" % b",".join([name for name, *_ in found]))
    values = jsons.load(b"[%b]" % b",".join([b"null" if value is None else value for _, _, _, value, *_ in found]))
    rows = []
    for (_, id, rev, _, seq, gone, doctype, text, private), key, value in zip(found, keys, values, strict=True):
        ref = Ref(doctype or "", id)
        stored = None if text is None else Stored(ref, rev, text, private=private)
        rows.append(Row(tuple(key), ref, rev or "", value, "" if seq is None else f"{seq}-{epoch}", bool(gone), stored))
    return rows
