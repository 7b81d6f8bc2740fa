"""Both doors of files in this process: the JSON service and the WebDAV mount, through the front, without a socket."""

import base64
import json
from typing import Any
from urllib.parse import quote

from werkzeug.test import Client as WsgiClient
from werkzeug.test import TestResponse

from blueprints import create_app
from cozyd.config import Limits
from cozyd.instance import Instance
from cozyd.permissions import FILES
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts


class Doors:
    """A tenant's files as clients reach them."""

    def __init__(self, stack: Stack, instance: Instance) -> None:
        self._client = WsgiClient(Front(stack, create_app(stack).wsgi_app, mounts(), Limits()), use_cookies=False)
        self._host = instance.domain
        _, password = instance.auth.devices.add("doors", ["files"], False)
        basic = base64.b64encode(f"me:{password}".encode()).decode()
        self._dav = {"Host": self._host, "Authorization": f"Basic {basic}"}
        self._auth = instance.auth

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """A request to `/files` with a fresh token, as time may pass; a body that is no bytes is JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        fresh = {"Host": self._host, "Authorization": f"Bearer {self._auth.cli_token(FILES)}"}
        given = fresh | {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.open(f"/files{path}", method=method, data=data, headers=given, buffered=True)

    def dav(self, method: str, path: str, body: bytes | None = None, **headers: str) -> TestResponse:
        """A request to the WebDAV mount, by path."""
        given = self._dav | {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.open(address(path), method=method, data=body, headers=given, buffered=True)

    def destination(self, path: str) -> str:
        """A path as header Destination has it."""
        return f"http://{self._host}{address(path)}"


def address(path: str) -> str:
    return "/sync/files" + quote(path, safe="/")
