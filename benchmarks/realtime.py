"""A thousand listeners: WebSockets and waiting feeds, from the commit to the last of them."""

import asyncio
import json
import time
from urllib.request import Request, urlopen

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks.load import table, verdict
from tests.support.serving import Served

DOCTYPE = "io.cozy.benchmarks.realtime"
SOCKETS = 1000
ROUNDS = 20
BURST = 1000
BURST_SOCKETS = 100


class Door:
    """Where the listeners listen and the writer writes."""

    def __init__(self, server: Served) -> None:
        self.port = server.port
        self.token = server.token(DOCTYPE)

    def write(self, count: int = 1) -> None:
        """Commit documents; blocks."""
        body = json.dumps({"docs": [{"n": number} for number in range(count)]}).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        urlopen(Request(f"http://localhost:{self.port}/data/{DOCTYPE}/_bulk_docs", data=body, headers=headers)).close()

    async def listen(self) -> ClientConnection:
        """A socket that has subscribed."""
        address = f"ws://localhost:{self.port}/realtime/"
        socket = await connect(
            address, subprotocols=[Subprotocol("io.cozy.websocket")], max_queue=None, ping_interval=None, open_timeout=60
        )
        await socket.send(json.dumps({"method": "AUTH", "payload": self.token}))
        await socket.send(json.dumps({"method": "SUBSCRIBE", "payload": {"type": DOCTYPE}}))
        await socket.send(json.dumps({"method": "PING", "payload": {"type": DOCTYPE}}))
        await socket.recv()  # the refusal of the unknown method comes behind the subscription
        return socket

    async def wait(self, since: str) -> float:
        """A waiting feed; when it was answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        path = f"/data/{DOCTYPE}/_changes?feed=longpoll&timeout=60000&since={since}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
        await reader.readuntil(b'"last_seq"')
        answered = time.perf_counter()
        writer.close()
        return answered


async def sockets(door: Door) -> float:
    """The 99th percentile from commit to a subscriber, in milliseconds."""
    listeners = [await door.listen() for _ in range(SOCKETS)]
    delays: list[float] = []
    for _ in range(ROUNDS):
        waiting = [asyncio.create_task(_arrival(socket)) for socket in listeners]
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await asyncio.to_thread(door.write)
        delays += [moment - began for moment in await asyncio.gather(*waiting)]
    await asyncio.gather(*(socket.close() for socket in listeners))
    return sorted(delays)[int(len(delays) * 0.99)] * 1000


async def _arrival(socket: ClientConnection) -> float:
    await socket.recv()
    return time.perf_counter()


async def burst(door: Door) -> tuple[int, int]:
    """Of a burst of changes: how many events were lost, how many sockets were closed."""
    listeners = [await door.listen() for _ in range(BURST_SOCKETS)]
    reading = [asyncio.create_task(_count(socket)) for socket in listeners]
    await asyncio.to_thread(door.write, BURST)
    counts = await asyncio.gather(*reading)
    closed = sum(socket.close_code is not None for socket in listeners)
    await asyncio.gather(*(socket.close() for socket in listeners))
    return sum(BURST - count for count in counts), closed


async def _count(socket: ClientConnection) -> int:
    count = 0
    try:
        while count < BURST:
            await asyncio.wait_for(socket.recv(), 20)
            count += 1
    except TimeoutError:
        pass
    return count


async def feeds(door: Door) -> float:
    """From the commit to the last of the waiting feeds, in milliseconds."""
    headers = {"Authorization": f"Bearer {door.token}"}
    with urlopen(Request(f"http://localhost:{door.port}/data/{DOCTYPE}/_changes?limit=1&descending=true", headers=headers)) as answer:
        since = json.loads(answer.read())["last_seq"]
    waiting = [asyncio.create_task(door.wait(since)) for _ in range(SOCKETS)]
    await asyncio.sleep(3)  # until all of them wait
    began = time.perf_counter()
    await asyncio.to_thread(door.write)
    return (max(await asyncio.gather(*waiting)) - began) * 1000


def measure(server: Served) -> None:
    """Print the table."""
    door = Door(server)
    door.write()
    late = asyncio.run(sockets(door))
    lost, closed = asyncio.run(burst(door))
    woken = asyncio.run(feeds(door))
    rows = [
        (f"commit to {SOCKETS} sockets, 99th percentile", f"{late:.0f} ms", "<= 250 ms", verdict(late <= 250)),
        (f"burst of {BURST} changes to {BURST_SOCKETS} sockets", f"{lost} lost, {closed} closed", "0, 0", verdict(not lost and not closed)),
        (f"{SOCKETS} waiting feeds woken and answered", f"{woken:.0f} ms", "<= 1,000 ms", verdict(woken <= 1000)),
    ]
    table("realtime", rows)
