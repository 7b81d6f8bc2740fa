"""`Index`: one tenant's words in a SQLite file of its own, by FTS5 (docs/search.md).

Everything in it can be made again from the documents. What is taken from a feed, and how far the feed was read, are one
transaction: after a crash nothing is missing and nothing twice.
"""

import heapq
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path

from cozyd.search.words import Entry

VERSION = 1
RANKED = 5_000
"""Of a word that more documents of one doctype have, the latest so many are compared; more would take too long."""
_WEIGHTS = "8.0, 2.0, 1.0"
"""How much a word counts in title, text and content."""
_SHOWN = "(SELECT id FROM doc WHERE number = words.rowid), title, snippet(words, -1, char(2), char(3), '…', 24)"
_ROOM = 32
"""Bits of a number within its doctype: so a doctype is one range of numbers. What is hidden has its number below zero."""
_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS feed (number INTEGER PRIMARY KEY, doctype TEXT NOT NULL UNIQUE, since TEXT NOT NULL, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS doc (
    number INTEGER PRIMARY KEY, feed INTEGER NOT NULL, id TEXT NOT NULL, source TEXT NOT NULL, UNIQUE (feed, id)
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (title, text, content, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3 4');
CREATE VIRTUAL TABLE IF NOT EXISTS term USING fts5vocab (words, instance);
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A document at its last change.

    :param hidden: kept, and not found: it is in the trash.
    :param source: what its content was read from; another one makes the content unknown.
    """

    entry: Entry
    hidden: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that has the words.

    :param rank: less is better.
    :param snippet: words around those that were asked for, these between \\x02 and \\x03.
    """

    doctype: str
    id: str
    title: str
    snippet: str
    rank: float


class Index:
    """One tenant's.

    :param path: the file, made when it is not there; one that is broken or of an older form is made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._writer = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError:
            self.remove(self._path)
            return self._open()

    def _open(self) -> sqlite3.Connection:
        made = self._connect()
        (version,) = made.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            made.close()
            raise sqlite3.DatabaseError("another form")
        made.executescript(_SCHEMA)
        made.execute(f"PRAGMA user_version = {VERSION}")
        made.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is read again from the feed
        return made

    def _connect(self) -> sqlite3.Connection:
        made = sqlite3.connect(self._path, timeout=10, check_same_thread=False, isolation_level=None)
        made.execute("PRAGMA cache_size = -4096")
        return made

    @staticmethod
    def remove(path: Path) -> None:
        """Remove an index and what belongs to it."""
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            self._writer.close()
        while not self._readers.empty():
            self._readers.get_nowait().close()

    # -- writing --------------------------------------------------------------------------------------------------------

    def take(self, doctype: str, read: Callable[[str], tuple[Sequence[Seen], Sequence[str], str]]) -> int:
        """Take the next piece of a feed.

        :param read: from a since to the documents, the ids that are gone, and the next since.
        :returns: how many changes there were.
        """
        with self._transaction() as writer:
            writer.execute("INSERT OR IGNORE INTO feed (doctype, since, last) VALUES (?, '', 0)", (doctype,))
            feed, since, last = writer.execute("SELECT number, since, last FROM feed WHERE doctype = ?", (doctype,)).fetchone()
            seen, gone, since = read(since)
            for one in seen:
                last += _put(writer, feed, last + 1, one)
            for id in gone:
                _drop(writer, feed, id)
            writer.execute("UPDATE feed SET since = ?, last = ? WHERE number = ?", (since, last, feed))
            return len(seen) + len(gone)

    def put_content(self, doctype: str, id: str, source: str, content: str) -> None:
        """Add the words of a file's content, unless it has another content by now."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE words SET content = ? WHERE rowid = "
                "(SELECT doc.number FROM doc JOIN feed ON feed.number = doc.feed WHERE doctype = ? AND id = ? AND source = ?)",
                (content, doctype, id, source),
            )

    def clear(self) -> None:
        """Forget everything; it is read again from the feeds."""
        with self._transaction() as writer:
            for forget in ("DELETE FROM feed", "DELETE FROM doc", "DELETE FROM words"):
                writer.execute(forget)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    # -- reading --------------------------------------------------------------------------------------------------------

    def find(self, expression: str, doctypes: Sequence[str], *, limit: int, skip: int) -> Sequence[Hit]:
        """The documents that have the words, best first.

        :param expression: of FTS5.
        """
        with self._reader() as reader:
            feeds = dict(reader.execute("SELECT number, doctype FROM feed").fetchall())
            wanted = [feed for feed, doctype in feeds.items() if doctype in doctypes]
            best = heapq.merge(*(_ranked(reader, expression, feed, limit + skip) for feed in wanted), key=itemgetter(0))
            found = list(islice(best, skip, skip + limit))
        return [Hit(feeds[number >> _ROOM], id, title, snippet, rank) for rank, number, id, title, snippet in found]

    def begins_another(self, word: str) -> bool:
        """Whether a longer word here begins with this one; one that is not plain ASCII is not looked at, and said to."""
        if not word.isascii() or not word.isalnum():
            return True
        low, high = word.lower() + "0", word.lower() + chr(0x10FFFF)  # nothing that is part of a word sorts before `0`
        with self._reader() as reader:
            return reader.execute("SELECT 1 FROM term WHERE term >= ? AND term <= ? LIMIT 1", (low, high)).fetchone() is not None

    def counts(self) -> dict[str, int]:
        """How many documents of each doctype are known."""
        with self._reader() as reader:
            rows = reader.execute("SELECT doctype, count(*) FROM doc JOIN feed ON feed.number = doc.feed GROUP BY doctype")
            return dict(rows.fetchall())

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            reader = self._readers.get_nowait()
        except queue.Empty:
            reader = self._connect()
        try:
            yield reader
        finally:
            self._readers.put(reader)


def _put(writer: sqlite3.Connection, feed: int, free: int, seen: Seen) -> bool:
    """Keep a document's words; whether it took the free place."""
    entry = seen.entry
    row = writer.execute("SELECT number, source FROM doc WHERE feed = ? AND id = ?", (feed, entry.id)).fetchone()
    if row is None:
        number = (feed << _ROOM | free) * (-1 if seen.hidden else 1)
        writer.execute("INSERT INTO doc (number, feed, id, source) VALUES (?, ?, ?, ?)", (number, feed, entry.id, seen.source))
        writer.execute("INSERT INTO words (rowid, title, text, content) VALUES (?, ?, ?, '')", (number, entry.title, entry.text))
        return True
    old, source = row
    content = writer.execute("SELECT content FROM words WHERE rowid = ?", (old,)).fetchone() if source == seen.source else None
    number = -abs(old) if seen.hidden else abs(old)
    writer.execute("UPDATE doc SET number = ?, source = ? WHERE number = ?", (number, seen.source, old))
    writer.execute("DELETE FROM words WHERE rowid = ?", (old,))
    values = (number, entry.title, entry.text, content[0] if content else "")
    writer.execute("INSERT INTO words (rowid, title, text, content) VALUES (?, ?, ?, ?)", values)
    return False


def _drop(writer: sqlite3.Connection, feed: int, id: str) -> None:
    row = writer.execute("SELECT number FROM doc WHERE feed = ? AND id = ?", (feed, id)).fetchone()
    if row is not None:
        writer.execute("DELETE FROM doc WHERE number = ?", row)
        writer.execute("DELETE FROM words WHERE rowid = ?", row)


def _ranked(reader: sqlite3.Connection, expression: str, feed: int, count: int) -> Iterator[tuple[float, int, str, str, str]]:
    """Rank, number, id, title and snippet of the best of one doctype; a snippet is made when its row is asked for."""
    low, high = feed << _ROOM, (feed + 1 << _ROOM) - 1
    within = "words MATCH ? AND rowid BETWEEN ? AND ?"
    last = reader.execute(
        f"SELECT rowid FROM words WHERE {within} ORDER BY rowid DESC LIMIT 1 OFFSET ?",  # noqa: S608
        (expression, low, high, RANKED - 1),
    ).fetchone()
    # By `rank` FTS5 sorts itself and goes on with what it has read; by an expression it would look up each row of the page again.
    return reader.execute(
        f"SELECT rank, rowid, {_SHOWN} FROM words WHERE {within} AND rank MATCH 'bm25({_WEIGHTS})' ORDER BY rank LIMIT ?",  # noqa: S608
        (expression, last[0] if last else low, high, count),
    )
