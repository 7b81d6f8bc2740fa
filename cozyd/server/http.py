"""waitress with our own rules: several listeners in one loop, one pool of task threads, and the time clients are given.

Three names of waitress are subclassed: parser, channel and server. They are half private, so waitress is pinned and
`tests/contracts/test_waitress.py` states what is leant on.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer

from cozyd.errors import CozyError
from cozyd.realtime import Hub
from cozyd.server.channel import Channel, Front, served_here
from cozyd.server.loop import Loop
from cozyd.server.parking import Parking
from cozyd.server.parser import UNLIMITED
from cozyd.server.pool import Lane, Pool
from cozyd.server.sockets import SocketDoor, Sockets

log = logging.getLogger("cozyd.server")

LONGEST_HEAD = 1 << 16
IN_MEMORY = 1 << 17
LOG_INS = 2
"""Log-ins that run at a time: one may hash while another one is refused."""
RECEIVED_AT_ONCE = 1 << 18
"""Bytes taken from a socket at once: with waitress' 8 KiB the loop, not the disk, is the measure of an upload."""
ACCEPTED_AT_ONCE = 64


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
    """Times in seconds, and how many connections at once; WebSockets take at most half of them."""

    head: float = 20
    body: float = 30
    connections: int = 4000

    @property
    def sockets(self) -> int:
        """How many WebSockets at once."""
        return self.connections // 2


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is done when the server starts, and now and then.

    :param every: seconds.
    """

    do: Callable[[], None]
    every: float

    def service(self) -> None:
        """Do it; whatever happens, the server goes on."""
        try:
            self.do()
        except Exception:
            log.exception("a chore failed")

    def cancel(self) -> None:
        """The server stops: the next one does it."""


class _Patient:
    """What both kinds of listening sockets do with slow clients."""

    channel_class = Channel
    active_channels: Mapping[int, Channel]
    trigger: Any
    _map: Loop
    task_dispatcher: Pool
    adj: Any

    def maintenance(self, now: float) -> None:
        """Close the connections of clients that are too slow."""
        for channel in tuple(self.active_channels.values()):
            if channel.is_too_slow(now, self.adj.cozyd_limits):
                channel.will_close = True
            self.touch(channel)

    def touch(self, channel: Channel) -> None:
        """Have the loop ask a connection what it waits for."""
        self._map.touch(channel.descriptor)

    def pull_trigger(self) -> None:
        """As waitress'; a task thread says for itself what its connection waits for now, and need not wake the loop."""
        channel = served_here()
        if channel is not None:
            self._map.ask(channel.descriptor)
        else:
            self.trigger.pull_trigger()

    def add_task(self, task: Any) -> None:
        """As waitress'; a request whose client has too much to read first waits without a thread."""
        if isinstance(task, Channel):
            self.touch(task)
        if isinstance(task, Channel) and task.is_full:
            task.postpone()
        elif isinstance(task, Channel) and task.is_log_in:
            self.adj.cozyd_log_ins.add_task(task)
        else:
            self.task_dispatcher.add_task(task)

    def accept_all(self, accept: Callable[[], None]) -> None:
        """Take the connections that wait, as far as there is room: when many come at once, each would wait for a turn of the loop else.

        :param accept: takes one, or none.
        """
        for _ in range(ACCEPTED_AT_ONCE):
            before = len(self.active_channels)
            accept()
            if len(self.active_channels) == before or len(self._map) >= self.adj.connection_limit:
                return


class _TcpServer(_Patient, TcpWSGIServer):
    """A TCP listener; connections that became WebSockets count among its connections."""

    def handle_accept(self) -> None:
        """Somebody connects."""
        self.accept_all(super().handle_accept)

    def maintenance(self, now: float) -> None:
        """As the others'."""
        super().maintenance(now)
        self.adj.connection_limit = self.adj.cozyd_limits.connections - self.adj.cozyd_sockets.count()


class _UnixServer(_Patient, UnixWSGIServer):
    """A listener on a socket file; it is reached when the public one is full."""

    def handle_accept(self) -> None:
        """Somebody connects."""
        self.accept_all(super().handle_accept)


class Server:
    """Several listeners in one loop, one pool of task threads.

    :param spool: makes the temporary file a large body is received into.
    :param chores: what is done now and then, on a task thread.
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
        chores: Sequence[Chore] = (),
    ) -> None:
        self._loop = Loop()
        self._pool = Pool(threads)
        self._log_ins = Lane(self._pool, LOG_INS)
        self.parking = Parking(hub)
        front = next((one.front for one in listeners if one.front is not None), None)
        self.sockets = Sockets(hub, front.socket if front is not None else _no_sockets)
        self._limits = limits or Limits()
        self._trusted_proxy = trusted_proxy
        self._stopping: float | None = None
        self._chores = dict.fromkeys(chores, 0.0)
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
            self._loop.turn(1)
            self._do_chores(time.monotonic())
        self._end(self._stopping)

    def stop(self, grace: float = 10) -> None:
        """End `run` soon: no new connections, sockets told, running tasks get `grace` seconds. From any thread or signal."""
        self._stopping = grace
        self._servers[0].pull_trigger()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _do_chores(self, now: float) -> None:
        for chore, last in self._chores.items():
            if not last or now - last > chore.every:
                self._chores[chore] = now
                self._pool.add_task(chore)

    def _listen(self, listener: Listener, spool: Callable[[], Any], threads: int) -> Any:
        options: dict[str, Any] = {
            "threads": threads,
            "ident": None,
            "connection_limit": self._limits.connections if listener.tcp is not None else UNLIMITED,
            "channel_request_lookahead": 1,
            "cleanup_interval": 1,
            "recv_bytes": RECEIVED_AT_ONCE,
            "max_request_body_size": UNLIMITED,
            "max_request_header_size": LONGEST_HEAD,
            "inbuf_overflow": IN_MEMORY,
            "outbuf_overflow": IN_MEMORY,
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
        adj.cozyd_log_ins = self._log_ins
        if listener.tcp is None:
            return _UnixServer(listener.app, map=self._loop, dispatcher=self._pool, adj=adj)
        return _TcpServer(listener.app, map=self._loop, dispatcher=self._pool, adj=adj, sockinfo=adj.listen[0])

    def _end(self, grace: float) -> None:
        for server in self._servers:
            server.accepting = False
            server.del_channel(self._loop)
            server.socket.close()
        for path in self._unix:
            path.unlink(missing_ok=True)
        self.sockets.stop()
        self.parking.close()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(channel.requests or channel.total_outbufs_len for channel in self._channels()):
            self._loop.turn(0.1)
        for channel in self._channels():
            channel.handle_close()
        self._pool.shutdown(timeout=1)
        for server in self._servers:
            server.trigger.close()

    def _channels(self) -> Sequence[Channel]:
        return [one for one in tuple(self._loop.values()) if isinstance(one, Channel)]


def _no_sockets(host: str) -> SocketDoor:
    raise CozyError(f"no sockets on {host}")
