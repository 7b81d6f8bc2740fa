"""The DAV mounts: contacts and calendars by Radicale's application, files by WsgiDAV, over the same rooms as the JSON services."""

from collections.abc import Iterable, Mapping

from dav import webdav
from dav.access import App, Environ, StartResponse


def mounts() -> Mapping[str, App]:
    """Path prefix -> WSGI application; each request brings its instance in `environ["cozyd.instance"]`."""
    return {"/sync/dav": _groupware, "/sync/files": webdav.mount}


def _groupware(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The mount of contacts and calendars; Radicale is heavy, and loaded at the first request."""
    from dav.radicale import mount

    return mount(environ, start_response)
