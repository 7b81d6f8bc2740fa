"""Hosts of apps: their pages and files, and nothing else (docs/http/app-hosts.md).

A plain WSGI application: no route of the API exists here, whatever the path. The index of a private route needs the owner; its page
carries the app's token, which lives with her session. Files are those of the installed bundle.
"""

import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from blueprints import _app_files, _app_pages
from blueprints._app_locked import locked
from blueprints._request import SESSION_COOKIE
from cozyd.apps.bundles import Bundle
from cozyd.apps.manifest import Route, match, routes_of
from cozyd.auth.handover import PREFIX
from cozyd.documents.store import Stored
from cozyd.errors import CozyError, MethodNotAllowed, NotFound, Unauthorized, Unavailable
from cozyd.instance import Instance

mimetypes.add_type("application/manifest+json", ".webmanifest")

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
ROBOTS = "User-agent: *\nDisallow: /\n"
CODE = "session_code"
STORE, REPLACED = "store", ("collect", "onboarding")
"""`collect` became part of `home`, `onboarding` of the server."""
_COOKIE = re.compile(rf'(?:^|;)\s*{SESSION_COOKIE}="?([A-Za-z0-9_-]+)')
MOST_READ = 1024
_READ: dict[tuple[str, str], Mapping[str, Route]] = {}


def create_apps_app() -> App:
    """The application that answers on hosts of apps; `cozyd.instance` and `cozyd.slug` say whose."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        instance: Instance = environ["cozyd.instance"]
        refused: CozyError | None = environ.get("cozyd.refused")
        try:
            if refused is not None:
                raise refused
            response: App = Visit(instance, str(environ["cozyd.slug"]), environ).answer()
        except CozyError as error:
            response = _app_pages.refusal(instance, Request(environ), error)
        except HTTPException as error:
            response = error.get_response(environ)
        return response(environ, start_response)

    return answer


class Visit:
    """One request on an app's host; files are answered without werkzeug's `Request`, which costs as much as they do."""

    def __init__(self, instance: Instance, slug: str, environ: dict[str, Any]) -> None:
        self.instance = instance
        self.slug = slug
        self.environ = environ
        self.path: str = environ["PATH_INFO"].encode("latin-1").decode(errors="replace") or "/"
        self.host = instance.app_host(slug)

    @cached_property
    def request(self) -> Request:
        """What is asked, as pages want to know it."""
        return Request(self.environ)

    def answer(self) -> App:
        """The page, the file, or the way there.

        :raises CozyError: there is none, or not for this visitor.
        """
        if self.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(allow="GET, HEAD")
        code = self.request.args.get(CODE) if CODE in self.environ.get("QUERY_STRING", "") else None
        if code is not None:
            return self._let_in(code)
        if not self.instance.doc.get("onboarding_finished"):
            return _to(self.instance.url("/"))
        try:
            app = self._app()
        except NotFound:
            return self._instead()
        found = match(_routes(app), self.path)
        if found is None:
            raise NotFound("Page not found")
        bundle = self.instance.apps.bundle(app)
        route, rest = found
        name = f"{route.folder}/{rest}".lstrip("/")
        if rest == route.index:
            return self._index(app, bundle, route, name)
        if name == "robots.txt" and name not in bundle.entries:
            return Response(ROBOTS, content_type="text/plain; charset=utf-8")
        if not route.public and self._session() is None:
            raise Unauthorized("You must be logged in to access this file")
        if name not in bundle.entries:
            raise NotFound("Asset not found")
        return _app_files.send(self.environ, bundle, name, lambda: _app_pages.policy_of(self.instance, self.environ["wsgi.url_scheme"]))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _instead(self) -> Response:
        """Where an app that is not installed leads: old ones to her start, what a registry has to its page in the store.

        :raises NotFound: nowhere.
        """
        if self.slug in REPLACED:
            return _to(self.instance.url("/"), 301)
        try:
            self.instance.apps.registries.app(self.slug)
            self.instance.apps.get("webapp", STORE)
        except CozyError:
            raise NotFound("The application is not installed") from None
        return _to(self.instance.app_url(STORE, f"/#/discover/{self.slug}"), 307)

    def _app(self) -> Stored:
        app = self.instance.apps.get("webapp", self.slug)
        if app.doc.get("state") not in ("ready", "installed"):
            raise Unavailable("The application is not ready", retry_after=5)
        return self.instance.apps.visited(app)

    def _session(self) -> str | None:
        """The session of the visitor's cookie, while it goes on."""
        cookie = _COOKIE.search(self.environ.get("HTTP_COOKIE", ""))
        return self.instance.auth.app_session(cookie[1], self.host) if cookie is not None else None

    def _let_in(self, code: str) -> Response:
        """Take a code from the address; one that is not for this host goes to the main one."""
        left = [(name, value) for name, value in self.request.args.items(multi=True) if name != CODE]
        here = f"{self._here()}{'?' + urlencode(left) if left else ''}"
        if not code.startswith(PREFIX):
            plain = urlencode({"redirect": self._here(), CODE: code})
            return _to(here if self._session() else self.instance.url(f"/auth/login?{plain}"), 303)
        session_id = self.instance.auth.handover.take(code, self.host)
        let_in = _to(here, 303)
        if session_id is not None and self._session() is None:
            cookie = self.instance.auth.handover.cookie(session_id, self.host)
            let_in.set_cookie(SESSION_COOKIE, cookie, path="/", secure=self.request.is_secure, httponly=True, samesite="Lax")
        return let_in

    def _here(self) -> str:
        return self.instance.app_url(self.slug, quote(self.path, safe="/%:@!$&'()*+,;=~"))

    def _index(self, app: Stored, bundle: Bundle, route: Route, name: str) -> Response:
        session_id = self._session()
        if session_id is None and not route.public:
            query = self.request.query_string.decode("latin-1")
            target = f"{self._here()}{'?' + query if query else ''}"
            vouched = {"jwt": self.request.args["jwt"]} if self.request.args.get("jwt") else {}
            return _to(self.instance.url(f"/auth/login?{urlencode({'redirect': target} | vouched)}"), 302)
        moved_to = self.instance.settings.moved_to() if session_id is None else None
        if moved_to:
            return _app_pages.moved(self.instance, self.request, self.slug, moved_to)
        if session_id is not None:
            self.instance.apps.look_for_update(app)
        if name not in bundle.entries:
            raise NotFound("Page not found")
        return locked(self.instance, self.request) or _app_pages.index(self.instance, self.request, app, bundle, name, session_id)


def _routes(app: Stored) -> Mapping[str, Route]:
    """The routes of an app's document, read once for each revision."""
    key = (app.ref.id, app.rev)
    found = _READ.get(key)
    if found is None:
        if len(_READ) >= MOST_READ:
            _READ.clear()
        found = _READ[key] = routes_of(app.doc)
    return found


def _to(target: str, status: int = 302) -> Response:
    gone = Response(status=status)
    gone.headers["Location"] = target
    gone.headers["Cache-Control"] = "no-store"
    return gone
