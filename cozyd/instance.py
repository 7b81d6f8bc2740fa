"""`Instance`: one tenant, its rooms as lazy attributes; host names."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cozyd import doctypes
from cozyd.accounts import ACCOUNTS, AccountSecrets
from cozyd.apps import Apps, AppsHouse
from cozyd.auth import Auth, Owner
from cozyd.auth.attempts import Gate
from cozyd.auth.tokens import VerifiedTokens
from cozyd.auth.vouched import Vouched
from cozyd.cache import Cache
from cozyd.config import Mail
from cozyd.descriptions import searched
from cozyd.descriptions.validation import Check
from cozyd.documents import Documents
from cozyd.documents.doctype import Doctype
from cozyd.documents.store import Batch, Change, Doc, DocumentStore, Ref, Write
from cozyd.errors import Conflict, CozyError, NotFound
from cozyd.files import Files
from cozyd.files.ancestry import Ancestry
from cozyd.files.blobs import BlobStore
from cozyd.files.checkup import Checkup
from cozyd.files.contents import Contents
from cozyd.files.links import Links
from cozyd.files.mending import Mender
from cozyd.files.thumbnails import Thumbnails, work_of
from cozyd.files.uploads import Uploads
from cozyd.files.versions import Keeping
from cozyd.jobs import Jobs
from cozyd.jobs.broker import Broker
from cozyd.jobs.job import JOBS, Job, NewJob
from cozyd.jobs.worker import Table, Worker
from cozyd.locks import Lock, Locks
from cozyd.mails import SIZE, Address, Mails
from cozyd.naclbox import NaclBoxes
from cozyd.notifications import Notifications
from cozyd.notifications.devices import Devices
from cozyd.outbound import Outbound
from cozyd.permissions import FILES
from cozyd.pim import Pim
from cozyd.pim.pusher import Pusher
from cozyd.pim.subscriptions import Subscriptions
from cozyd.realtime import Hub
from cozyd.seals import Seal
from cozyd.search import Search
from cozyd.search.indexer import Indexer
from cozyd.settings import Settings, Surroundings
from cozyd.settings.avatar import Avatar
from cozyd.webpush import VapidKeys, WebPush

if TYPE_CHECKING:  # Authlib is loaded where a provider is used
    from cozyd.auth.oidc import Delegated

JWT_SECRET = "jwt_secret"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Drivers:
    """What all tenants of a process share: the chosen drivers, the clock, the source of ids.

    :param uploads: the folder for contents that come in several requests.
    :param largest_upload: bytes.
    :param apps: what all instances share of apps.
    :param scheme: `http` or `https`, of the addresses in answers that no request leads to.
    :param keeping: how many contents of a file are kept.
    :param vapid: what push services know the server by.
    :param table: the workers.
    :param push_contact: whom they may write to; empty: the instance.
    :param pusher: tells the subscriptions of WebDAV-Push.
    :param common: documents of tenant `global`.
    :param contexts: name -> what the configuration says of it.
    :param oidc: context -> what the configuration says of its OpenID Connect provider.
    :param flat: whether apps live on flat hosts, `alice-drive.example.org`.
    :param wrote: is told the domain of each commit, `plan` of each that changes triggers; they never raise, never block.
    :param boxes: those of a cozy-stack whose keys the operator has; None: accounts are sealed by keys of our own.
    """

    blobs: BlobStore
    hub: Hub
    locks: Locks
    cache: Cache
    verified: VerifiedTokens
    gate: Gate
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    scheme: str
    keeping: Keeping
    vapid: VapidKeys
    push_contact: str
    pusher: Pusher
    uploads: Path
    largest_upload: int
    mail: Mail
    outbound: Outbound
    table: Table
    broker: Broker
    wrote: Callable[[str], None]
    indexer: Indexer
    indexes: Path
    trash_days: int
    check: Check | None
    common: Documents
    contexts: Mapping[str, Mapping[str, Any]]
    oidc: Mapping[str, Mapping[str, Any]]
    flat: bool
    apps: AppsHouse
    plan: Callable[[str], None]
    boxes: NaclBoxes | None


class Instance:
    """One person's cloud.

    :param record: gives the current document of doctype `instances`.
    :param store: the tenant's documents.
    :param amend: changes fields of the record; None removes one.
    """

    def __init__(
        self, record: Callable[[], Mapping[str, Any]], store: DocumentStore, drivers: Drivers, amend: Callable[..., object]
    ) -> None:
        self._record = record
        self.amend = amend
        self._store = store
        self._drivers = drivers
        self.domain: str = self.doc["domain"]
        self.prefix: str = self.doc["prefix"]
        self.now = drivers.now
        self.largest_upload = drivers.largest_upload

    def lies_in(self, store: DocumentStore) -> bool:
        """Whether this is where its documents lie; not so once another process removed it and made it anew."""
        return self._store is store

    @property
    def doc(self) -> Mapping[str, Any]:
        """The instance record."""
        return self._record()

    def _seal_account(self, doc: Doc) -> Doc:
        return self.account_secrets.seal(doc)

    @property
    def account_secrets(self) -> AccountSecrets:
        """Seals and opens the passwords of `io.cozy.accounts`."""
        return AccountSecrets(self.doc["oauth_secret"], self._drivers.boxes)

    @cached_property
    def docs(self) -> Documents:
        """Every document, whatever its doctype."""
        accounts = Doctype(ACCOUNTS, seal=self._seal_account)
        files = Doctype(FILES, follow_up=self._work_of_file)
        table: Mapping[str, Doctype] = {**doctypes.DOCTYPES, ACCOUNTS: accounts, FILES: files}
        drivers = self._drivers
        return Documents(
            self._store, table, tell=self._tell, new_id=drivers.new_id, react=self._react, inform=self._inform, check=drivers.check
        )

    def _work_of_file(self, change: Change) -> Sequence[Write]:
        """The jobs that a new content asks for, in the commit that brings it; their ids make twice the same once."""
        tenant = {"domain": self.domain, "prefix": self.prefix}
        found = []
        for worker in work_of(change):
            id = hashlib.sha256(f"{worker} {change.new.ref.id} {change.new.rev}".encode()).hexdigest()[:32]
            found.append(Write(Ref(JOBS, id), body=NewJob(worker, {"file": change.new.ref.id}).fields(tenant, self.now())))
        return found

    def _tell(self, changes: Sequence[Change]) -> None:
        """What was committed goes to whoever listens, and to whoever works on it."""
        self._drivers.hub.publish(self.prefix, changes)
        self._drivers.indexer.wrote(self.domain, changes)
        self.jobs.told(changes)
        self._drivers.wrote(self.domain)
        self._drivers.pusher.note(self.subscriptions, changes)

    def _inform(self, writes: Sequence[Write]) -> Sequence[Write]:
        """Where files are is read before the commit, as reactions read nothing; only while a trigger asks for folders."""
        if not self.jobs.react.looks_above or all(write.ref.doctype != FILES for write in writes):
            return writes
        return Ancestry(self.docs, self.files, writes).told()

    def _react(self, changes: Sequence[Change], seq: str) -> Batch:
        return self.jobs.react(changes, seq)

    @cached_property
    def jobs(self) -> Jobs:
        """Work to be done later."""
        drivers = self._drivers
        return Jobs(
            self.docs,
            {"domain": self.domain, "prefix": self.prefix},
            drivers.table,
            drivers.broker,
            drivers.locks,
            drivers.cache,
            drivers.now,
            skips=self._skips,
            plan=partial(drivers.plan, self.domain),
        )

    def _skips(self, worker: Worker, job: Job) -> bool:
        return worker.skips is not None and worker.skips(self, job)

    @cached_property
    def contents(self) -> Contents:
        """The contents of her files, wherever they lie."""
        return Contents(self.docs, self._drivers.blobs, self.prefix)

    @cached_property
    def files(self) -> Files:
        """The file system."""
        drivers = self._drivers
        links = Links(drivers.cache, self.prefix, lambda: str(self.doc.get("session_secret", "")).encode(), drivers.now)
        return Files(
            self.docs,
            self.contents,
            self.prefix,
            drivers.locks,
            self.quota,
            drivers.now,
            drivers.new_id,
            links=links,
            thumbnails=Thumbnails(drivers.blobs, self.prefix),
            address=self.url,
            keeping=drivers.keeping,
        )

    @cached_property
    def uploads(self) -> Uploads:
        """Files that come in several requests."""
        drivers = self._drivers
        return Uploads(self.files, self.contents, drivers.uploads / self.prefix, drivers.now, drivers.new_id)

    @cached_property
    def checkup(self) -> Checkup:
        """What looks whether documents and contents agree."""
        drivers = self._drivers
        mender = Mender(self.docs, self.contents, self.prefix, drivers.locks, drivers.now, drivers.new_id)
        return Checkup(self.docs, self.contents, drivers.now, mender)

    def _secret(self) -> bytes:
        """What nobody outside knows, and what no log-in or passphrase changes."""
        return str(self.doc["oauth_secret"]).encode()

    @cached_property
    def pim(self) -> Pim:
        """Address books and calendars."""
        drivers = self._drivers
        return Pim(self.docs, self.prefix, drivers.locks, drivers.now, drivers.new_id, self._secret, self.files.usage)

    @cached_property
    def webpush(self) -> WebPush:
        """Messages to devices and browsers."""
        drivers = self._drivers
        contact = drivers.push_contact or f"https://{self.domain.partition(':')[0]}"
        return WebPush(drivers.outbound, drivers.vapid, contact, drivers.now)

    @cached_property
    def notifications(self) -> Notifications:
        """Short messages to the owner."""
        return Notifications(
            self.docs,
            self.jobs,
            Devices(self.docs, self.auth.clients.all, self.webpush),
            alone=partial(self.hold, "notifications"),
            mail=self._mail,
            usage=self.files.usage,
            page=lambda name: self.app_url("settings", f"/#/{name}"),
            offers=lambda: self.settings.manager_url("premium") if self.context.get("enable_premium_links") is True else "",
            now=self.now,
        )

    def look_after(self) -> int:
        """Whatever was left undone: jobs whose hints were lost, a quota that is nearly used up. How many jobs are open."""
        self.notifications.look_at_quota()
        with suppress(Conflict, NotFound):  # there was one today already, or nobody works here
            self.jobs.push_new(NewJob("upkeep", None), id=hashlib.sha256(f"upkeep {self.now():%Y%m%d}".encode()).hexdigest()[:32])
        return self.jobs.recall()

    @property
    def outbound(self) -> Outbound:
        """The way to servers that she or an app chose."""
        return self._drivers.outbound

    @property
    def trash_days(self) -> int:
        """Days after which what is in the trash is removed; 0: it stays."""
        return self._drivers.trash_days

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Who is told of changed address books and calendars."""
        return Subscriptions(self.docs, self.pim, self.webpush, self._secret, self.now, lambda: self.domain)

    @cached_property
    def auth(self) -> Auth:
        """Who is asking."""
        drivers = self._drivers
        owner = Owner(mails=lambda: self.mails, email=self.email, url=self.url)
        return Auth(
            self.docs,
            lambda: self.doc,
            drivers.cache,
            drivers.verified,
            drivers.now,
            amend=self.amend,
            gate=drivers.gate,
            owner=owner,
        )

    def provider_name(self) -> str:
        """What the log-in page calls her provider; empty without one."""
        found = self._provider()
        return str(found.get("name", "OpenID")) if found is not None else ""

    def _provider(self) -> Mapping[str, Any] | None:
        """What the configuration says of her OpenID Connect provider."""
        found = self._drivers.oidc.get(str(self.doc.get("context") or "default"))
        return {name: value for name, value in found.items() if name != JWT_SECRET} if found and found.get("issuer") else None

    @property
    def vouched(self) -> Vouched | None:
        """The tokens of a managing service that log her in; None: there is none."""
        secret = self._drivers.oidc.get(str(self.doc.get("context") or "default"), {}).get(JWT_SECRET)
        return Vouched(str(secret), self.domain, self._drivers.cache, self.now) if secret else None

    @property
    def delegated(self) -> "Delegated | None":
        """Who else may say that it is her; None: nobody."""
        drivers = self._drivers
        found = self._provider()
        if found is None:
            return None
        from cozyd.auth.oidc import Delegated, Provider

        return Delegated(Provider(**found), drivers.outbound, drivers.cache, self.auth.once, lambda: self.doc)

    @property
    def needs_no_passphrase(self) -> bool:
        """Whether she begins without choosing one: she logs in by links of mails, or by a provider alone."""
        closed = self._provider() is not None and self.context.get("disable_password_authentication") is True
        return closed or self.doc.get("magic_link") is True or bool(self.doc.get("franceconnect_id"))

    @cached_property
    def mails(self) -> Mails:
        """What is written to the owner, and to others in her name."""
        return Mails(
            self._drivers.mail,
            self.domain,
            Seal(self.doc["oauth_secret"], "mails"),
            settings=self.settings.document,
            locale=lambda: str(self.doc.get("locale", "en")),
            read=self._attachment,
            push=self.jobs.push,
            now=self.now,
        )

    @cached_property
    def search(self) -> Search:
        """Full text over documents and contents."""
        drivers = self._drivers
        behind = partial(drivers.indexer.ask, self.domain, set(searched()))
        return Search(self.docs, drivers.indexes / f"{self.prefix}.sqlite", behind=behind)

    def _attachment(self, id: str) -> bytes:
        with self.files.read(self.files.file(id)) as content:
            return content.read(SIZE + 1)

    @property
    def context(self) -> Mapping[str, Any]:
        """What the configuration says of its context: of that name, else of `default`. Everything in it is public."""
        contexts = self._drivers.contexts
        return contexts.get(str(self.doc.get("context") or "default"), contexts.get("default", {}))

    @cached_property
    def settings(self) -> Settings:
        """What the owner and the operator choose."""
        drivers = self._drivers
        able = {"file_versioning": drivers.keeping.most > 0, "flat_subdomains": drivers.flat}
        around = Surroundings(
            record=lambda: self.doc,
            amend=self.amend,
            context=lambda: self.context,
            common=drivers.common,
            contexts=drivers.contexts,
            able=able,
            provider=self._provider,
            address=self.url,
            now=drivers.now,
        )
        avatar = Avatar(drivers.blobs, self.prefix, lambda: self.doc, self.amend, drivers.new_id)
        return Settings(self.docs, self.auth.clients, around, avatar, self._mail, drivers.cache)

    @cached_property
    def apps(self) -> Apps:
        """Her web apps and konnectors."""
        drivers = self._drivers
        return Apps(
            self.docs,
            self.auth,
            self.jobs,
            drivers.apps,
            drivers.locks,
            drivers.cache,
            self.prefix,
            drivers.now,
            lambda: self.context,
            lambda slug: self.app_url(slug, ""),
            lambda: not self.doc.get("no_auto_update"),
        )

    def app_host(self, slug: str) -> str:
        """The host an app of hers is served on."""
        if not self._drivers.flat:
            return f"{slug}.{self.domain}"
        name, dot, rest = self.domain.partition(".")
        return f"{name}-{slug}{dot}{rest}"

    def app_url(self, slug: str, path: str = "/") -> str:
        """An address on an app's host."""
        return f"{self._drivers.scheme}://{self.app_host(slug)}{path}"

    def client_origin(self, slug: str) -> str:
        """The origin of an app that began an intent: its host, or where the flag says that its manifest names (`client_url_flag`)."""
        try:
            flag = self.apps.get("webapp", slug).doc.get("client_url_flag")
        except CozyError:
            flag = None
        found = self.settings.flags().values.get(flag) if isinstance(flag, str) and flag else None
        return found.rstrip("/") if isinstance(found, str) and found.startswith(("https://", "http://")) else self.app_url(slug, "")

    @property
    def apps_base(self) -> str:
        """The domain below which all hosts of her apps are."""
        return self.domain.partition(".")[2] if self._drivers.flat else self.domain

    @property
    def has_flat_apps(self) -> bool:
        """Whether hosts of apps are `name-slug.rest`."""
        return self._drivers.flat

    def counts(self, name: str, window: float) -> int:
        """Count an event of this tenant's; how many there were in the window of seconds that the first one began."""
        return self._drivers.cache.hit(f"{name}/{self.prefix}", window)

    def _mail(self, template: str, values: Mapping[str, Any], *, to: Address | None = None) -> None:
        self.mails.send(template, values, to=to)

    def hold(self, name: str, *, wait: float = 30) -> AbstractContextManager[Lock]:
        """Hold a name of this tenant's, for a door that looks before it writes.

        :raises Locked: it was not free in time.
        """
        return self._drivers.locks.hold(f"{name}/{self.prefix}", wait=wait)

    def quota(self) -> int | None:
        """How many bytes her files may take; None: no limit."""
        text = self.doc.get("disk_quota")
        return int(text) if text and int(text) > 0 else None

    def public_name(self) -> str:
        """How others see her."""
        return str(self.settings.document().get("public_name") or self.domain.split(".", 1)[0])

    def email(self) -> str:
        """Her address of mail; empty when she has not told it."""
        return str(self.settings.document().get("email") or "")

    def url(self, path: str = "/") -> str:
        """An address on her main domain."""
        return f"{self._drivers.scheme}://{self.domain}{path}"
