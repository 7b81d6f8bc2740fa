"""One tenant's SQLite file: its schema, one writer connection behind one lock, a pool of readers.

Measured: a connection for each thread starves threads under write load (SQLite's busy handler sleeps), one writer and one
lock do not. The file is never opened or copied otherwise in this process: closing any descriptor would drop SQLite's locks.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cozyd.errors import StorageFull, Unavailable

READER_IDLE = 60.0
BUSY_MS = 10_000
BEFORE_REST = "PRAGMA incremental_vacuum(2000);"
"""Up to 8 MB of free pages back to the disk. Statistics are for `tidy`: those of a file that is nearly empty mislead later."""

SCHEMA = """
CREATE TABLE meta (seq INTEGER NOT NULL, epoch TEXT NOT NULL, schema INTEGER NOT NULL);
CREATE TABLE epoch (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE doctype (
  num INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
  count INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE doc (
  num INTEGER PRIMARY KEY, doctype INTEGER NOT NULL, id TEXT NOT NULL, rev TEXT NOT NULL, seq INTEGER NOT NULL,
  deleted INTEGER NOT NULL, leaves INTEGER NOT NULL, text BLOB NOT NULL, private BLOB
);
CREATE UNIQUE INDEX doc_by_id ON doc (doctype, id);
CREATE UNIQUE INDEX doc_by_seq ON doc (doctype, seq, id, rev, deleted);
CREATE TABLE rev (
  doc INTEGER NOT NULL, rev TEXT NOT NULL, parent TEXT, deleted INTEGER NOT NULL, text BLOB, PRIMARY KEY (doc, rev)
) WITHOUT ROWID;
CREATE TABLE attachment (doc INTEGER NOT NULL, digest TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (doc, digest));
CREATE TABLE idx (num INTEGER PRIMARY KEY AUTOINCREMENT, doctype INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (doctype, name));
CREATE TABLE entry (
  idx INTEGER NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, doc INTEGER NOT NULL, name BLOB, value BLOB, seq INTEGER,
  gone INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (idx, key, id, doc)
) WITHOUT ROWID;
CREATE INDEX entry_by_doc ON entry (doc, idx);
CREATE INDEX entry_by_seq ON entry (idx, seq) WHERE seq IS NOT NULL;
CREATE TABLE total (
  idx INTEGER NOT NULL, prefix BLOB NOT NULL, count INTEGER NOT NULL, sum INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (idx, prefix)
) WITHOUT ROWID;
CREATE TABLE local (
  doctype INTEGER NOT NULL, id TEXT NOT NULL, rev INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (doctype, id)
) WITHOUT ROWID;
"""
SCHEMA_VERSION = 2


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's own errors as ours.

    :raises StorageFull: the disk is full.
    :raises Unavailable: locked for too long, an I/O error, or the file is damaged.
    """
    try:
        yield
    except sqlite3.OperationalError as cause:
        if "full" in str(cause):
            raise StorageFull("The disk is full") from cause
        raise Unavailable("The database does not answer", retry_after=10) from cause
    except sqlite3.DatabaseError as cause:
        raise Unavailable("The database does not answer", retry_after=60) from cause


class Database:
    """Connections to one file, opened when needed.

    :param path: the file; it has to exist but for `create`.
    :param opened: told when it gets its first connection after a rest.
    """

    def __init__(self, path: Path, opened: Callable[["Database"], None] | None = None) -> None:
        self.path = path
        self._opened = opened
        self._file = _identity(path)
        self._resting = True
        self.lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._version = 0
        self._pool: list[tuple[float, sqlite3.Connection]] = []
        self._pool_lock = threading.Lock()

    def create(self, epoch: str) -> None:
        """Make the file with an empty schema."""
        with translated():
            connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
                connection.execute("INSERT INTO meta VALUES (0, ?, ?)", (epoch, SCHEMA_VERSION))
            finally:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The writer, inside a transaction that ends with the block: committed, or rolled back on any exception."""
        with self.lock, translated():
            connection = self._open_writer()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def was_written_elsewhere(self) -> bool:
        """Whether another process has written since this was asked last, or may have; to be asked while writing."""
        assert self._writer is not None
        before = self._version
        self._version = self._writer.execute("PRAGMA data_version").fetchone()[0]
        return self._version != before

    def was_replaced(self) -> bool:
        """Whether another file, or none, has the path now: another process removed the tenant, and may have made it anew."""
        return _identity(self.path) != self._file

    @contextmanager
    def maintaining(self) -> Iterator[sqlite3.Connection]:
        """The writer outside of any transaction."""
        with self.lock, translated():
            yield self._open_writer()

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Iterator[sqlite3.Connection]:
        """A reader of the pool; `snapshot`: several statements see one state."""
        with translated():
            connection = self._take()
            try:
                if snapshot:
                    connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    if snapshot:
                        connection.execute("COMMIT")
            except (sqlite3.DatabaseError, GeneratorExit):
                connection.close()
                raise
            except BaseException:
                self._give(connection)
                raise
            self._give(connection)

    def rest(self) -> None:
        """Close what is idle, without waiting for who writes; the next use opens it again."""
        if self.lock.acquire(blocking=False):
            try:
                if self._writer is not None and not self._writer.in_transaction:
                    with contextlib.suppress(sqlite3.Error):  # upkeep; what it leaves is done the next time
                        self._writer.executescript(BEFORE_REST)
                    self._writer.close()
                    self._writer, self._version = None, 0
            finally:
                self.lock.release()
        with self._pool_lock:
            idle, self._pool = self._pool, []
            self._resting = True
        for _, connection in idle:
            connection.close()

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._connect("PRAGMA synchronous = FULL")
        return self._writer

    def _connect(self, *pragmas: str) -> sqlite3.Connection:
        if not self.path.exists():
            raise Unavailable("The database file is gone")
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
        for pragma in (f"PRAGMA busy_timeout = {BUSY_MS}", "PRAGMA cache_size = -2048", "PRAGMA temp_store = MEMORY", *pragmas):
            connection.execute(pragma)
        if self._resting and self._opened is not None:
            self._resting = False
            self._opened(self)
        return connection

    def _take(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._pool:
                return self._pool.pop()[1]
        return self._connect("PRAGMA query_only = ON")

    def _give(self, connection: sqlite3.Connection) -> None:
        now = time.monotonic()
        old: sqlite3.Connection | None = None
        with self._pool_lock:
            self._pool.append((now, connection))
            if now - self._pool[0][0] > READER_IDLE:
                old = self._pool.pop(0)[1]
        if old is not None:
            old.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino
