"""The CalDAV and CardDAV mount: Radicale's application over our storage, auth and rights, with methods of our own.

Radicale takes a request apart, asks auth and rights, finds the method, compresses the answer. What it answers wrongly or slowly is
overridden (docs/decisions/0060-radicale.md). None of its ways that parse a client's text is reachable: vobject keeps time zones
for the whole process.
"""

import logging
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

from radicale import config
from radicale import log as radicale_log
from radicale.app import Application

from cozyd.errors import CozyError
from cozyd.instance import Instance
from cozyd.pim.subscriptions import quiet
from dav import handlers, push
from dav.access import Environ, StartResponse, Visit, admit, refuse, utf8_path
from dav.storage import Auth, Rights, Storage, visiting

log = logging.getLogger("cozyd.dav")

CLASSES = "1, 3, calendar-access, addressbook, extended-mkcol"
ALLOWED = "OPTIONS, GET, HEAD, PUT, POST, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, REPORT, MKCOL, MKCALENDAR"
_FORGED = ("HTTP_X_SCRIPT_NAME", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_SERVER")

Answer = tuple[int, dict[str, str], bytes | None, None]


class Groupware(Application):
    """Radicale's application; exceptions of the rooms come out of it as refusals of DAV."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a request whose visitor is known."""
        status, headers, answers = self._handle_request(environ)
        body = b"".join(answers)
        sized = status[:3] in ("204", "304") or any(name.lower() == "content-length" for name, _ in headers)
        start_response(status, headers if sized else [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def do_DELETE(self, environ: Any, *more: Any, **others: Any) -> Any:
        """A resource's is ours, with its conditions; a collection's is Radicale's."""
        if len(_parts(environ)) == handlers.DEEPEST_PATH:
            return _ours(environ)
        try:
            handlers.check_removal(environ["cozyd.visit"], _parts(environ))
            found: Any = super().do_DELETE(environ, *more, **others)
        except CozyError as error:
            return _collected(environ, partial(refuse, error, environ))
        return found

    def do_COPY(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale has none."""
        return _ours(environ)

    def do_GET(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's has no 304, and serves what vobject wrote."""
        return _ours(environ)

    def do_HEAD(self, environ: Any, *_: Any, **__: Any) -> Any:
        """As GET."""
        return _ours(environ)

    def do_MKCALENDAR(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's makes a calendar of components that it cannot keep, and flattens properties that are XML."""
        return _ours(environ)

    def do_MKCOL(self, environ: Any, *_: Any, **__: Any) -> Any:
        """As MKCALENDAR."""
        return _ours(environ)

    def do_MOVE(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's takes a missing Overwrite for F, and looks for twins by UID before our lock."""
        return _ours(environ)

    def do_POST(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's is for its web pages; ours adds members (RFC 5995)."""
        return _ours(environ)

    def do_PROPFIND(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's builds a tree of 42 us an item; ours writes text from the rows."""
        return _ours(environ)

    def do_PROPPATCH(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's takes protected properties, flattens those that are XML, and does a part of what it is asked."""
        return _ours(environ)

    def do_PUT(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's parses by vobject and looks for UIDs itself; ours keeps the bytes."""
        return _ours(environ)

    def do_REPORT(self, environ: Any, *_: Any, **__: Any) -> Any:
        """Radicale's parses what a filter looks at, and knows no parts, limits or preconditions."""
        return _ours(environ)


def _parts(environ: Environ) -> list[str]:
    return [part for part in environ["PATH_INFO"].split("/") if part]


def _ours(environ: Environ) -> Answer:
    """A method of ours, in the form of Radicale's."""
    visit: Visit = environ["cozyd.visit"]

    def run(start_response: StartResponse) -> Iterable[bytes]:
        try:
            request = handlers.Request(visit, _parts(environ), environ, start_response)
            if request.minimal and environ.get("HTTP_PREFER"):
                request.start_response = _minimal(start_response)
            return handlers.serve(request)
        except CozyError as error:
            return refuse(error, environ, start_response)
        except Exception:  # a client gets an answer without a stack trace
            log.exception("a DAV request failed unexpectedly: %s", environ["REQUEST_METHOD"])
            return refuse(CozyError("An unexpected error occurred"), environ, start_response)

    return _collected(environ, run)


def _minimal(start_response: StartResponse) -> StartResponse:
    """Listings without what is not there say so (RFC 8144, section 2.1)."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        applied = [("Preference-Applied", "return=minimal")] if status.startswith("207") else []
        return start_response(status, [*headers, *applied], *more)

    return start


def _collected(environ: Environ, run: Any) -> Answer:
    """What an application answers, as a value."""
    found: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        found.update(status=int(status[:3]), headers=dict(headers))

    body = b"".join(run(start_response))
    plain = found["status"] in (204, 304) or environ["REQUEST_METHOD"] == "HEAD"
    return found["status"], found["headers"], None if plain else body, None


def mount(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application of `/sync/dav`: who asks is found out first, then Radicale's application answers."""
    start_response = _with_our_headers(start_response, _classes(environ["cozyd.instance"]))
    for name in _FORGED:
        environ.pop(name, None)
    try:
        environ["PATH_INFO"] = utf8_path(environ)
        if environ["REQUEST_METHOD"] == "OPTIONS" or "/.well-known" in environ["PATH_INFO"]:
            environ.pop("HTTP_AUTHORIZATION", None)
        else:
            environ["cozyd.visit"] = admit(environ)
        token = quiet.set(push.not_told(environ))
        try:
            with visiting(environ.get("cozyd.visit")):
                return application()(environ, start_response)
        finally:
            quiet.reset(token)
    except CozyError as error:
        return refuse(error, environ, start_response)


def _classes(instance: Instance) -> str:
    """What the mount serves; push messages where there are keys for them."""
    return f"{CLASSES}, webdav-push" if instance.subscriptions.public_key else CLASSES


def _with_our_headers(start_response: StartResponse, classes: str) -> StartResponse:
    """Radicale claims DAV classes and methods that are not served, and does not name those that are."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        names = {"dav", "allow"} if status[:3] == "200" else {"dav"}
        kept = [(name, value) for name, value in headers if name.lower() not in names or (name == "Allow" and "LOCK" not in value)]
        if status.startswith("405") and not any(name == "Allow" for name, _ in kept):
            kept.append(("Allow", ALLOWED))
        return start_response(status, [*kept, ("DAV", classes)], *more)

    return start


@cache
def application() -> Groupware:
    """The one application of the process."""
    radicale_log.logger.propagate = True
    configuration = config.load()
    settings: dict[str, dict[str, Any]] = {
        "server": {"delay_on_error": "0"},
        "auth": {"type": Auth, "delay": "0"},
        "rights": {"type": Rights},
        "storage": {"type": Storage},
        "web": {"type": "none"},
        "logging": {"level": "error"},
    }
    configuration.update(settings, "cozyd", privileged=True)
    return Groupware(configuration)
