"""`/registry`: the apps that could be installed, as the registries tell them (docs/http/registry.md)."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from blueprints import _jsonapi
from blueprints._request import Access, Service, allow, instance, logged_in, number, principal, public, refusing
from cozyd import jsons
from cozyd.apps.registry import Image
from cozyd.apps.versions import CHANNELS
from cozyd.errors import BadRequest, Forbidden, NotFound

service = Service("registry", __name__, url_prefix="/registry", errors="accept")

PAGE = 100
FOREVER, A_DAY = "max-age=31536000, immutable", "private, max-age=86400"
_FILTERS = ("filter[type]", "filter[editor]", "filter[select]", "filter[reject]")
_PASSED = (*_FILTERS, "sort", "versionsChannel", "latestChannelVersion")


def _check_application() -> None:
    """:raises Forbidden: neither an app nor an OAuth client asks."""
    if principal().kind not in ("app", "client"):
        raise Forbidden


def _check_viewer() -> None:
    """Pages show icons by their address alone: her cookie is enough."""
    if logged_in() is None:
        allow("GET", "io.cozy.apps")


application = Access("application", _check_application)
version_reader = refusing(application)
viewer = refusing(Access("viewer", _check_viewer))


@service.get("", access=application)
@service.get("/", access=application)
def list_apps() -> Response:
    """Every app, in pages."""
    query = {name: request.args[name] for name in _PASSED if name in request.args}
    limit, start = number("limit", PAGE, low=-PAGE) or 0, _cursor()
    found = instance().apps.registries.apps(query)
    page = found[start : start + (limit if limit > 0 else PAGE)]
    meta: dict[str, Any] = {"count": len(page)}
    if start + len(page) < len(found):
        meta["next_cursor"] = str(start + len(page))
    return _json({"data": [_absolute(app) for app in page], "meta": meta})


@service.get("/maintenance", access=application)
def maintenance() -> Response:
    """The apps that are in maintenance."""
    return _json([_absolute(app) for app in instance().apps.maintenance.all()])


@service.get("/<slug>", access=application)
def app(slug: str) -> Response:
    """One app."""
    apps = instance().apps
    return _json(_absolute(apps.maintenance.told(apps.registries.app(slug))))


@service.get("/<slug>/<version>", access=version_reader)
def version(slug: str, version: str) -> Response:
    """One version; it never changes."""
    found = _json(_absolute(instance().apps.registries.version(slug, version)))
    found.headers["Cache-Control"] = FOREVER
    return found


@service.get("/<slug>/<channel>/latest", access=version_reader)
def latest(slug: str, channel: str) -> Response:
    """The greatest version of a channel."""
    if channel not in CHANNELS:
        raise BadRequest(f"Unknown channel {channel[:20]!r}")
    return _json(_absolute(instance().apps.registries.latest(slug, channel)))


@service.get("/<slug>/icon", access=viewer)
def icon(slug: str) -> Response:
    """The icon of an app."""
    return _image(instance().apps.registries.image(slug, "", "icon"), A_DAY)


@service.get("/<slug>/partnership_icon", access=viewer)
def partnership_icon(slug: str) -> Response:
    """The icon of its partner."""
    return _image(instance().apps.registries.image(slug, "", "partnership_icon"), A_DAY)


@service.get("/<slug>/screenshots/<path:name>", access=viewer)
def screenshot(slug: str, name: str) -> Response:
    """A picture of an app."""
    return _image(instance().apps.registries.image(slug, "", f"screenshots/{_inside(name)}"), A_DAY)


@service.get("/<slug>/<version>/icon", access=viewer)
def icon_of_version(slug: str, version: str) -> Response:
    """The icon of a version."""
    return _image(instance().apps.registries.image(slug, version, "icon"), FOREVER)


@service.get("/<slug>/<version>/partnership_icon", access=viewer)
def partnership_icon_of_version(slug: str, version: str) -> Response:
    """The icon of a version's partner."""
    return _image(instance().apps.registries.image(slug, version, "partnership_icon"), FOREVER)


@service.get("/<slug>/<version>/screenshots/<path:name>", access=viewer)
def screenshot_of_version(slug: str, version: str, name: str) -> Response:
    """A picture of a version."""
    return _image(instance().apps.registries.image(slug, version, f"screenshots/{_inside(name)}"), FOREVER)


@service.get("/<slug>/<version>/tarball/<name>", access=public)
def tarball(slug: str, version: str, name: str) -> Response:  # noqa: ARG001  # the name is for who saves it
    """The archive of a version in our own folder; as with any registry, it is for everybody."""
    found = instance().apps.registries.near(slug, version)
    if found is None:
        raise NotFound("Not Found")
    answer = Response(found, content_type="application/gzip" if found[:2] == b"\x1f\x8b" else "application/x-tar")
    answer.headers["Cache-Control"] = FOREVER
    answer.add_etag()
    answer.make_conditional(request, accept_ranges=True, complete_length=len(found))
    return answer


# -- inside -------------------------------------------------------------------------------------------------------------


def _cursor() -> int:
    text = request.args.get("cursor") or "0"
    if not text.isdigit() or len(text) > 9:
        raise BadRequest("Invalid cursor", source="cursor")
    return int(text)


def _inside(name: str) -> str:
    if ".." in name.split("/"):
        raise NotFound("Not Found")
    return name


def _absolute(found: Mapping[str, Any]) -> dict[str, Any]:
    """Archives of our own folder lie on her host."""
    shown = dict(found)
    if str(shown.get("url") or "").startswith("/"):
        shown["url"] = instance().url(shown["url"])
    if isinstance(shown.get("latest_version"), dict):
        shown["latest_version"] = _absolute(shown["latest_version"])
    return shown


def _json(found: Any) -> Response:
    return _jsonapi.packed(jsons.dump(found), type="application/json")


def _image(found: Image, life: str) -> Response:
    kind = found.type if found.type.startswith("image/") else "application/octet-stream"
    answer = Response(found.data, content_type=kind)
    answer.headers["Cache-Control"] = life
    answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
