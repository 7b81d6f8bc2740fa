"""GET, PUT, DELETE, COPY, MOVE and POST of cards, events, todos and journals: straight to `instance.pim`, byte for byte."""

import re
from collections.abc import Iterable
from email.utils import format_datetime
from xml.sax.saxutils import escape

from cozyd.errors import BadGateway, BadRequest, Conflict, CozyError, Forbidden, Invalid, NotFound, PreconditionFailed, Unsupported
from cozyd.files.tree import read_time
from cozyd.permissions import Action
from cozyd.pim import Collection, vcard_version
from cozyd.pim.content import tree
from cozyd.pim.resource import etag
from dav import conditions, xml
from dav.access import Environ, StartResponse, Visit, answer
from dav.address import here
from dav.properties import MEDIA, USER, Seen


def get(visit: Visit, seen: Seen, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The text of a resource, or 304.

    :raises NotFound: there is none. PreconditionFailed: a condition does not hold.
    """
    pim = visit.pim
    rows = pim.rows(seen.of(), hrefs=[href])
    if not rows:
        raise NotFound("There is no such resource")
    value = rows[0].value
    tag = f'"{value["etag"]}"'
    _match(visit, seen, href, {name: value for name, value in environ.items() if name != "HTTP_IF_NONE_MATCH"})
    headers = [("ETag", tag), ("Last-Modified", format_datetime(read_time(value["mtime"]), usegmt=True))]
    if _is_known(environ, tag):
        return answer(start_response, 304, headers)
    text = pim.texts(seen.of(), rows).get(href)
    if text is None:
        raise NotFound("There is no such resource")
    wanted = re.search(r"version=(3\.0|4\.0)", environ.get("HTTP_ACCEPT", "").replace('"', "").replace(" ", ""))
    if wanted and value["comp"] == "VCARD":
        card = tree(text, "VCARD")
        found = vcard_version.converted(card, wanted[1])
        text = text if found is card else found.render()
        headers.append(("Vary", "Accept"))
    return _whole(environ, start_response, [*headers, ("Content-Type", MEDIA[value["comp"]])], text)


def _whole(environ: Environ, start_response: StartResponse, headers: list[tuple[str, str]], text: bytes) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] == "HEAD":
        start_response("200 OK", [*headers, ("Content-Length", str(len(text)))])
        return [b""]
    return answer(start_response, 200, headers, text)


def _is_known(environ: Environ, tag: str) -> bool:
    wanted: str = environ.get("HTTP_IF_NONE_MATCH", "")
    return wanted.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in wanted.split(",")]


def get_all(visit: Visit, seen: Seen, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """All of a collection as one text: to look at it, or to keep it.

    :raises NotFound: it is none.
    """
    if seen.collection is None:
        raise NotFound("There is nothing to see here: this address is for CalDAV and CardDAV clients")
    tag = f'"{seen.collection.token}"'
    headers = [("ETag", tag)]
    if _is_known(environ, tag):
        return answer(start_response, 304, headers)
    text = visit.pim.exported(seen.collection)
    media = "text/vcard" if seen.collection.kind == "book" else "text/calendar"
    return _whole(environ, start_response, [*headers, ("Content-Type", f"{media}; charset=utf-8")], text)


def put(visit: Visit, seen: Seen, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Store a text; its ETag is told only when it is kept as it came.

    :raises Invalid, PreconditionFailed: see `Pim.put`.
    """
    collection = seen.of()
    known = bool(visit.pim.rows(collection, hrefs=[href]))
    _check_write(visit, collection, "PUT" if known else "POST")
    _check_media(collection, environ)
    if "HTTP_CONTENT_RANGE" in environ:
        raise BadRequest("Partial PUT is not served")
    raw: bytes = environ["wsgi.input"].read()
    environ["cozyd.place"] = seen.path
    row = visit.pim.put(collection, href, raw, match=_match(visit, seen, href, environ))
    headers = [("ETag", f'"{row.value["etag"]}"')] if row.value["etag"] == etag(raw) else []
    return answer(start_response, 204 if known else 201, headers)


def post(visit: Visit, seen: Seen, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Add what is in a text, each object under a name of its own; what is there by its UID is replaced (RFC 5995).

    :raises NotFound: the path is no collection.
    """
    if seen.collection is None:
        raise NotFound("There is no such collection")
    collection = seen.collection
    _check_write(visit, collection, "POST", "PUT")
    _check_media(collection, environ)
    done = visit.pim.add_all(collection, environ["wsgi.input"].read())
    if len(done) == 1 and isinstance(done[0][1], CozyError):
        raise done[0][1]
    if len(done) == 1:
        return answer(start_response, 201, [("Location", xml.href(seen.path + done[0][0]))])
    return xml.answer_multistatus(start_response, (_added(seen, href, found) for href, found in done))


def _added(seen: Seen, href: str, found: object) -> str:
    status = "201 Created"
    if isinstance(found, CozyError):
        status = f"{found.status if not isinstance(found, Invalid) else 403} Refused"
    told = f"<D:responsedescription>{escape(found.detail)}</D:responsedescription>" if isinstance(found, CozyError) else ""
    return f"<D:response><D:href>{xml.href(seen.path + href)}</D:href><D:status>HTTP/1.1 {status}</D:status>{told}</D:response>"


def delete(visit: Visit, seen: Seen, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Remove a resource.

    :raises NotFound, PreconditionFailed, Forbidden: see `Pim.delete`.
    """
    _check_write(visit, seen.of(), "DELETE")
    visit.pim.delete(seen.of(), href, match=_match(visit, seen, href, environ))
    return answer(start_response, 204)


def move(visit: Visit, seen: Seen, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Move a resource to another name or collection.

    :raises Invalid, PreconditionFailed, Forbidden, NotFound: see `Pim.move`.
    """
    _check_write(visit, seen.of(), "PUT")
    to, name, there = _destination(visit, seen, href, environ)
    if to.owner != seen.of().owner:  # it is put there, and removed here
        _check_write(visit, seen.of(), "DELETE")
    _check_write(visit, to, *(("PUT", "DELETE") if there and _overwrites(environ) else ("PUT",)))
    match = _match(visit, seen, href, environ)
    row = visit.pim.move(seen.of(), href, to, name, overwrite=_overwrites(environ), match=match)
    return answer(start_response, 204 if there else 201, [("ETag", f'"{row.value["etag"]}"'), ("Location", _place(seen, to, name))])


def copy(visit: Visit, seen: Seen, href: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Copy a resource into another collection; in its own its UID is taken.

    :raises Invalid, PreconditionFailed, Forbidden, NotFound: see `Pim.put`.
    """
    to, name, there = _destination(visit, seen, href, environ)
    _check_write(visit, to, "PUT" if there else "POST")
    _match(visit, seen, href, environ)
    pim = visit.pim
    rows = pim.rows(seen.of(), hrefs=[href])
    text = pim.texts(seen.of(), rows).get(href)
    if text is None:
        raise NotFound("There is no such resource")
    if there and not _overwrites(environ):
        raise PreconditionFailed("Something is there already")
    row = pim.put(to, name, text, match=None if there else "")
    return answer(start_response, 204 if there else 201, [("ETag", f'"{row.value["etag"]}"'), ("Location", _place(seen, to, name))])


def _place(seen: Seen, to: Collection, name: str) -> str:
    return xml.href(f"{seen.home}{to.id}/{name}")


def _overwrites(environ: Environ) -> bool:
    return str(environ.get("HTTP_OVERWRITE", "T")).strip().upper() != "F"


def _destination(visit: Visit, seen: Seen, href: str, environ: Environ) -> tuple[Collection, str, bool]:
    """The collection and name of the Destination, and whether something is there.

    :param href: what is moved or copied.
    :raises BadRequest, BadGateway, Conflict, Forbidden: it is none of ours.
    """
    given = environ.get("HTTP_DESTINATION", "").strip()
    if not given:
        raise BadRequest("There is no Destination")
    path = here(given, environ, visit.instance.doc)
    if path is None:
        raise BadGateway("The Destination is on another server")
    parts = path.removeprefix(f"{seen.root}/").split("/")
    if not path.startswith(f"{seen.root}/{USER}/") or len(parts) != 3 or not parts[2]:
        raise Invalid(
            "Only cards, events and todos are moved, between address books and calendars", source="calendar-collection-location-ok"
        )
    if parts[1:] == [seen.of().id, href]:
        raise Forbidden("Nothing can be put onto itself")
    try:
        to = visit.collection(parts[1])
    except NotFound as cause:
        raise Conflict("There is no such collection to put it in") from cause
    environ["cozyd.collection_kind"] = to.kind
    environ["cozyd.place"] = f"{seen.home}{to.id}/"
    return to, parts[2], bool(visit.pim.rows(to, hrefs=[parts[2]]))


def _check_write(visit: Visit, collection: Collection, *actions: Action) -> None:
    """:raises Forbidden: it may not add (POST), change (PUT) or remove (DELETE) what is in a collection."""
    if not all(visit.writes(collection, action) for action in actions):
        raise Forbidden("This password may not change it", source="need-privileges")


def _check_media(collection: Collection, environ: Environ) -> None:
    """Refuse what is plainly of another kind, or coded; programs that name nothing are let in."""
    if environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity"):
        raise Unsupported("A coded text is not taken; send it as it is")
    given = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    good = ("text/vcard", "text/x-vcard", "text/directory") if collection.kind == "book" else ("text/calendar", "text/x-vcalendar")
    if given not in (*good, "", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded"):
        raise Unsupported(f"This place takes {good[0]}")


def _match(visit: Visit, seen: Seen, href: str, environ: Environ) -> str | None:
    """What the resource has to be for the conditions of a request: None: anything; "": not there; else its ETag.

    :raises PreconditionFailed: a condition does not hold now.
    """
    if not any(environ.get(name) for name in _CONDITIONS):
        return None
    rows = visit.pim.rows(seen.of(), hrefs=[href])
    value = rows[0].value if rows else None
    tag = f'"{value["etag"]}"' if value else ""
    conditions.check_if(conditions.parse_if(environ.get("HTTP_IF", "")), lambda url: _state(visit, seen, url, environ) if url else _of(tag))
    conditions.check_http(environ, tag, read_time(value["mtime"]) if value else None)
    return tag.strip('"')


_CONDITIONS = ("HTTP_IF", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE")


def _of(tag: str) -> conditions.State:
    """A resource of this mount: it has no locks."""
    return conditions.State(tag, frozenset())


def _state(visit: Visit, seen: Seen, url: str, environ: Environ) -> conditions.State:
    """The state of another resource that an If header names."""
    parts = (here(url, environ, visit.instance.doc) or "").removeprefix(f"{seen.home}").split("/")
    try:
        rows = visit.pim.rows(visit.collection(parts[0]), hrefs=[parts[1]]) if len(parts) == 2 else ()
    except NotFound:
        rows = ()
    return _of(f'"{rows[0].value["etag"]}"' if rows else "")
