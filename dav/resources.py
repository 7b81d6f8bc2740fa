"""GET, PUT and DELETE of single cards, events and todos: straight to `instance.pim`, byte for byte."""

from collections.abc import Iterable
from email.utils import format_datetime

from cozyd.errors import Forbidden, Invalid, NotFound
from cozyd.files.tree import read_time
from cozyd.pim import Collection
from cozyd.pim.resource import etag
from dav.access import Environ, StartResponse, Visit, answer

MEDIA = {"VCARD": "text/vcard; charset=utf-8", "VEVENT": "text/calendar; charset=utf-8", "VTODO": "text/calendar; charset=utf-8"}


def get(visit: Visit, collection: Collection, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The text of a resource, or 304.

    :raises NotFound: there is none.
    """
    rows = visit.instance.pim.rows(collection, hrefs=[href])
    if not rows:
        raise NotFound("There is no such resource")
    value = rows[0].value
    tag = f'"{value["etag"]}"'
    headers = [("ETag", tag), ("Last-Modified", format_datetime(read_time(value["mtime"]), usegmt=True))]
    wanted = environ.get("HTTP_IF_NONE_MATCH", "")
    if wanted.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in wanted.split(",")]:
        return answer(start_response, 304, headers)
    _, text = next(iter(visit.instance.pim.text(collection, [href])))
    headers.append(("Content-Type", f"{MEDIA[value['comp']]}; component={value['comp']}" if value["comp"] != "VCARD" else MEDIA["VCARD"]))
    if environ["REQUEST_METHOD"] == "HEAD":
        start_response("200 OK", [*headers, ("Content-Length", str(len(text or b"")))])
        return [b""]
    return answer(start_response, 200, headers, text or b"")


def put(visit: Visit, collection: Collection, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Store a text; its ETag is told only when it is kept as it came.

    :raises Invalid, PreconditionFailed: see `Pim.put`.
    """
    _check_write(visit, collection)
    if collection.kind == "calendar" and "HTTP_CONTENT_RANGE" in environ:
        raise Invalid("Partial PUT is not served")
    raw: bytes = environ["wsgi.input"].read()
    known = bool(visit.instance.pim.rows(collection, hrefs=[href]))
    row = visit.instance.pim.put(collection, href, raw, match=_match(environ))
    headers = [("ETag", f'"{row.value["etag"]}"')] if row.value["etag"] == etag(raw) else []
    return answer(start_response, 204 if known else 201, headers)


def delete(visit: Visit, collection: Collection, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Remove a resource.

    :raises NotFound, PreconditionFailed, Forbidden: see `Pim.delete`.
    """
    _check_write(visit, collection)
    visit.instance.pim.delete(collection, href, match=_match(environ))
    return answer(start_response, 204)


def _check_write(visit: Visit, collection: Collection) -> None:
    if not visit.writes(collection):
        raise Forbidden("This password may not change it", source="need-privileges")


def _match(environ: Environ) -> str | None:
    """The condition of the request: None, "" (must not be there), or an ETag ("*": any)."""
    if environ.get("HTTP_IF_NONE_MATCH", "").strip() == "*":
        return ""
    wanted: str = environ.get("HTTP_IF_MATCH", "").strip()
    return wanted.removeprefix("W/").strip('"') if wanted else None
