"""waitress with our own rules: refusal by the head, held bodies, slow clients, parked requests, WebSocket hand-over.

Three names of waitress are subclassed: parser, channel and server. They are half private, so waitress is pinned and
`tests/contracts/test_waitress.py` states what is leant on.
"""

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error, RequestEntityTooLarge

from cozyd.errors import CozyError
from cozyd.realtime import Hub, Park
from cozyd.server.parking import Parked, Parking
from cozyd.server.sockets import SocketDoor, Sockets

log = logging.getLogger("cozyd.server")

HELD_FROM = 1 << 20
SLOWEST_BODY = 100  # bytes a second, on the average after a minute
IDLE = 120
UNLIMITED = 1 << 62


class InsufficientStorage(Error):
    """waitress' error answer when a body finds no room on the disk."""

    code = 507
    reason = "Insufficient Storage"


class Front(Protocol):
    """The application, as the server asks it beside calling it."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """WSGI."""

    def limit(self, path: str) -> int:
        """The largest body a path takes, in bytes. On the main loop: from memory only."""

    def welcome(self, environ: dict[str, Any]) -> CozyError | None:
        """Whether a large body may come; on a task thread, before the body."""

    def socket(self, host: str) -> SocketDoor:
        """The door of a WebSocket.

        :raises CozyError: nobody's host.
        """


@dataclass(frozen=True, slots=True)
class Listener:
    """One way in.

    :param app: a WSGI application.
    :param front: asked before bodies and sockets; None: the application takes what comes.
    :param tcp: host and port, or
    :param unix: path of a socket file, readable by its owner alone.
    """

    app: Any
    front: Front | None = None
    tcp: tuple[str, int] | None = None
    unix: Path | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, and how many connections at once."""

    head: float = 20
    body: float = 30
    connections: int = 4000


class Parser(HTTPRequestParser):
    """One request as it comes: its cap, and what the channel has decided about it."""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.time()
        self.judged = False
        self.head = b""
        self.largest = UNLIMITED
        self.refused: CozyError | None = None
        self.parked: Parked | None = None
        self.answered_head = False
        self.first_run: datetime | None = None

    def parse_header(self, header_plus: bytes) -> None:
        """As waitress', and refuse a body that is too large by its declared length."""
        super().parse_header(header_plus)
        self.head = header_plus
        front = getattr(self.adj, "cozyd_front", None)
        if front is None:
            return
        self.largest = front.limit(self.path)
        if self.content_length > self.largest:
            self._fail(RequestEntityTooLarge("The body is larger than the server accepts"))

    def received(self, data: bytes) -> int:
        """As waitress'; a chunked body is cut at the cap, a full disk ends the request."""
        try:
            consumed: int = super().received(data)
        except CozyError as error:
            self._fail(InsufficientStorage(error.detail))
            return len(data)
        if self.chunked and self.body_bytes_received > self.largest and self.error is None:
            self._fail(RequestEntityTooLarge("The body is larger than the server accepts"))
        return consumed

    def _fail(self, error: Error) -> None:
        self.error = error
        self.expect_continue = False
        self.connection_close = True
        self.close()
        self.body_rcv = None
        self.content_length = 0
        self.completed = True

    @property
    def is_held(self) -> bool:
        """Whether its body waits until the sender is known."""
        return not self.completed and (self.chunked or self.content_length > HELD_FROM)

    @property
    def is_upgrade(self) -> bool:
        """Whether it opens a WebSocket."""
        return self.command == "GET" and self.path == "/realtime/" and self.headers.get("UPGRADE", "").lower() == "websocket"

    def refuse(self, error: CozyError) -> None:
        """Complete it without its body: the application answers the error in the shape of its door."""
        self.refused = error
        self.close()
        self.body_rcv = None
        self.headers["CONTENT_LENGTH"] = "0"
        self.headers["CONNECTION"] = "close"
        self.chunked = False
        self.completed = True


class Task(WSGITask):
    """One run of a request."""

    def get_environment(self) -> dict[str, Any]:
        """As waitress', with what the channel knows; a request that runs again reads its body from the start."""
        fresh = self.environ is None
        environ: dict[str, Any] = super().get_environment()
        if not fresh:
            return environ
        request = self.request
        if request.refused is not None:
            environ["cozyd.refused"] = request.refused
        if request.first_run is None:
            request.first_run = datetime.now(UTC)
        else:
            environ["wsgi.input"].seek(0)
        environ["cozyd.began"] = request.first_run
        return environ

    def build_response_header(self) -> bytes:
        """Nothing, when the head is out already: the rest of the answer goes on in chunks."""
        if self.request.answered_head:
            self.content_length = None
            self.chunked_response = True
            return b""
        head: bytes = super().build_response_header()
        return head


class _Welcome:
    """Asks, on a task thread, whether a held body may come."""

    def __init__(self, channel: "Channel", request: Parser, rest: bytes) -> None:
        self._channel, self._request, self._rest = channel, request, rest

    def service(self) -> None:
        """Ask, and go on upon the main loop."""
        channel, request = self._channel, self._request
        environ = Task(channel, request).get_environment()
        request.first_run = None
        try:
            refused = channel.front.welcome(environ)
        except Exception:  # whatever happens, the client gets an answer
            log.exception("a body could not be judged")
            refused = CozyError()
        channel.server.trigger.pull_trigger(lambda: channel.resume(request, refused, self._rest))

    def cancel(self) -> None:
        """The server stops."""
        self._channel.will_close = True


class Channel(HTTPChannel):
    """One connection."""

    task_class = Task
    parser_class = Parser
    held = False
    request: Parser | None
    requests: list[Parser]
    will_close: bool
    connected: bool
    sent_continue: bool

    @property
    def front(self) -> Front:
        """The application of this listener."""
        front: Front = self.adj.cozyd_front
        return front

    def readable(self) -> bool:
        """Nothing is read while a body waits for its sender to be known."""
        return not self.held and bool(super().readable())

    def received(self, data: bytes) -> bool:
        """Feed requests with what came, in order."""
        if not data:
            return False
        with self.requests_lock:
            if self.will_close or self.close_when_flushed:
                return False
            while data:
                if self.request is None:
                    self.request = self.parser_class(self.adj)
                request = self.request
                consumed = request.received(data)
                data = data[consumed:]
                if request.headers_finished and not request.judged:
                    request.judged = True
                    if self._diverted(request, data):
                        return True
                self._go_on(request)
                if not consumed:
                    break
        return True

    def _diverted(self, request: Parser, rest: bytes) -> bool:
        """Whether a request leaves the ordinary way by its head: a WebSocket, or a body that waits."""
        if getattr(self.adj, "cozyd_front", None) is None or request.error is not None:
            return False
        if request.is_upgrade and not self.requests:
            self._hand_over(request, rest)
            return True
        if not request.is_held:
            return False
        self.held = True
        self.server.add_task(_Welcome(self, request, rest))
        return True

    def _go_on(self, request: Parser) -> None:
        """Ask for the body, or queue the request when it is whole."""
        if request.expect_continue and request.headers_finished and not self.requests and not self.sent_continue:
            self.send_continue()
        if not request.completed:
            return
        self.sent_continue = False
        if not request.empty:
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)
        self.request = None

    def resume(self, request: Parser, refused: CozyError | None, rest: bytes) -> None:
        """On the main loop: take a body that was held, or answer without it."""
        self.held = False
        if not self.connected or self.request is not request:
            request.close()
            return
        if refused is None:
            try:
                receiver: Any = request.body_rcv
                receiver.buf = self.adj.cozyd_spool()
            except CozyError as error:
                refused = error
        with self.requests_lock:
            if refused is not None:
                request.refuse(refused)
            self._go_on(request)
        if refused is None and rest:
            self.received(rest)

    def _hand_over(self, request: Parser, rest: bytes) -> None:
        """Give the connection to the sockets' thread, under a descriptor of its own."""
        connection: socket.socket = self.socket.dup()
        connection.setblocking(False)
        head = request.head.rstrip(b"\r\n") + b"\r\n\r\n" + rest
        self.request = None
        self.del_channel()
        self.connected = False
        self.socket.close()
        self.adj.cozyd_sockets.take(connection, head, request.headers.get("HOST", ""))

    def service(self) -> None:
        """Run the request at the head; one that has nothing to say yet is parked and stays there."""
        request = self.requests[0]
        try:
            super().service()
        except Park as park:
            self._park(request, park)
        else:
            if request.parked is not None:
                self.adj.cozyd_parking.leave(request.parked)
                request.parked = None

    def _park(self, request: Parser, park: Park) -> None:
        parking: Parking = self.adj.cozyd_parking
        if not self.connected or parking.closed:
            self.will_close = True
            self.server.pull_trigger()
            return
        if park.say and request.version == "1.1":
            self._say(request, park.say)
        request.parked = parking.park(request.parked, park, lambda: self.server.add_task(self))

    def _say(self, request: Parser, text: bytes) -> None:
        if not request.answered_head:
            request.answered_head = True
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
            self.write_soon(head.encode())
        self.write_soon(b"%x\r\n%s\r\n" % (len(text), text))
        self._flush_some_if_lockable()
        self.server.pull_trigger()

    def handle_close(self) -> None:
        """Let go of what the connection held: an unfinished body, waiting requests."""
        if self.request is not None:
            self.request.close()
        for request in tuple(self.requests):
            if request.parked is not None:
                self.adj.cozyd_parking.leave(request.parked)
        super().handle_close()

    def is_too_slow(self, now: float, limits: Limits) -> bool:
        """Whether its client has used up the patience of the server."""
        if self.total_outbufs_len:
            return now - self.last_activity > IDLE
        if self.requests or self.held:
            return False
        request = self.request
        if request is None:
            return now - max(self.last_activity, self.creation_time) > (IDLE if self.last_activity > self.creation_time else limits.head)
        if not request.headers_finished:
            return now - request.began > limits.head
        if now - self.last_activity > limits.body:
            return True
        spent = now - request.began
        return spent > 60 and request.body_bytes_received / spent < SLOWEST_BODY


class _Sweeping:
    """What both kinds of listening sockets do with slow clients."""

    channel_class = Channel
    active_channels: Mapping[int, Channel]
    adj: Any

    def maintenance(self, now: float) -> None:
        """Close the connections of clients that are too slow."""
        for channel in tuple(self.active_channels.values()):
            if channel.is_too_slow(now, self.adj.cozyd_limits):
                channel.will_close = True


class _TcpServer(_Sweeping, TcpWSGIServer):
    """A TCP listener."""


class _UnixServer(_Sweeping, UnixWSGIServer):
    """A listener on a socket file."""


class Server:
    """Several listeners in one loop, one pool of task threads.

    :param spool: makes the temporary file a large body is received into.
    :param trusted_proxy: address of the proxy whose forwarded headers are believed; empty: nobody's are.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        hub: Hub,
        spool: Callable[[], Any],
        threads: int = 8,
        limits: Limits | None = None,
        trusted_proxy: str = "",
    ) -> None:
        self._map: dict[int, Any] = {}
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(threads)
        self.parking = Parking(hub)
        front = next((one.front for one in listeners if one.front is not None), None)
        self.sockets = Sockets(hub, front.socket if front is not None else _no_sockets)
        self._limits = limits or Limits()
        self._trusted_proxy = trusted_proxy
        self._stopping: float | None = None
        self._servers = [self._listen(one, spool, threads) for one in listeners]
        self._unix = [one.unix for one in listeners if one.unix is not None]

    @property
    def port(self) -> int:
        """The TCP port that was bound."""
        return next(int(server.effective_port) for server in self._servers if isinstance(server, _TcpServer))

    def run(self) -> None:
        """Serve, in the calling thread, until `stop`."""
        self.sockets.start()
        while self._stopping is None:
            wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
        self._end(self._stopping)

    def stop(self, grace: float = 10) -> None:
        """End `run` soon: no new connections, sockets told, running tasks get `grace` seconds. From any thread or signal."""
        self._stopping = grace
        self._servers[0].pull_trigger()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _listen(self, listener: Listener, spool: Callable[[], Any], threads: int) -> Any:
        options: dict[str, Any] = {
            "threads": threads,
            "ident": None,
            "asyncore_use_poll": True,
            "connection_limit": self._limits.connections,
            "channel_request_lookahead": 1,
            "cleanup_interval": 1,
            "max_request_body_size": UNLIMITED,
            "inbuf_overflow": HELD_FROM + 1,
            "clear_untrusted_proxy_headers": False,
        }
        if self._trusted_proxy:
            options |= {"trusted_proxy": self._trusted_proxy, "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto"}
        if listener.tcp is not None:
            adj = Adjustments(host=listener.tcp[0], port=listener.tcp[1], **options)
        else:
            adj = Adjustments(unix_socket=str(listener.unix), unix_socket_perms="600", **options)
        adj.cozyd_front = listener.front
        adj.cozyd_limits = self._limits
        adj.cozyd_spool = spool
        adj.cozyd_parking = self.parking
        adj.cozyd_sockets = self.sockets
        if listener.tcp is None:
            return _UnixServer(listener.app, map=self._map, dispatcher=self._dispatcher, adj=adj)
        return _TcpServer(listener.app, map=self._map, dispatcher=self._dispatcher, adj=adj, sockinfo=adj.listen[0])

    def _end(self, grace: float) -> None:
        for server in self._servers:
            server.accepting = False
            server.del_channel(self._map)
            server.socket.close()
        for path in self._unix:
            path.unlink(missing_ok=True)
        self.sockets.stop()
        self.parking.close()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(channel.requests or channel.total_outbufs_len for channel in self._channels()):
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._map, count=1)
        for channel in self._channels():
            channel.handle_close()
        self._dispatcher.shutdown(timeout=1)

    def _channels(self) -> Sequence[Channel]:
        return [one for one in tuple(self._map.values()) if isinstance(one, Channel)]


def _no_sockets(host: str) -> SocketDoor:
    raise CozyError(f"no sockets on {host}")
