"""`Tenancy`: instances are made, changed, renamed and removed, one after the other (docs/instances.md)."""

import logging
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from cozyd import doctypes, seeds
from cozyd.apps import Order
from cozyd.auth.passphrase import NewPassphrase
from cozyd.config import Config
from cozyd.documents import Documents
from cozyd.documents.store import DocumentBackend, Ref, Stored, Write
from cozyd.errors import Conflict, CozyError, Invalid, NotFound
from cozyd.instance import Drivers, Instance
from cozyd.locks import Lock
from cozyd.records import check_host, former_domains, known_locale, new_record, other_hosts, secret, size_of, to_unicode
from cozyd.search.index import Index
from cozyd.settings import owner

log = logging.getLogger("cozyd.tenancy")

APPS: Mapping[str, Sequence[str]] = {
    "prod": ("home", "store", "settings", "drive", "photos", "contacts", "calendar", "todo", "collect"),
    "dev": ("home", "store", "settings", "drive", "photos", "contacts", "calendar", "todo", "collect", "devtools"),
    "test": ("home", "store", "settings"),
}
"""What a new instance has in each environment, when neither its maker, its template nor its context says otherwise."""


AT_ONCE = 4
"""How many apps of a new instance are installed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """What the operator wants of a new instance; empty: what the template says, or the default.

    :param quota: bytes her files may take.
    :param apps: slugs; None: as the template, context or environment has it.
    :param settings: further settings, by the names clients see: of the record or of the document.
    :param features: feature flags of its own.
    :param record: further members of the record.
    """

    passphrase: NewPassphrase | None = None
    email: str = ""
    public_name: str = ""
    phone: str = ""
    timezone: str = ""
    locale: str = ""
    aliases: Sequence[str] = ()
    quota: int | None = None
    context: str = ""
    apps: Sequence[str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Members of the settings document that have a parameter of their own."""
        named = {"public_name": self.public_name, "tz": self.timezone, "email": self.email, "phone": self.phone}
        return {name: value for name, value in named.items() if value}


def with_template(wanted: Mapping[str, Any], config: Config, template: str) -> NewInstance:
    """A new instance as its maker and a template have it; what the maker says wins.

    :param wanted: parameters of `NewInstance`; those that are None or empty count as not said, but for an empty list of apps.
    :raises Invalid: there is no such template, or its quota is no size.
    """
    found: dict[str, Any] = {}
    if template:
        if template not in config.templates:
            raise Invalid(f"There is no template {template!r}", source="Template")
        found = dict(config.templates[template])
        found["quota"] = size_of(found.pop("disk_quota", None))
    said = {name: value for name, value in wanted.items() if value not in (None, "", (), [], {}) or (name == "apps" and value is not None)}
    for name in ("settings", "features"):
        said[name] = {**found.get(name, {}), **wanted.get(name, {})}
    return NewInstance(**found | said)


class Tenancy:
    """The life of the instances of a process.

    :param records: documents of tenant `global`.
    :param find: gives the instance of a domain or alias.
    :param forget: is told that host names have changed, and of which instance.
    """

    def __init__(
        self,
        config: Config,
        records: Documents,
        backend: DocumentBackend,
        drivers: Drivers,
        find: Callable[[str], Instance],
        forget: Callable[[str], None],
    ) -> None:
        self._config = config
        self._records = records
        self._backend = backend
        self._drivers = drivers
        self._find = find
        self._forget = forget

    # -- making -----------------------------------------------------------------------------------------------------

    def create(self, domain: str, wanted: NewInstance) -> Instance:
        """Make an instance with all that a new one has: see `steps_of_making`."""
        steps = self.steps_of_making(domain, wanted)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                made: Instance = end.value
                return made

    def steps_of_making(self, domain: str, wanted: NewInstance) -> Generator[str, None, Instance]:
        """Make an instance; each step is told before, or for apps as soon as, it is done.

        :raises Invalid: a host name that cannot be one, an unknown language, a setting of the wrong type.
        :raises BadRequest: an empty passphrase.
        :raises Conflict: a host name is taken.
        """
        domain = check_host(domain)
        self._check_flat(domain)
        locale = known_locale(wanted.locale or "en")
        record = new_record(domain, other_hosts(wanted.aliases, domain), locale, wanted.quota) | dict(wanted.record)
        document, changes = owner.taken_apart(dict(wanted.settings), record, {}, "")
        record |= _kept({"context": wanted.context, "feature_flags": dict(wanted.features)}) | _kept(changes)
        if record.get("old_domain"):
            record["old_domain"] = check_host(record["old_domain"])
        if wanted.passphrase is not None:
            wanted.passphrase.check()
        named = {"public_name": domain.split(".", 1)[0].split(":", 1)[0]} | document | wanted.document()
        hosts = [record["domain"], *record.get("domain_aliases", ()), *former_domains(record)]
        self.check_free(hosts)  # what is refused is refused before anything is told
        yield "documents"
        with self.one_at_a_time():
            self.check_free(hosts)
            self._make(record, named, wanted.passphrase)
        log.info("instance %s created", domain)
        instance = self._find(domain)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = {pool.submit(_install, instance, slug): slug for slug in self._apps_of(instance, wanted)}
            for done in as_completed(running):
                yield f"app {running[done]}"
        return instance

    def _make(self, record: dict[str, Any], document: Mapping[str, Any], passphrase: NewPassphrase | None) -> None:
        prefix = record["prefix"]
        self._backend.destroy(prefix)  # what an interrupted creation left behind
        self._destroy_contents(prefix)

        def amend(**changes: Any) -> None:
            record.update(_kept(changes))
            for name in [name for name, value in changes.items() if value is None]:
                record.pop(name, None)

        instance = Instance(lambda: record, self._backend.create(prefix), self._drivers, amend)
        seeds.plant(instance, document)
        if passphrase is not None:
            instance.auth.passphrase.put(passphrase, is_judged=False)
        else:
            if instance.needs_no_passphrase:  # so that her vault is there
                instance.auth.passphrase.put(NewPassphrase(secret(16)), is_judged=False)
            record["password_defined"] = False
        self._records.put(doctypes.INSTANCES, record | {"_id": prefix})

    def _apps_of(self, instance: Instance, wanted: NewInstance) -> Sequence[str]:
        """Slugs of the apps that a new instance has; of the usual ones those that a registry has."""
        if wanted.apps is not None:
            return wanted.apps
        listed = instance.context.get("default_apps")
        if isinstance(listed, list):
            return [str(slug) for slug in listed]
        return APPS[self._config.server.environment]

    # -- changing ---------------------------------------------------------------------------------------------------

    def modify(self, domain: str, /, **changes: Any) -> str:
        """Change the record of an instance; its main domain.

        :param changes: `domain_aliases`, `locale`, `disk_quota`...; None removes one.
        :raises NotFound, Invalid, Conflict: as `create`.
        """
        main: str = self.record(domain).doc["domain"]
        if changes.get("domain_aliases"):
            changes["domain_aliases"] = other_hosts(changes["domain_aliases"], main)
        if changes.get("old_domain"):
            changes["old_domain"] = check_host(changes["old_domain"])
        if changes.get("locale"):
            known_locale(changes["locale"])
        names = [*(changes.get("domain_aliases") or ()), *filter(None, [changes.get("old_domain")])]
        with self.one_at_a_time():
            self.check_free(names, mine=main)
            self.amend(main, **changes)
        self._forget("")
        return main

    def change(self, domain: str, settings: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Change an instance as its operator wants.

        :param settings: by the names clients see, of the record or of the document.
        :param record: members of the record alone; None removes one.
        :raises NotFound, Invalid, Conflict, BadRequest: as `create`.
        """
        if settings.get("locale"):
            known_locale(settings["locale"])
        if record:
            self.modify(domain, **record)
        if settings:
            self._find(domain).settings.merge(settings)

    def amend(self, domain: str, /, **changes: Any) -> None:
        """Replace fields of a record; None removes one."""
        patch = {name: ... if value is None else value for name, value in changes.items()}

        def write() -> None:
            stored = self._records.get(self.ref(domain))
            self._records.commit([Write(stored.ref, patch=patch, rev=stored.rev)])

        self._records.retry(write)

    def rename(self, domain: str, new: str) -> Instance:
        """Give an instance another domain. The old one leads to it, and its tokens and its salt of the passphrase stay good.

        :raises NotFound: there is no such instance.
        :raises Invalid, Conflict: as `create`.
        """
        instance, new = self._find(domain), check_host(new)
        self._check_flat(new)
        old, record = instance.domain, instance.doc
        if new == old:
            return instance
        left = [name for name in (*former_domains(record), old) if name != new]
        first = record.get("old_domain") or old  # what clients derive the passphrase with, whatever comes after
        changes = {
            "domain": new,
            "old_domain": first if first != new else None,
            "former_domains": [name for name in left if name != first] or None,
            "domain_aliases": [name for name in record.get("domain_aliases", ()) if name != new] or None,
        }
        with self.one_at_a_time():
            self.check_free([new], mine=old)
            self.amend(old, **changes)
        self._forget(old)
        renamed = self._find(new)
        seeds.tell_address(renamed)
        log.info("instance %s is now %s", old, new)
        return renamed

    # -- removing ---------------------------------------------------------------------------------------------------

    def destroy(self, domain: str) -> Iterator[str]:
        """Remove every byte of an instance; each step is told before it is done. Can be called again when it was interrupted.

        :raises NotFound: there is none.
        """
        record = self.record(domain).doc
        main, prefix = record["domain"], record["prefix"]
        yield "closing"
        self.modify(main, deleting=True)
        self._forget(main)
        with self.one_at_a_time():
            yield "documents"
            self._backend.destroy(prefix)
            yield "contents"
            self._destroy_contents(prefix)
            yield "record"
            stored = self.record(main)
            self._records.delete(stored.ref, stored.rev)
        self._forget(main)
        log.info("instance %s destroyed", main)

    def _destroy_contents(self, prefix: str) -> None:
        self._drivers.blobs.destroy(prefix)
        Index.remove(self._drivers.indexes / f"{prefix}.sqlite")
        shutil.rmtree(self._drivers.uploads / prefix, ignore_errors=True)

    # -- names ------------------------------------------------------------------------------------------------------

    def one_at_a_time(self) -> AbstractContextManager[Lock]:
        """Instances are made, renamed and removed one after the other: who makes one clears its place first."""
        return self._drivers.locks.hold("instances", wait=60, strict=True)

    def check_free(self, hosts: Sequence[str], *, mine: str = "") -> None:
        """Whether nobody else has these host names.

        :raises Conflict: somebody has.
        """
        for host in hosts:
            rows = self._records.rows("hosts", (host,), limit=1)
            if rows and rows[0].value != mine:
                raise Conflict(f"{host} belongs to an instance already")

    def _check_flat(self, domain: str) -> None:
        """On flat hosts the first part of a domain has no dash: what follows one is the name of an app.

        :raises Invalid: it has one.
        """
        if self._drivers.flat and "-" in domain.partition(".")[0]:
            raise Invalid(f"{domain!r} cannot be a domain: its first part has a dash", source="domain")

    def record(self, domain: str) -> Stored:
        """The record of a domain or alias, whatever became of what it stands for.

        :raises NotFound: there is none.
        """
        return self._records.get(self.ref(to_unicode(domain.lower())))

    def records(self, *, after: str = "", skip: int = 0, limit: int | None = None) -> Sequence[Stored]:
        """The records of instances by domain.

        :param after: a domain: those behind it.
        """
        mains = [row for row in self._records.rows("hosts") if row.key[0] == row.value and row.value > after]
        chosen = mains[skip : None if limit is None else skip + limit]
        found = self._records.get_many(doctypes.INSTANCES, [row.ref.id for row in chosen])
        return [stored for stored in found if stored is not None]

    def ref(self, domain: str) -> Ref:
        """The record of a domain: of an instance that another server made, its id says nothing.

        :raises NotFound: there is none.
        """
        rows = self._records.rows("hosts", (domain,), limit=1)
        if not rows:
            raise NotFound("Instance not found")
        return rows[0].ref


def _install(instance: Instance, slug: str) -> None:
    """Install an app of a new instance; without it she has a cloud too."""
    try:
        instance.apps.install(Order("webapp", slug, f"registry://{slug}/stable", acked=True), lambda _: None)
    except NotFound:
        log.debug("no registry has %s", slug)
    except CozyError as error:
        log.warning("%s could not be installed for %s: %s", slug, instance.domain, error.detail)


def _kept(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}
