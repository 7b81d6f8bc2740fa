"""`/apps` and `/konnectors`: install, update, remove, icons, archives (docs/http/apps.md)."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _jsonapi
from blueprints._answers import redirect
from blueprints._request import Service, allow, asks, by_secret, flag, instance, logged_in, principal
from cozyd import jsons
from cozyd.apps import DOCTYPES, Kind, Order
from cozyd.apps.runs import Run
from cozyd.documents.store import Stored
from cozyd.errors import CozyError, Forbidden, NotFound, PreconditionFailed, Unauthorized
from cozyd.permissions import Action
from cozyd.realtime import Park

PAGE = 100
STREAM = "text/event-stream"
HEARTBEAT = 10
STILL = b": still working\r\n"
INSTALLER = "store"

service = Service("apps", __name__, url_prefix="/apps")
konnectors = Service("konnectors", __name__, url_prefix="/konnectors")
FOREVER = "max-age=31536000, immutable"


def _kind() -> Kind:
    return "konnector" if request.blueprint == "konnectors" else "webapp"


@service.get("/", access=asks("GET"))
@konnectors.get("/", access=asks("GET"))
def list_apps() -> Response:
    """What is installed, by slug."""
    kind = _kind()
    allow("GET", DOCTYPES[kind])
    limit = _limit()
    found = instance().apps.list(kind, start=request.args.get("start_key", ""), limit=limit + 1)
    links = {}
    if len(found) > limit:
        links["next"] = f"{request.host_url}{_base(kind)[1:]}/?{urlencode({'limit': limit, 'start_key': found[limit].ref.id})}"
    shown = [_resource(kind, stored.doc) for stored in found[:limit]]
    return _jsonapi.answer(shown, links=links, meta={"count": len(shown)})


@service.get("/<slug>", access=asks("GET"))
@konnectors.get("/<slug>", access=asks("GET"))
def show(slug: str) -> Response:
    """One app."""
    app = _found("GET", slug)
    instance().apps.look_for_update(app)
    return _jsonapi.answer(_resource(_kind(), app.doc))


@service.post("/<slug>", access=asks("POST"))
@konnectors.post("/<slug>", access=asks("POST"))
def install(slug: str) -> Response:
    """Install an app; by `Accept: text/event-stream` each state is told as it comes."""
    source = request.args.get("Source") or f"registry://{slug}/stable"
    _check_right("POST", source)
    order = Order(_kind(), slug, source, parameters=_parameters(source), deactivated=request.args.get("Deactivated") == "true")
    return _followed(order, update=False)


@service.put("/<slug>", access=asks("POST"))
@konnectors.put("/<slug>", access=asks("POST"))
def update(slug: str) -> Response:
    """Update an app; `PermissionsAcked=true` accepts what waits."""
    source = request.args.get("Source", "")
    _check_right("POST", source)
    return _followed(Order(_kind(), slug, source, acked=flag("PermissionsAcked"), parameters=_parameters(source)), update=True)


@service.delete("/<slug>", access=asks("DELETE"))
@konnectors.delete("/<slug>", access=asks("DELETE"))
def remove(slug: str) -> Response:
    """Remove an app; answers what it was, 202 of a konnector whose accounts are cleaned up after first."""
    _check_right("DELETE", "registry://")
    removed, is_gone = instance().apps.remove(_kind(), slug)
    return _jsonapi.answer(_resource(_kind(), removed.doc), status=200 if is_gone else 202)


@service.get("/<slug>/icon", access=by_secret)
@service.get("/<slug>/icon/<version>", access=by_secret)
@konnectors.get("/<slug>/icon", access=by_secret)
@konnectors.get("/<slug>/icon/<version>", access=by_secret)
def icon(slug: str, version: str = "") -> Response:
    """Its icon, for who is logged in or may read it: pages show it by its address alone."""
    app = instance().apps.get(_kind(), slug) if logged_in() is not None else _seen(slug)
    bundle = instance().apps.bundle(app)
    name = str(app.doc.get("icon") or "").lstrip("/")
    entry = bundle.entries.get(name)
    if entry is None:
        raise NotFound("There is no such file")
    answer = Response(bundle.read(name), content_type=entry.type)
    answer.set_etag(entry.hash)
    answer.headers["Cache-Control"] = FOREVER if version else "private, no-cache"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.make_conditional(request)
    return answer


@service.get("/<slug>/download", access=asks("GET"))
@service.get("/<slug>/download/<version>", access=asks("GET"))
@konnectors.get("/<slug>/download", access=asks("GET"))
@konnectors.get("/<slug>/download/<version>", access=asks("GET"))
def download(slug: str, version: str = "") -> Response:
    """Its files: of a registry, the way to its archive; else the files as they are here."""
    app = _found("GET", slug)
    wanted = version or str(app.doc.get("version") or "")
    if str(app.doc.get("source") or "").startswith("registry://"):
        return redirect(_absolute(str(instance().apps.registries.version(slug, wanted)["url"])), 303)
    if wanted != app.doc.get("version"):
        raise PreconditionFailed("code for this version is not available", source="version")
    answer = Response(instance().apps.archive(app), content_type="application/gzip")
    answer.headers["Content-Disposition"] = f'attachment; filename="{slug}.tar.gz"'
    return answer


# -- inside -------------------------------------------------------------------------------------------------------------


def _base(kind: Kind) -> str:
    return "/konnectors" if kind == "konnector" else "/apps"


def _limit() -> int:
    """How many are in a page; what is no number is as if nothing was said, as in the reference."""
    text = request.args.get("limit", "")
    return int(text) if text.isdecimal() and 0 < len(text) < 7 and int(text) else PAGE


def _found(action: Action, slug: str) -> Stored:
    """An installed app that the principal may see; what is not there is refused to strangers alike."""
    doctype = DOCTYPES[_kind()]
    try:
        app = instance().apps.get(_kind(), slug)
    except NotFound:
        allow(action, doctype, {"_id": f"{doctype}/{slug}", "slug": slug})
        raise
    allow(action, doctype, app)
    return app


def _seen(slug: str) -> Stored:
    try:
        return _found("GET", slug)
    except CozyError as error:
        raise Unauthorized("You are not logged in") if error.status in (400, 401, 403) else error from None


def _check_right(action: Action, source: str) -> None:
    """Who may change what is installed: the owner's own tools, and the store, from registries only.

    So no app can have the server open a folder or an address of its choosing. Where the context says so
    (`allow_install_via_a_permission`), other apps and clients whose rights have it may what the store may.
    :raises Forbidden: somebody else.
    """
    who = principal()
    if who.everything:
        return
    if who.kind != "cli":
        is_store = who.kind in ("app", "konnector") and who.id == INSTALLER
        is_allowed = who.kind in ("app", "konnector", "client") and instance().context.get("allow_install_via_a_permission") is True
        if not (is_store or is_allowed) or not source.startswith("registry://"):
            raise Forbidden
    allow(action, DOCTYPES[_kind()])


def _parameters(source: str) -> Mapping[str, Any] | None:
    given = request.args.get("Parameters")
    found = jsons.load_object(given) if given else None
    return None if source.startswith("registry://") else found


def _followed(order: Order, *, update: bool) -> Response:
    """Begin, or go on watching: this request runs again whenever something is new."""
    apps, key = instance().apps, str(request.environ["cozyd.request_id"])
    is_stream = request.headers.get("Accept") == STREAM
    try:
        run = apps.begin(order, key, update=update)
    except CozyError as error:
        if not is_stream:
            raise
        return _last(_frame("error", error.detail))
    if is_stream:
        return _streamed(run, order, key)
    if run.error is not None:
        apps.finish(key)
        raise run.error
    if not run.states:
        raise _parked(order)
    return _jsonapi.answer(_resource(order.kind, run.states[0]), status=202)


def _parked(order: Order, say: bytes = b"", type: str = "application/json") -> Park:
    """Until something is new of this app: others that are installed beside it wake nobody here."""
    doctype = DOCTYPES[order.kind]
    return Park(instance().prefix, (doctype,), _in(HEARTBEAT), ids=(f"{doctype}/{order.slug}",), say=say, type=type)


def _streamed(run: Run, order: Order, key: str) -> Response:
    is_done = run.done
    states: Sequence[Mapping[str, Any]] = run.states[run.said :]
    run.said += len(states)
    frames = b"".join(_frame("state", {"data": _resource(order.kind, state)}) for state in states)
    if not is_done:
        now = time.monotonic()
        say = frames or (STILL if now >= run.silent_until else b"")
        run.silent_until = now + HEARTBEAT if say else run.silent_until
        raise _parked(order, say, STREAM)
    if run.error is not None:
        frames += _frame("error", run.error.detail)
    instance().apps.finish(key)
    return _last(frames)


def _frame(event: str, data: Any) -> bytes:
    return b"event: %b\r\ndata: %b\r\n\r\n" % (event.encode(), jsons.dump(data))


def _last(frames: bytes) -> Response:
    return Response(frames, content_type=STREAM, headers={"Cache-Control": "no-store"})


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _absolute(url: str) -> str:
    """An archive of our own registry lies on her host."""
    return instance().url(url) if url.startswith("/") else url


def _resource(kind: Kind, doc: Mapping[str, Any]) -> _jsonapi.Resource:
    slug, id = str(doc.get("slug") or ""), str(doc["_id"])
    shown = {name: value for name, value in doc.items() if name not in ("_id", "_rev") and not (name in _IF_ANY and not value)}
    links = {"self": f"{_base(kind)}/{slug}"}
    if doc.get("icon"):
        links["icon"] = f"{_base(kind)}/{slug}/icon/{doc.get('version', '')}"
    if kind == "konnector":
        links["permissions"] = f"/permissions/konnectors/{slug}"
    elif doc.get("state") in ("ready", "installed"):
        links["related"] = instance().app_url(slug)
    return _jsonapi.resource(DOCTYPES[kind], id, shown, rev=str(doc.get("_rev") or ""), links=links)


_IF_ANY = frozenset(("available_version", "error"))
