"""The CalDAV and CardDAV mount: hot requests from the rows, the rest by Radicale's application over our storage."""

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from cozyd.errors import BadRequest, CozyError, Forbidden, Invalid, NotFound
from cozyd.pim import Collection
from dav import listing, resources, xml
from dav.access import App, Environ, StartResponse, Visit, admit, answer, refuse, utf8_path

log = logging.getLogger("cozyd.dav")

USER = "me"
ALLOWED = "OPTIONS, GET, HEAD, PUT, DELETE, MOVE, PROPFIND, PROPPATCH, REPORT, MKCOL, MKCALENDAR"
_XML_METHODS = ("PROPFIND", "PROPPATCH", "REPORT", "MKCOL", "MKCALENDAR")
_FORGED = ("HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_SERVER")
_D = "{DAV:}"


def mount(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application of `/sync/dav`."""
    for name in _FORGED:
        environ.pop(name, None)
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return answer(start_response, 200, [("DAV", listing.DAV_HEADER), ("Allow", ALLOWED)])
    try:
        environ["PATH_INFO"] = path = utf8_path(environ)
        return _serve(admit(environ), path, environ, start_response)
    except CozyError as error:
        return refuse(error, environ, start_response)
    except Exception:  # a client gets an answer without a stack trace
        log.exception("a DAV request failed unexpectedly: %s", environ["REQUEST_METHOD"])
        return refuse(CozyError("An unexpected error occurred"), environ, start_response)


def _serve(visit: Visit, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    method = environ["REQUEST_METHOD"]
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise BadRequest("The path climbs")
    if parts and parts[0] not in (USER, ".well-known"):
        raise NotFound("There is no such principal")
    if method == "PUT" and len(parts) < 3:
        raise Invalid("One PUT stores one card or event: send each under a name of its own")
    if len(parts) == 3 and method in _RESOURCE:
        served: Iterable[bytes] = _RESOURCE[method](visit, visit.collection(parts[1]), parts[2], environ, start_response)
        return served
    if method in ("GET", "HEAD") and len(parts) < 2:
        raise NotFound("There is nothing to see here: this address is for CalDAV and CardDAV clients")
    if method == "DELETE" and len(parts) == 2:
        return _remove(visit, visit.collection(parts[1]), start_response)
    if method in _XML_METHODS:
        tree = xml.parse(xml.read_body(environ))
        if len(parts) == 2 and method in ("PROPFIND", "REPORT") and parts[1] in visit.collections:
            found = _from_rows(visit, visit.collection(parts[1]), tree, environ, start_response)
            if found is not None:
                return found
    if method == "MOVE":
        _check_move(visit, parts, environ)
    return _application()(environ, _with_our_headers(start_response))


_RESOURCE: Mapping[str, Any] = {"GET": resources.get, "HEAD": resources.get, "PUT": resources.put, "DELETE": resources.delete}


def _from_rows(visit: Visit, collection: Collection, tree: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
    """An answer that needs no more than rows, None where it needs more."""
    path = f"{environ['SCRIPT_NAME']}/{USER}/{collection.id}/"
    names = xml.asked(tree)
    if environ["REQUEST_METHOD"] == "PROPFIND":
        depth = environ.get("HTTP_DEPTH", "0")
        if depth == "0" and names is not None and listing.can_poll(names):
            return listing.poll(collection, path, names, start_response)
        if depth == "1" and names is not None and listing.can_list(names):
            return listing.listing(visit, collection, path, names, start_response)
        return None
    if tree is None:
        raise BadRequest("A REPORT needs a body")
    if tree.tag == f"{_D}sync-collection":
        return listing.sync(visit, collection, path, tree, start_response)
    if tree.tag.endswith("-multiget") and listing.can_report(names, tree):
        return listing.multiget(visit, collection, path, tree, start_response)
    return None


def _remove(visit: Visit, collection: Collection, start_response: StartResponse) -> Iterable[bytes]:
    if not visit.writes(collection):
        raise Forbidden("This password may not change it", source="need-privileges")
    visit.instance.pim.remove(collection)
    return answer(start_response, 204)


def _check_move(visit: Visit, parts: list[str], environ: Environ) -> None:
    """Both ends have to be writable, and the other one a place for a resource."""
    target = [part for part in unquote(urlsplit(environ.get("HTTP_DESTINATION", "")).path).split("/") if part]
    ends = [parts[1:2], target[3:4]]
    if len(parts) != 3 or len(target) != 5 or target[2] != USER:
        raise Invalid("Only cards, events and todos move, between address books and calendars")
    for end in ends:
        if not visit.writes(visit.collection(end[0])):
            raise Forbidden("This password may not change it", source="need-privileges")


def _with_our_headers(start_response: StartResponse) -> StartResponse:
    """Radicale claims DAV classes it does not serve."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kept = [(name, value) for name, value in headers if name.lower() != "dav"]
        return start_response(status, [*kept, ("DAV", listing.DAV_HEADER)], *more)

    return start


@cache
def _application() -> App:
    """Radicale's application; made at the first request, for it is heavy."""
    from radicale import config
    from radicale import log as radicale_log
    from radicale.app import Application

    from dav.storage import Auth, Rights, Storage

    radicale_log.logger.propagate = True
    configuration = config.load()
    settings: dict[str, dict[str, Any]] = {
        "server": {"max_content_length": "100000000", "delay_on_error": "0"},
        "auth": {"type": Auth, "delay": "0"},
        "rights": {"type": Rights},
        "storage": {"type": Storage, "max_resource_size": "10000000"} if "max_resource_size" in _options("storage") else {"type": Storage},
        "web": {"type": "none"},
        "logging": {"level": "error"},
        "reporting": {"max_expand_occurrence": "5000", "max_freebusy_occurrence": "5000"},
    }
    known = {section: {key: value for key, value in values.items() if key in _options(section)} for section, values in settings.items()}
    configuration.update(known, "cozyd", privileged=True)
    application: App = Application(configuration)
    return application


def _options(section: str) -> frozenset[str]:
    from radicale import config

    return frozenset(config.load().options(section))
