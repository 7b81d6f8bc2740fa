"""Clients that send or read slowly, or only wait, hold neither threads nor memory, and never stop the others."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.raw import Raw
from tests.support.serving import Served, eventually

THINGS = "io.cozy.slow.things"
HEAD_TIME, BODY_TIME, THREADS = 2, 3, 4
MANY = 390
AT_ONCE = 1.0
MEMORY = 64 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = {"HEAD_TIMEOUT": HEAD_TIME, "BODY_TIMEOUT": BODY_TIME, "THREADS": THREADS}
    environ = {f"COZYD_SERVER_{name}": str(value) for name, value in limits.items()}
    with Served(tmp_path_factory.mktemp("slow") / "data", environ=environ).add_alice() as served:
        yield served


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, scope=(THINGS, "io.cozy.files"))


@pytest.fixture
def connect(server: Served) -> Iterator[Callable[..., Raw]]:
    """Connections that are closed at the end of the test."""
    with contextlib.ExitStack() as opened:
        yield lambda **options: opened.enter_context(Raw(server.port, **options))


def head(alice: Client, method: str, path: str, *lines: str) -> str:
    return (
        f"{method} {path} HTTP/1.1\nHost: {alice.domain}\nAuthorization: Bearer {alice.token}\n" + "".join(f"{x}\n" for x in lines) + "\n"
    )


def is_quick(alice: Client) -> bool:
    """Whether other clients are served at once, of a few: a busy machine may keep one waiting, a held thread keeps all."""

    def took() -> float:
        began = time.monotonic()
        written = alice.api("PUT", f"/data/{THINGS}/{time.monotonic_ns()}", {})
        read = alice.ask("GET", "/status")
        assert (written.status, read.status) == (200, 200)
        return time.monotonic() - began

    return any(took() < AT_ONCE for _ in range(3))


def drip_until_closed(connections: list[Raw], piece: bytes, alice: Client, *, within: float) -> None:
    """Send a piece on each connection again and again, while others are served, until the server has closed them all."""
    deadline = time.monotonic() + within
    left = list(connections)
    while left:
        assert time.monotonic() < deadline, f"{len(left)} are still open"
        assert is_quick(alice)
        left = [one for one in left if not _is_closed(one, piece)]


def _is_closed(connection: Raw, piece: bytes) -> bool:
    connection.socket.setblocking(False)
    try:
        connection.socket.send(piece)
        return connection.socket.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_heads_that_drip_are_closed_and_stop_nobody(alice: Client, connect: Callable[..., Raw]):
    slow = [connect().send("GET / HTTP/1.1\nHost: x\nX: ") for _ in range(MANY)]
    drip_until_closed(slow, b"a", alice, within=HEAD_TIME + 4)


def test_connections_that_say_nothing_are_closed(alice: Client, connect: Callable[..., Raw]):
    silent = [connect() for _ in range(MANY)]
    assert is_quick(alice)
    eventually(lambda: all(_is_closed(one, b"") for one in silent), within=HEAD_TIME + 4)


def test_bodies_that_drip_hold_no_thread_and_no_memory(alice: Client, connect: Callable[..., Raw], server: Served):
    before = server.memory()
    piece = b"x" * 100_000
    uploads = [
        connect().send(head(alice, "PUT", f"/data/{THINGS}/slow{number}", "Content-Length: 900000")).send(piece) for number in range(200)
    ]
    uploads += [
        connect()
        .send(head(alice, "POST", f"/files/io.cozy.files.root-dir?Type=file&Name=slow{number}", "Content-Length: 90000000"))
        .send(piece)
        for number in range(50)
    ]
    for _ in range(5):
        for connection in uploads:
            connection.send(piece[:50_000])
        assert is_quick(alice)
    assert server.memory() - before < MEMORY
    eventually(lambda: all(_is_closed(one, b"") for one in uploads), within=BODY_TIME + 5)
    spools = server.folder / "blobs" / "tmp"
    eventually(lambda: not list(spools.glob("*/*")))
    assert alice.api("GET", "/files/metadata?Path=/slow1").status == 404


def test_many_who_read_nothing_hold_no_thread_and_no_memory(alice: Client, connect: Callable[..., Raw], server: Served):
    alice.api("PUT", f"/data/{THINGS}/large", {"text": "x" * 900_000})
    before = server.memory()
    slow = [connect(buffer=4096).send(head(alice, "GET", f"/data/{THINGS}/large")) for _ in range(200)]
    for _ in range(5):
        assert is_quick(alice)
    assert server.memory() - before < MEMORY
    assert len(slow[0].reply().body) > 900_000, "who reads on gets all"


def test_downloads_in_a_row_that_nobody_reads_hold_no_thread(alice: Client, connect: Callable[..., Raw]):
    content = bytes(range(256)) * 100_000
    assert alice.dav("PUT", "/sync/files/big.bin", content).status == 201
    id = alice.api("GET", "/files/metadata?Path=/big.bin").json["data"]["id"]
    asking = head(alice, "GET", f"/files/download/{id}")
    slow = [connect(timeout=20).send(asking * 3) for _ in range(THREADS * 2)]
    for _ in range(10):
        assert is_quick(alice)
    assert all(slow[0].reply().body == content for _ in range(3)), "who reads on gets each"


# -- requests that wait -------------------------------------------------------------------------------------------------


def longpoll(alice: Client, doctype: str, *options: str) -> str:
    since = alice.api("GET", f"/data/{doctype}/_changes").json["last_seq"]
    return head(alice, "GET", f"/data/{doctype}/_changes?" + "&".join(["feed=longpoll", f"since={since}", *options]), "Origin: https://app")


def test_hundreds_wait_without_a_thread_and_wake_at_a_commit(alice: Client, connect: Callable[..., Raw]):
    doctype = "io.cozy.slow.feed"
    alice.token = alice.served.token(doctype, THINGS, "io.cozy.files")
    alice.api("PUT", f"/data/{doctype}/first", {})
    asking = longpoll(alice, doctype, "timeout=60000")
    waiting = [connect(timeout=20).send(asking) for _ in range(300)]
    for _ in range(5):
        assert is_quick(alice)
    assert alice.api("PUT", f"/data/{doctype}/second", {}).status == 200
    for connection in waiting:
        assert [row["id"] for row in json.loads(connection.reply().body)["results"]] == ["second"]
    assert connect().send(asking).reply().status == 200


def test_a_change_of_another_doctype_wakes_nobody_and_time_runs_out(alice: Client, connect: Callable[..., Raw]):
    alice.api("PUT", f"/data/{THINGS}/there", {})
    asking = longpoll(alice, THINGS, "timeout=1500")
    began = time.monotonic()
    connection = connect().send(asking)
    assert alice.api("POST", "/files/io.cozy.files.root-dir?Type=directory&Name=other").status == 201
    reply = json.loads(connection.reply().body)
    assert reply["results"] == []
    assert reply["last_seq"]
    assert 1.4 < time.monotonic() - began < 10


def test_heartbeats_are_sent_behind_a_head_that_browsers_may_read(alice: Client, connect: Callable[..., Raw]):
    alice.api("PUT", f"/data/{THINGS}/there", {})
    connection = connect().send(longpoll(alice, THINGS, "heartbeat=200"))
    came = connection.until(b"\r\n\r\n").decode()
    assert "Access-Control-Allow-Origin: https://app" in came
    assert "X-Request-Id: " in came
    for _ in range(3):
        assert connection.until(b"\r\n") + connection.until(b"\r\n") == b"1\r\n\n\r\n"
    alice.api("PUT", f"/data/{THINGS}/beaten", {})
    assert b'"beaten"' in connection.until(b"\r\n0\r\n\r\n")
    assert connection.send(head(alice, "GET", "/version")).reply().status == 200, "the connection goes on"


def test_who_leaves_while_waiting_is_forgotten(alice: Client, connect: Callable[..., Raw], server: Served):
    alice.api("PUT", f"/data/{THINGS}/there", {})
    asking = longpoll(alice, THINGS, "timeout=60000")

    def descriptors() -> int:
        assert server.process is not None
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    eventually(lambda: descriptors() < 100, within=15)
    before = descriptors()
    for connection in [connect().send(asking) for _ in range(100)]:
        connection.close()
    eventually(lambda: descriptors() <= before + 5)
    assert is_quick(alice)
