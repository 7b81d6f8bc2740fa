"""Checks and upkeep of a tenant's file."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping

from cozyd import jsons
from cozyd.documents.sqlite.rows import Line, Table, Tables, Tally
from cozyd.documents.sqlite.writing import Transaction
from cozyd.documents.store import Ref, Stored


def drop(connection: sqlite3.Connection, tables: Tables, num: int) -> None:
    """Delete a doctype with everything that hangs on it; rows of feeds stay as gone ones, so that their readers learn of it."""
    seq = connection.execute("UPDATE meta SET seq = seq + 1 RETURNING seq").fetchone()[0]
    docs = "SELECT num FROM doc WHERE doctype = ?"
    tally = Tally()
    for table in tables.projections():
        sql = f"SELECT key, name, value FROM entry WHERE idx = ? AND gone = 0 AND doc IN ({docs})"  # noqa: S608
        for key, name, value in connection.execute(sql, (table.num, num)):
            tally.add(table, Line(key, name, value), -1, seq)
    tally.flush(connection)
    connection.execute(
        f"UPDATE entry SET gone = 1, value = NULL, seq = ? WHERE seq IS NOT NULL AND gone = 0 AND doc IN ({docs})",  # noqa: S608
        (seq, num),
    )
    connection.execute(f"UPDATE OR REPLACE entry SET doc = -doc WHERE seq IS NOT NULL AND doc IN ({docs})", (num,))  # noqa: S608
    for name in ("entry", "rev", "attachment"):
        connection.execute(f"DELETE FROM {name} WHERE doc IN ({docs})", (num,))  # noqa: S608
    for name in ("doc", "idx", "local"):
        connection.execute(f"DELETE FROM {name} WHERE doctype = ?", (num,))  # noqa: S608
    connection.execute("DELETE FROM doctype WHERE num = ?", (num,))


def count(connection: sqlite3.Connection, table: Table) -> dict[bytes, tuple[int, int]]:
    """A projection's totals, from its rows."""
    assert table.projection is not None
    found: dict[bytes, tuple[int, int]] = {}
    for name, value in connection.execute("SELECT name, value FROM entry WHERE idx = ? AND gone = 0", (table.num,)):
        key = jsons.load(name)
        amount = jsons.load(value) if table.projection.reduce == "sum" and value is not None else 0
        for length in range(table.projection.depth + 1):
            prefix = table.encode(tuple(key[:length]))
            number, total = found.get(prefix, (0, 0))
            found[prefix] = (number + 1, total + amount)
    return found


def findings(connection: sqlite3.Connection, tables: Tables, doctypes: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a tenant's data, one sentence each."""
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"The database file is damaged: {line}"
    for doctype, num in doctypes.items():
        counts = connection.execute("SELECT sum(deleted = 0), sum(deleted) FROM doc WHERE doctype = ?", (num,)).fetchone()
        noted = connection.execute("SELECT count, deleted FROM doctype WHERE num = ?", (num,)).fetchone()
        if (counts[0] or 0, counts[1] or 0) != noted:
            yield f"{doctype} has {counts[0] or 0} documents, {noted[0] if noted else 0} are noted"
    for table in tables.projections():
        yield from _wrong_totals(connection, table)
    for table, doctype, stored, key in left_out(connection, tables, doctypes):
        name = table.projection.name if table.projection is not None else ""
        yield f"{doctype} {stored.ref.id} has no row in {name}: {key.decode(errors='replace')!r} is taken"


def _wrong_totals(connection: sqlite3.Connection, table: Table) -> Iterator[str]:
    counted = count(connection, table)
    assert table.projection is not None
    for prefix, number, amount in connection.execute("SELECT prefix, count, sum FROM total WHERE idx = ?", (table.num,)):
        if counted.pop(prefix, (0, 0)) != (number, amount):
            yield f"A total of {table.projection.name} is wrong"
    for _ in counted:
        yield f"A total of {table.projection.name} is missing"


def left_out(connection: sqlite3.Connection, tables: Tables, doctypes: Mapping[str, int]) -> Iterator[tuple[Table, str, Stored, bytes]]:
    """Documents whose unique row was taken when they were written."""
    for table in tables.projections():
        if table.projection is None or not table.projection.unique:
            continue
        have = set(connection.execute("SELECT key, doc FROM entry WHERE idx = ? AND gone = 0", (table.num,)))
        for doctype in table.projection.of:
            sql = "SELECT num, id, rev, text, private FROM doc WHERE doctype = ? AND deleted = 0"
            for num, id, rev, text, private in connection.execute(sql, (doctypes.get(doctype),)).fetchall():
                if id.startswith("_design/"):
                    continue
                stored = Stored(Ref(doctype, id), rev, text, private=private)
                yield from ((table, doctype, stored, key) for key in table.lines(stored) if (key, num) not in have)


def wrong_tables(connection: sqlite3.Connection, tables: Tables) -> list[Table]:
    """Projections whose totals are not those of their rows."""
    return [table for table in tables.projections() if any(True for _ in _wrong_totals(connection, table))]


def restore_totals(connection: sqlite3.Connection, wrong: Iterable[Table]) -> None:
    """Count the totals of projections again; what they had as their last change stays."""
    for table in wrong:
        seqs = dict(connection.execute("SELECT prefix, seq FROM total WHERE idx = ?", (table.num,)).fetchall())
        connection.execute("DELETE FROM total WHERE idx = ?", (table.num,))
        counted = dict.fromkeys(seqs, (0, 0)) | count(connection, table)
        rows = [(table.num, prefix, number, amount, seqs.get(prefix, 0)) for prefix, (number, amount) in counted.items()]
        connection.executemany("INSERT INTO total VALUES (?, ?, ?, ?, ?)", rows)


def restore_left_out(transaction: Transaction, tables: Tables, doctypes: Mapping[str, int]) -> None:
    """Give documents their unique rows whose twin has gone meanwhile."""
    for table, _, stored, _ in list(left_out(transaction.connection, tables, doctypes)):
        transaction.refresh(table, stored)


def tidy(connection: sqlite3.Connection) -> None:
    """Statistics for the planner, and free pages back to the disk."""
    connection.execute("PRAGMA optimize")
    give_back(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def give_back(connection: sqlite3.Connection, pages: int = 0) -> None:
    """Return free pages to the disk: so many of them, or all.

    By `executescript`, which steps to the end; `execute` would stop after the first page.
    """
    connection.executescript(f"PRAGMA incremental_vacuum({pages})")
