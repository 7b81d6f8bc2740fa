"""The HTTP services: one Flask application for an instance's own host, made of one blueprint for each service.

Errors are turned into HTTP here and nowhere else: domain exceptions into the shape of the service they were raised in.
"""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast
from urllib.parse import quote

from flask import Flask, Request, Response, request
from flask.sessions import NullSession, SessionInterface, SessionMixin
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect

from blueprints import _blocked, _errors, _pages
from blueprints._answers import PREFLIGHT_FOR
from blueprints._request import BY_COOKIE, ErrorShape, Service
from cozyd.errors import Blocked, CozyError, Forbidden, TermsNotSigned, Unauthorized
from cozyd.stack import Stack

log = logging.getLogger("cozyd.http")

REFUSALS_LOGGED = 100
"""Of one instance in an hour: a log is not filled by who knocks at everything."""

SERVICES = (
    "apps",
    "app_errors",
    "app_launch",
    "provider_accounts",
    "intents",
    "registry",
    "remote",
    "shortcuts",
    "assets",
    "auth",
    "twofactor",
    "oidc",
    "passphrase",
    "settings_passphrase",
    "magic",
    "security",
    "sessions",
    "oauth",
    "flagship",
    "permissions",
    "contacts",
    "feeds",
    "shares",
    "sharings",
    "data",
    "file_lists",
    "files",
    "downloads",
    "references",
    "versions",
    "realtime",
    "replication",
    "search",
    "settings",
    "settings_pages",
    "public",
    "status",
    "sync",
    "uploads",
    "jobs",
    "triggers",
    "notifications",
)
"""The modules of this folder that have services: a new one has its line here."""


class _NoSessions(SessionInterface):
    """Flask's own sessions are not used; leaving them out saves time on each request."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        """An empty one."""
        return _NOTHING

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Nothing to save."""


_NOTHING = NullSession()


class _Parameters(ImmutableMultiDict[str, str]):
    """The parameters of a query. One that is not there costs a look and no exception: an upload asks for ten of them."""

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]
        """See `MultiDict.get`."""
        return super().get(key, default, type) if key in self else default


class _Request(Request):
    parameter_storage_class = _Parameters


class _Application(Flask):
    """Flask whose views are plain functions and whose hooks are the same two for every route: looking for others takes time."""

    request_class = _Request

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: flask would look whether it is a coroutine at each call of a view and of a hook."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """The routes for a request, whatever its host: `cozyd/server/wsgi.py` has looked at that."""
        if request is None:
            return None
        environ = request.environ
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        host, scheme = environ.get("HTTP_HOST", ""), environ["wsgi.url_scheme"]
        query = environ.get("QUERY_STRING", "")
        return MapAdapter(self.url_map, host, environ.get("SCRIPT_NAME") or "/", "", scheme, path, environ["REQUEST_METHOD"], query)

    def preprocess_request(self) -> Response | None:
        """What is the same for each request, before its view."""
        return _before()

    def process_response(self, response: Response) -> Response:
        """What a service adds to its answers, and what is the same for each."""
        rule = request.url_rule
        for add in self.after_request_funcs.get(rule.endpoint.partition(".")[0], ()) if rule is not None else ():
            response = cast(Response, add(response))
        return _after(response)

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Nothing."""

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        """Nothing."""


def create_app(stack: Stack) -> Flask:
    """The application that answers on the hosts of instances.

    :param stack: the process's object graph; requests bring their own instance in `environ["cozyd.instance"]`.
    """
    app = _Application("cozyd", static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False  # ids may have several
    app.session_interface = _NoSessions()
    app.extensions["cozyd"] = stack
    app.register_error_handler(CozyError, _domain_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    for service in [service for name in SERVICES for service in _services(name)]:
        app.register_blueprint(service)
    return app


def _services(name: str) -> list[Service]:
    return [value for value in vars(import_module(f"blueprints.{name}")).values() if isinstance(value, Service)]


def _before() -> Response | None:
    asked = request
    environ = asked.environ
    refused: CozyError | None = environ.get("cozyd.refused")
    if refused is not None:
        raise refused
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method == "OPTIONS" and "HTTP_ORIGIN" in environ and not path.startswith("/auth/"):
        return _preflight()
    if path in ("/apps", "/konnectors"):
        raise _errors.no_route()  # as in the reference, which wants a slash at the end
    if (path.startswith("/data/") or path == "/data") and (method == "HEAD" or isinstance(asked.routing_exception, RequestRedirect)):
        raise _errors.no_route()
    return None


def _preflight() -> Response:
    answer = Response(status=204)
    answer.headers["Access-Control-Allow-Methods"] = "GET,HEAD,PUT,PATCH,POST,DELETE"
    answer.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
    answer.headers["Access-Control-Max-Age"] = PREFLIGHT_FOR
    return answer


def _after(response: Response) -> Response:
    if response.status_code == 204:
        response.headers.pop("Content-Type", None)
    environ = request.environ
    origin = environ.get("HTTP_ORIGIN")
    if origin and BY_COOKIE not in environ and not environ["PATH_INFO"].startswith("/auth/"):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.vary.add("Origin")
    return response


def _domain_error(error: CozyError) -> Response:
    if isinstance(error, Blocked | TermsNotSigned):
        return _blocked.answer(error)
    if isinstance(error, Forbidden):
        _note_refusal()
    shape = _shape()
    if shape == "page" and isinstance(error, Unauthorized) and request.method == "GET" and "html" in request.headers.get("Accept", "html"):
        answer = Response(status=303)
        answer.headers["Location"] = f"{request.host_url}auth/login?redirect={quote(request.url, safe='')}"
        return answer
    return _errors.write(error, shape, _pages.error_page)


def _note_refusal() -> None:
    """Somebody known asked for what it may not do: the log says who and what, of each instance so often in an hour and no more."""
    environ = request.environ
    who, instance = environ.get("cozyd.principal"), environ.get("cozyd.instance")
    if who is not None and instance is not None and instance.counts("refusals logged", 3600) <= REFUSALS_LOGGED:
        log.info("refused: %s %s for %s %s", request.method, "/".join(request.path.split("/")[:3]), who.kind, who.id or "-")


def _http_error(error: HTTPException) -> Response:
    if error.code in (404, 405):
        return _errors.write(_errors.no_route(), _shape(), _pages.error_page)
    if error.code is not None and error.code < 400:
        return cast(Response, error.get_response())
    return _errors.write(_errors.from_status(error.code or 500, error.description or ""), _shape(), _pages.error_page)


def _unexpected(error: Exception) -> Response:
    log.error("a request failed unexpectedly: %s %s", request.method, request.path.split("/", 3)[:3], exc_info=error)
    return _errors.write(CozyError("An unexpected error occurred"), _shape(), _pages.error_page)


def _shape() -> ErrorShape:
    """The shape of the service that was asked; for an unknown route, of the one its path belongs to."""
    from flask import current_app

    service = current_app.blueprints.get(request.blueprint or "")
    if isinstance(service, Service):
        return service.errors
    return "data" if request.path.startswith("/data/") else "page"
