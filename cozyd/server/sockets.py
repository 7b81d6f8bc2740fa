"""The asyncio thread of the WebSockets that waitress handed over (RFC 6455 by wsproto; docs/http/realtime.md).

One frame is built for each change and written to all who watch it. A peer that reads nothing for 10 s is dropped; a burst
is no reason.
"""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Protocol

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, RejectConnection, RejectData, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from cozyd.documents.store import Change
from cozyd.errors import CozyError
from cozyd.realtime import Hub
from cozyd.realtime.session import Door, Session, event_text

log = logging.getLogger("cozyd.sockets")

SUBPROTOCOL = "io.cozy.websocket"
LARGEST_MESSAGE = 1024
TOO_BIG, GOING_AWAY, NORMAL = 1009, 1001, 1000
PING_EVERY, PONG_WITHIN, STUCK_AFTER = 54.0, 60.0, 10.0
CHECKERS = 2


class SocketDoor(Door, Protocol):
    """A session's door, with the domain whose changes it tells."""

    domain: str


class _Socket:
    """One connection: protocol state, session, and how far its peer has read."""

    def __init__(self, writer: asyncio.StreamWriter, protocol: WSConnection, session: Session) -> None:
        self.writer = writer
        self.protocol = protocol
        self.session = session
        self.opened = self.last_ping = self.last_pong = self.moved = time.monotonic()
        self.sent = self.drained = 0
        self.text = ""

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self.writer.write(data)

    def is_stuck(self, now: float) -> bool:
        """Whether its peer has read nothing for too long although there is something to read."""
        waiting = self.writer.transport.get_write_buffer_size()
        if not waiting or self.sent - waiting > self.drained:
            self.drained, self.moved = self.sent - waiting, now
        return now - self.moved > STUCK_AFTER


class Sockets:
    """Every WebSocket of the process, in one thread.

    :param hub: where changes come from.
    :param find_door: the door of a host; runs on a thread that may wait.
    """

    def __init__(self, hub: Hub, find_door: Callable[[str], SocketDoor]) -> None:
        self._hub = hub
        self._find_door = find_door
        self._loop = asyncio.new_event_loop()
        self._checkers = ThreadPoolExecutor(CHECKERS, thread_name_prefix="socket-checks")
        self._thread = threading.Thread(target=self._loop.run_forever, name="sockets", daemon=True)
        self._domains: dict[str, set[_Socket]] = {}
        self._stops: dict[str, Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, connection: socket.socket, head: bytes, host: str) -> None:
        """Take over a connection whose upgrade request was read.

        :param head: the request's bytes, and what came behind them.
        """
        self._loop.call_soon_threadsafe(self._begin, connection, head, host)

    def stop(self) -> None:
        """Tell every peer that the server goes away, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._checkers.shutdown(wait=False, cancel_futures=True)

    def count(self) -> int:
        """How many sockets are open."""
        return sum(len(sockets) for sockets in self._domains.values())

    # -- on the thread ----------------------------------------------------------------------------------------------

    def _begin(self, connection: socket.socket, head: bytes, host: str) -> None:
        task = self._loop.create_task(self._serve(connection, head, host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, head: bytes, host: str) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            await self._converse(reader, writer, head, host)
        except (OSError, RemoteProtocolError, asyncio.IncompleteReadError):
            log.debug("a socket ended badly")
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, host: str) -> None:
        protocol = WSConnection(ConnectionType.SERVER)
        protocol.receive_data(head)
        try:
            door = await self._loop.run_in_executor(self._checkers, self._find_door, host)
        except CozyError as error:
            writer.write(protocol.send(RejectConnection(status_code=error.status, has_body=True)))
            writer.write(protocol.send(RejectData(error.detail.encode())))
            return
        connected = _Socket(writer, protocol, Session(door, datetime.now(UTC)))
        self._join(door.domain, connected)
        try:
            while await self._answer(connected):
                data = await reader.read(65536)
                protocol.receive_data(data or None)
                if not data:
                    return
        finally:
            self._leave(door.domain, connected)

    async def _answer(self, connected: _Socket) -> bool:
        """Answer what has come; False: the conversation is over."""
        for event in connected.protocol.events():
            if isinstance(event, TextMessage):
                connected.text += event.data
                if len(connected.text.encode()) > LARGEST_MESSAGE:
                    return self._close(connected, TOO_BIG)
                if event.message_finished:
                    text, connected.text = connected.text, ""
                    if not await self._message(connected, text):
                        return False
            elif not self._control(connected, event):
                return False
        return True

    async def _message(self, connected: _Socket, text: str) -> bool:
        session = connected.session
        for answer in await self._loop.run_in_executor(self._checkers, session.receive, text):
            connected.write(text_frame(answer))
        return session.closing is None

    def _control(self, connected: _Socket, event: Event) -> bool:
        protocol = connected.protocol
        if isinstance(event, Request):
            chosen = SUBPROTOCOL if SUBPROTOCOL in event.subprotocols else None
            connected.write(protocol.send(AcceptConnection(subprotocol=chosen)))
        elif isinstance(event, Ping):
            connected.write(protocol.send(event.response()))
        elif isinstance(event, Pong):
            connected.last_pong = time.monotonic()
        elif isinstance(event, CloseConnection):
            connected.write(protocol.send(event.response()))
            return False
        else:
            return self._close(connected, NORMAL)
        return True

    @staticmethod
    def _close(connected: _Socket, code: int) -> bool:
        connected.write(connected.protocol.send(CloseConnection(code)))
        return False

    def _join(self, domain: str, connected: _Socket) -> None:
        if domain not in self._domains:
            self._domains[domain] = set()
            self._stops[domain] = self._hub.subscribe(domain, lambda changes: self._enqueue(domain, changes))
        self._domains[domain].add(connected)
        if self._ticking is None:
            self._ticking = self._loop.create_task(self._tick())

    def _leave(self, domain: str, connected: _Socket) -> None:
        sockets = self._domains.get(domain, set())
        sockets.discard(connected)
        if not sockets:
            self._domains.pop(domain, None)
            stop = self._stops.pop(domain, None)
            if stop is not None:
                stop()

    def _enqueue(self, domain: str, changes: Sequence[Change]) -> None:
        self._loop.call_soon_threadsafe(self._fan_out, domain, changes)

    def _fan_out(self, domain: str, changes: Sequence[Change]) -> None:
        frames: dict[int, bytes] = {}
        for connected in tuple(self._domains.get(domain, ())):
            for change in connected.session.deliver(changes):
                frame = frames.get(id(change))
                if frame is None:
                    frame = frames[id(change)] = text_frame(event_text(change))
                connected.write(frame)

    async def _tick(self) -> None:
        """Once a second while there are sockets: pings, and whom to drop."""
        while self._domains:
            await asyncio.sleep(1)
            now = time.monotonic()
            for connected in [one for sockets in self._domains.values() for one in sockets]:
                self._check(connected, now)
        self._ticking = None

    def _check(self, connected: _Socket, now: float) -> None:
        connected.session.tick(datetime.now(UTC))
        silent = now - max(connected.last_pong, connected.opened) > PONG_WITHIN
        if silent or connected.is_stuck(now):
            connected.writer.transport.abort()
        elif connected.session.closing is not None:
            connected.write(connected.protocol.send(CloseConnection(connected.session.closing)))
            connected.writer.close()
        elif now - connected.last_ping > PING_EVERY:
            connected.last_ping = now
            connected.write(connected.protocol.send(Ping()))

    async def _shut(self) -> None:
        for connected in [one for sockets in self._domains.values() for one in sockets]:
            self._close(connected, GOING_AWAY)
            connected.writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(0)


def text_frame(payload: bytes) -> bytes:
    """One final text frame of a server (RFC 6455, section 5.2): the same bytes for every client."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
