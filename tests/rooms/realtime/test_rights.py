"""Who may listen is asked again: a socket ends with its session, its token, its instance. Slow and silent peers are dropped."""

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from cozyd import config
from cozyd.auth import Credentials
from cozyd.documents.store import Change, Ref, Stored
from cozyd.instance import Instance
from cozyd.server import build, sockets
from cozyd.stack import Stack
from tests.support.raw import Raw
from tests.support.serving import eventually

THINGS = "io.cozy.things"


class Home:
    """A server in this process, whose clock can be moved."""

    def __init__(self, folder: Path) -> None:
        self.ahead = timedelta()
        self._sockets = contextlib.ExitStack()
        environ = {"COZYD_STORAGE_PATH": str(folder), "COZYD_SERVER_PORT": "0", "COZYD_SERVER_CONNECTIONS": "20"}
        self.stack = Stack(config.load(None, environ, {}), now=lambda: datetime.now(UTC) + self.ahead)
        self.server = build(self.stack)
        self.domain = f"localhost:{self.server.port}"
        self.stack.create(self.domain)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    @property
    def instance(self) -> Instance:
        return self.stack.instance(self.domain)

    def open(self, token: str, *doctypes: str, **options: Any) -> ClientConnection:
        """A socket that has subscribed."""
        address = f"ws://{self.domain}/realtime/"
        socket: ClientConnection = self._sockets.enter_context(connect(address, open_timeout=10, close_timeout=1, **options))
        say(socket, "AUTH", token)
        for doctype in doctypes:
            say(socket, "SUBSCRIBE", {"type": doctype})
        say(socket, "PING", {"type": "x"})
        assert heard(socket)["payload"]["code"] == "method not allowed"
        return socket

    def write(self, id: str) -> None:
        self.instance.docs.put(THINGS, {"_id": id})

    def close(self) -> None:
        self._sockets.close()
        self.server.stop(grace=1)
        self.thread.join(10)
        self.stack.close()


def say(socket: ClientConnection, method: str, payload: Any) -> None:
    socket.send(json.dumps({"method": method, "payload": payload}))


def heard(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=10))


def ended_with(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=10)
    return caught.value.rcvd.code if caught.value.rcvd else 1006


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "data")
    yield made
    made.close()
    assert not made.thread.is_alive()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of a minute."""
    for name, seconds in (("RECHECK_EVERY", 0.2), ("PING_EVERY", 0.3), ("PONG_WITHIN", 1.5), ("STUCK_AFTER", 1.0)):
        monkeypatch.setattr(sockets, name, seconds)


def test_a_socket_ends_with_its_session_and_hears_nothing_written_later(home: Home):
    auth = home.instance.auth
    cookie, other = (auth.open_session(Credentials(), long_run=False) for _ in range(2))
    hers, also = (home.open(auth.app_token("drive", THINGS, session_id=auth.sessions.id_of(one)), THINGS) for one in (cookie, other))
    home.write("before")
    assert (heard(hers)["payload"]["id"], heard(also)["payload"]["id"]) == ("before", "before")
    auth.log_out(cookie)
    for number in range(50):
        home.write(f"after-{number}")
    assert heard(hers)["payload"]["code"] == "unauthorized"
    assert ended_with(hers) == 1008
    assert [heard(also)["payload"]["id"] for _ in range(50)] == [f"after-{number}" for number in range(50)]


@pytest.mark.usefixtures("hasty")
def test_a_socket_ends_with_its_token(home: Home):
    socket = home.open(home.instance.auth.cli_token(THINGS), THINGS)
    home.ahead = timedelta(minutes=29)
    home.write("in-time")
    assert heard(socket)["payload"]["id"] == "in-time"
    home.ahead = timedelta(minutes=31)
    assert heard(socket)["payload"]["code"] == "unauthorized"
    assert ended_with(socket) == 1008


@pytest.mark.usefixtures("hasty")
def test_a_socket_ends_when_the_instance_is_blocked_and_none_opens(home: Home):
    token = home.instance.auth.app_token("drive", THINGS)
    socket = home.open(token, THINGS)
    home.stack.modify(home.domain, blocked=True)
    assert heard(socket)["payload"]["code"] == "unauthorized"
    assert ended_with(socket) == 1008
    with pytest.raises(InvalidStatus) as caught:
        home.open(token)
    assert caught.value.response.status_code == 503


@pytest.mark.usefixtures("hasty")
def test_a_socket_ends_with_its_instance(home: Home):
    socket = home.open(home.instance.auth.cli_token(THINGS), THINGS)
    home.stack.destroy(home.domain)
    assert heard(socket)["payload"]["code"] == "unauthorized"
    assert ended_with(socket) == 1008


def test_a_socket_hears_of_an_instance_that_has_another_domain_meanwhile(home: Home):
    socket = home.open(home.instance.auth.cli_token(THINGS), THINGS)
    first, new = home.domain, "renamed.localhost"
    home.stack.tenancy.rename(first, new)
    home.stack.instance(new).docs.put(THINGS, {"_id": "after"})
    assert heard(socket)["payload"]["id"] == "after"
    home.stack.tenancy.rename(new, first)
    home.write("back")
    assert heard(socket)["payload"]["id"] == "back"


@pytest.mark.usefixtures("hasty")
def test_who_answers_no_ping_is_dropped_and_who_does_stays(home: Home):
    well = home.open(home.instance.auth.cli_token(THINGS), THINGS)
    port = home.server.port
    with Raw(port) as silent:
        silent.send(f"GET /realtime/ HTTP/1.1\nHost: localhost:{port}\nUpgrade: websocket\nConnection: Upgrade\n")
        silent.send("Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n")
        assert silent.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        assert silent.exactly(2) == b"\x89\x00", "a ping without a mask"
        with pytest.raises((EOFError, OSError)):
            silent.exactly(1 << 20)
    home.write("still")
    assert heard(well)["payload"]["id"] == "still"


def test_a_burst_is_no_reason_to_drop_a_reader(home: Home):
    socket = home.open(home.instance.auth.cli_token(THINGS), THINGS, max_queue=1)
    text = b'{"text":"' + b"x" * 1000 + b'"}'
    for number in range(10_000):
        home.stack.hub.publish(home.instance.prefix, [Change("NOTIFIED", Stored(Ref(THINGS, str(number)), "", text))])
    assert [heard(socket)["payload"]["id"] for _ in range(10_000)] == [str(number) for number in range(10_000)]


@pytest.mark.usefixtures("hasty")
def test_who_reads_nothing_is_dropped_in_time(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "PONG_WITHIN", 60.0)
    home.open(home.instance.auth.cli_token(THINGS), THINGS, max_queue=1)
    text = b'{"text":"' + b"x" * 100_000 + b'"}'
    for number in range(200):
        home.stack.hub.publish(home.instance.prefix, [Change("NOTIFIED", Stored(Ref(THINGS, str(number)), "", text))])
    eventually(lambda: home.server.sockets.count() == 0)


def test_sockets_take_no_more_than_half_of_the_connections(home: Home):
    token = home.instance.auth.cli_token(THINGS)
    for _ in range(10):
        home.open(token, THINGS)
    with pytest.raises(InvalidStatus) as caught:
        home.open(token)
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "60"


def test_a_burst_is_no_reason_to_drop_who_reads(home: Home):
    socket = home.open(home.instance.auth.cli_token(THINGS), THINGS, max_size=None, max_queue=1)
    for number in range(12):
        home.instance.docs.put(THINGS, {"_id": f"large-{number}", "text": "x" * 4_000_000})
    assert [heard(socket)["payload"]["id"] for _ in range(12)] == [f"large-{number}" for number in range(12)]


def test_a_waiting_feed_is_asked_for_its_right_at_each_heartbeat(home: Home):
    """A feed that waits hears nothing once its token is good no longer, and ends."""
    home.write("first")
    token = home.instance.auth.cli_token(THINGS)
    seq = home.instance.docs.info(THINGS).seq
    path = f"/data/{THINGS}/_changes?feed=longpoll&heartbeat=50&include_docs=true&since={seq}"
    with Raw(home.server.port) as waiting:
        waiting.send(f"GET {path} HTTP/1.1\r\nHost: {home.domain}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert b" 200 OK" in waiting.until(b"\r\n\r\n")
        assert waiting.until(b"\n\r\n") == b"1\r\n\n\r\n"
        home.ahead = timedelta(minutes=31)
        rest = waiting.until(b"0\r\n\r\n")
        home.write("too late")
        assert b"Expired token" in rest
        assert b"results" not in rest
