"""`/permissions`: the sets of apps, and share links (docs/http/permissions.md)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from blueprints import _jsonapi, _pages
from blueprints._answers import echo_origin, preflight, private
from blueprints._documents import answer
from blueprints._files import allow_reading
from blueprints._login import refused, sentence_of
from blueprints._request import Service, allow, body, by_secret, credentials, flag, instance, known, number, principal, public
from cozyd import jsons
from cozyd.auth.links import Maker, Wanted
from cozyd.auth.sets import PERMISSIONS, SHARINGS, is_expired, rules_of
from cozyd.documents.store import Doc, Key, Stored
from cozyd.errors import BadRequest, BadToken, Forbidden, NotFound, TooManyRequests
from cozyd.permissions import Principal, write_actions, write_set

service = Service("permissions", __name__, url_prefix="/permissions", errors="rights")
passwords = Service("link_passwords", __name__, errors="oauth")

PAGE, LARGEST_PAGE, MOST_SKIPPED = 30, 100, 10_000
MOST_ASKED = 1000
_CODES = ("codes", "shortcodes")
_TYPES = {"client": "oauth", "link": "share"}


@service.get("/self", access=known)
def show_own() -> Response:
    """The set in force for the token."""
    found = principal()
    stored = _stored(found)
    if stored is not None:
        return _jsonapi.answer(_resource(stored, codes=False))
    attributes = {"type": _TYPES.get(found.kind, found.kind), "source_id": _maker().source, "permissions": _set_of(found)}
    return _jsonapi.answer(_jsonapi.resource(PERMISSIONS, "", attributes, links={"self": "/permissions/"}))


@service.post("", access=known)
def create() -> Response:
    """Make a share link."""
    names = tuple(request.args.get("codes", "").split(","))
    wanted = Wanted(_attributes(), names, request.args.get("ttl", ""), flag("tiny"))
    return private(_jsonapi.answer(_resource(instance().auth.links.create(_maker(), wanted), codes=True)))


@service.post("/exists", access=known)
def exists() -> Response:
    """What share links allow with the documents that are named; they have to be readable."""
    found = []
    for doctype, id in _asked_documents():
        allow_reading(doctype, id)
        verbs = instance().auth.sets.shared_verbs(doctype, id)
        if verbs:
            found.append({"id": id, "type": doctype, "verbs": write_actions(verbs)})
    answered = answer({"data": found or None})
    answered.content_type = _jsonapi.MEDIA_TYPE
    return answered


@service.get("/<id>", access=known)
def show(id: str) -> Response:
    """A permission document, for who it is of and who made it; without its codes."""
    stored = instance().auth.sets.get(id)
    found = principal()
    is_own = found.everything or (found.kind == "link" and found.id == id) or _is_of(stored, _maker())
    if not is_own:
        raise Forbidden
    if is_expired(stored, instance().now()):
        raise BadToken(expired=True)
    return _jsonapi.answer(_resource(stored, codes=False))


@service.patch("/<id>", access=known)
def patch(id: str) -> Response:
    """Change a share link, or add a rule to an app."""
    return _patched(id)


@service.patch("/apps/<slug>", access=known)
def patch_app(slug: str) -> Response:
    """Add a rule to an app, by its slug."""
    return _patched(_app_set("app", slug))


@service.patch("/konnectors/<slug>", access=known)
def patch_konnector(slug: str) -> Response:
    """Add a rule to a konnector, by its slug."""
    return _patched(_app_set("konnector", slug))


@service.delete("/<id>", access=known)
def revoke(id: str) -> Response:
    """Revoke a share link; it counts from the next request on."""
    instance().auth.links.revoke(_maker(), id)
    return Response(status=204)


@service.get("/doctype/<doctype>/shared-by-link", access=known)
@service.get("/doctype/<doctype>/sharedByLink", access=known)
def list_links(doctype: str) -> Response:
    """The share links with a rule on a doctype; codes only of those that allow no more than the asker may."""
    try:
        allow("GET", doctype)
    except Forbidden:
        raise Forbidden("You need GET permission on whole type to list its permissions", source="doctype") from None
    limit = min(number("page[limit]", PAGE, low=1) or PAGE, LARGEST_PAGE)
    skip = number("page[skip]", 0, high=MOST_SKIPPED) or 0
    auth, maker = instance().auth, _maker()
    rows = auth.sets.by_doctype(doctype, after=_after(doctype), limit=skip + limit + 1)[skip:]
    page = rows[:limit]
    found = [_resource(stored, codes=_may_pass_on(stored, maker)) for stored in page]
    links: dict[str, str] = {}
    if len(rows) > limit:
        cursor = jsons.dump([[doctype, "share"], page[-1].ref.id]).decode()
        links["next"] = f"/permissions/doctype/{doctype}/shared-by-link?{urlencode({'page[cursor]': cursor, 'page[limit]': limit})}"
    return private(_jsonapi.answer(found, links=links, meta={"count": len(found)}))


@passwords.post("/auth/share-by-link/password", access=by_secret)
def unlock() -> Response:
    """Give the password of a share link; the cookie says from then on that it was given."""
    id = request.form.get("perm_id", "")
    try:
        value = instance().auth.unlock_link(id, request.form.get("password", ""), credentials())
    except (Forbidden, NotFound, TooManyRequests) as error:
        sentence = error.detail if isinstance(error, NotFound) else _pages.words()(sentence_of(error, "link.wrong"))
        return echo_origin(refused(error, sentence))
    opened = echo_origin(private(answer({"password": "ok" if value else "none"})))
    if value:
        opened.set_cookie(f"pass{id}", value, path="/", secure=request.is_secure, httponly=True, samesite="Lax")
    return opened


@passwords.route("/auth/share-by-link/password", methods=["OPTIONS"], access=public)
def unlock_preflight() -> Response:
    """Public pages of apps live on hosts of their own."""
    return preflight("POST")


# -- inside -------------------------------------------------------------------------------------------------------------


def _maker() -> Maker:
    return instance().auth.maker(principal())


def _is_of(stored: Stored, maker: Maker) -> bool:
    """Whether a document has the same source as who asks; guests are nobody's source."""
    if maker.principal.kind not in ("app", "konnector", "client", "cli"):
        return False
    return str(stored.doc.get("source_id", "")) == maker.source


def _may_pass_on(stored: Stored, maker: Maker) -> bool:
    """Whether who asks could make such a link: a guest could not, and has his own code until it ends."""
    return maker.may_create and (maker.principal.holds(rules_of(stored)) or _is_of(stored, maker))


def _stored(found: Principal) -> Stored | None:
    """The document a principal's rules are kept in; most have them in their token."""
    sets = instance().auth.sets
    if found.kind == "link":
        return sets.get(found.id)
    if found.kind in ("app", "konnector"):
        stored = sets.of_app(found.kind, found.id)
        return stored if stored is not None and rules_of(stored) == found.rules else None
    return None


def _set_of(found: Principal) -> Doc:
    return {"rule0": {"type": "*"}} if found.everything else write_set(found.rules)


def _resource(stored: Stored, *, codes: bool) -> _jsonapi.Resource:
    hidden = ("_id", "_rev", *(() if codes else _CODES))
    shown = {name: value for name, value in stored.doc.items() if name not in hidden}
    if "password" in shown:
        shown["password"] = True
    links = {"self": f"/permissions/{stored.ref.id}"}
    home, _, name = str(shown.get("source_id", "")).partition("/")
    if home == SHARINGS:
        links["related"] = f"/sharings/{name}"
    return _jsonapi.resource(PERMISSIONS, stored.ref.id, shown, rev=stored.rev, links=links)


def _attributes() -> Mapping[str, Any]:
    """The attributes of the resource in the body.

    :raises BadRequest: there are none.
    """
    data = body().get("data")
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(attributes, dict):
        raise BadRequest("The body must have data with attributes", source="/data/attributes")
    return attributes


def _patched(id: str) -> Response:
    maker, links = _maker(), instance().auth.links
    stored = links.patch(maker, id, _attributes())
    return private(_jsonapi.answer(_resource(stored, codes=links.is_parent(maker, stored))))


def _app_set(kind: str, slug: str) -> str:
    stored = instance().auth.sets.of_app(kind, slug)
    if stored is None:
        raise NotFound
    return stored.ref.id


def _asked_documents() -> list[tuple[str, str]]:
    data = body().get("data")
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list) or len(data) > MOST_ASKED:
        raise BadRequest(f"data must be a list of at most {MOST_ASKED} documents", source="/data")
    found = []
    for item in data:
        doctype, id = (item.get("type"), item.get("id")) if isinstance(item, dict) else (None, None)
        if not isinstance(doctype, str) or not isinstance(id, str):
            raise BadRequest("Each document needs a type and an id", source="/data")
        found.append((doctype, id))
    return list(dict.fromkeys(found))


def _after(doctype: str) -> tuple[Key, str] | None:
    """The link that a page begins behind; None: it is the first page.

    :raises BadRequest: the cursor is none.
    """
    cursor = request.args.get("page[cursor]")
    if not cursor:
        return None
    found = jsons.load(cursor)
    if not (isinstance(found, list) and len(found) == 2 and found[0] == [doctype, "share"] and isinstance(found[1], str)):
        raise _jsonapi.bad_cursor()
    return (doctype, "share"), found[1]
