"""The WebDAV mount: contents, listings, properties and locks by us, what comes and goes by name by WsgiDAV over our provider.

Every request has its conditions and locks looked at in one way, here and in `call.py`, whoever answers it.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from cozyd.errors import CozyError, Forbidden
from cozyd.files.tree import same_name
from cozyd.permissions import Action
from dav import content, files_listing, locking, proppatch, uploads, xml
from dav.access import XML, App, Environ, StartResponse, Visit, admit, answer, refuse, utf8_path
from dav.call import Call, checked_path
from dav.locks import InTheWay, is_below

log = logging.getLogger("cozyd.dav")

ALLOWED = "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"
DAV_HEADER = "1, 2, 3"
EXECUTABLE = "<http://apache.org/dav/propset/fs/1>"
"""Files have the property `executable`, as mod_dav says it: cadaver looks for it here."""
_FORGED = ("HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_SERVER")
_CONDITIONS = frozenset(
    ("HTTP_IF", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_DESTINATION")
)

Handler = Callable[[Call], Iterable[bytes]]


def mount(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application of `/sync/files`."""
    for name in _FORGED:
        environ.pop(name, None)
    if environ["REQUEST_METHOD"] == "OPTIONS":
        headers = [("DAV", DAV_HEADER), ("DAV", EXECUTABLE), ("Allow", ALLOWED), ("MS-Author-Via", "DAV"), ("Accept-Ranges", "bytes")]
        return answer(start_response, 200, headers)
    try:
        return _serve(admit(environ), environ, start_response)
    except InTheWay as error:
        return _refuse_locked(error, environ, start_response)
    except CozyError as error:
        return refuse(error, environ, start_response)
    except Exception:  # a client gets an answer without a stack trace
        log.exception("a WebDAV request failed unexpectedly: %s", environ["REQUEST_METHOD"])
        return refuse(CozyError("An unexpected error occurred"), environ, start_response)


def _serve(visit: Visit, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    action, handle = _METHODS.get(environ["REQUEST_METHOD"], (None, None))
    if action is None or handle is None:
        return answer(start_response, 405, [("Allow", ALLOWED)])
    call = Call(visit, "/", environ, start_response)
    call.allow(action)
    call.path = checked_path(utf8_path(environ))
    return handle(call)


def _refuse_locked(error: InTheWay, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """423 with the locks that are in the way (RFC 4918, section 16)."""
    hrefs = "".join(f"<D:href>{xml.href(environ['SCRIPT_NAME'] + root)}</D:href>" for root in error.roots)
    inner = f"<D:{error.condition}>{hrefs}</D:{error.condition}>"
    body = f'<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:">{inner}</D:error>'
    return answer(start_response, 423, [("Content-Type", XML)], body.encode())


# -- by WsgiDAV: DELETE, MKCOL, COPY, MOVE ------------------------------------------------------------------------------


def _delete(call: Call) -> Iterable[bytes]:
    if call.path == "/":
        raise Forbidden("The root stays")
    with call.alone():
        call.check_conditions()
        call.check_locks(call.path, deep=True, member=True)
        said, status = _by_wsgidav(call)
        if status < 300:
            call.book.remove_with(same_name(call.path))
    return said


def _mkcol(call: Call) -> Iterable[bytes]:
    with call.alone():
        call.check_conditions()
        call.check_locks(call.path, member=True)
        return _by_wsgidav(call)[0]


def _copy(call: Call) -> Iterable[bytes]:
    with call.alone():
        _check_transfer(call)
        return _by_wsgidav(call)[0]


def _move(call: Call) -> Iterable[bytes]:
    with call.alone():
        _check_transfer(call)
        call.check_locks(call.path, deep=True, member=True)
        said, status = _by_wsgidav(call)
        if status < 300:
            call.book.remove_with(same_name(call.path))
    return said


def _check_transfer(call: Call) -> None:
    """Conditions, and whether the destination may be written."""
    call.check_conditions()
    here, there = same_name(call.path), same_name(call.destination)
    if here in (there, "/") or is_below(there, here):
        raise Forbidden("Nothing can be put onto or into itself")
    if is_below(here, there) and call.header("Overwrite").strip().upper() != "F":
        raise Forbidden("What is copied or moved would go with the folder that it replaces")
    replaced = call.find(there)
    if replaced is not None:
        call.allow("PATCH")
    call.check_locks(there, deep=True, member=replaced is None)


def _by_wsgidav(call: Call) -> tuple[Iterable[bytes], int]:
    """WsgiDAV's answer, its errors told as ours; and the status."""
    from wsgidav.dav_error import DAVError

    outcome: dict[str, Any] = {}
    try:
        said = list(_application()(_prepared(call, outcome), _mended(call.start_response, outcome)))
        return [] if outcome.get("page") else said, outcome["status"]
    except DAVError as error:
        return _told(error, call.start_response), error.value


def _prepared(call: Call, outcome: dict[str, Any]) -> Environ:
    """What WsgiDAV and our provider read from the environ: conditions were looked at."""
    from dav.provider import TO

    prepared = {name: value for name, value in call.environ.items() if name not in _CONDITIONS}
    if call.method in ("COPY", "MOVE"):
        prepared["HTTP_DESTINATION"] = call.prefix + TO
    user = {"wsgidav.auth.user_name": call.holder, "wsgidav.user_name": call.holder}
    return prepared | user | {"wsgidav.auth.roles": [], "wsgidav.auth.permissions": [], "cozyd.call": call, "cozyd.outcome": outcome}


def _told(error: Any, start_response: StartResponse) -> Iterable[bytes]:
    status: int = error.value
    if status >= 500 and status != 507:
        log.error("WsgiDAV failed", exc_info=error)
        return answer(start_response, status, [("Content-Type", "text/plain; charset=utf-8")], b"An unexpected error occurred\n")
    said = (error.context_info or error.get_user_info() or "").partition("\n")[0]
    allowed = [("Allow", ", ".join(name for name in ALLOWED.split(", ") if name != "MKCOL"))] if status == 405 else []
    return answer(start_response, status, [*allowed, ("Content-Type", "text/plain; charset=utf-8")], said.encode() + b"\n")


def _mended(start_response: StartResponse, outcome: dict[str, Any]) -> StartResponse:
    """WsgiDAV answers 204 to a COPY or MOVE that made something new: 201 (RFC 4918, sections 9.8.5 and 9.9.4).

    Its page about a success is left out: curl would print it.
    """

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        if status.startswith("204") and outcome.get("created"):
            status = "201 Created"
        outcome["status"] = int(status[:3])
        if ("Content-Type", "text/html; charset=utf-8") in headers:
            outcome["page"] = True
            headers = [header for header in headers if header[0] not in ("Content-Type", "Content-Length")] + [("Content-Length", "0")]
        return start_response(status, headers, *more)

    return start


@cache
def _application() -> App:
    """WsgiDAV's application; made at the first request that needs it, for it is heavy."""
    from wsgidav.request_resolver import RequestResolver
    from wsgidav.wsgidav_app import WsgiDAVApp

    from dav.provider import FilesProvider

    application: App = WsgiDAVApp(
        {
            "provider_mapping": {"/": FilesProvider()},
            "mount_path": "/sync/files",
            "middleware_stack": [RequestResolver],
            "lock_storage": None,
            "property_manager": None,
            "verbose": 1,
            "logging": {"enable": False},
        }
    )
    return application


_METHODS: Mapping[str, tuple[Action, Handler]] = {
    "GET": ("GET", content.get),
    "HEAD": ("GET", content.get),
    "PROPFIND": ("GET", files_listing.propfind),
    "PROPPATCH": ("PATCH", proppatch.proppatch),
    "PUT": ("PUT", uploads.put),
    "LOCK": ("PUT", locking.lock),
    "UNLOCK": ("PUT", locking.unlock),
    "DELETE": ("PATCH", _delete),
    "MKCOL": ("POST", _mkcol),
    "COPY": ("POST", _copy),
    "MOVE": ("PATCH", _move),
}
