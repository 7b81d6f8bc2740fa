"""`Stack`: the process's object graph; finds, creates, deletes instances. Built once, passed along, never a global."""

import fcntl
import logging
import os
import re
import shutil
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Self

from cozyd import doctypes, seeds
from cozyd.apps.house import AppsHouse
from cozyd.auth import passwords
from cozyd.auth.attempts import Gate
from cozyd.auth.passphrase import NewPassphrase
from cozyd.auth.tokens import VerifiedTokens
from cozyd.auth.values import Kdf
from cozyd.cache import Cache, LocalCache
from cozyd.config import Config, secret_of
from cozyd.documents import Documents
from cozyd.documents.ids import RisingIds
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import DocumentBackend, DocumentStore, Ref, Write
from cozyd.errors import Conflict, Gone, Locked, NotFound, Unavailable
from cozyd.files import lock_name
from cozyd.files.blobs import LocalBlobs
from cozyd.files.parts import collect
from cozyd.files.versions import Keeping
from cozyd.instance import Drivers, Instance
from cozyd.jobs.broker import Broker, LocalBroker
from cozyd.jobs.patrol import Patrol
from cozyd.jobs.runner import Runner
from cozyd.jobs.scheduler import Scheduler
from cozyd.jobs.worker import Table, queues_of
from cozyd.locks import LocalLocks, Lock, Locks
from cozyd.outbound import Outbound
from cozyd.pim.pusher import Pusher
from cozyd.realtime import Hub, LocalHub
from cozyd.records import check_host, known_locale, new_record, other_hosts, to_unicode, with_passphrase
from cozyd.webpush import VapidKeys

if TYPE_CHECKING:
    from cozyd.files.swift import SwiftBlobs
    from cozyd.redis import RedisLink

log = logging.getLogger("cozyd.stack")

GLOBAL = "global"
_SLUG = re.compile(r"[a-z0-9-]{1,63}")
KEPT_INSTANCES = 256
JOBS_GRACE = 8.0
"""Seconds that running jobs get to end when the process stops; two more are left to give them back."""
SERVED_BESIDE = 2
"""How many threads are never given to a file store that is far away, so that it cannot take them all by hanging."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Stack:
    """Everything a process of cozyd holds.

    :param config: checked configuration.
    :param table: the workers; without, no job can be pushed.
    :param now: the clock, aware UTC.
    """

    def __init__(self, config: Config, table: Table = MappingProxyType({}), *, now: Callable[[], datetime] = _utc_now) -> None:
        self.config = config
        self.now = now
        self._lock = threading.Lock()
        self._jobs_until: float | None = None
        self.shared = bool(config.redis.url)
        """Whether other processes serve the same data."""
        self._folder_lock = _lock_folder(config.storage.path, shared=self.shared)
        self._link = _redis(config.redis.url)
        self.hub, locks, cache = _services(self._link)
        self._backend = open_documents(config, locks, config.storage.documents)
        self.blobs = open_blobs(config, config.storage.path / "blobs")
        new_id = RisingIds()
        self._records = Documents(self._open_global(), {}, new_id=new_id)
        self.broker: Broker = LocalBroker()
        self.runner = Runner(table, self.instance, self.broker.replace)
        outbound = Outbound(config.outbound.allow.split(), authorities=config.outbound.authorities)
        self.apps = AppsHouse.open(config, self.blobs, outbound, cache)
        self.scheduler = Scheduler(self.instance, now)
        self.patrol = Patrol(self.instance, self.instances, self.scheduler.plan, shared=self.shared)
        self.drivers = Drivers(
            blobs=self.blobs,
            hub=self.hub,
            locks=locks,
            cache=cache,
            verified=VerifiedTokens(),
            gate=Gate(),
            now=now,
            new_id=new_id,
            scheme=config.server.scheme,
            vapid=_vapid(config),
            push_contact=config.push.contact,
            pusher=Pusher(),
            keeping=Keeping(config.files.versions, timedelta(seconds=config.files.versions_apart)),
            uploads=config.storage.path / "uploads",
            largest_upload=config.limits.upload,
            mail=config.mail,
            outbound=outbound,
            table=table,
            broker=self.broker,
            wrote=self.patrol.wrote,
            common=self._records,
            contexts=config.contexts,
            flat=config.server.subdomains == "flat",
            apps=self.apps,
            plan=self.scheduler.plan,
        )
        self._hosts: dict[str, str] = {}
        self._recent: OrderedDict[str, Instance] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[str, Instance] = weakref.WeakValueDictionary()

    @classmethod
    def open(cls, config: Config, table: Table = MappingProxyType({})) -> Self:
        """Pick the drivers and open them.

        :param table: the workers.
        :raises Locked: another process has this data folder.
        :raises Unavailable: the folder cannot be made, or not be written.
        """
        return cls(config, table)

    # -- jobs -------------------------------------------------------------------------------------------------------

    def start(self, run: Callable[[str, str], bool]) -> None:
        """Run jobs from now on, those first that were left open.

        :param run: `workers.run`.
        """
        self.broker.start(run, queues_of(self.drivers.table))
        self.patrol.start()
        self.scheduler.start()

    def rest(self) -> None:
        """Begin no job any more: this process is going to stop. From any thread or signal."""
        self._jobs_until = time.monotonic() + JOBS_GRACE
        self.patrol.close()
        self.scheduler.close()
        self.broker.rest()

    # -- finding ----------------------------------------------------------------------------------------------------

    def locate(self, host: str) -> Instance:
        """The instance that answers on a host.

        :param host: the Host header, port included.
        :raises NotFound: nobody's.
        :raises Gone: an old domain of hers; `location` is the new one.
        """
        name = host.lower()
        domain = self._hosts.get(name) or self._find_domain(to_unicode(name))
        instance = self._instance(domain)
        if instance.doc.get("old_domain") == name:
            raise Gone("The instance has a new address", location=domain)
        return instance

    def instance(self, domain: str) -> Instance:
        """The instance of a domain or alias.

        :raises NotFound: there is none.
        """
        return self._instance(self._find_domain(to_unicode(domain.lower())))

    def instances(self) -> Iterator[Instance]:
        """All instances, by domain."""
        for row in self._records.rows("hosts"):
            if row.key[0] == row.value:
                yield self._instance(row.value)

    def locate_app(self, host: str) -> tuple[Instance, str]:
        """The instance and the slug that a host of apps is for, by her main domain.

        :param host: `slug.domain`, or `name-slug.rest` where hosts are flat.
        :raises NotFound: it is none.
        """
        label, dot, rest = to_unicode(host.lower()).partition(".")
        domain, slug = rest, label
        if self.drivers.flat:
            name, dash, slug = label.partition("-")
            domain, dot = f"{name}.{rest}", dash and dot
        if not dot or not slug or _SLUG.fullmatch(slug) is None:
            raise NotFound("Instance not found")
        instance = self.instance(domain)
        if instance.domain != domain:
            raise NotFound("Instance not found")
        return instance, slug

    # -- life of an instance ----------------------------------------------------------------------------------------

    def create(
        self,
        domain: str,
        *,
        passphrase: str | None = None,
        email: str = "",
        public_name: str = "",
        aliases: Sequence[str] = (),
        locale: str = "en",
        quota: int | None = None,
    ) -> Instance:
        """Make an instance with all that a new one has.

        :param passphrase: in clear; None: she chooses it later.
        :param locale: one of `LOCALES`.
        :param quota: bytes her files may take.
        :raises Invalid: a host name that cannot be one, an unknown language, an empty passphrase.
        :raises Conflict: a host name is taken.
        """
        domain = check_host(domain)
        record = new_record(domain, other_hosts(aliases, domain), known_locale(locale), quota)
        if passphrase is not None:
            record |= with_passphrase(passphrase, Kdf(f"me@{domain.split(':', 1)[0]}", passwords.ITERATIONS))
        with self._one_at_a_time():
            self._make(record, email, public_name or domain.split(".", 1)[0].split(":", 1)[0])
        log.info("instance %s created", domain)
        return self._instance(domain)

    def _make(self, record: dict[str, Any], email: str, public_name: str) -> None:
        self._check_free([record["domain"], *record.get("domain_aliases", ())])
        prefix = record["prefix"]
        self._backend.destroy(prefix)  # what an interrupted creation left behind
        self._destroy_contents(prefix)
        instance = Instance(lambda: record, self._backend.create(prefix), self.drivers, record.update)
        seeds.plant(instance, email=email, public_name=public_name)
        self._records.put(doctypes.INSTANCES, record | {"_id": prefix})

    def modify(self, domain: str, **changes: Any) -> Instance:
        """Change the record of an instance.

        :param changes: `domain_aliases`, `locale`, `disk_quota`...; None removes one.
        :raises NotFound, Invalid, Conflict: as `instance` and `create`.
        """
        instance = self.instance(domain)
        if changes.get("domain_aliases"):
            changes["domain_aliases"] = other_hosts(changes["domain_aliases"], instance.domain)
        if changes.get("locale"):
            known_locale(changes["locale"])

        with self._one_at_a_time():
            self._check_free(changes.get("domain_aliases") or (), mine=instance.domain)
            self._amend(instance.domain, **changes)
        with self._lock:
            self._hosts.clear()
        return self._instance(instance.domain)

    def _amend(self, domain: str, **changes: Any) -> None:
        """Replace fields of a record; None removes one."""
        patch = {name: ... if value is None else value for name, value in changes.items()}

        def write() -> None:
            stored = self._records.get(self._ref(domain))
            self._records.commit([Write(stored.ref, patch=patch, rev=stored.rev)])

        self._records.retry(write)

    def set_passphrase(self, domain: str, passphrase: str) -> Instance:
        """Give an instance a passphrase, in place of the one it has; every session and app token ends with it.

        :param passphrase: in clear.
        :raises NotFound: there is no such instance.
        :raises Invalid: it is empty.
        """
        instance = self.instance(domain)
        instance.auth.replace_passphrase(NewPassphrase(passphrase), is_judged=False)
        return self._instance(instance.domain)

    def destroy(self, domain: str) -> None:
        """Remove every byte of an instance; can be called again when it was interrupted.

        :raises NotFound: there is none.
        """
        instance = self.instance(domain)
        self.modify(instance.domain, deleting=True)
        with self._lock:
            self._hosts.clear()
            self._recent.pop(instance.domain, None)
            self._alive.pop(instance.domain, None)
        with self._one_at_a_time():
            self._backend.destroy(instance.prefix)
            self._destroy_contents(instance.prefix)
            stored = self._records.get(self._ref(instance.domain))
            self._records.delete(stored.ref, stored.rev)
        log.info("instance %s destroyed", instance.domain)

    # -- backups ----------------------------------------------------------------------------------------------------

    @property
    def documents(self) -> DocumentBackend:
        """Where the documents of all tenants lie: for backups and moves."""
        return self._backend

    def check_restorable(self, record: Mapping[str, Any]) -> None:
        """Whether an instance may come back under this record.

        :raises Conflict: another instance has one of its host names.
        """
        self._check_free([record["domain"], *record.get("domain_aliases", ())], mine=record["domain"])

    def reinstate(self, record: Mapping[str, Any], documents: Path) -> Instance:
        """Put documents and record of a backup in the place of an instance, or make it; its contents are there already.

        :param record: without `_id` and `_rev`.
        :param documents: a file that the driver's backup wrote.
        :raises Conflict: as `check_restorable`.
        :raises Invalid: `documents` is none; nothing is changed.
        """
        prefix = record["prefix"]
        ref = next((row.ref for row in self._records.rows("hosts", (record["domain"],))), Ref(doctypes.INSTANCES, prefix))
        with self._one_at_a_time(), self.drivers.locks.hold(lock_name(prefix), wait=60):
            self.check_restorable(record)
            self._backend.restore(prefix, str(documents))
            known = self._records.get_many(ref.doctype, [ref.id])[0]
            self._records.put(ref.doctype, {**record, "_id": ref.id} | ({"_rev": known.rev} if known is not None else {}))
            with self._lock:
                self._hosts.clear()
        log.info("instance %s restored", record["domain"])
        return self._instance(record["domain"])

    def _destroy_contents(self, prefix: str) -> None:
        self.drivers.blobs.destroy(prefix)
        shutil.rmtree(self.drivers.uploads / prefix, ignore_errors=True)

    def collect_uploads(self) -> None:
        """Remove what came of uploads that nobody went on with."""
        removed = collect(self.drivers.uploads, self.now())
        if removed:
            log.info("%d uploads had run out", removed)

    # -- health -----------------------------------------------------------------------------------------------------

    def ping_documents(self) -> None:
        """:raises Unavailable: the document store does not answer."""
        self._backend.ping()

    def ping_cache(self) -> None:
        """:raises Unavailable: the cache does not answer."""
        self.drivers.cache.set("ping", b"", 1)

    def close(self) -> None:
        """Give everything back, in reverse order of opening; jobs that do not end within 8 seconds of `rest` are queued again."""
        if self._jobs_until is None:
            self.rest()
        self.apps.runs.close()
        self.broker.stop(max(0.0, (self._jobs_until or 0.0) - time.monotonic()))
        self.runner.close()
        self.drivers.pusher.close()
        self.hub.close()
        self.drivers.locks.close()
        self._backend.close()
        if self._link is not None:
            self._link.close()
        self.blobs.close()
        self._folder_lock.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _one_at_a_time(self) -> AbstractContextManager[Lock]:
        """Instances are made, renamed and removed one after the other: who makes one clears its place first."""
        return self.drivers.locks.hold("instances", wait=60, strict=True)

    def _open_global(self) -> DocumentStore:
        try:
            return self._backend.open(GLOBAL)
        except NotFound:
            pass
        try:
            return self._backend.create(GLOBAL)
        except Conflict:  # another process did meanwhile
            return self._backend.open(GLOBAL)

    def _find_domain(self, host: str) -> str:
        rows = self._records.rows("hosts", (host,), limit=1)
        if not rows:
            raise NotFound("Instance not found")
        domain: str = rows[0].value
        if not self.shared:
            with self._lock:
                self._hosts[host] = domain
        return domain

    def _instance(self, domain: str) -> Instance:
        with self._lock:
            found = self._alive.get(domain)
            if found is None or (self.shared and not found.lies_in(self._backend.open(found.prefix))):
                found = self._open_instance(domain)
                self._alive[domain] = found
            self._recent[domain] = found
            self._recent.move_to_end(domain)
            if len(self._recent) > KEPT_INSTANCES:
                self._recent.popitem(last=False)
            return found

    def _open_instance(self, domain: str) -> Instance:
        ref = self._ref(domain)
        prefix = self._records.get(ref).doc["prefix"]
        store, amend = self._backend.open(prefix), partial(self._amend, domain)
        return Instance(lambda: self._records.get(ref).doc, store, self.drivers, amend)

    def _check_free(self, hosts: Sequence[str], *, mine: str = "") -> None:
        for host in hosts:
            rows = self._records.rows("hosts", (host,), limit=1)
            if rows and rows[0].value != mine:
                raise Conflict(f"{host} belongs to an instance already")

    def _ref(self, domain: str) -> Ref:
        """The record of a domain: of an instance that another server made, its id says nothing."""
        rows = self._records.rows("hosts", (domain,), limit=1)
        if not rows:
            raise NotFound("Instance not found")
        return rows[0].ref


def open_documents(config: Config, locks: Locks, address: str) -> DocumentBackend:
    """The document store of an address.

    :raises ConfigError: its password file cannot be used.
    :raises Unavailable: its service is away, too old, or refuses what is needed; the text says what to do.
    """
    if address == "sqlite:":
        folder, shared = config.storage.path / "documents", bool(config.redis.url)
        return SqliteBackend(folder, doctypes.PROJECTIONS, lenient=doctypes.LENIENT, shared=shared)
    from cozyd.documents.couchdb import CouchBackend

    password = secret_of("storage.documents_password_file", config.storage.documents_password_file)
    total = max(1, config.server.threads - SERVED_BESIDE)
    made = CouchBackend(address, doctypes.PROJECTIONS, password=password, lenient=doctypes.LENIENT, locks=locks, total=total)
    try:
        made.probe()
    except Unavailable:
        made.close()
        raise
    return made


def open_blobs(config: Config, folder: Path) -> "LocalBlobs | SwiftBlobs":
    """The blob store that is configured.

    :param folder: for its contents, or its temporary files.
    :raises ConfigError: its address or its password file cannot be used.
    """
    if config.storage.blobs == "file:":
        return LocalBlobs(folder)
    from cozyd.files.swift import SwiftBlobs

    password = secret_of("storage.blobs_password_file", config.storage.blobs_password_file)
    return SwiftBlobs(config.storage.blobs, folder / "tmp", password=password, parallel=config.server.threads - SERVED_BESIDE)


def _vapid(config: Config) -> VapidKeys:
    """The keys of push messages: those the operator names, else the data folder's."""
    if config.push.key_file:
        return VapidKeys(Path(config.push.key_file).expanduser(), given=True)
    return VapidKeys(config.storage.path / "vapid.pem")


def _redis(url: str) -> "RedisLink | None":
    """The way to Redis; its library costs memory that only a farm needs."""
    if not url:
        return None
    from cozyd.redis import RedisLink

    return RedisLink(url)


def _services(link: "RedisLink | None") -> tuple[Hub, Locks, Cache]:
    """What joins processes: over Redis, or within this one."""
    if link is None:
        return LocalHub(), LocalLocks(), LocalCache()
    from cozyd.cache.redis import RedisCache
    from cozyd.locks.redis import RedisLocks
    from cozyd.realtime.redis import RedisHub

    return RedisHub(link), RedisLocks(link), RedisCache(link)


def _lock_folder(path: Path, *, shared: bool) -> IO[str]:
    """Hold the data folder: for this process alone, or with others that share it too.

    :raises Locked: another process has it alone, or shares it and this one wants it alone.
    :raises Unavailable: it cannot be made, or not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = open(path / "lock", "a", encoding="ascii")  # noqa: SIM115
    except OSError as cause:
        raise Unavailable(f"the data folder {path} cannot be used: {cause.strerror}") from cause
    try:
        fcntl.flock(held, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        held.close()
        raise Locked(f"another process uses {path}") from cause
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held
