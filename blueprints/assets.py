"""`/assets/*`, favicon, robots.txt (docs/http/status.md)."""

import gzip
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from flask import Response, request

from blueprints import _pages
from blueprints._admin import stack
from blueprints._request import Service, public
from cozyd.errors import NotFound
from cozyd.packaged import folder

service = Service("assets", __name__, errors="page")

mimetypes.add_type("font/woff2", ".woff2")

SECURITY = "security.txt"
_HASHED = re.compile(r"(.+)\.([0-9a-f]{10})\.([a-z0-9]+)")


@service.get("/assets/ext/<context>/<path:name>", access=public)
def asset_of_context(context: str, name: str) -> Response:  # noqa: ARG001  # all contexts have the same files
    """As `asset`: what clients ask of a context."""
    return asset(name)


@service.get("/assets/<path:name>", access=public)
def asset(name: str) -> Response:
    """A file of the pages; its hashed name never changes its content."""
    hashed = _HASHED.fullmatch(name)
    if hashed is not None:
        plain = f"{hashed.group(1)}.{hashed.group(3)}"
        answer = _sent(plain)
        if _pages.asset_hash(plain) != hashed.group(2):
            raise _missing()
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer
    answer = _sent(name)
    answer.headers["Cache-Control"] = "public, no-cache"
    answer.make_conditional(request)
    return answer


@service.get("/.well-known/<any('security.txt', 'assetlinks.json', 'apple-app-site-association'):name>", access=public)
def well_known(name: str) -> Response:
    """A file that the operator has for who looks after security, or for applications of phones (RFC 9116, digital asset links)."""
    try:
        content = (stack().config.server.well_known / name).read_bytes()
    except OSError:
        raise _missing() from None
    kind = "text/plain; charset=utf-8" if name == SECURITY else "application/json"
    answer = Response(content, content_type=kind)
    answer.headers["Cache-Control"] = "public, no-cache"
    answer.add_etag()
    answer.make_conditional(request)
    return answer


@service.get("/security.txt", access=public)
def security() -> Response:
    """As below `/.well-known`: where it was before it had a place of its own."""
    return well_known(SECURITY)


@service.get("/favicon.ico", access=public)
def favicon() -> Response:
    """The mark."""
    return asset("images/mark.svg")


@service.get("/robots.txt", access=public)
def robots() -> Response:
    """A personal cloud is not for search engines."""
    return Response("User-agent: *\nDisallow: /\n", content_type="text/plain; charset=utf-8")


def _sent(name: str) -> Response:
    top = folder("assets").resolve()
    try:
        path = (top / name).resolve()
        is_ours = path.is_relative_to(top) and path.is_file()
    except (OSError, ValueError):  # a name no file system takes: NUL, too long
        is_ours = False
    if not is_ours:
        raise _missing()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    hashed, coding = _pages.asset_hash(str(path.relative_to(top))), _coding(kind)
    data = _packed(path, hashed, coding) if coding else b""
    answer = Response(data or path.read_bytes(), content_type="text/javascript" if kind.endswith("javascript") else kind)
    if data:
        answer.headers["Content-Encoding"] = coding
    answer.set_etag(f"{hashed}-{coding}" if data else hashed)
    answer.vary.add("Accept-Encoding")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.vary.add("Origin")  # a font is asked for with an origin, a style sheet without: a kept answer must not do for both
    return answer


def _coding(kind: str) -> str:
    """How a file is packed for the browser; empty: it is not."""
    if not kind.startswith(("text/", "image/svg")) and not kind.endswith("javascript"):
        return ""
    return next((coding for coding in ("br", "gzip") if request.accept_encodings[coding]), "")


@lru_cache(maxsize=64)
def _packed(path: Path, hashed: str, coding: str) -> bytes:  # noqa: ARG001  # a file with another content is another one
    """A file packed, made once; empty where that is no less."""
    import brotli

    plain = path.read_bytes()
    data: bytes = brotli.compress(plain) if coding == "br" else gzip.compress(plain, mtime=0)
    return data if len(data) < len(plain) else b""


def _missing() -> NotFound:
    return NotFound("There is no such file")
