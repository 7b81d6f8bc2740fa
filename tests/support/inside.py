"""A tenant's services in this process, through the front, without a socket: whoever asks, with whatever token."""

import json
from functools import partial
from typing import Any

from werkzeug.test import Client as WsgiClient

from blueprints import create_app
from cozyd.config import Limits
from cozyd.instance import Instance
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts


class Inside:
    """The services of one tenant.

    :param scope: of the command line's token that is shown when a request names no other.
    """

    def __init__(self, stack: Stack, instance: Instance, scope: str) -> None:
        self._client = WsgiClient(Front(stack, create_app(stack).wsgi_app, mounts(), Limits()), use_cookies=False)
        self._host = instance.domain
        self._fresh = partial(instance.auth.cli_token, scope)

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, accept: str = "application/json") -> Any:
        """A request; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        shown = self._fresh() if token is None else token
        headers = {"Host": self._host, "Accept": accept} | ({"Authorization": f"Bearer {shown}"} if shown else {})
        return self._client.open(path, method=method, data=data, headers=headers, buffered=True)

    def send(self, method: str, path: str, *, token: str | None = None, **attributes: Any) -> Any:
        """A request whose body is a resource with these attributes."""
        return self.ask(method, path, {"data": {"attributes": attributes}}, token=token)
