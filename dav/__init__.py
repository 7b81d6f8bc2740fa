"""The DAV mounts: contacts and calendars, and files by WsgiDAV, over the same rooms as the JSON services."""

from collections.abc import Mapping

from dav import pim, webdav
from dav.access import App


def mounts() -> Mapping[str, App]:
    """Path prefix -> WSGI application; each request brings its instance in `environ["cozyd.instance"]`."""
    return {"/sync/dav": pim.mount, "/sync/files": webdav.mount}
