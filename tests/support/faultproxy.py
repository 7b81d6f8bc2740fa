"""A TCP proxy that does to a service what networks do: refuse, hang, delay, cut, or tell something wrong."""

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Self

from tests.support.serving import eventually

PIECE = 1 << 16


class FaultProxy:
    """Listens on a port of loopback, in a thread of its own; its attributes say what it does to whatever comes.

    :param port: of the service behind it.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.heal()

    @property
    def netloc(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Let everything pass."""
        self.refuses = False
        self.hangs = False
        self.delay = 0.0
        self.cut_up_after: int | None = None  # bytes towards the service, on one connection
        self.cut_down_after: int | None = None  # bytes from the service
        self.cuts = -1  # how many times to cut; -1: always
        self.refuses_after_cut = False
        self.change: Callable[[bytes], bytes] = bytes  # what the service says

    def tell_wrong_etags(self) -> None:
        """Have answers carry another ETag than the service's."""
        self.change = lambda data: re.sub(rb"(?i)(\r\netag: \"?)[0-9a-f]{32}", rb"\g<1>" + b"0" * 32, data)

    def drop(self) -> None:
        """End every connection."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0, limit=PIECE)
        self.port = server.sockets[0].getsockname()[1]
        await self._stop.wait()
        server.close()
        self._abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        self._writers.add(writer)
        behind: asyncio.StreamWriter | None = None
        try:
            answers, behind = await asyncio.open_connection("127.0.0.1", self._target, limit=PIECE)
            self._writers.add(behind)
            await asyncio.gather(self._pump(reader, behind, up=True), self._pump(answers, writer, up=False))
        except (OSError, EOFError):
            return
        finally:
            for one in (writer, behind):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, up: bool) -> None:
        passed = 0
        while data := await source.read(PIECE):
            while self.hangs:
                await asyncio.sleep(0.02)
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.refuses:
                raise EOFError
            after = self.cut_up_after if up else self.cut_down_after
            if after is not None and self.cuts and passed + len(data) > after:
                self.cuts -= 1
                self.refuses = self.refuses_after_cut
                target.write(data[: max(0, after - passed)])
                await target.drain()
                raise EOFError
            passed += len(data)
            target.write(data if up else self.change(data))
            await target.drain()
        raise EOFError

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self.port != 0)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
