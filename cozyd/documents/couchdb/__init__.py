"""The CouchDB driver: a database for each tenant and doctype, named and shaped as cozy-stack's."""

import threading
from collections.abc import Iterator, Sequence

from cozyd.documents.couchdb import dump, names
from cozyd.documents.couchdb.client import Client
from cozyd.documents.couchdb.databases import Databases
from cozyd.documents.couchdb.store import CouchStore
from cozyd.documents.store import DocumentStore, Projection
from cozyd.errors import Conflict, CozyError, NotFound, Unavailable
from cozyd.locks import Locks

OLDEST = (3, 3)
"""The first version with everything that is asked of it."""
PROBE = "cozyd-probe"
_STACK = "stack"


class CouchBackend:
    """All tenants of one CouchDB.

    :param url: `https://user:password@host/`.
    :param password: the user's, where the address has none.
    :param projections: the table of projections.
    :param lenient: doctypes where a taken unique row is left out instead of refusing the document.
    :param locks: shared by all processes that write.
    :param total: requests under way at once.
    """

    def __init__(
        self,
        url: str,
        projections: Sequence[Projection],
        *,
        password: str = "",
        lenient: frozenset[str] = frozenset(),
        locks: Locks,
        total: int = 6,
    ) -> None:
        self._client = Client(url, password=password, total=total)
        self._projections = projections
        self._lenient = lenient
        self._locks = locks
        self._lock = threading.Lock()
        self._tenants: dict[str, CouchStore] = {}

    def probe(self) -> None:
        """Make sure at start that this CouchDB can be used.

        :raises Unavailable: it is away, too old, or refuses what is needed; the text says what to do.
        """
        where = self._client.shown
        try:
            version = str(self._client.get("/", tenant=_STACK).get("version", ""))
            self._client.get("/_all_dbs", tenant=_STACK, params={"limit": 1})
        except Unavailable as error:
            raise Unavailable(f"{where}: {error.detail}. Start it, or correct storage.documents") from error
        except CozyError as error:
            raise Unavailable(f"{where} does not answer as CouchDB does: correct storage.documents") from error
        numbers = tuple(int(part) for part in version.partition("-")[0].split(".")[:2] if part.isdigit())
        if numbers < OLDEST:
            raise Unavailable(f"{where} is CouchDB {version or 'of no version'}: {OLDEST[0]}.{OLDEST[1]} or later is needed")
        self._probe_rights(where)

    def _probe_rights(self, where: str) -> None:
        databases = Databases(self._client, _STACK)
        path = names.path_of(PROBE)
        try:
            databases.make(path)
            databases.delete(path)
        except NotFound:
            return  # another process probed at the same time
        except CozyError as error:
            raise Unavailable(f"the user of storage.documents may not make databases at {where}: make it a server admin") from error

    def open(self, tenant: str) -> DocumentStore:
        """See `DocumentBackend.open`."""
        with self._lock:
            known = self._tenants.get(tenant)
        if known is not None:
            return known
        if not names.is_tenant(tenant) or not self._databases(tenant).all():
            raise NotFound(f"There is no tenant {tenant}")
        return self._load(tenant)

    def create(self, tenant: str) -> DocumentStore:
        """See `DocumentBackend.create`."""
        if not names.is_tenant(tenant):
            raise NotFound("A tenant's name begins with a letter and has lower-case letters, digits, - and _ only")
        databases = self._databases(tenant)
        if databases.all():
            raise Conflict(f"The tenant {tenant} exists")
        databases.make(databases.own(names.PRIVATE))
        return self._load(tenant)

    def destroy(self, tenant: str) -> None:
        """See `DocumentBackend.destroy`."""
        with self._lock:
            self._tenants.pop(tenant, None)
        if not names.is_tenant(tenant):
            return
        self._databases(tenant).destroy()

    def tenants(self) -> Iterator[str]:
        """See `DocumentBackend.tenants`."""
        found = self._client.get("/_all_dbs", tenant=_STACK)
        yield from sorted({head for head, slash, _ in (name.partition("/") for name in found) if slash and names.is_tenant(head)})

    def backup(self, tenant: str, path: str) -> None:
        """See `DocumentBackend.backup`."""
        self.open(tenant)
        with self._locks.hold(f"documents/{tenant}", wait=30, ttl=600):
            dump.write(self._databases(tenant), path)

    def restore(self, tenant: str, path: str) -> None:
        """See `DocumentBackend.restore`."""
        dump.check(path)
        databases = self._databases(tenant)
        with self._locks.hold(f"documents/{tenant}", wait=30, ttl=600):
            databases.destroy()
            databases.make(databases.own(names.PRIVATE))
            dump.read(databases, path)
            self._load(tenant).begin_epoch()

    def ping(self) -> None:
        """See `DocumentBackend.ping`."""
        self._client.ping()

    def close(self) -> None:
        """See `DocumentBackend.close`."""
        self._client.close()

    def _databases(self, tenant: str) -> Databases:
        return Databases(self._client, tenant)

    def _load(self, tenant: str) -> CouchStore:
        store = CouchStore(self._databases(tenant), self._projections, self._lenient, self._locks)
        with self._lock:
            return self._tenants.setdefault(tenant, store)
