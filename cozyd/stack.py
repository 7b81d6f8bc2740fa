"""`Stack`: the process's object graph; finds, creates, deletes instances. Built once, passed along, never a global."""

import contextlib
import fcntl
import logging
import os
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

from cozyd import doctypes
from cozyd.apps.house import AppsHouse
from cozyd.auth.attempts import Gate
from cozyd.auth.passphrase import NewPassphrase
from cozyd.auth.tokens import VerifiedTokens
from cozyd.backends import joined, open_blobs, open_boxes, open_broker, open_documents, open_redis, vapid_keys
from cozyd.cache import Cache
from cozyd.config import Config
from cozyd.descriptions.validation import check_of
from cozyd.documents import Documents
from cozyd.documents.ids import RisingIds
from cozyd.documents.store import Doc, DocumentBackend, DocumentStore, Ref
from cozyd.errors import Conflict, Gone, Locked, NotFound, Unavailable
from cozyd.files import lock_name
from cozyd.files.parts import collect
from cozyd.files.versions import Keeping
from cozyd.instance import Drivers, Instance
from cozyd.jobs.broker import Run
from cozyd.jobs.patrol import Patrol
from cozyd.jobs.runner import Runner
from cozyd.jobs.scheduler import Scheduler
from cozyd.jobs.worker import Table, queues_of
from cozyd.locks import Locks
from cozyd.outbound import Outbound
from cozyd.pim.pusher import Pusher
from cozyd.records import former_domains, to_unicode
from cozyd.search.index import Index
from cozyd.search.indexer import Indexer
from cozyd.tenancy import NewInstance, Tenancy

log = logging.getLogger("cozyd.stack")

GLOBAL = "global"
_SLUG = re.compile(r"[a-z0-9-]{1,63}")
KEPT_INSTANCES, KEPT_APP_HOSTS = 256, 4096
JOBS_GRACE = 8.0
"""Seconds that running jobs get to end when the process stops; two more are left to give them back."""
APPS_KEPT = timedelta(days=1)
"""How long files of apps stay that nothing names: an install of now may be about to."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Stack:
    """Everything a process of cozyd holds.

    :param config: checked configuration.
    :param table: the workers; without, no job can be pushed.
    :param now: the clock, aware UTC.
    """

    _jobs_until: float | None = None  # when running jobs have to end, once the process stops

    def __init__(self, config: Config, table: Table = MappingProxyType({}), *, now: Callable[[], datetime] = _utc_now) -> None:
        self.config = config
        self.now = now
        self._lock = threading.Lock()
        self.shared = bool(config.redis.url)
        """Whether other processes serve the same data."""
        self._folder_lock = _lock_folder(config.storage.path, shared=self.shared)
        self._link = open_redis(config.redis.url)
        self.hub, locks, cache = joined(self._link)
        self._backend = open_documents(config, locks, config.storage.documents)
        self.blobs = open_blobs(config, config.storage.path / "blobs")
        new_id = RisingIds()
        self._records = Documents(self._open_global(), {}, new_id=new_id)
        outbound = Outbound(config.outbound.allow.split(), authorities=config.outbound.authorities)
        self.apps = AppsHouse.open(config, self.blobs, outbound, cache, self._records)
        self.scheduler = Scheduler(self.instance, now)
        self.patrol = Patrol(self.instance, self.instances, self.scheduler.plan, shared=self.shared)
        self.broker = open_broker(self._link, self.patrol.go_round)
        self.runner = Runner(table, self.instance, self.broker.replace)
        self.indexer = Indexer(self.instance)
        self.drivers = self._chosen(table, locks, cache, new_id, outbound)
        self.tenancy = Tenancy(config, self._records, self._backend, self.drivers, self.instance, self._forget)
        self._hosts: dict[str, str] = {}
        self._app_hosts: dict[str, tuple[str, str]] = {}
        self._recent: OrderedDict[str, Instance] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[str, Instance] = weakref.WeakValueDictionary()

    def _chosen(self, table: Table, locks: Locks, cache: Cache, new_id: RisingIds, outbound: Outbound) -> Drivers:
        """What every instance gets of the process."""
        config = self.config
        return Drivers(
            blobs=self.blobs,
            hub=self.hub,
            locks=locks,
            cache=cache,
            verified=VerifiedTokens(),
            gate=Gate(),
            now=self.now,
            new_id=new_id,
            scheme=config.server.scheme,
            vapid=vapid_keys(config),
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
            indexer=self.indexer,
            indexes=config.storage.path / "search",
            trash_days=config.files.trash_days,
            check=check_of(config.documents.validation),
            common=self._records,
            contexts=config.contexts,
            oidc=config.oidc,
            flat=config.server.subdomains == "flat",
            apps=self.apps,
            plan=self.scheduler.plan,
            boxes=open_boxes(config),
        )

    @classmethod
    def open(cls, config: Config, table: Table = MappingProxyType({})) -> Self:
        """Pick the drivers and open them.

        :param table: the workers.
        :raises Locked: another process has this data folder.
        :raises Unavailable: the folder cannot be made, or not be written.
        """
        return cls(config, table)

    # -- jobs -------------------------------------------------------------------------------------------------------

    def start(self, run: Run, *, here: bool = True) -> None:
        """Run jobs from now on, those first that were left open.

        :param run: `workers.run`.
        :param here: whether in this process; else it makes those that are due, and other processes run them.
        """
        self.broker.start(run, queues_of(self.drivers.table, self.config.jobs.threads) if here else {})
        self.patrol.start()
        self.scheduler.start()
        self.indexer.start()

    def rest(self) -> None:
        """Begin no job any more: this process is going to stop. From any thread or signal."""
        self._jobs_until = time.monotonic() + JOBS_GRACE
        self.patrol.close()
        self.scheduler.close()
        self.indexer.close()
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
        if name in former_domains(instance.doc):
            raise Gone("The instance has a new address", location=domain)
        return instance

    def instance(self, domain: str) -> Instance:
        """The instance of a domain or alias.

        :raises NotFound: there is none.
        """
        name = domain.lower()
        return self._instance(self._hosts.get(name) or self._find_domain(to_unicode(name)))

    def instances(self) -> Iterator[Instance]:
        """All instances, by domain; not those whose removal was interrupted."""
        for row in self._records.rows("hosts"):
            if row.key[0] == row.value:
                with contextlib.suppress(NotFound):
                    yield self._instance(row.value)

    def locate_app(self, host: str) -> tuple[Instance, str]:
        """The instance and the slug that a host of apps is for, by her main domain.

        :param host: `slug.domain`, or `name-slug.rest` where hosts are flat.
        :raises NotFound: it is none.
        :raises Gone: of an old domain of hers; `location` is the host at the new one.
        """
        label, dot, rest = to_unicode(host.lower()).partition(".")
        domain, slug = rest, label
        if self.drivers.flat:
            name, dash, slug = label.partition("-")
            domain, dot = f"{name}.{rest}", dash and dot
        if not dot or not slug or _SLUG.fullmatch(slug) is None:
            raise NotFound("Instance not found")
        instance = self.instance(domain)
        if domain in former_domains(instance.doc):
            raise Gone("The instance has a new address", location=instance.app_host(slug))
        if instance.domain != domain:
            raise NotFound("Instance not found")
        return instance, slug

    def locate_any(self, host: str) -> tuple[Instance, str]:
        """The instance that answers on a host, and the slug of the app that it is for; empty on the host of the instance itself.

        :raises NotFound, Gone: as `locate` and `locate_app`.
        """
        known = self._app_hosts.get(host)
        if known is not None:
            return self._instance(known[0]), known[1]
        try:
            return self.locate(host), ""
        except NotFound:
            instance, slug = self.locate_app(host)
        if not self.shared:
            with self._lock:
                if len(self._app_hosts) >= KEPT_APP_HOSTS:  # anybody may ask for any name below a domain
                    self._app_hosts.clear()
                self._app_hosts[host] = (instance.domain, slug)
        return instance, slug

    # -- life of an instance ----------------------------------------------------------------------------------------

    def create(self, domain: str, wanted: NewInstance | None = None, *, passphrase: str | None = None, **options: Any) -> Instance:
        """Make an instance with all that a new one has: see `Tenancy.create`.

        :param wanted: what its operator wants; or, of that,
        :param passphrase: in clear; None: she chooses it later.
        :param options: as `NewInstance` has them.
        """
        if wanted is None:
            wanted = NewInstance(passphrase=None if passphrase is None else NewPassphrase(passphrase), **options)
        made = self.tenancy.create(domain, wanted)
        with self._lock:
            self._app_hosts.clear()  # one of them may be the new instance's own
        return made

    def modify(self, domain: str, **changes: Any) -> Instance:
        """Change the record of an instance: see `Tenancy.modify`."""
        return self._instance(self.tenancy.modify(domain, **changes))

    def set_passphrase(self, domain: str, passphrase: str) -> Instance:
        """Give an instance a passphrase, in place of the one it has; every session and app token ends with it.

        :param passphrase: in clear.
        :raises NotFound: there is no such instance.
        :raises BadRequest: it is empty.
        """
        instance = self.instance(domain)
        instance.auth.replace_passphrase(NewPassphrase(passphrase), is_judged=False)
        return self._instance(instance.domain)

    def destroy(self, domain: str) -> None:
        """Remove every byte of an instance: see `Tenancy.destroy`."""
        for _ in self.tenancy.destroy(domain):
            continue

    def _forget(self, domain: str) -> None:
        """Host names have changed; one of them, or what it named, is not known here any more."""
        with self._lock:
            self._hosts.clear()
            self._app_hosts.clear()
            self._recent.pop(domain, None)
            self._alive.pop(domain, None)

    # -- backups ----------------------------------------------------------------------------------------------------

    @property
    def documents(self) -> DocumentBackend:
        """Where the documents of all tenants lie: for backups and moves."""
        return self._backend

    def check_restorable(self, record: Mapping[str, Any]) -> None:
        """Whether an instance may come back under this record.

        :raises Conflict: another instance has one of its host names, or its place.
        """
        self.tenancy.check_free([record["domain"], *record.get("domain_aliases", ())], mine=record["domain"])
        for instance in self.instances():
            if instance.prefix == record["prefix"] and instance.domain != record["domain"]:
                raise Conflict(f"{instance.domain} lies where {record['domain']} was")

    def reinstate(self, record: Mapping[str, Any], documents: Path) -> Instance:
        """Put documents and record of a backup in the place of an instance, or make it; its contents are there already.

        :param record: without `_id` and `_rev`.
        :param documents: a file that the driver's backup wrote.
        :raises Conflict: as `check_restorable`.
        :raises Invalid: `documents` is none; nothing is changed.
        """
        prefix = record["prefix"]
        ref = next((row.ref for row in self._records.rows("hosts", (record["domain"],))), Ref(doctypes.INSTANCES, prefix))
        with self.tenancy.one_at_a_time(), self.drivers.locks.hold(lock_name(prefix), wait=60):
            self.check_restorable(record)
            self._backend.restore(prefix, str(documents))
            known = self._records.get_many(ref.doctype, [ref.id])[0]
            self._records.put(ref.doctype, {**record, "_id": ref.id} | ({"_rev": known.rev} if known is not None else {}))
            with self._lock:
                self._hosts.clear()
                self._app_hosts.clear()
        log.info("instance %s restored", record["domain"])
        instance = self._instance(record["domain"])
        instance.search.close()
        Index.remove(self.drivers.indexes / f"{prefix}.sqlite")
        instance.jobs.restored()
        return instance

    # -- instances of another server ----------------------------------------------------------------------------------

    def find_prefix(self, host: str) -> str | None:
        """The prefix of the instance that has a host name; None: nobody has it."""
        rows = self._records.rows("hosts", (host,), limit=1)
        return str(self._records.get(rows[0].ref).doc["prefix"]) if rows else None

    def take_over(self, record: Doc) -> Instance:
        """Serve an instance whose documents and contents have come from another server.

        :param record: as replication sends it; its revisions are kept.
        :raises Conflict: as `check_restorable`.
        """
        with self.tenancy.one_at_a_time():
            self.check_restorable(record)
            self._records.graft(doctypes.INSTANCES, [record])
            self._forget(record["domain"])
        log.info("instance %s moved in", record["domain"])
        return self._instance(record["domain"])

    def collect_uploads(self) -> None:
        """Remove what came of uploads that nobody went on with."""
        removed = collect(self.drivers.uploads, self.now())
        if removed:
            log.info("%d uploads had run out", removed)

    def collect_apps(self) -> None:
        """Remove the files of apps that nobody has installed any more."""
        named = lambda: {digest for instance in self.instances() for digest in instance.apps.digests()}  # noqa: E731
        removed = self.apps.bundles.collect(named, self.now() - APPS_KEPT)
        if removed:
            log.info("the files of %d apps that nobody has any more are removed", removed)

    # -- health -----------------------------------------------------------------------------------------------------

    def ping_documents(self) -> None:
        """:raises Unavailable: the document store does not answer."""
        self._backend.ping()

    def ping_cache(self) -> None:
        """:raises Unavailable: what the processes share does not answer; this one goes on alone."""
        if self._link is not None and not self._link.answers():
            raise Unavailable("Redis does not answer")

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
        ref = self.tenancy.ref(domain)
        prefix = self._records.get(ref).doc["prefix"]
        store, amend = self._backend.open(prefix), partial(self.tenancy.amend, domain)
        return Instance(lambda: self._records.get(ref).doc, store, self.drivers, amend)


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
