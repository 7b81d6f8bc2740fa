"""One connection: bodies held until their sender is known, requests that wait, slow clients, WebSocket hand-over.

`cozyd_*` on the adjustments of waitress is what a listener gives its connections; `cozyd/server/http.py` sets it.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from werkzeug.wsgi import FileWrapper

from cozyd.errors import CozyError, Unavailable
from cozyd.realtime import Park
from cozyd.server.parking import Parking
from cozyd.server.parser import Parser, Task
from cozyd.server.sockets import SocketDoor, Sockets
from cozyd.telemetry import about_request

log = logging.getLogger("cozyd.server")

SLOWEST_BODY, SLOW_AFTER = 1024, 30  # bytes a second on the average, once so many seconds have passed
IDLE = 120
RELAYED_AHEAD = 1 << 30  # bytes
LINGER, LINGER_SILENT = 30, 5
PARKED_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {type}\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n"


class _Here(threading.local):
    """What a task thread works on."""

    channel: "Channel | None" = None


_here = _Here()


def served_here() -> "Channel | None":
    """The connection whose request this thread runs."""
    return _here.channel


class Buffer(Protocol):
    """What a body is received into."""

    def append(self, data: bytes) -> None:
        """Take some bytes."""

    def getfile(self) -> Any:
        """What the application reads."""

    def close(self) -> None:
        """No more come, or nobody wants them."""


class Front(Protocol):
    """The application, as the server asks it beside calling it."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """WSGI."""

    def limit(self, path: str) -> int:
        """The largest body a path takes, in bytes. On the main loop: from memory only."""

    def held_from(self, path: str) -> int:
        """How large a body waits until its sender is known, in bytes. On the main loop."""

    def is_log_in(self, method: str, path: str) -> bool:
        """Whether a request shows a passphrase, which costs a hash: few of them run at a time. On the main loop."""

    def welcome(self, environ: dict[str, Any]) -> Buffer | None:
        """Whether a large body may come, and where it goes; None: into a temporary file. On a task thread, before the body.

        `cozyd.room` of the environ is then how many bytes may come of one whose length is not known.
        :raises CozyError: it may not come.
        """

    def socket(self, host: str) -> SocketDoor:
        """The door of a WebSocket.

        :raises CozyError: nobody's host.
        """


class Patience(Protocol):
    """Times in seconds."""

    @property
    def head(self) -> float:
        """For a whole head."""

    @property
    def body(self) -> float:
        """Between two pieces of a body."""


class _Welcome:
    """Asks, on a task thread, whether a held body may come."""

    def __init__(self, channel: "Channel", request: Parser, rest: bytes) -> None:
        self._channel, self._request, self._rest = channel, request, rest

    def service(self) -> None:
        """Ask, and go on upon the main loop."""
        channel, request = self._channel, self._request
        about_request(request.id, "")
        environ = Task(channel, request).get_environment()
        request.first_run = None
        refused: CozyError | None = None
        buffer: Buffer | None = None
        try:
            buffer = channel.front.welcome(environ)
            request.room = environ.get("cozyd.room")
        except CozyError as error:
            refused = error
        except Exception:  # whatever happens, the client gets an answer
            log.exception("a body could not be judged")
            refused = CozyError()
        channel.server.trigger.pull_trigger(lambda: channel.resume(request, refused, buffer, self._rest))

    def cancel(self) -> None:
        """The server stops."""
        self._channel.will_close = True


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection.

    `requests` are those that are whole, the one at the head running or parked; `request` is the one still coming.
    """

    task_class = Task
    parser_class = Parser
    request: Parser | None
    requests: list[Parser]
    will_close: bool
    connected: bool
    sent_continue: bool
    close_when_flushed: bool
    total_outbufs_len: int
    last_activity: float

    touches = True  # the loop asks it when it is touched
    held = False
    deaf = False  # what still comes belongs to no request
    finished = False  # the answer at the head is written; its thread must not wait
    postponed = False  # the next request waits until its client has read
    relaying = False  # the answer comes from a store that is far away
    lingering = 0.0  # since when a refused client may still take its answer
    gathered: list[bytes] | None = None  # what is to leave in one piece

    @property
    def descriptor(self) -> int:
        """Of its socket; -1 when it is closed."""
        return self._fileno if self._fileno is not None else -1

    @property
    def front(self) -> Front:
        """The application of this listener."""
        front: Front = self.adj.cozyd_front
        return front

    @property
    def is_log_in(self) -> bool:
        """Whether the request at the head is one."""
        return bool(self.requests) and self.requests[0].is_log_in

    # -- what comes -------------------------------------------------------------------------------------------------

    def readable(self) -> bool:
        """Nothing is read while a body waits for its sender to be known; what is to be dropped is always read.

        While a request runs nothing is read either: the loop would wake for the next one and take turns with the task. A
        parked one is watched, for its client may leave.
        """
        if self.deaf:
            return not self.will_close
        runs = any(request.parked is None for request in self.requests[:1])
        return not self.held and not runs and bool(super().readable())

    def received(self, data: bytes) -> bool:
        """Feed requests with what came, in order."""
        if not data or self.deaf:
            return False
        with self.requests_lock:
            if self.will_close or self.close_when_flushed:
                return False
            while data and not self.deaf:
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
        if getattr(self.adj, "cozyd_front", None) is None or request.ends_connection:
            return False
        if request.is_upgrade and not self.requests:
            return self._hand_over(request, rest)
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
        self.deaf = request.ends_connection
        if not request.empty:
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)
        self.request = None

    def send_continue(self) -> None:
        """As waitress', but never for a body that is still judged, or for one that is none."""
        if self.request is not None and not self.held and not self.request.completed:
            super().send_continue()

    def resume(self, request: Parser, refused: CozyError | None, buffer: Buffer | None, rest: bytes) -> None:
        """On the main loop: take a body that was held, or answer without it."""
        self.held = False
        self.server.touch(self)
        self.last_activity = time.time()
        if not self.connected or self.request is not request:
            request.close()
            if buffer is not None:
                buffer.close()
            return
        if refused is None:
            try:
                receiver: Any = request.body_rcv
                receiver.buf = buffer if buffer is not None else self.adj.cozyd_spool()
            except CozyError as error:
                refused = error
        with self.requests_lock:
            if refused is not None:
                request.refuse(refused)
            self._go_on(request)
        if refused is None and rest:
            self.received(rest)

    def _hand_over(self, request: Parser, rest: bytes) -> bool:
        """Give the connection to the sockets' thread, under a descriptor of its own; False: there are too many."""
        sockets: Sockets = self.adj.cozyd_sockets
        if sockets.count() >= self.adj.cozyd_limits.sockets:
            request.refuse(Unavailable("Too many sockets are open", retry_after=60))
            return False
        connection: socket.socket = self.socket.dup()
        connection.setblocking(False)
        head = request.head.rstrip(b"\r\n") + b"\r\n\r\n"
        self.request = None
        self.del_channel()
        self.connected = False
        self.socket.close()
        sockets.take(connection, head, rest, request.headers.get("HOST", ""))
        return True

    # -- what is answered -------------------------------------------------------------------------------------------

    def service(self) -> None:
        """Run the request at the head; one that has nothing to say yet is parked and stays there."""
        request = self.requests[0]
        self.finished = self.relaying = False
        _here.channel = self
        try:
            super().service()
        except Park as park:
            self._park(request, park)
        else:
            if request.parked is not None:
                self.adj.cozyd_parking.leave(request.parked)
        finally:
            _here.channel = None

    def _park(self, request: Parser, park: Park) -> None:
        parking: Parking = self.adj.cozyd_parking
        if not self.connected or parking.closed:
            self.will_close = True
            self.server.pull_trigger()
            return
        if park.say and request.version == "1.1":
            self._say(request, park)
        if request.parked is None:
            request.parked = parking.register(park, lambda: self.server.add_task(self))
        parking.park(request.parked, park.until)
        self.server.pull_trigger()

    def _say(self, request: Parser, park: Park) -> None:
        text = park.say
        if not request.answered_head:
            request.answered_head = True
            origin = request.headers.get("ORIGIN")
            shared = (
                f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n" if origin else ""
            )
            self.write_soon(f"{PARKED_HEAD.format(type=park.type)}{shared}X-Request-Id: {request.id}\r\n\r\n".encode("latin-1"))
        self.write_soon(b"%x\r\n%s\r\n" % (len(text), text))
        self._flush_some_if_lockable()
        self.server.pull_trigger()

    def write_together(self, write: Callable[[], None]) -> None:
        """Have what is written meanwhile leave in one piece."""
        gathered: list[bytes] = []
        self.gathered = gathered
        try:
            write()
        finally:
            self.gathered = None
        if gathered:
            super().write_soon(b"".join(gathered))

    def write_soon(self, data: Any) -> int:
        """As waitress'."""
        if self.gathered is not None:
            self.gathered.append(data)
            return len(data)
        return int(super().write_soon(data))

    @property
    def is_full(self) -> bool:
        """Whether its client has to read before more is answered."""
        return bool(self.total_outbufs_len > self.adj.outbuf_high_watermark)

    def wrap(self, stream: Any, size: int) -> Iterable[bytes]:
        """`wsgi.file_wrapper`: a file is sent by the main loop; what comes from far away is never waited for there."""
        if not getattr(stream, "remote", False):
            wrapped: Iterable[bytes] = ReadOnlyFileBasedBuffer(stream, size)
            return wrapped
        self.relaying = True
        return FileWrapper(stream, size)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """As waitress', but only within an answer: between two of them no thread waits, see `postpone`.

        What a store far away gives is taken ahead, into a temporary file, so that a slow client does not hold a thread.
        """
        if not self.finished and not (self.relaying and self.total_outbufs_len < RELAYED_AHEAD):
            super()._flush_outbufs_below_high_watermark()

    def postpone(self) -> None:
        """Have the next request run once the client has read what was answered."""
        self.postponed = True
        self.server.pull_trigger()

    def writable(self) -> bool:
        """As waitress'."""
        return bool(super().writable()) or self.postponed

    def handle_write(self) -> None:
        """As waitress'; a client that was refused may take its answer while it still sends."""
        if self.postponed and not self.is_full:
            self.postponed = False
            self.server.add_task(self)
        if self.deaf and self.close_when_flushed and not self.will_close:
            self._flush_exception(self._flush_some)
            if not self.connected:  # the client hung up: it was closed while it flushed
                return
            if not self.total_outbufs_len:
                self._linger()
            if not self.will_close:
                return
        super().handle_write()

    def _linger(self) -> None:
        """Say that nothing more comes, and go on reading for a while: to close at once would take the answer back."""
        self.close_when_flushed = False
        self.lingering = self.last_activity = time.time()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.will_close = True

    # -- its end ----------------------------------------------------------------------------------------------------

    def handle_close(self) -> None:
        """Let go of what the connection held: an unfinished body, waiting requests."""
        if self.request is not None:
            self.request.close()
        for request in tuple(self.requests):
            if request.parked is not None:
                self.adj.cozyd_parking.leave(request.parked)
        super().handle_close()

    def is_too_slow(self, now: float, patience: Patience) -> bool:
        """Whether its client has used up the patience of the server."""
        silent = now - self.last_activity
        if self.lingering:
            return silent > LINGER_SILENT or now - self.lingering > LINGER
        if self.total_outbufs_len:
            return silent > IDLE
        if self.requests or self.held:
            return False
        request = self.request
        if request is None:
            return silent > (IDLE if self.last_activity > self.creation_time else patience.head)
        if not request.headers_finished:
            return now - request.began > patience.head
        spent = now - request.began
        return silent > patience.body or (spent > SLOW_AFTER and request.body_bytes_received / spent < SLOWEST_BODY)
