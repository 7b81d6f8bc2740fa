"""A proxy on loopback for a program that connects by itself: every connection it asks for is judged by `Outbound`, redirects included.

It lives as long as the program runs, takes no more than so many bytes, and ends in time.
"""

import contextlib
import re
import select
import socket
import socketserver
import threading
import time
from typing import Any, Self

from cozyd.errors import CozyError
from cozyd.outbound import PORTS, Outbound

LONGEST_HEAD = 1 << 16
PIECE = 1 << 16
_CONNECTION = re.compile(rb"\r\n(?:proxy-)?connection:[^\r]*", re.IGNORECASE)


class Forward:
    """Open as long as its `with` block.

    :param limit_bytes: that may come in, of all connections together.
    :param timeout: seconds that it is open.
    :ivar address: `host:port` to give to the program as its HTTP proxy.
    """

    def __init__(self, outbound: Outbound, *, limit_bytes: int, timeout: float) -> None:
        self._outbound = outbound
        self._left = limit_bytes
        self._ends = time.monotonic() + timeout
        forward = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    forward._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="forward").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = 0.0
        self._server.shutdown()
        self._server.server_close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _serve(self, near: socket.socket) -> None:
        near.settimeout(max(0.1, self._ends - time.monotonic()))
        head, rest = _head_of(near)
        method, target = head.split(b" ", 2)[:2]
        is_tunnel = method == b"CONNECT"
        try:
            parts = self._outbound.check(f"https://{target.decode('ascii')}/" if is_tunnel else target.decode("ascii"))
            far = self._outbound.connect(parts.hostname or "", parts.port or PORTS[parts.scheme])
        except CozyError as error:
            near.sendall(f"HTTP/1.1 {error.status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        with far:
            if is_tunnel:
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:  # one request a connection: the next one may be for another host
                here = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}".encode()
                far.sendall(_CONNECTION.sub(b"", head.replace(target, here, 1)) + b"\r\nConnection: close\r\n\r\n" + rest)
            self._relay(near, far)

    def _relay(self, near: Any, far: Any) -> None:
        other = {near: far, far: near}
        while (left := self._ends - time.monotonic()) > 0 and self._left > 0:
            for source in select.select([near, far], [], [], min(left, 0.5))[0]:
                data = source.recv(PIECE)
                if not data:
                    return
                if source is far:
                    self._left -= len(data)
                other[source].sendall(data)


def _head_of(near: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request without its empty line, and what came behind it.

    :raises ValueError: there is none.
    """
    got = b""
    while b"\r\n\r\n" not in got:
        piece = near.recv(PIECE)
        if not piece or len(got) > LONGEST_HEAD:
            raise ValueError
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest
