"""Manifests of web apps and konnectors: what is read from one, what is refused, and the document made of it. No I/O.

Keys that the server does not know are kept word for word: they are for clients.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cozyd import jsons
from cozyd.errors import BadRequest, CozyError, Invalid
from cozyd.permissions import Rule, parse_set, write_actions, write_set

Kind = Literal["webapp", "konnector"]
DOCTYPES: Mapping[Kind, str] = {"webapp": "io.cozy.apps", "konnector": "io.cozy.konnectors"}
LARGEST = 2 << 20
LONGEST_SLUG = 63
MOST = 200
"""Routes, services, intents or rules of one manifest."""
_SLUG = re.compile(r"[a-z0-9-]+")
_TYPES: Mapping[Kind, tuple[str, ...]] = {"webapp": ("webapp", "node", ""), "konnector": ("konnector", "node", "")}
_OWNED = ("_id", "_rev", "state", "error", "available_version", "created_at", "updated_at", "checksum", "source", "slug")


@dataclass(frozen=True, slots=True)
class Route:
    """A part of an app's paths, and the folder that answers there.

    :param public: also for who is not logged in.
    :param answers: whether anything does: one without a folder is not there.
    """

    folder: str
    index: str
    public: bool
    answers: bool = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that may be used.

    :param body: all of it, as it came.
    """

    kind: Kind
    slug: str
    version: str
    body: Mapping[str, Any]
    rules: tuple[Rule, ...]

    @property
    def terms(self) -> Mapping[str, str]:
        """Address and version of its terms of service."""
        given = self.body.get("terms") or {}
        return {"url": str(given.get("url") or ""), "version": str(given.get("version") or "")}

    @property
    def services(self) -> Mapping[str, Any]:
        """Name -> `{type, file, trigger, debounce}`."""
        return self.body.get("services") or {}


def check_slug(slug: str) -> str:
    """A name that can be part of a host's.

    :raises Invalid: it cannot.
    """
    if not _SLUG.fullmatch(slug) or len(slug) > LONGEST_SLUG:
        raise Invalid("Invalid slug name", source="slug")
    return slug


def parse(text: bytes, kind: Kind, slug: str) -> Manifest:
    """Read a manifest.

    :param slug: of the address; it wins over the one inside.
    :raises BadRequest: it is none, too large, of another kind, or something in it cannot be.
    """
    if len(text) > LARGEST:
        raise _bad("it has more than 2 MiB")
    try:
        body = jsons.load_object(text)
    except CozyError as cause:
        raise _bad("it is no JSON object") from cause
    return read(body, kind, slug)


def read(body: Mapping[str, Any], kind: Kind, slug: str) -> Manifest:
    """As `parse`, of a manifest that is parsed already."""
    if body.get("type") is not None and body["type"] not in _TYPES[kind]:
        raise BadRequest(f"[{slug}] Manifest type is not valid for a {kind}")
    version = body.get("version", "")
    if not isinstance(version, str) or len(version) > 100 or not version.isprintable():
        raise _bad("its version is no text")
    for name in ("name", "editor", "name_prefix", "icon", "client_url_flag"):
        if not isinstance(body.get(name), str | None):
            raise _bad(f"its {name} is no text")
    for name in ("routes", "services", "locales", "terms", "permissions", "notifications"):
        if not isinstance(body.get(name), dict | None) or len(body.get(name) or {}) > MOST:
            raise _bad(f"its {name} are no object of at most {MOST}")
    try:
        rules = parse_set(body.get("permissions") or {})
    except CozyError as cause:
        raise _bad(cause.detail) from cause
    if kind == "webapp":
        routes_of(body)
        _check_intents(body.get("intents"))
    _check_services(body.get("services") or {})
    return Manifest(kind, slug, version, body, rules)


def routes_of(body: Mapping[str, Any]) -> Mapping[str, Route]:
    """Its routes: path -> what answers there; without any, everything is one private route.

    :raises BadRequest: two of one path, or a folder that leads out.
    """
    given = body.get("routes") or {"/": {"folder": "/", "index": "index.html", "public": False}}
    found: dict[str, Route] = {}
    for path, route in given.items():
        if not isinstance(route, dict) or not path.startswith("/") or "//" in path or not path.isprintable():
            raise _bad(f"its route {path[:50]!r} cannot be")
        folder, index = route.get("folder") or "", route.get("index") or ""
        if not isinstance(folder, str) or not isinstance(index, str) or not _stays_inside(folder) or not _stays_inside(index):
            raise _bad(f"the folder of its route {path[:50]!r} cannot be")
        name = path.rstrip("/") or "/"
        if name in found:
            raise _bad(f"two of its routes are {name[:50]!r}")
        found[name] = Route(folder.strip("/"), index.strip("/"), route.get("public") is True, bool(folder))
    return found


def match(routes: Mapping[str, Route], path: str) -> tuple[Route, str] | None:
    """The route of a path, the longest by whole parts, and the file in its folder; of its very path, the index."""
    parts = [part for part in path.split("/") if part and part != "."]
    if ".." in parts:
        return None
    for length in range(len(parts), -1, -1):
        route = routes.get("/" + "/".join(parts[:length]))
        if route is not None:
            rest = "/".join(parts[length:]) or route.index
            return (route, rest) if rest and route.answers else None
    return None


def document(manifest: Manifest, *, source: str, version: str, checksum: str, created_at: str, updated_at: str) -> dict[str, Any]:
    """The document of an installed app; of a konnector, terms and notifications are as its manifest has them, if it has any."""
    body = {name: value for name, value in manifest.body.items() if name not in _OWNED}
    body |= {
        "_id": f"{DOCTYPES[manifest.kind]}/{manifest.slug}",
        "slug": manifest.slug,
        "type": manifest.kind,
        "source": source,
        "state": "ready",
        "version": version,
        "checksum": checksum,
        "permissions": _written_rules(manifest),
        "created_at": created_at,
        "updated_at": updated_at,
    }
    if manifest.kind == "webapp":
        body |= {
            "terms": dict(manifest.terms),
            "routes": _written_routes(manifest.body),
            "services": {name: _written_service(service) for name, service in manifest.services.items()} or None,
        }
        body |= {name: manifest.body.get(name) for name in ("intents", "locales", "notifications")}
    return body


def localised(body: Mapping[str, Any], locale: str) -> str:
    """An app's name in a language."""
    locales = body.get("locales")
    words = locales.get(locale) if isinstance(locales, dict) else None
    name = words.get("name") if isinstance(words, dict) else None
    return str(name or body.get("name") or body.get("slug") or "")


def _written_routes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Its routes with all that one has, and the one that there is without any."""
    known = routes_of(body)
    given = body.get("routes")
    if not given:
        return {path: {"folder": f"/{route.folder}", "index": route.index, "public": route.public} for path, route in known.items()}
    return {
        path: {"folder": route.get("folder") or "", "index": route.get("index") or "", "public": route.get("public") is True}
        for path, route in given.items()
    }


def _written_service(given: Mapping[str, Any]) -> dict[str, Any]:
    """A service with all that one has; which trigger it has is not the manifest's to say."""
    return {name: given.get(name) or "" for name in ("type", "file", "debounce", "trigger")} | {"trigger_id": ""}


def _written_rules(manifest: Manifest) -> dict[str, Any]:
    """Its permissions as the reference has them: `ALL` is no verb."""
    found = write_set(manifest.rules)
    for title, rule in (manifest.body.get("permissions") or {}).items():
        verbs = rule.get("verbs") or ()
        if verbs and "ALL" not in verbs and "verbs" not in found[title]:
            found[title]["verbs"] = write_actions(verbs)
    return found


def _stays_inside(path: str) -> bool:
    return ".." not in path.split("/") and "\\" not in path and path.isprintable()


def _check_intents(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, list) or len(given) > MOST:
        raise _bad("its intents are no list")
    for intent in given:
        is_whole = isinstance(intent, dict) and all(isinstance(intent.get(name) or "", str) for name in ("action", "href"))
        if not is_whole or not _are_texts(intent.get("type") or []):
            raise _bad("one of its intents cannot be")


def _check_services(given: Mapping[str, Any]) -> None:
    for name, service in given.items():
        is_whole = isinstance(service, dict) and all(
            isinstance(service.get(key) or "", str) for key in ("type", "file", "trigger", "debounce")
        )
        if not is_whole or not _stays_inside(service.get("file") or ""):
            raise _bad(f"its service {name[:50]!r} cannot be")


def _are_texts(given: Any) -> bool:
    texts: Sequence[Any] = given if isinstance(given, list) else [given]
    return all(isinstance(text, str) for text in texts)


def _bad(why: str) -> BadRequest:
    return BadRequest(f"The manifest is not valid: {why}")
