"""The WebDAV mount: listings and downloads by us, from the rows; the other methods by WsgiDAV over `instance.files`."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from cozyd.errors import BadRequest, CozyError, Forbidden, NotFound, PreconditionFailed
from cozyd.files import File, Node
from cozyd.files.tree import TRASH_NAME
from cozyd.permissions import FILES, Action
from dav import content, files_listing, xml
from dav.access import XML, App, Environ, StartResponse, Visit, admit, answer, refuse, utf8_path

log = logging.getLogger("cozyd.dav")

ALLOWED = "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"
DAV_HEADER = "1, 2"
_FORGED = ("HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_SERVER")
_ACTIONS: Mapping[str, Action] = {
    "GET": "GET",
    "HEAD": "GET",
    "PROPFIND": "GET",
    "PUT": "PUT",
    "MKCOL": "POST",
    "COPY": "POST",
    "MOVE": "PATCH",
    "DELETE": "PATCH",
    "PROPPATCH": "PATCH",
    "LOCK": "PUT",
    "UNLOCK": "PUT",
}


def mount(now: Callable[[], datetime]) -> App:
    """The WSGI application of `/sync/files`.

    :param now: the clock.
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        for name in _FORGED:
            environ.pop(name, None)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers = [("DAV", DAV_HEADER), ("Allow", ALLOWED), ("MS-Author-Via", "DAV"), ("Accept-Ranges", "bytes")]
            return answer(start_response, 200, headers)
        try:
            return _serve(admit(environ), environ, start_response, now)
        except CozyError as error:
            return refuse(error, environ, start_response)
        except Exception:  # a client gets an answer without a stack trace
            log.exception("a WebDAV request failed unexpectedly: %s", environ["REQUEST_METHOD"])
            return refuse(CozyError("An unexpected error occurred"), environ, start_response)

    return application


def _serve(visit: Visit, environ: Environ, start_response: StartResponse, now: Callable[[], datetime]) -> Iterable[bytes]:
    method = environ["REQUEST_METHOD"]
    action = _ACTIONS.get(method)
    if action is None:
        return answer(start_response, 405, [("Allow", ALLOWED)])
    if not visit.may(action, FILES):
        raise Forbidden("This password may not do it", source="need-privileges")
    path = _checked_path(utf8_path(environ))
    if method in ("GET", "HEAD"):
        return content.get(visit.instance.files, visit.instance.files.at(path), environ, start_response)
    if method == "PROPFIND":
        return _propfind(visit, path, environ, start_response)
    _check_conditions(visit, path, environ)
    if method in ("COPY", "MOVE"):
        _checked_path(_destination(environ))
    if method == "PROPPATCH":
        xml.parse(xml.read_body(environ))
    return _by_wsgidav(_prepared(environ, visit, now), start_response)


def _checked_path(path: str) -> str:
    """A path below the root; the trash is not there for WebDAV.

    :raises BadRequest: it climbs, or has a NUL.
    :raises NotFound: it leads into the trash.
    """
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise BadRequest("The path climbs")
    if parts and parts[0] == TRASH_NAME:
        raise NotFound("file does not exist")
    return "/" + "/".join(parts)


def _destination(environ: Environ) -> str:
    """The path of the Destination header below this mount."""
    path = unquote(urlsplit(environ.get("HTTP_DESTINATION", "")).path)
    return path.removeprefix(environ.get("SCRIPT_NAME", ""))


def _node(visit: Visit, path: str) -> Node | None:
    try:
        return visit.instance.files.at(path)
    except NotFound:
        return None


def _propfind(visit: Visit, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    depth = environ.get("HTTP_DEPTH", "infinity").lower()
    tree = xml.parse(xml.read_body(environ))
    node = visit.instance.files.at(path)
    if depth not in ("0", "1") and not (depth == "infinity" and isinstance(node, File)):
        if depth != "infinity":
            raise BadRequest("Depth must be 0 or 1")
        return files_listing.refuse_infinity(start_response)
    from dav import provider

    extra = provider.extra_properties(_application_provider(), visit, environ)
    return files_listing.propfind(visit.instance.files, node, path, depth, tree, environ["SCRIPT_NAME"], extra, start_response)


def _check_conditions(visit: Visit, path: str, environ: Environ) -> None:
    """If-Match and If-None-Match before WsgiDAV, which creates a missing file in spite of the first.

    :raises PreconditionFailed: one does not hold.
    """
    match, none_match = environ.get("HTTP_IF_MATCH", ""), environ.get("HTTP_IF_NONE_MATCH", "")
    if not match and not none_match:
        return
    node = _node(visit, path)
    tag = f'"{node.rev}"' if node is not None else ""
    if match and (node is None or (match.strip() != "*" and tag not in _tags(match))):
        raise PreconditionFailed("It has changed meanwhile")
    if none_match and node is not None and (none_match.strip() == "*" or tag in _tags(none_match)):
        raise PreconditionFailed("It is there already")


def _tags(text: str) -> list[str]:
    return [one.strip().removeprefix("W/") for one in text.split(",")]


def _prepared(environ: Environ, visit: Visit, now: Callable[[], datetime]) -> Environ:
    """What WsgiDAV and our provider read from the environ."""
    user = visit.principal.id or visit.principal.kind
    conditions = {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"}
    prepared = {name: value for name, value in environ.items() if name not in conditions}
    return prepared | {
        "wsgidav.auth.user_name": user,
        "wsgidav.user_name": user,
        "wsgidav.auth.roles": [],
        "wsgidav.auth.permissions": [],
        "cozyd.files": visit.instance.files,
        "cozyd.domain": visit.instance.domain,
        "cozyd.now": now,
        "cozyd.outcome": environ.setdefault("cozyd.outcome", {}),
    }


def _by_wsgidav(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """WsgiDAV's answer, its errors told as ours."""
    from wsgidav.dav_error import DAVError

    try:
        said = list(_application()(environ, _mended(environ, start_response)))
        return [] if environ["cozyd.outcome"].get("page") else said
    except DAVError as error:
        status: int = error.value
        body = (
            (error.context_info or error.get_user_info() or "").partition("\n")[0].encode()
            if status < 500
            else b"An unexpected error occurred"
        )
        if status >= 500 and status != 507:
            log.error("WsgiDAV failed", exc_info=error)
        if error.err_condition is not None:
            return answer(start_response, status, [("Content-Type", XML)], error.err_condition.as_string().encode())
        return answer(start_response, status, [("Content-Type", "text/plain; charset=utf-8")], body + b"\n")


def _mended(environ: Environ, start_response: StartResponse) -> StartResponse:
    """WsgiDAV answers 204 to a COPY or MOVE that made something new: 201 (RFC 4918, sections 9.8.5 and 9.9.4).

    Its page about a success is left out: curl would print it.
    """

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        outcome = environ["cozyd.outcome"]
        if status.startswith("204") and outcome.get("created"):
            status = "201 Created"
        if ("Content-Type", "text/html; charset=utf-8") in headers:
            outcome["page"] = True
            headers = [header for header in headers if header[0] not in ("Content-Type", "Content-Length")] + [("Content-Length", "0")]
        return start_response(status, headers, *more)

    return start


@cache
def _application_provider() -> Any:
    from dav.provider import FilesProvider

    return FilesProvider()


@cache
def _application() -> App:
    """WsgiDAV's application; made at the first request that needs it, for it is heavy."""
    from wsgidav.request_resolver import RequestResolver
    from wsgidav.wsgidav_app import WsgiDAVApp

    application: App = WsgiDAVApp(
        {
            "provider_mapping": {"/": _application_provider()},
            "mount_path": "/sync/files",
            "middleware_stack": [RequestResolver],
            "lock_storage": True,
            "property_manager": True,
            "mutable_live_props": ["{DAV:}getlastmodified"],
            "hotfixes": {"emulate_win32_lastmod": True},
            "verbose": 1,
            "logging": {"enable": False},
        }
    )
    return application
