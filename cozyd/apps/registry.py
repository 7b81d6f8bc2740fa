"""Registries of apps, in order: the first that knows a slug owns it, everywhere (docs/http/registry.md).

Remote ones are asked through `Outbound`, their answers kept for a while, and the last good one for a day while they are away.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, urlencode

from cozyd import jsons
from cozyd.apps.versions import CHANNELS, Channel
from cozyd.cache import Cache
from cozyd.errors import BadGateway, BadRequest, CozyError, NotFound
from cozyd.outbound import Outbound

log = logging.getLogger("cozyd.apps")

LIST_FOR, VERSION_FOR, MISSING_FOR, STALE_FOR, IMAGE_FOR = 300.0, 30 * 86400.0, 60.0, 86400.0, 3600.0
LARGEST_ANSWER, LARGEST_IMAGE, LARGEST_KEPT_IMAGE = 8 << 20, 4 << 20, 64 << 10
ANSWER_WITHIN = 10.0
PAGE, MOST_PAGES = 200, 25
IMAGES = ("icon", "partnership_icon")


@dataclass(frozen=True, slots=True)
class Image:
    """An icon or screenshot."""

    type: str
    data: bytes


class Registry(Protocol):
    """One registry."""

    def apps(self, query: Mapping[str, str]) -> Sequence[dict[str, Any]]:
        """All its apps that a query takes."""

    def app(self, slug: str) -> dict[str, Any]:
        """One app.

        :raises NotFound: it has none.
        """

    def version(self, slug: str, version: str) -> dict[str, Any]:
        """One version of an app.

        :raises NotFound: it has none.
        """

    def latest(self, slug: str, channel: Channel) -> dict[str, Any]:
        """The greatest version of a channel.

        :raises NotFound: there is none.
        """

    def image(self, slug: str, version: str, name: str) -> Image:
        """An icon or screenshot.

        :param version: empty: of the app.
        :param name: `icon`, `partnership_icon` or `screenshots/...`.
        :raises NotFound: there is none.
        """

    def refresh(self) -> None:
        """Look at the list of apps anew.

        :raises CozyError: it cannot be had, and no older one is known.
        """


@runtime_checkable
class Near(Protocol):
    """A registry whose archives lie on this machine."""

    def archive(self, slug: str, version: str) -> bytes:
        """The bytes of a version's archive.

        :raises NotFound: there is none.
        """


class RemoteRegistry:
    """A registry on another server.

    :param url: its address.
    """

    def __init__(self, url: str, outbound: Outbound, cache: Cache) -> None:
        self._url = url.rstrip("/")
        self._outbound = outbound
        self._cache = cache

    def apps(self, query: Mapping[str, str]) -> Sequence[dict[str, Any]]:
        """See `Registry.apps`: page by page."""
        return self._listed(query)

    def refresh(self) -> None:
        """See `Registry.refresh`."""
        self._listed({}, fresh=True)

    def _listed(self, query: Mapping[str, str], *, fresh: bool = False) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            page = self._asked(
                "/registry", dict(query) | {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {}), LIST_FOR, fresh=fresh
            )
            data, meta = page.get("data") or [], page.get("meta") or {}
            if not isinstance(data, list) or not isinstance(meta, dict):
                raise _unreadable()
            found += [app for app in data if isinstance(app, dict) and isinstance(app.get("slug"), str)]
            cursor = str(meta.get("next_cursor") or "")
            if not cursor:
                break
        return found

    def app(self, slug: str) -> dict[str, Any]:
        """See `Registry.app`."""
        return self._asked(f"/registry/{quote(slug, safe='')}", {}, LIST_FOR)

    def version(self, slug: str, version: str) -> dict[str, Any]:
        """See `Registry.version`."""
        return self._asked(f"/registry/{quote(slug, safe='')}/{quote(version, safe='')}", {}, VERSION_FOR)

    def latest(self, slug: str, channel: Channel) -> dict[str, Any]:
        """See `Registry.latest`."""
        return self._asked(f"/registry/{quote(slug, safe='')}/{channel}/latest", {}, LIST_FOR)

    def image(self, slug: str, version: str, name: str) -> Image:
        """See `Registry.image`."""
        parts = [slug, *([version] if version else []), *name.split("/")]
        target = f"{self._url}/" + "/".join(quote(part, safe="") for part in ["registry", *parts])
        known = self._cache.get(f"registry/{target}")
        if known is not None:
            kind, _, data = known.partition(b"\n")
            return Image(kind.decode(), data)
        answer = self._outbound.request("GET", target, limit_bytes=LARGEST_IMAGE, timeout=ANSWER_WITHIN)
        if answer.status != 200:
            raise NotFound("Not Found")
        kind_of = answer.headers.get("content-type", "application/octet-stream").partition("\n")[0]
        if len(answer.body) <= LARGEST_KEPT_IMAGE:
            self._cache.set(f"registry/{target}", kind_of.encode() + b"\n" + answer.body, IMAGE_FOR)
        return Image(kind_of, answer.body)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _asked(self, path: str, query: Mapping[str, str], life: float, *, fresh: bool = False) -> dict[str, Any]:
        """An answer, from memory while it is young; an old one when the registry is away.

        :param fresh: ask, however young the known one is.
        """
        target = f"{self._url}{path}{'?' + urlencode(query) if query else ''}"
        key = f"registry/{target}"
        known = None if fresh else self._cache.get(key)
        if known is None:
            known = self._fetched(target, key, life)
        if known == b"":
            raise NotFound("Not Found")
        try:
            return jsons.load_object(known)
        except BadRequest as cause:
            raise _unreadable() from cause

    def _fetched(self, target: str, key: str, life: float) -> bytes:
        try:
            answer = self._outbound.request("GET", target, limit_bytes=LARGEST_ANSWER, timeout=ANSWER_WITHIN)
            if answer.status not in (200, 404):
                raise _Failed(answer.status, _message(answer.body))
            if answer.status == 200:
                jsons.load_object(answer.body)
        except CozyError as error:
            stale = self._cache.get(f"{key}/stale")
            if stale is None:
                raise _unreadable() if isinstance(error, BadRequest) else error from error
            log.warning("a registry is away, its last answer is used: %s", error)
            return stale
        body = answer.body if answer.status == 200 else b""
        self._cache.set(key, body, life if body else MISSING_FOR)
        if body:
            self._cache.set(f"{key}/stale", body, STALE_FOR)
        return body


class _Failed(BadGateway):
    """A registry answered with an error of its own: its status and message are passed on."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message or "The registry refused")
        self.status = status  # type: ignore[misc]


class Registries:
    """Several registries, in order.

    :param ordered: the first that knows a slug owns it.
    """

    def __init__(self, ordered: Sequence[Registry]) -> None:
        self._ordered = tuple(ordered)
        self._noted: Mapping[str, dict[str, Any]] = {}
        self._looked: float | None = None

    def is_due(self, every: float) -> bool:
        """Whether this process looked at the lists longer ago than so many seconds; whoever is told so looks."""
        now = time.monotonic()
        if self._looked is not None and now - self._looked < every:
            return False
        self._looked = now
        return True

    def refresh(self) -> None:
        """Look at every list anew, and note which apps are in maintenance.

        :raises CozyError: a list cannot be had, and no older one is known.
        """
        for registry in self._ordered:
            registry.refresh()
        self._noted = {app["slug"]: app for app in self.maintenance()}

    def known(self, slug: str) -> dict[str, Any] | None:
        """What is known of an app without a way over the network: where registries are far away, those in maintenance."""
        if not all(isinstance(registry, Near) for registry in self._ordered):
            return self._noted.get(slug)
        try:
            return self.app(slug)
        except NotFound:
            return None

    def apps(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Every app once, sorted as the query asks.

        :raises BadRequest: a channel that is none.
        """
        for name in ("versionsChannel", "latestChannelVersion"):
            if query.get(name, "stable") not in CHANNELS:
                raise BadRequest(f"Unknown channel {query[name][:20]!r}")
        found: dict[str, dict[str, Any]] = {}
        for registry in self._ordered:
            for app in registry.apps(query):
                found.setdefault(app["slug"], app)
        return _sorted(found.values(), query.get("sort") or "slug")

    def app(self, slug: str) -> dict[str, Any]:
        """One app, by the registry that owns it.

        :raises NotFound: none knows it.
        """
        return self._owner(slug)[1]

    def version(self, slug: str, version: str) -> dict[str, Any]:
        """One version.

        :raises NotFound: its owner has none; no other is asked then.
        """
        return self._owner(slug)[0].version(slug, version)

    def latest(self, slug: str, channel: Channel) -> dict[str, Any]:
        """The greatest version of a channel.

        :raises NotFound: its owner has none.
        """
        return self._owner(slug)[0].latest(slug, channel)

    def image(self, slug: str, version: str, name: str) -> Image:
        """An icon or screenshot.

        :raises NotFound: its owner has none.
        """
        return self._owner(slug)[0].image(slug, version, name)

    def near(self, slug: str, version: str) -> bytes | None:
        """The bytes of a version's archive, when its owner is a folder of this machine.

        :raises NotFound: its owner has no such version.
        """
        owner = self._owner(slug)[0]
        return owner.archive(slug, version) if isinstance(owner, Near) else None

    def maintenance(self) -> list[dict[str, Any]]:
        """The apps that are in maintenance."""
        return [app for app in self.apps({}) if app.get("maintenance_activated") is True]

    def _owner(self, slug: str) -> tuple[Registry, dict[str, Any]]:
        for registry in self._ordered:
            try:
                return registry, registry.app(slug)
            except NotFound:
                continue
        raise NotFound("Not Found")


def _sorted(apps: Iterable[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    name = field.removeprefix("-")
    key = name if name in ("slug", "type", "editor", "created_at") else "slug"
    return sorted(sorted(apps, key=lambda app: app["slug"]), key=lambda app: str(app.get(key) or ""), reverse=field.startswith("-"))


def _message(body: bytes) -> str:
    try:
        found = jsons.load_object(body).get("message")
    except CozyError:
        return ""
    return found if isinstance(found, str) else ""


def _unreadable() -> BadGateway:
    return BadGateway("The registry's answer cannot be read")
