"""`Apps`: the web apps and konnectors of one instance, their files and what is known of new ones (docs/apps.md)."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cozyd import jsons
from cozyd.apps.bundles import Bundle
from cozyd.apps.developed import bundle_of
from cozyd.apps.fetched import manifest_of
from cozyd.apps.house import AppsHouse
from cozyd.apps.installer import DIGEST, Installer, Order
from cozyd.apps.intents import INTENTS, Intents
from cozyd.apps.leaving import Leaving
from cozyd.apps.manifest import DOCTYPES, Kind, check_slug
from cozyd.apps.providers import Provider
from cozyd.apps.runs import Run, Tell
from cozyd.apps.services import Services
from cozyd.apps.versions import channel_named, is_newer
from cozyd.auth import Auth
from cozyd.cache import Cache
from cozyd.documents import Documents
from cozyd.documents.store import Change, Ref, Stored, Write
from cozyd.errors import BadRequest, Conflict, CozyError, NotFound, Unavailable
from cozyd.jobs import Jobs
from cozyd.locks import Locks

log = logging.getLogger("cozyd.apps")

LOOKED_EVERY = 600.0

__all__ = ["DOCTYPES", "Apps", "AppsHouse", "Kind", "Order"]


class Apps:
    """One instance's apps.

    :param house: what it shares with the others.
    :param context: options of her context.
    :param address: of an app's host, from its slug.
    :param looks: whether she wants apps to be updated by themselves.
    """

    def __init__(
        self,
        docs: Documents,
        auth: Auth,
        jobs: Jobs,
        house: AppsHouse,
        locks: Locks,
        cache: Cache,
        prefix: str,
        now: Callable[[], datetime],
        context: Callable[[], Mapping[str, Any]],
        address: Callable[[str], str],
        looks: Callable[[], bool],
    ) -> None:
        self._looks = looks
        self._docs = docs
        self._auth = auth
        self._house = house
        self._cache = cache
        self._prefix = prefix
        self.registries = house.registries
        self.allowed_origins = house.allowed_origins
        self.maintenance = house.maintenance
        self.intents = Intents(docs, lambda: self.list("webapp"), self._known, address)
        self._leaving = Leaving(docs, jobs, house.runs, lambda slug: self._installer.remove("konnector", slug))
        self._installer = Installer(docs, auth.sets, house.sources, house.bundles, locks, prefix, now, context, Services(jobs))

    # -- reading ----------------------------------------------------------------------------------------------------

    def list(self, kind: Kind, *, start: str = "", limit: int | None = None) -> Sequence[Stored]:
        """Installed apps, by id."""
        try:
            rows = self._docs.all(DOCTYPES[kind], start=start, limit=limit).rows
        except NotFound:
            return ()
        return [stored for stored in rows if not stored.ref.id.startswith("_")]

    def get(self, kind: Kind, slug: str) -> Stored:
        """An installed app.

        :raises Invalid: the slug cannot be one.
        :raises NotFound: it is not installed.
        """
        folder = self._house.folders.get(slug) if kind == "webapp" else None
        if folder is not None:
            return self._installer.develop(manifest_of(folder, kind, slug), folder.as_uri())
        found = self._installer.find(kind, check_slug(slug))
        if found is None:
            raise NotFound("Application is not installed")
        return found

    def bundle(self, app: Stored) -> Bundle:
        """Its files. Where they are not here, as those of a cozy that moved in, its registry is asked for them.

        :raises Unavailable: they are on their way.
        :raises NotFound: they are not here, and were not to be had a moment ago.
        """
        folder = self._house.folders.get(str(app.doc.get("slug"))) if app.ref.doctype == DOCTYPES["webapp"] else None
        if folder is not None:
            return bundle_of(folder)
        try:
            return self._house.bundles.get(str(app.private.get(DIGEST) or ""))
        except NotFound:
            if self._fetch_again(app):
                raise Unavailable("The files of the app are being fetched", retry_after=5) from None
            raise

    def is_developed(self, slug: str) -> bool:
        """Whether an app is served from a folder in which somebody works."""
        return slug in self._house.folders

    def digests(self) -> Iterator[str]:
        """Of the files of everything that is installed."""
        for kind in DOCTYPES:
            yield from (str(app.private[DIGEST]) for app in self.list(kind) if app.private.get(DIGEST))

    def archive(self, app: Stored) -> bytes:
        """Its files as tar.gz."""
        return self._house.bundles.archive(str(app.private.get(DIGEST) or ""))

    # -- changing ---------------------------------------------------------------------------------------------------

    def begin(self, order: Order, key: str, *, update: bool) -> Run:
        """Install or update in the background; realtime and the run tell how far it is.

        :param key: whoever asks again with it gets the same run.
        :raises Invalid, NotFound, Conflict: what can be told at once.
        """
        known = self._house.runs.get(key)
        if known is not None:
            return known
        self._check(order)
        self._installer.check(order, update=update)
        work = self._installer.update if update else self._installer.install

        def perform(tell: Tell) -> None:
            tell(work(order, tell).doc)

        return self._house.runs.start(key, perform, lambda: self._tell(order, key))

    def finish(self, key: str) -> None:
        """The request that began a run was answered."""
        self._house.runs.forget(key)

    def install(self, order: Order, tell: Tell) -> Stored:
        """Install, in this thread."""
        self._check(order)
        return self._installer.install(order, tell)

    def update(self, order: Order, tell: Tell) -> Stored:
        """Update, in this thread."""
        self._check(order)
        return self._installer.update(order, tell)

    def remove(self, kind: Kind, slug: str) -> tuple[Stored, bool]:
        """Remove an app; what it was, and whether it is gone now: a konnector with accounts goes when these are cleaned up after.

        :raises NotFound: it is not installed.
        :raises BadRequest: an application outside is linked to it.
        """
        if kind == "webapp" and any(client.linked_app == slug for client in self._auth.clients.all()):
            raise BadRequest("A linked OAuth client exists for this app")
        accounts = self._leaving.accounts_of(check_slug(slug)) if kind == "konnector" else ()
        if not accounts:
            return self._installer.remove(kind, check_slug(slug)), True
        found = self.get(kind, slug)
        self._leaving.begin(slug, accounts, f"leaving/{self._prefix}/{slug}")
        return found, False

    def mend_services(self) -> None:
        """Have the services of every app their triggers: some may have been deleted, or could not be made when it was installed."""
        for app in self.list("webapp"):
            self._installer.mend_services(app)

    def look_for_update(self, app: Stored) -> None:
        """Have the newest version of its channel installed soon, on another thread; looked for at most every ten minutes."""
        key = f"app-followed/{self._prefix}/{app.ref.id}"
        if self._is_due(app):
            self._house.runs.start(key, lambda _: self.follow(app), lambda: self._house.runs.forget(key))

    def visited(self, app: Stored) -> Stored:
        """An app that is used: one that was installed without being ready is so from its first use on."""
        if app.doc.get("state") != "installed":
            return app
        try:
            return self._docs.commit([Write(app.ref, patch={"state": "ready"}, rev=app.rev)])[0].made
        except Conflict:
            return self._docs.get(app.ref)  # somebody else was faster

    def brought_up(self, app: Stored) -> Stored:
        """The app in the newest version of its channel, looked for at most every ten minutes; whatever goes wrong, as it is."""
        app = self.visited(app)
        if not self._is_due(app):
            return app
        try:
            return self.follow(app)
        except CozyError as error:
            log.info("%s stays as it is: %s", app.ref.id, error)
            return app

    def follow(self, app: Stored) -> Stored:
        """The app in the newest version of its channel; one that asks for new rights waits, and the old one goes on.

        :raises CozyError: its registry is away, or the new version is none.
        """
        doc = app.doc
        channel = channel_named(str(doc.get("source") or ""))
        if channel is None:
            return app
        latest = self.registries.latest(str(doc["slug"]), channel)
        if _is_news(latest, doc, channel):
            return self._installer.update(Order(_kind_of(app), str(doc["slug"])), lambda _state: None)
        is_newest = latest["version"] == doc.get("version")
        return self._installer.wait_no_more(app) if is_newest and doc.get("available_version") else app

    def _is_due(self, app: Stored) -> bool:
        follows = self._looks() and channel_named(str(app.doc.get("source") or "")) is not None
        return follows and self._cache.hit(f"app-looked/{self._prefix}/{app.ref.id}", LOOKED_EVERY) == 1

    def secret_of(self, slug: str) -> Any:
        """What the operator has for a konnector to log in with at its service; None: nothing."""
        try:
            provider = Provider.named(self._house.account_types, slug)
        except NotFound:
            return None
        return provider.fields.get("secret") if provider.has_secret else None

    def framer(self, intent: str, slug: str) -> str | None:
        """The slug of the app that an intent lets frame another one; None: none."""
        try:
            doc = self._docs.get(Ref(INTENTS, intent)).doc
        except NotFound:
            return None
        served = any(service.get("slug") == slug for service in doc.get("services") or ())
        return str(doc.get("client", "")).removeprefix(f"{DOCTYPES['webapp']}/") if served else None

    # -- inside -----------------------------------------------------------------------------------------------------

    def _check(self, order: Order) -> None:
        """:raises Invalid, Conflict: an order that cannot be carried out."""
        check_slug(order.slug)
        if order.source:
            self._house.sources.check(order.source)
        if order.kind == "webapp" and order.slug in self._house.folders:
            raise Conflict("The app is served from the folder it is developed in: start the server without --appdir first")

    def _fetch_again(self, app: Stored) -> bool:
        """Have files that are not here fetched from its registry, at most every ten minutes; whether they are on their way."""
        key = f"app-fetched/{self._prefix}/{app.ref.id}"
        if self._house.runs.get(key) is not None:
            return True
        if not str(app.doc.get("source") or "").startswith("registry://") or self._cache.hit(key, LOOKED_EVERY) > 1:
            return False
        order = Order(_kind_of(app), str(app.doc.get("slug")))
        self._house.runs.start(key, lambda _: self._installer.update(order, lambda _state: None), lambda: self._house.runs.forget(key))
        return True

    def _known(self) -> Sequence[Mapping[str, Any]]:
        """What registries tell of web apps; nothing when they are away."""
        try:
            return self.registries.apps({"filter[type]": "webapp"})
        except CozyError:
            return ()

    def _tell(self, order: Order, key: str) -> None:
        """Tell realtime how far a run is, or that it failed, and wake the request that waits."""
        run = self._house.runs.get(key)
        if run is None:
            return
        doctype = DOCTYPES[order.kind]
        if isinstance(run.error, Conflict):
            return  # somebody else installs it: nothing is wrong with the app
        stored = self._installer.find(order.kind, order.slug)
        state = run.states[-1] if run.states else stored.doc if stored is not None else {"slug": order.slug, "source": order.source}
        if run.error is not None:
            state = {**state, "state": "errored", "error": run.error.detail}
        if state.get("state") in ("installing", "upgrading", "errored"):
            text = {name: value for name, value in state.items() if name not in ("_id", "_rev")}
            made = Stored(Ref(doctype, f"{doctype}/{order.slug}"), "", jsons.dump(text))
            self._docs.tell([Change("UPDATED", made)])
        elif stored is not None:
            self._docs.tell([Change("UPDATED", stored)])


def _kind_of(app: Stored) -> Kind:
    return "webapp" if app.ref.doctype == DOCTYPES["webapp"] else "konnector"


def _is_news(latest: Mapping[str, Any], doc: Mapping[str, Any], channel: str) -> bool:
    """Whether the newest of a channel is worth an update: a greater version (`beta` and `dev` may go back), or other files."""
    version = str(latest["version"])
    if version == doc.get("version"):
        return bool(latest.get("sha256") != doc.get("checksum"))
    return version != doc.get("available_version") and (channel != "stable" or is_newer(version, str(doc.get("version"))))
