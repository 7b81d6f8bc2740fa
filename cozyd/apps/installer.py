"""Install, update and remove an app of one instance: one at a time for each slug, and all or nothing.

Files come first, as a bundle that nothing names yet; then one commit writes the app's document and its permissions. Whatever
happens before leaves what was there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cozyd.apps.bundles import Bundle, Bundles
from cozyd.apps.fetched import Fetched
from cozyd.apps.manifest import DOCTYPES, Kind, Manifest, document
from cozyd.apps.runs import Tell
from cozyd.apps.services import Services
from cozyd.apps.sources import Sources
from cozyd.auth.sets import PERMISSIONS, Sets
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Ref, Stored, Write
from cozyd.errors import Conflict, CozyError, NotFound
from cozyd.locks import Locks
from cozyd.permissions import parse_set, write_set

WAIT = 60.0
PLATFORM = frozenset(
    ("banks", "contacts", "drive", "home", "notes", "passwords", "photos", "settings", "store", "coachco2", "mespapiers", "dataproxy")
)
"""Apps of the platform itself: what they may do changes with it, without asking."""
CERTIFIED = frozenset(("io.cozy.certified.carbon_copy", "io.cozy.certified.electronic_safe"))
"""What a konnector may add without asking: it lets it mark files as the very ones that a service has."""
DIGEST = "digest"
NEVER = "0001-01-01T00:00:00Z"
_CHANGING = ("updated_at", "created_at", "services")


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to have installed or updated.

    :param source: empty: of an update, the one it came from.
    :param acked: new permissions and terms are accepted.
    :param parameters: of a konnector.
    :param deactivated: what is installed is `installed` at its end, not `ready`.
    """

    kind: Kind
    slug: str
    source: str = ""
    acked: bool = False
    parameters: Mapping[str, Any] | None = None
    deactivated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


class Installer:
    """Changes what one instance has installed.

    :param services: keeps the triggers of what apps do by themselves.
    :param context: options of her context: `permissions_skip_verification`, `additional_platform_apps`.
    """

    def __init__(
        self,
        docs: Documents,
        sets: Sets,
        sources: Sources,
        bundles: Bundles,
        locks: Locks,
        prefix: str,
        now: Callable[[], datetime],
        context: Callable[[], Mapping[str, Any]],
        services: Services,
    ) -> None:
        self._services = services
        self._docs = docs
        self._sets = sets
        self._sources = sources
        self._bundles = bundles
        self._locks = locks
        self._prefix = prefix
        self._now = now
        self._context = context

    def find(self, kind: Kind, slug: str) -> Stored | None:
        """The document of an installed app; None: it is not."""
        try:
            return self._docs.get(Ref(DOCTYPES[kind], f"{DOCTYPES[kind]}/{slug}"))
        except NotFound:
            return None

    def check(self, order: Order, *, update: bool) -> None:
        """What can be told before anything is fetched.

        :raises Conflict: what is to be installed is there.
        :raises NotFound: what is to be updated is not.
        """
        known = self.find(order.kind, order.slug)
        if update and known is None:
            raise NotFound("Application is not installed")
        if not update and known is not None and not _was_developed(known):
            raise Conflict("Application with same slug already exists")

    def install(self, order: Order, tell: Tell) -> Stored:
        """Install an app.

        :param tell: is told the document with the state `installing`.
        :raises Conflict: it is installed already.
        :raises CozyError: what went wrong with its source.
        """
        with self._held(order.slug):
            self.check(order, update=False)
            known = self.find(order.kind, order.slug)
            return self._run(order if known is None else replace(order, acked=True), order.source, known, tell)

    def update(self, order: Order, tell: Tell) -> Stored:
        """Update an app; new permissions or terms that nobody accepted wait, and the old version goes on.

        :raises NotFound: it is not installed.
        """
        with self._held(order.slug):
            old = self.find(order.kind, order.slug)
            if old is None:
                raise NotFound("Application is not installed")
            return self._run(order, order.source or str(old.doc.get("source") or ""), old, tell)

    def wait_no_more(self, app: Stored) -> Stored:
        """The app without the version that waited for consent: its channel has none that is newer any more."""
        return self._docs.commit([Write(app.ref, patch={"available_version": ...}, rev=app.rev)])[0].made

    def develop(self, manifest: Manifest, source: str) -> Stored:
        """Have an app's document and permissions be what the manifest in its folder says."""
        order = Order(manifest.kind, manifest.slug, source)
        fetched = Fetched(manifest, manifest.version, "", lambda _: None)
        old = self.find(manifest.kind, manifest.slug)
        body = self._document(order, fetched, source, old)
        is_same = old is not None and all(old.doc.get(name) == value for name, value in body.items() if name not in _CHANGING)
        if old is not None and is_same:
            return old
        return self._finish(order, fetched, source, old, str(old.private.get(DIGEST) or "") if old is not None else "")

    def remove(self, kind: Kind, slug: str) -> Stored:
        """Remove an app; its last document.

        :raises NotFound: it is not installed.
        """
        with self._held(slug):
            old = self.find(kind, slug)
            if old is None:
                raise NotFound("Application is not installed")
            batch = [Write(old.ref, rev=old.rev, deleted=True)]
            rights = self._sets.of_app(_audience(kind), slug)
            if rights is not None:
                batch.append(Write(rights.ref, rev=rights.rev, deleted=True))
            self._docs.commit(batch)
            self._services.follow(slug, old.doc, {})
            return old

    # -- inside -----------------------------------------------------------------------------------------------------

    def _held(self, slug: str) -> Any:
        return self._locks.hold(f"app-{slug}/{self._prefix}", wait=WAIT, ttl=120)

    def _run(self, order: Order, source: str, old: Stored | None, tell: Tell) -> Stored:
        with self._bundles.scratch() as scratch:
            fetched = self._sources.fetch(source, order.kind, order.slug, scratch)
            if old is not None and self._is_whole(old) and _is_same(fetched, old, source, order):
                return old
            if old is not None and not order.acked and self._waits(fetched.manifest, old):
                return self._postpone(fetched, source, old)
            tell(self._document(order, fetched, source, old) | _on_its_way(fetched, old))
            return self._finish(order, fetched, source, old, self._files(fetched, scratch / "files").digest)

    def _files(self, fetched: Fetched, files: Path) -> Bundle:
        """The files, fetched unless they are known from another instance's install."""
        known = self._bundles.known(fetched.key) if fetched.key else None
        if known is not None:
            return known
        fetched.fill(files)
        return self._bundles.add(files, fetched.key)

    def _is_whole(self, old: Stored) -> bool:
        """Whether the files of what is installed are here."""
        try:
            return bool(self._bundles.get(str(old.private.get(DIGEST) or "")))
        except NotFound:
            return False

    def _finish(self, order: Order, fetched: Fetched, source: str, old: Stored | None, digest: str) -> Stored:
        """Have the new version be the one that is there."""
        body = self._document(order, fetched, source, old)
        ref = Ref(DOCTYPES[order.kind], str(body["_id"]))
        batch = [
            Write(ref, body=body, rev=old.rev if old is not None else None, private={DIGEST: digest}),
            self._permissions(order, fetched.manifest, old),
        ]
        made = self._docs.commit(batch)[0].made
        return self._with_services(order.slug, old.doc if old is not None else {}, made) if order.kind == "webapp" else made

    def mend_services(self, app: Stored) -> None:
        """Make the triggers that a web app's services lack."""
        with self._held(str(app.doc["slug"])):
            current = self._docs.get(app.ref)
            self._with_services(str(app.doc["slug"]), current.doc, current)

    def _with_services(self, slug: str, old: Doc, made: Stored) -> Stored:
        """Have the services' triggers follow; the document with their ids."""
        services = self._services.follow(slug, old, made.doc)
        if services == (made.doc.get("services") or {}):
            return made
        return self._docs.commit([Write(made.ref, patch={"services": services}, rev=made.rev)])[0].made

    def _document(self, order: Order, fetched: Fetched, source: str, old: Stored | None) -> dict[str, Any]:
        now = self._now().isoformat().replace("+00:00", "Z")
        created = str(old.doc.get("created_at") or now) if old is not None else now
        body = document(
            fetched.manifest, source=source, version=fetched.version, checksum=fetched.checksum, created_at=created, updated_at=now
        )
        if order.deactivated or (old is not None and old.doc.get("state") == "installed"):
            body["state"] = "installed"
        given = (order.parameters, body.pop("parameters", None), old.doc.get("parameters") if old is not None else None)
        parameters = next((one for one in given if one is not None), None)
        if order.kind == "konnector" and parameters is not None:
            body["parameters"] = parameters
        return body | dict(order.extra)

    def _permissions(self, order: Order, manifest: Manifest, old: Stored | None) -> Write:
        """The permission document: what the manifest says, and what its user gave beside it."""
        source = f"{DOCTYPES[order.kind]}/{order.slug}"
        known = self._sets.of_app(_audience(order.kind), order.slug)
        rules = dict(write_set(manifest.rules))
        if known is not None and old is not None:
            before = old.doc.get("permissions") or {}
            given = known.doc.get("permissions") or {}
            rules |= {title: rule for title, rule in given.items() if title not in before and title not in rules}
        body = {"type": _audience(order.kind), "source_id": source, "permissions": rules}
        ref = known.ref if known is not None else Ref(PERMISSIONS, self._docs.new_id())
        return Write(ref, body=body, rev=known.rev if known is not None else None)

    def _waits(self, manifest: Manifest, old: Stored) -> bool:
        """Whether the update needs her consent: it may do something else, or its terms are others."""
        context = self._context()
        terms = old.doc.get("terms") or {}
        if manifest.terms["version"] and manifest.terms["version"] != str(terms.get("version") or ""):
            return True
        is_platform = manifest.slug in PLATFORM or manifest.slug in (context.get("additional_platform_apps") or ())
        if is_platform or context.get("permissions_skip_verification") is True:
            return False
        try:
            before = set(_as_values(parse_set(old.doc.get("permissions") or {})))
        except CozyError:
            return True
        after = set(_as_values(manifest.rules))
        if manifest.kind == "konnector":
            after = {one for one in after if one in before or one[0] not in CERTIFIED}
        return after != before

    def _postpone(self, fetched: Fetched, source: str, old: Stored) -> Stored:
        """Note the version that waits; what serves stays."""
        if old.doc.get("available_version") == fetched.version and old.doc.get("source") == source:
            return old
        patch = {"available_version": fetched.version, "source": source}
        return self._docs.commit([Write(old.ref, patch=patch, rev=old.rev)])[0].made


def _on_its_way(fetched: Fetched, old: Stored | None) -> dict[str, Any]:
    """What a document is told with until its files are there, as the reference's: the manifest's own version, and no times."""
    told = {"version": fetched.manifest.version, "checksum": "", "updated_at": NEVER}
    if old is None:
        return told | {"state": "installing", "created_at": NEVER}
    return told | {"state": "upgrading", "_rev": old.rev}


def _was_developed(app: Stored) -> bool:
    """Whether an app was served from its developer's folder and never installed: it has a document and no files."""
    return app.private.get(DIGEST) == ""


def _is_same(fetched: Fetched, old: Stored, source: str, order: Order) -> bool:
    """Whether there is nothing to do: sources that name their versions have this very one."""
    is_named = source.startswith(("registry:", "http:", "https:", "npm:"))
    is_there = fetched.version == old.doc.get("version") and fetched.checksum == old.doc.get("checksum")
    return is_named and is_there and order.parameters is None and source == old.doc.get("source")


def _as_values(rules: Any) -> list[Any]:
    """Rules without their titles and descriptions."""
    return [(rule.doctype, rule.actions, rule.selector, frozenset(rule.values)) for rule in rules]


def _audience(kind: Kind) -> str:
    return "app" if kind == "webapp" else "konnector"
