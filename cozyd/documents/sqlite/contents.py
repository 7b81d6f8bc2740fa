"""Small contents of files in the tenant's own file: written in the commit of the document that names them (docs/storage.md).

Bytes stand last in their row, so that lists and look-ups of sizes read none of them.
"""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from cozyd.documents.store import ContentEdits
from cozyd.errors import NotFound

TABLE = "CREATE TABLE IF NOT EXISTS content (key TEXT NOT NULL UNIQUE, made INTEGER NOT NULL, data BLOB NOT NULL)"
"""A table with row numbers: rows of some kilobytes would make the pages of one without a bad tree."""


def edit(connection: sqlite3.Connection, edits: ContentEdits) -> None:
    """Do what a commit does with contents.

    :raises NotFound: one that is copied is not there.
    """
    now = int(time.time())
    connection.executemany("INSERT OR REPLACE INTO content VALUES (?, ?, ?)", [(key, now, data) for key, data in edits.put.items()])
    for key, source in edits.copied.items():
        sql = "INSERT OR REPLACE INTO content SELECT ?, ?, data FROM content WHERE key = ?"
        if connection.execute(sql, (key, now, source)).rowcount != 1:
            raise NotFound("The content is gone")
    connection.executemany("DELETE FROM content WHERE key = ?", [(key,) for key in edits.removed])


def get(connection: sqlite3.Connection, key: str) -> bytes | None:
    """The bytes of one, None where there is none."""
    row = connection.execute("SELECT data FROM content WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def listed(connection: sqlite3.Connection) -> Iterator[tuple[str, int, datetime]]:
    """Key, size and time of each."""
    for key, size, made in connection.execute("SELECT key, length(data), made FROM content").fetchall():
        yield key, size, datetime.fromtimestamp(made, UTC)
