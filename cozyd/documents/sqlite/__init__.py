"""The embedded driver: one SQLite file for each tenant."""

import os
import shutil
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from cozyd.documents.sqlite import contents
from cozyd.documents.sqlite.database import Database
from cozyd.documents.sqlite.restoring import begin_epoch, check_backup, new_epoch, overwrite
from cozyd.documents.sqlite.rows import Tables
from cozyd.documents.sqlite.store import SqliteStore
from cozyd.documents.sqlite.writing import Transaction
from cozyd.documents.store import DocumentStore, Projection
from cozyd.durable import sync
from cozyd.errors import Conflict, NotFound, Unavailable

SUFFIX, RESTORED = ".sqlite", ".restored"
BRANCHED = "CREATE INDEX IF NOT EXISTS doc_branched ON doc (doctype, num) WHERE leaves > 1"
"""The few documents with several leaves: the change feed asks for them beside its own index."""


class SqliteBackend:
    """All tenants of a folder.

    :param folder: one file for each tenant lies in it; made when it is not there.
    :param projections: the table of projections.
    :param lenient: doctypes where a taken unique row is left out instead of refusing the document.
    :param open_tenants: how many keep connections open; the least used give theirs back.
    :param shared: other processes have the folder too.
    """

    def __init__(
        self,
        folder: Path,
        projections: Sequence[Projection],
        *,
        lenient: frozenset[str] = frozenset(),
        open_tenants: int = 64,
        shared: bool = False,
    ) -> None:
        self._folder = folder
        self._projections = projections
        self._lenient = lenient
        self._open_tenants = open_tenants
        self._shared = shared
        self._lock = threading.Lock()
        self._tenants: dict[str, tuple[Database, SqliteStore]] = {}
        self._warm_lock = threading.Lock()
        self._warm: deque[Database] = deque()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(f"*{RESTORED}*") if not shared else ():
            left.unlink()  # of a restore that was interrupted

    def open(self, tenant: str) -> DocumentStore:
        """See `DocumentBackend.open`."""
        with self._lock:
            path = self._path(tenant)
            known = self._tenants.get(tenant)
            if known is not None and self._shared and known[0].was_replaced():
                self._forget(tenant)
                known = None
            if known is not None:
                return known[1]
            if not path.exists():
                raise NotFound(f"There is no tenant {tenant}")
            return self._load(tenant, path)

    def create(self, tenant: str) -> DocumentStore:
        """See `DocumentBackend.create`."""
        with self._lock:
            path = self._path(tenant)
            if path.exists():
                raise Conflict(f"The tenant {tenant} exists")
            unfinished = path.with_suffix(f".{os.getpid()}.new")
            _remove(unfinished)
            Database(unfinished).create(new_epoch())
            try:
                os.link(unfinished, path)  # of two processes that make it, one does
            except FileExistsError:
                raise Conflict(f"The tenant {tenant} exists") from None
            finally:
                _remove(unfinished)
            sync(self._folder)
            return self._load(tenant, path)

    def destroy(self, tenant: str) -> None:
        """See `DocumentBackend.destroy`."""
        with self._lock:
            self._forget(tenant)
            _remove(self._path(tenant))

    def tenants(self) -> Iterator[str]:
        """See `DocumentBackend.tenants`."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            yield path.name.removesuffix(SUFFIX)

    def backup(self, tenant: str, path: str) -> None:
        """See `DocumentBackend.backup`."""
        self.open(tenant)
        database, _ = self._tenants[tenant]
        if Path(path).exists():
            raise Conflict(f"{path} exists")
        try:
            with database.reading() as connection:
                connection.execute("PRAGMA query_only = OFF")
                try:
                    connection.execute("VACUUM INTO ?", (path,))
                finally:
                    connection.execute("PRAGMA query_only = ON")
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise

    def restore(self, tenant: str, path: str) -> None:
        """See `DocumentBackend.restore`."""
        target = self._path(tenant)
        copied = target.with_suffix(f".{new_epoch()}{RESTORED}")
        try:
            shutil.copyfile(path, copied)
            check_backup(copied)
            begin_epoch(copied)
            self._replace(tenant, target, copied)
        finally:
            _remove(copied)

    def _replace(self, tenant: str, target: Path, copied: Path) -> None:
        """Who holds the tenant's store goes on with it; other tenants do not wait."""
        with self._lock:
            if not target.exists():
                self._rename(copied, target)
                return
            if tenant not in self._tenants:
                self._load(tenant, target)
            database, store = self._tenants[tenant]
        with database.lock:
            overwrite(database, copied)
            store.renew(*self._prepare(database))

    def ping(self) -> None:
        """See `DocumentBackend.ping`."""
        if not self._folder.is_dir():
            raise Unavailable("The folder of the documents is gone")

    def close(self) -> None:
        """See `DocumentBackend.close`."""
        with self._lock:
            for tenant in list(self._tenants):
                self._forget(tenant)

    def _opened(self, database: Database) -> None:
        """A tenant got connections: those that got theirs longest ago give them back, beyond the limit."""
        with self._warm_lock:
            self._warm.append(database)
            tired = self._warm.popleft() if len(self._warm) > self._open_tenants else None
        if tired is not None and tired is not database:
            tired.rest()

    def _rename(self, old: Path, new: Path) -> None:
        """Give a finished file its name, so that a power cut does not take it again."""
        old.rename(new)
        sync(self._folder)

    def _path(self, tenant: str) -> Path:
        if not tenant or not tenant.replace("_", "").replace("-", "").isalnum():
            raise NotFound("A tenant's name has letters, digits, - and _ only")
        return self._folder / f"{tenant}{SUFFIX}"

    def _load(self, tenant: str, path: Path) -> SqliteStore:
        database = Database(path, self._opened)
        store = SqliteStore(database, *self._prepare(database), self._lenient, shared=self._shared)
        self._tenants[tenant] = (database, store)
        return store

    def _prepare(self, database: Database) -> tuple[Tables, dict[str, int]]:
        """The numbers of a file's tables and doctypes; projections that are new to it are built."""
        tables = Tables(self._projections)
        with database.writing() as connection:
            connection.execute(BRANCHED)
            connection.execute(contents.TABLE)
            doctypes = dict(connection.execute("SELECT name, num FROM doctype").fetchall())
            new = tables.load(connection, doctypes)
            transaction = Transaction(connection, tables, doctypes, self._lenient)
            for table in new:
                for doctype in table.projection.of if table.projection is not None else ():
                    transaction.build(table, doctype)
            transaction.finish()
        return tables, doctypes

    def _forget(self, tenant: str) -> None:
        known = self._tenants.pop(tenant, None)
        if known is not None:
            known[0].rest()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
