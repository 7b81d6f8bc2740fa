"""A small HTTP server on loopback: it remembers who asked for what, and answers as it is told."""

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Reply = Callable[["Asked"], "tuple[int, Mapping[str, str], bytes]"]


class Asked:
    """A request that came."""

    def __init__(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body


def _nothing(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
    return 200, {}, b"canary"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Clients that leave are no news."""


class Canary:
    """Listens on every address of this machine, version 4 and 6, on one port.

    :param reply: status, headers and body for a request.
    """

    def __init__(self, reply: Reply = _nothing) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self._servers: list[_Server] = []
        handler = _handler(self)
        first = _Server(("0.0.0.0", 0), handler)
        self.port: int = first.server_address[1]
        self._servers.append(first)
        with contextlib.suppress(OSError):
            self._servers.append(_six(self.port, handler))

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _six(port: int, handler: type[BaseHTTPRequestHandler]) -> _Server:
    class Six(_Server):
        address_family = socket.AF_INET6

        def server_bind(self) -> None:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    return Six(("::", port), handler)


def _handler(canary: Canary) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, dict(self.headers.items()), body)
            canary.asked.append(asked)
            status, headers, data = canary.reply(asked)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    return Handler
