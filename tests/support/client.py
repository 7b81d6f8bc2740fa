"""A small HTTP client for tests: JSON with a token, DAV with a device password, WebSockets."""

import base64
import http.client
import json
from contextlib import ExitStack
from typing import Any, Self

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.serving import Served


class Answer:
    """Status, headers, body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


class Client:
    """One user of one tenant.

    :param host: Host header; the address is always loopback.
    """

    def __init__(self, served: Served, *, domain: str | None = None, host: str | None = None, scope: tuple[str, ...] = ()) -> None:
        self.served = served
        self.domain = domain or served.domain
        self.host = host or self.domain
        self.token = served.token(*scope, domain=self.domain) if scope else ""
        self.password = served.password(domain=self.domain)
        self.patience = 30.0

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """A request as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=self.patience)
        data = body.encode() if isinstance(body, str) else body
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in ({"Host": self.host} | {key.replace("_", "-"): value for key, value in headers.items()}).items():
                connection.putheader(name, value)
            if data is not None and "Content-Length" not in {key.replace("_", "-") for key in headers}:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """With the token; a body that is no bytes is sent as JSON."""
        given = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if body is not None and not isinstance(body, bytes):
            body, given["Content_Type"] = json.dumps(body).encode(), "application/json"
        return self.ask(method, path, body, **given | headers)

    def dav(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """With the device password."""
        return self.ask(method, path, body, **{"Authorization": f"Basic {self.basic}"} | headers)

    @property
    def basic(self) -> str:
        """The device password as Basic credentials, with some user name."""
        return base64.b64encode(f"me:{self.password}".encode()).decode()

    def watch(self, *doctypes: str) -> "Watch":
        """A WebSocket that has subscribed."""
        return Watch(self, doctypes)


class Watch:
    """Events of some doctypes."""

    def __init__(self, client: Client, doctypes: tuple[str, ...]) -> None:
        name = "127.0.0.1" if client.domain.startswith("bob.") else "localhost"
        address = f"ws://{name}:{client.served.port}/realtime/"
        self._opened = ExitStack()
        self._socket = self._opened.enter_context(connect(address, subprotocols=[Subprotocol("io.cozy.websocket")], open_timeout=10))
        self.send({"method": "AUTH", "payload": client.token})
        for doctype in doctypes:
            self.send({"method": "SUBSCRIBE", "payload": {"type": doctype}})
        self.send({"method": "PING", "payload": {"type": "x"}})
        answer = self.next()
        assert answer["payload"]["code"] == "method not allowed", answer

    def send(self, message: Any) -> None:
        self._socket.send(json.dumps(message))

    def next(self, timeout: float = 5) -> Any:
        """The next message."""
        return json.loads(self._socket.recv(timeout=timeout))

    def quiet(self) -> bool:
        """Whether nothing more was told: a message that is answered comes behind all events of before."""
        self.send({"method": "PING", "payload": {"type": "x"}})
        return bool(self.next()["event"] == "error")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
