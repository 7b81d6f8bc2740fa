"""The WSGI front: Host -> instance, DAV mounts, and what the server asks before it takes a body or a socket.

Every request comes through `Front.__call__`; it sets `cozyd.instance` and `cozyd.request_id` for the doors behind it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import getrandbits
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from blueprints import app_hosts, uploads
from cozyd import jsons
from cozyd.auth.values import Credentials, basic_of
from cozyd.config import Limits
from cozyd.errors import Blocked, CozyError, Forbidden, Gone, QuotaExceeded, TermsNotSigned, Unavailable
from cozyd.files import File, Files
from cozyd.instance import Instance
from cozyd.permissions import FILES, Action, Principal
from cozyd.server import served
from cozyd.server.channel import Buffer
from cozyd.settings.avatar import LARGEST as LARGEST_AVATAR
from cozyd.stack import Stack
from cozyd.telemetry import about_request

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

UPLOADS = ("/files/", "/sync/files/")
RESUMABLE = "/files/uploads"
HELD, HELD_CONTENT = 1 << 20, 1 << 17
WITHOUT_INSTANCE = frozenset(("/status", "/status/", "/version", "/version/", "/connection_check"))
DAV_TYPES = ("io.cozy.contacts", "io.cozy.calendar.events", "io.cozy.calendar.todos")
_ACTIONS: Mapping[str, Action] = {"POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
_READING = frozenset(("GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "SEARCH"))


class SocketDoor:
    """What a WebSocket of one instance may ask (docs/http/realtime.md)."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.tenant = instance.prefix

    def authenticate(self, token: str) -> Principal:
        """Who a token is.

        :raises CozyError: nobody, or the instance is not served any more.
        """
        served.check(self._instance, "/realtime/", lambda: Credentials(bearer=token))
        return self._instance.auth.identify(Credentials(bearer=token))

    def may_watch(self, principal: Principal, doctype: str, id: str | None) -> bool:
        """Whether changes of a doctype, or of one document, may be told."""
        doctype = {"io.cozy.files.thumbnails": FILES, "io.cozy.notes.events": FILES}.get(doctype, doctype)
        try:
            if id is None:
                principal.check("GET", doctype)
            elif doctype == FILES:
                node = self._instance.files.get(id)
                principal.check("GET", FILES, node.stored, above=self._instance.files.above(node))
            else:
                principal.check("GET", doctype, {"_id": id})
        except CozyError:
            return _may_watch_unstored(principal, doctype, id)
        return True


def _may_watch_unstored(principal: Principal, doctype: str, id: str | None) -> bool:
    """A file that is gone or not yet there is judged by its id alone."""
    if id is None:
        return False
    try:
        principal.check("GET", doctype, {"_id": id})
    except Forbidden:
        return False
    return True


class Front:
    """The application the server runs.

    :param app: answers on instances' hosts.
    :param mounts: path prefix (no slash at the end) -> application of a DAV mount.
    """

    def __init__(self, stack: Stack, app: App, mounts: Mapping[str, App], limits: Limits) -> None:
        self._stack = stack
        self._app = app
        self._apps = app_hosts.create_apps_app()
        self._mounts = dict(mounts)
        self._limits = limits

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Find the tenant and hand the request to its door."""
        path: str = environ.get("PATH_INFO", "")
        environ["cozyd.stack"] = self._stack
        request_id: str = environ.get("cozyd.request_id") or f"{getrandbits(64):016x}"
        environ["cozyd.request_id"] = request_id
        about_request(request_id, "")
        start_response = _named(start_response, request_id, is_secure=environ.get("wsgi.url_scheme") == "https")
        if path in WITHOUT_INSTANCE and not self._finds():
            return self._app(environ, start_response)
        try:
            environ["cozyd.instance"] = instance = self._locate(environ)
            about_request(request_id, instance.domain)
            if path in WITHOUT_INSTANCE and "cozyd.slug" not in environ:
                return self._app(environ, start_response)
            served.check(instance, path, partial(_credentials, environ, dav=False))
        except (Blocked, TermsNotSigned) as error:
            if path.startswith("/sync/"):
                return _refusal(error, environ)(environ, start_response)
            environ["cozyd.refused"] = error
        except CozyError as error:
            if path in WITHOUT_INSTANCE and "cozyd.instance" not in environ:
                return self._app(environ, start_response)
            return _refusal(error, environ)(environ, start_response)
        if "cozyd.slug" in environ:
            return self._apps(environ, start_response)
        for prefix, mount in self._mounts.items() if path.startswith("/sync/") else ():
            if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/"):
                environ["SCRIPT_NAME"] = prefix
                environ["PATH_INFO"] = path[len(prefix) :]
                return mount(environ, start_response)
        return self._app(environ, start_response)

    def _finds(self) -> bool:
        """Whether the document store answers: where it hangs, nobody whose request is about no instance waits for one to be found."""
        try:
            self._stack.ping_documents()
        except Unavailable:
            return False
        return True

    def _locate(self, environ: Environ) -> Instance:
        """The instance of the Host; `cozyd.slug` is set where it is a host of one of her apps."""
        instance, slug = self._stack.locate_any(environ.get("HTTP_HOST", ""))
        if slug:
            environ["cozyd.slug"] = slug
        return instance

    def limit(self, path: str) -> int:
        """The largest body a path takes, in bytes; from memory, on the server's main loop."""
        if path.startswith(UPLOADS) or path == "/sync/files":
            return self._limits.upload
        if path.startswith("/auth/"):
            return self._limits.form
        if path == "/settings/avatar":
            return max(self._limits.body, LARGEST_AVATAR)
        return self._limits.body

    def held_from(self, path: str) -> int:
        """How large a body waits until its sender is known: no stranger's reaches a disk; a content is written once where it stays."""
        return HELD_CONTENT if path.startswith((*UPLOADS, "/sync/")) else HELD

    def is_log_in(self, method: str, path: str) -> bool:
        """Whether a request shows a passphrase."""
        return method == "POST" and path.startswith("/auth/login")

    def welcome(self, environ: Environ) -> Buffer | None:
        """Whether a large body may come: its sender is known, may write there, and has room for it.

        Where it goes, if that is no temporary file.
        :raises CozyError: it may not come.
        """
        path: str = environ.get("PATH_INFO", "")
        environ["cozyd.instance"] = instance = self._stack.locate(environ.get("HTTP_HOST", ""))
        served.check(instance, path, partial(_credentials, environ, dav=False))
        principal = self._check_sender(instance, environ)
        return uploads.receive(instance, principal, environ) if path == RESUMABLE or path.startswith(RESUMABLE + "/") else None

    def socket(self, host: str) -> SocketDoor:
        """The door of a WebSocket; nothing but the Host is looked at before its first message.

        :raises CozyError: nobody's host, or blocked.
        """
        instance = self._stack.locate(host)
        served.check(instance, "/realtime/")
        return SocketDoor(instance)

    def _check_sender(self, instance: Instance, environ: Environ) -> Principal:
        """Whether the sender may send something there at all, and whether it fits; the door itself asks for more."""
        path: str = environ.get("PATH_INFO", "")
        principal = instance.auth.identify(_credentials(environ, dav=path.startswith("/sync/")))
        action, doctypes = _action(environ.get("REQUEST_METHOD", ""), path), _doctypes(path)
        if doctypes and not any(principal.may(action, doctype) for doctype in doctypes):
            raise Forbidden
        if path.startswith(UPLOADS) and action in ("POST", "PUT"):
            _check_room(instance, environ)
        return principal


def _named(start_response: StartResponse, request_id: str, *, is_secure: bool) -> StartResponse:
    """Have each answer tell the id that the log's lines about it have, and keep it out of shared caches unless it says otherwise.

    None is taken for something it does not say that it is, and who came by TLS comes by it again (RFC 6797).
    """

    def start(status: str, headers: Sequence[tuple[str, str]], *more: Any) -> Any:
        said = dict(headers)
        named = [*headers, ("X-Request-Id", request_id)]
        if "Cache-Control" not in said:
            named.append(("Cache-Control", "private, no-cache"))
        if "X-Content-Type-Options" not in said:
            named.append(("X-Content-Type-Options", "nosniff"))
        if is_secure and "Strict-Transport-Security" not in said:
            named.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))
        return start_response(status, named, *more)

    return start


def _action(method: str, path: str) -> Action:
    """What a request does, as far as its method and path tell; many of the document services read by POST."""
    service = path.split("/")[3] if path.startswith("/data/") and path.count("/") > 2 else ""
    if method in _READING or (service.startswith("_") and service != "_bulk_docs"):
        return "GET"
    if path.startswith(RESUMABLE + "/"):
        return "POST"
    return _ACTIONS.get(method, "POST")


def _doctypes(path: str) -> Sequence[str]:
    """Of which doctypes a path's service is; none: of no certain one."""
    if path.startswith(UPLOADS):
        return (FILES,)
    if path.startswith("/sync/dav/"):
        return DAV_TYPES
    return (path.split("/")[2],) if path.startswith(("/data/", "/realtime/")) else ()


def _credentials(environ: Environ, *, dav: bool) -> Credentials:
    """As the doors read them: DAV takes a device password, JSON services a token."""
    request = Request(environ)
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    bearer = value.strip() if scheme.lower() == "bearer" else None
    basic = basic_of(value) if scheme.lower() == "basic" else None
    if basic and not dav:
        bearer, basic = basic[1], None
    if not dav:
        bearer = bearer or request.args.get("bearer_token") or request.args.get("sharecode")
    passes = {name: value for name, value in request.cookies.items() if name.startswith("pass")}
    return Credentials(bearer=bearer, basic=basic, address=request.remote_addr or "", passes=passes)


def _check_room(instance: Instance, environ: Environ) -> None:
    """Compare the length of a body with the room there is; one in chunks, of no known length, is told how much may come.

    :raises QuotaExceeded: it does not fit, not even in the place of what it replaces.
    """
    files = instance.files
    used, quota = files.usage()
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if quota is None:
        return
    if used + length > quota and used + length - _freed(files, environ) > quota:
        raise QuotaExceeded("The file is too big and exceeds the disk quota")
    if "CONTENT_LENGTH" not in environ and not environ["PATH_INFO"].startswith(RESUMABLE):
        environ["cozyd.room"] = max(0, quota - used + _freed(files, environ))


def _freed(files: Files, environ: Environ) -> int:
    """The bytes of the file that a PUT replaces."""
    path: str = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] != "PUT":
        return 0
    try:
        name = path.encode("latin-1").decode()
        node = files.get(path.split("/")[2]) if path.startswith("/files/") else files.at(name.removeprefix("/sync/files"))
    except (CozyError, UnicodeDecodeError):
        return 0
    return node.blob.size if isinstance(node, File) else 0


def _target(environ: Environ) -> str:
    """Path and query of a request, as they were sent."""
    raw: str = environ.get("REQUEST_URI", "")
    if raw.startswith("/"):
        return raw
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    return quote(environ.get("PATH_INFO", "/"), safe="/:@!$&'()*+,;=~", encoding="latin-1") + query


def _refusal(error: CozyError, environ: Environ) -> Response:
    """An answer before any door is known, by Accept; an old domain redirects to the new one."""
    if isinstance(error, Gone) and error.location:
        answer = Response(status=308)
        answer.headers["Location"] = f"{environ['wsgi.url_scheme']}://{error.location}{_target(environ)}"
        return answer
    if "json" in environ.get("HTTP_ACCEPT", ""):
        answer = Response(jsons.dump({"error": error.detail}), error.status, content_type="application/json")
    else:
        answer = Response(error.detail, error.status, content_type="text/plain; charset=utf-8")
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer
