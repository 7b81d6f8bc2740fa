"""The asyncio thread of the WebSockets that waitress handed over (RFC 6455 by wsproto; docs/http/realtime.md).

One frame is built for each change and queued by reference for all who watch it. A peer that reads nothing for 10 s is
dropped, and one that is more than 32 MiB behind for as long; a burst is no reason.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from cozyd.auth import REVOKING
from cozyd.documents.store import Change
from cozyd.errors import CozyError
from cozyd.realtime import Hub
from cozyd.realtime.session import Door, Session, event_text

log = logging.getLogger("cozyd.sockets")

SUBPROTOCOL = "io.cozy.websocket"
LARGEST_MESSAGE = 1024
NORMAL, GOING_AWAY, NO_BINARY, TOO_BIG = 1000, 1001, 1003, 1009
PING_EVERY, PONG_WITHIN, STUCK_AFTER, RECHECK_EVERY = 54.0, 60.0, 10.0, 30.0
GOODBYE_WITHIN = 2.0
IN_TRANSPORT, LARGEST_QUEUE = 1 << 16, 1 << 25
CHECKERS = 2


class SocketDoor(Door, Protocol):
    """A session's door, with the tenant whose changes it tells."""

    tenant: str


class _Socket:
    """One connection: protocol state, session, and how far its peer has read."""

    def __init__(self, writer: asyncio.StreamWriter, protocol: WSConnection, session: Session) -> None:
        self.writer = writer
        self.protocol = protocol
        self.session = session
        self.opened = self.last_ping = self.last_pong = self.moved = self.checked = time.monotonic()
        self.sent = self.drained = self.queued = 0
        self.fits = self.opened
        self.queue: deque[bytes] = deque()
        self.pump: asyncio.Task[None] | None = None
        self.text = ""
        self.turn = asyncio.Lock()
        self.doubted = self.over = False
        self.held: list[Sequence[Change]] | None = None

    def write(self, data: bytes) -> None:
        """Send, or queue behind what the peer has not read yet; nothing follows a goodbye."""
        if self.over:
            return
        self.sent += len(data)
        if not self.queue and self.writer.transport.get_write_buffer_size() < IN_TRANSPORT:
            self.writer.write(data)
            return
        self.queue.append(data)
        self.queued += len(data)
        if self.pump is None:
            self.pump = asyncio.get_running_loop().create_task(self._pump())

    def send(self, event: Event) -> None:
        """Send a frame of the protocol; one that it does not allow any more is left out."""
        with contextlib.suppress(LocalProtocolError):
            self.write(self.protocol.send(event))

    def drop(self) -> None:
        """End it without a word."""
        self.queue.clear()
        self.queued = 0
        self.writer.transport.abort()

    async def _pump(self) -> None:
        with contextlib.suppress(OSError):
            while self.queue:
                data = self.queue.popleft()
                self.queued -= len(data)
                self.writer.write(data)
                await self.writer.drain()
        self.pump = None

    def is_stuck(self, now: float) -> bool:
        """Whether its peer has read nothing for too long although there is something to read, or has been far behind for as long."""
        waiting = self.writer.transport.get_write_buffer_size() + self.queued
        if waiting <= LARGEST_QUEUE:
            self.fits = now
        if not waiting or self.sent - waiting > self.drained:
            self.drained, self.moved = self.sent - waiting, now
        return now - min(self.moved, self.fits) > STUCK_AFTER


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
        self._tenants: dict[str, set[_Socket]] = {}
        self._stops: dict[str, Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rechecks: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, connection: socket.socket, head: bytes, rest: bytes, host: str) -> None:
        """Take over a connection whose upgrade request was read.

        :param head: the request's bytes.
        :param rest: what came behind them.
        """
        self._loop.call_soon_threadsafe(self._begin, connection, head, rest, host)

    def stop(self) -> None:
        """Tell every peer that the server goes away, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()
        self._checkers.shutdown(wait=False, cancel_futures=True)

    def count(self) -> int:
        """How many sockets are open. From any thread."""
        return len(self._tasks)

    # -- on the thread ----------------------------------------------------------------------------------------------

    def _begin(self, connection: socket.socket, head: bytes, rest: bytes, host: str) -> None:
        task = self._loop.create_task(self._serve(connection, head, rest, host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._rechecks.add(task)
        task.add_done_callback(self._rechecks.discard)

    async def _serve(self, connection: socket.socket, head: bytes, rest: bytes, host: str) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
        except OSError:
            connection.close()
            return
        try:
            await self._converse(reader, writer, head, rest, host)
        except (OSError, RemoteProtocolError):
            log.debug("a socket ended badly")
        except Exception:  # a fault of ours ends one socket, and is told
            log.exception("a socket failed")
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, rest: bytes, host: str) -> None:
        protocol = WSConnection(ConnectionType.SERVER)
        door = await self._open(writer, protocol, head, host)
        if door is None:
            return
        connected = _Socket(writer, protocol, Session(door, datetime.now(UTC)))
        self._join(door.tenant, connected)
        try:
            while await self._answer(connected):
                data, rest = rest or await reader.read(65536), b""
                protocol.receive_data(data or None)
                if not data:
                    return
        finally:
            self._leave(door.tenant, connected)

    async def _open(self, writer: asyncio.StreamWriter, protocol: WSConnection, head: bytes, host: str) -> SocketDoor | None:
        """The door of an upgrade request; None: it was refused, in HTTP."""
        try:
            protocol.receive_data(head)
        except RemoteProtocolError as error:
            hint = error.event_hint
            status, headers = (hint.status_code, hint.headers) if isinstance(hint, RejectConnection) else (400, [])
            self._reject(writer, status, "The request opens no WebSocket", headers)
            return None
        try:
            return await self._loop.run_in_executor(self._checkers, self._find_door, host)
        except CozyError as error:
            self._reject(writer, error.status, error.detail)
            return None

    @staticmethod
    def _reject(writer: asyncio.StreamWriter, status: int, detail: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        more = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in headers)
        body = detail.encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{more}Content-Type: text/plain; charset=utf-8\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)

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
        async with connected.turn:
            for answer in await self._loop.run_in_executor(self._checkers, session.receive, text):
                connected.write(text_frame(answer))
        return session.closing is None

    def _control(self, connected: _Socket, event: Event) -> bool:
        if isinstance(event, Request):
            connected.send(AcceptConnection(subprotocol=SUBPROTOCOL if SUBPROTOCOL in event.subprotocols else None))
        elif isinstance(event, Ping):
            connected.send(event.response())
        elif isinstance(event, Pong):
            connected.last_pong = time.monotonic()
        elif isinstance(event, CloseConnection):
            connected.send(event.response())
            return False
        else:
            return self._close(connected, NO_BINARY if isinstance(event, BytesMessage) else NORMAL)
        return True

    @staticmethod
    def _close(connected: _Socket, code: int) -> bool:
        connected.send(CloseConnection(code))
        return False

    def _join(self, tenant: str, connected: _Socket) -> None:
        if tenant not in self._tenants:
            self._tenants[tenant] = set()
            self._stops[tenant] = self._hub.subscribe(tenant, lambda changes: self._enqueue(tenant, changes))
        self._tenants[tenant].add(connected)
        if self._ticking is None:
            self._ticking = self._loop.create_task(self._tick())

    def _leave(self, tenant: str, connected: _Socket) -> None:
        sockets = self._tenants.get(tenant, set())
        sockets.discard(connected)
        if connected.pump is not None:
            connected.pump.cancel()
        if not sockets:
            self._tenants.pop(tenant, None)
            stop = self._stops.pop(tenant, None)
            if stop is not None:
                stop()

    def _enqueue(self, tenant: str, changes: Sequence[Change]) -> None:
        self._loop.call_soon_threadsafe(self._fan_out, tenant, changes)

    def _fan_out(self, tenant: str, changes: Sequence[Change]) -> None:
        revoking = any(change.new.ref.doctype in REVOKING and change.verb != "CREATED" for change in changes)
        frames: dict[int, bytes] = {}
        for connected in tuple(self._tenants.get(tenant, ())):
            if revoking:
                self._doubt(connected)
            if connected.held is None:
                self._tell(connected, changes, frames)
            else:
                connected.held.append(changes)

    @staticmethod
    def _tell(connected: _Socket, changes: Sequence[Change], frames: dict[int, bytes]) -> None:
        for change in connected.session.deliver(changes):
            frame = frames.get(id(change))
            if frame is None:
                frame = frames[id(change)] = text_frame(event_text(change))
            connected.write(frame)

    def _doubt(self, connected: _Socket) -> None:
        """Ask again whether it may listen; what happens meanwhile is held back."""
        connected.doubted = True
        connected.checked = time.monotonic()
        if connected.held is None:
            connected.held = []
            self._keep(self._recheck(connected))

    async def _recheck(self, connected: _Socket) -> None:
        async with connected.turn:
            while connected.doubted:
                connected.doubted = False
                try:
                    answers = await self._loop.run_in_executor(self._checkers, connected.session.recheck)
                except Exception:  # who cannot be judged hears nothing more
                    log.exception("a socket could not be judged")
                    connected.drop()
                    return
                for answer in answers:
                    connected.write(text_frame(answer))
        held, connected.held = connected.held or (), None
        if connected.session.closing is not None:
            self._end(connected, connected.session.closing)
        for changes in held:
            self._tell(connected, changes, {})

    async def _tick(self) -> None:
        """Once a second while there are sockets: pings, and whom to drop."""
        while self._tenants:
            await asyncio.sleep(1)
            now = time.monotonic()
            for connected in [one for sockets in self._tenants.values() for one in sockets]:
                self._check(connected, now)
        self._ticking = None

    def _check(self, connected: _Socket, now: float) -> None:
        connected.session.tick(datetime.now(UTC))
        silent = now - max(connected.last_pong, connected.opened) > PONG_WITHIN
        if silent or connected.is_stuck(now):
            connected.drop()
        elif connected.session.closing is not None and not connected.turn.locked():  # else why is told first
            self._end(connected, connected.session.closing)
        elif now - connected.last_ping > PING_EVERY:
            connected.last_ping = now
            connected.send(Ping())
        if now - connected.checked > RECHECK_EVERY:
            self._doubt(connected)

    def _end(self, connected: _Socket, code: int) -> None:
        """Say why it ends; its peer has a moment to answer, for what it has not read yet is lost with a reset (RFC 6455, section 7.1.1)."""
        self._close(connected, code)
        connected.over = True
        self._loop.call_later(GOODBYE_WITHIN, connected.writer.close)

    async def _shut(self) -> None:
        for connected in [one for sockets in self._tenants.values() for one in sockets]:
            self._end(connected, GOING_AWAY)
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def text_frame(payload: bytes) -> bytes:
    """One final text frame of a server (RFC 6455, section 5.2): the same bytes for every client."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
