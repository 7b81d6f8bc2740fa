"""`/public`: what anybody may see of an instance: its owner's picture (docs/http/settings.md)."""

from functools import lru_cache

from flask import Response, request

from blueprints._request import Service, instance, public
from cozyd.errors import BadRequest, NotFound
from cozyd.packaged import folder
from cozyd.settings import initials
from cozyd.settings.initials import Look

service = Service("public", __name__, url_prefix="/public", errors="rights")

FONT = "fonts/inter.woff2"
_PICTURE = "default-src 'none'; style-src 'unsafe-inline'; font-src data:; sandbox"


@service.get("/avatar", access=public)
def avatar() -> Response:
    """The picture she uploaded; without one, by `fallback`: the default one, her initials, nobody's outline, or 404."""
    uploaded = instance().settings.avatar
    etag = uploaded.etag()
    found = uploaded.get() if etag else None
    if found is not None:
        return _picture(*found, etag)
    look = Look(_choice("as", "unconfirmed"), _choice("fx", "translucent"), request.args.get("q", "").lower() == "high")
    kind = request.args.get("format", "").lower()
    fallback = request.args.get("fallback") or "default"
    if kind not in ("", "png", "svg"):
        raise BadRequest("Invalid `format`")
    match fallback:
        case "404":
            raise NotFound("Page not found", error="no_route")
        case "default":
            return _drawn("", Look(), "png")
        case "initials" | "anonymous":
            return _drawn(instance().public_name() if fallback == "initials" else "", look, kind or "svg")
    raise BadRequest("Invalid `fallback`")


def _choice(name: str, only: str) -> bool:
    """A parameter that has one value or none.

    :raises BadRequest: another one.
    """
    given = request.args.get(name, "")
    if given not in ("", only):
        raise BadRequest(f"Invalid `{name}`")
    return given == only


@lru_cache(maxsize=256)
def _made(name: str, look: Look, kind: str) -> bytes:
    font = (folder("assets") / FONT).read_bytes()
    return initials.png(name, look, font) if kind == "png" else initials.svg(name, look, font)


def _drawn(name: str, look: Look, kind: str) -> Response:
    return _picture(_made(name, look, kind), "image/png" if kind == "png" else "image/svg+xml")


def _picture(content: bytes, kind: str, etag: str = "") -> Response:
    """A picture, and nothing else, whatever is in it."""
    answer = Response(content, content_type=kind)
    answer.headers["Content-Security-Policy"] = _PICTURE
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cache-Control"] = "public, no-cache"
    if etag:
        answer.set_etag(etag)
    else:
        answer.add_etag()
    answer.make_conditional(request)
    return answer
