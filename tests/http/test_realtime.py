"""WebSockets at `/realtime/` as clients of the official libraries use them, and what a hostile one may try."""

import asyncio
import contextlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.client import Client
from tests.support.raw import Raw
from tests.support.serving import Served, eventually

THINGS, SECRETS = "io.cozy.rt.things", "io.cozy.rt.secrets"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = f"Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n{KEY}\n"
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:rt-card\r\nFN:Rita\r\nN:;Rita;;;\r\nX-PRIVATE:hidden-in-the-text\r\nEND:VCARD\r\n"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(THINGS, "io.cozy.files", "io.cozy.contacts"))


@pytest.fixture(scope="module")
def bob(served: Served) -> Client:
    return Client(served, domain=f"bob.localhost:{served.port}", scope=(THINGS, "io.cozy.files", "io.cozy.contacts"))


@pytest.fixture
def opened(served: Served) -> Iterator[Callable[..., ClientConnection]]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(connect(f"ws://localhost:{served.port}/realtime/", open_timeout=10, **options))


def say(socket: ClientConnection, method: str, payload: Any) -> None:
    socket.send(json.dumps({"method": method, "payload": payload}))


def heard(socket: ClientConnection, timeout: float = 5) -> Any:
    text = socket.recv(timeout=timeout)
    assert isinstance(text, str)
    return json.loads(text)


def quiet(socket: ClientConnection) -> bool:
    """Whether nothing was told: the answer to a message comes behind all events of before."""
    say(socket, "PING", {"type": "x"})
    return bool(heard(socket)["event"] == "error")


def end_of(socket: ClientConnection, timeout: float = 15) -> int:
    """The code a socket is closed with; 1006: without a word."""
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=timeout)
    assert not isinstance(caught.value, TimeoutError)
    return caught.value.rcvd.code if caught.value.rcvd else 1006


def watching(opened: Callable[..., ClientConnection], client: Client, *payloads: dict[str, str]) -> ClientConnection:
    socket = opened()
    say(socket, "AUTH", client.token)
    for payload in payloads:
        say(socket, "SUBSCRIBE", payload)
    assert quiet(socket)
    return socket


# -- the opening ----------------------------------------------------------------------------------------------------------


def test_the_subprotocol_is_echoed_when_it_is_offered(opened: Callable[..., ClientConnection]):
    assert opened(subprotocols=[Subprotocol("io.cozy.websocket")]).subprotocol == "io.cozy.websocket"
    assert opened(subprotocols=[Subprotocol("other"), Subprotocol("io.cozy.websocket")]).subprotocol == "io.cozy.websocket"
    assert opened().subprotocol is None
    assert opened(origin="https://anywhere.example").subprotocol is None


def opening(host: str, lines: str = UPGRADE, *, path: str = "/realtime/", version: str = "1.1") -> str:
    return f"GET {path} HTTP/{version}\nHost: {host}\n{lines}\n"


@pytest.mark.parametrize(
    ("lines", "path", "version", "status"),
    [
        ("", "/realtime/", "1.1", 400),
        ("", "/realtime", "1.1", 404),
        (UPGRADE, "/realtime/x", "1.1", 404),
        (UPGRADE.replace(KEY, "X: y"), "/realtime/", "1.1", 400),
        (UPGRADE.replace("Connection: Upgrade", "Connection: keep-alive"), "/realtime/", "1.1", 400),
        (UPGRADE.replace("Version: 13", "Version: 8"), "/realtime/", "1.1", 426),
        (UPGRADE, "/realtime/", "1.0", 400),
        (UPGRADE + "Content-Length: 5\nTransfer-Encoding: chunked\n", "/realtime/", "1.1", 400),
    ],
)
def test_what_opens_no_socket_is_refused(alice: Client, lines: str, path: str, version: str, status: int):
    with Raw(alice.served.port) as connection:
        reply = connection.send(opening(alice.domain, lines, path=path, version=version)).reply()
    assert reply.status == status


def test_nobody_s_host_gets_no_socket(alice: Client):
    with Raw(alice.served.port) as connection:
        assert connection.send(opening("nobody.localhost")).reply().status == 404
        assert connection.ended()


# -- the first message ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code", "title", "source"),
    [
        ({"method": "AUTH", "payload": "forged"}, "unauthorized", "The authentication has failed", {"method": "AUTH", "payload": ""}),
        ({"method": "auth", "payload": ""}, "unauthorized", "The authentication has failed", {"method": "auth", "payload": ""}),
        (
            {"method": "SUBSCRIBE", "payload": {"type": THINGS}},
            "method not allowed",
            "The SUBSCRIBE method is not supported",
            {"method": "SUBSCRIBE", "payload": ""},
        ),
        ("hello", "method not allowed", "The  method is not supported", None),
        ([1], "method not allowed", "The  method is not supported", None),
        ({"method": 5}, "method not allowed", "The  method is not supported", {"method": "", "payload": ""}),
    ],
)
def test_who_does_not_say_who_they_are_is_told_and_left(
    opened: Callable[..., ClientConnection], message: Any, code: str, title: str, source: Any
):
    socket = opened()
    socket.send(message if message == "hello" else json.dumps(message))
    answer = heard(socket)
    assert answer["event"] == "error"
    assert {name: answer["payload"][name] for name in ("code", "title", "source")} == {"code": code, "title": title, "source": source}
    assert answer["payload"]["status"].split()[0] in ("401", "405")
    end_of(socket)


def test_another_tenant_s_token_is_nobody_s(opened: Callable[..., ClientConnection], bob: Client):
    socket = opened()
    say(socket, "AUTH", bob.token)
    assert heard(socket)["payload"]["code"] == "unauthorized"
    end_of(socket)


def test_cookies_and_authorization_of_the_opening_are_not_read(opened: Callable[..., ClientConnection], alice: Client):
    socket = opened(additional_headers={"Authorization": f"Bearer {alice.token}"})
    say(socket, "SUBSCRIBE", {"type": THINGS})
    assert heard(socket)["payload"]["code"] == "method not allowed"


def test_messages_sent_together_with_the_opening_are_heard(alice: Client):
    with Raw(alice.served.port) as connection:
        frames = b"".join(
            frame(json.dumps(message).encode())
            for message in ({"method": "AUTH", "payload": alice.token}, {"method": "SUBSCRIBE", "payload": {"type": "io.cozy.others"}})
        )
        connection.send(opening(f"localhost:{alice.served.port}").replace("\n", "\r\n").encode() + frames)
        assert connection.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        assert b"can't subscribe to io.cozy.others" in received(connection)[1]


# -- subscriptions and events ---------------------------------------------------------------------------------------------


def test_each_step_of_a_document_is_told_once_with_its_fields(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": THINGS}, {"type": THINGS}, {"type": THINGS, "id": "one"})
    made = alice.api("PUT", f"/data/{THINGS}/one", {"name": "é", "n": 1}).json
    changed = alice.api("PUT", f"/data/{THINGS}/one", {"_id": "one", "_rev": made["rev"], "n": 2}).json
    gone = alice.api("DELETE", f"/data/{THINGS}/one?rev={changed['rev']}").json
    told = [heard(socket) for _ in range(3)]
    assert told == [
        {"event": "CREATED", "payload": {"type": THINGS, "id": "one", "doc": {"_id": "one", "_rev": made["rev"], "name": "é", "n": 1}}},
        {"event": "UPDATED", "payload": {"type": THINGS, "id": "one", "doc": {"_id": "one", "_rev": changed["rev"], "n": 2}}},
        {"event": "DELETED", "payload": {"type": THINGS, "id": "one", "doc": {"_id": "one", "_rev": gone["rev"], "n": 2}}},
    ]
    assert quiet(socket)


def test_a_frame_is_one_line(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": THINGS})
    alice.api("POST", f"/data/{THINGS}/", {"text": "a\nb"})
    text = socket.recv(timeout=5)
    assert isinstance(text, str)
    assert text.endswith("}\n")
    assert text.count("\n") == 1


def test_one_document_is_watched_alone_and_no_longer_after_unsubscribing(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": THINGS, "id": "mine"})
    alice.api("PUT", f"/data/{THINGS}/other", {})
    alice.api("PUT", f"/data/{THINGS}/mine", {})
    assert heard(socket)["payload"]["id"] == "mine"
    say(socket, "UNSUBSCRIBE", {"type": THINGS, "id": "mine"})
    assert quiet(socket)
    alice.api("DELETE", f"/data/{THINGS}/mine?rev={alice.api('GET', f'/data/{THINGS}/mine').json['_rev']}")
    assert quiet(socket)


def test_to_leave_a_type_leaves_its_documents_but_not_the_other_way(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": THINGS}, {"type": THINGS, "id": "left"})
    say(socket, "UNSUBSCRIBE", {"type": THINGS, "id": "left"})
    assert quiet(socket)
    alice.api("PUT", f"/data/{THINGS}/left", {})
    assert heard(socket)["payload"]["id"] == "left"
    say(socket, "SUBSCRIBE", {"type": THINGS, "id": "left"})
    say(socket, "UNSUBSCRIBE", {"type": THINGS})
    assert quiet(socket)
    alice.api("DELETE", f"/data/{THINGS}/left?rev={alice.api('GET', f'/data/{THINGS}/left').json['_rev']}")
    assert quiet(socket)


@pytest.mark.parametrize(
    ("method", "payload", "code", "title"),
    [
        ("SUBSCRIBE", {"type": "io.cozy.others"}, "forbidden", "The application can't subscribe to io.cozy.others"),
        ("SUBSCRIBE", {"type": "io.cozy.others", "id": "x"}, "forbidden", "The application can't subscribe to io.cozy.others"),
        ("SUBSCRIBE", {"type": ""}, "page not found", "The type parameter is mandatory for SUBSCRIBE"),
        ("SUBSCRIBE", {}, "page not found", "The type parameter is mandatory for SUBSCRIBE"),
        ("SUBSCRIBE", None, "page not found", "The type parameter is mandatory for SUBSCRIBE"),
        ("unsubscribe", {"type": None}, "page not found", "The type parameter is mandatory for SUBSCRIBE"),
        (None, {"type": THINGS}, "method not allowed", "The  method is not supported"),
        ("PUBLISH", {"type": THINGS}, "method not allowed", "The PUBLISH method is not supported"),
    ],
)
def test_what_is_refused_leaves_the_socket_open(
    opened: Callable[..., ClientConnection], alice: Client, method: Any, payload: Any, code: str, title: str
):
    socket = watching(opened, alice, {"type": THINGS})
    say(socket, method, payload)
    answer = heard(socket)["payload"]
    assert (answer["code"], answer["title"]) == (code, title)
    source = {"method": method or "", "payload": {"type": (payload or {}).get("type") or "", "id": (payload or {}).get("id", "")}}
    assert answer["source"] == source
    alice.api("POST", f"/data/{THINGS}/", {})
    assert heard(socket)["event"] == "CREATED"


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        '{"method":"AUTH","payload":"again"}',
        '{"method":"SUBSCRIBE","payload":{"type":5}}',
        '{"method":5}',
        '{"payload":[]}',
        "5",
    ],
)
def test_a_later_message_that_is_none_ends_the_socket(opened: Callable[..., ClientConnection], alice: Client, message: str):
    socket = watching(opened, alice, {"type": THINGS})
    socket.send(message)
    end_of(socket)


def test_a_rule_on_one_document_allows_that_one_alone(opened: Callable[..., ClientConnection], served: Served, alice: Client):
    limited = Client(served, scope=(f"{THINGS}:GET:only",))
    socket = watching(opened, limited, {"type": THINGS, "id": "only"})
    for payload in ({"type": THINGS}, {"type": THINGS, "id": "another"}):
        say(socket, "SUBSCRIBE", payload)
        assert heard(socket)["payload"]["code"] == "forbidden"
    alice.api("PUT", f"/data/{THINGS}/another", {})
    alice.api("PUT", f"/data/{THINGS}/only", {})
    assert heard(socket)["payload"]["id"] == "only"


def test_a_rule_without_reading_hears_nothing(opened: Callable[..., ClientConnection], served: Served):
    socket = opened()
    say(socket, "AUTH", served.token(f"{THINGS}:POST,PUT"))
    say(socket, "SUBSCRIBE", {"type": THINGS})
    assert heard(socket)["payload"]["code"] == "forbidden"


def test_a_file_is_watched_by_the_right_on_its_folder(opened: Callable[..., ClientConnection], served: Served, alice: Client):
    folder = alice.api("POST", "/files/io.cozy.files.root-dir?Type=directory&Name=rt-shared").json["data"]["id"]
    inside = alice.api("POST", f"/files/{folder}?Type=file&Name=in.txt", b"1", Content_Type="text/plain").json["data"]["id"]
    outside = alice.api("POST", "/files/io.cozy.files.root-dir?Type=file&Name=rt-out.txt", b"1", Content_Type="text/plain").json["data"][
        "id"
    ]
    guest = Client(served, scope=(f"io.cozy.files:GET:{folder}",))
    socket = watching(opened, guest, {"type": "io.cozy.files", "id": inside})
    say(socket, "SUBSCRIBE", {"type": "io.cozy.files", "id": outside})
    assert heard(socket)["payload"]["code"] == "forbidden"
    assert alice.api("PUT", f"/files/{inside}", b"22", Content_Type="text/plain").status == 200
    event = heard(socket)
    assert (event["event"], event["payload"]["doc"]["size"], event["payload"]["doc"]["name"]) == ("UPDATED", "2", "in.txt")
    assert "path" not in event["payload"]["doc"]


def test_every_door_s_writes_are_told_without_private_data(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": "io.cozy.contacts"}, {"type": "io.cozy.files"})
    assert alice.dav("PUT", "/sync/dav/me/contacts/rt.vcf", CARD).status == 201
    text = socket.recv(timeout=5)
    assert isinstance(text, str)
    assert json.loads(text)["payload"]["doc"]["fullname"] == "Rita"
    assert "hidden-in-the-text" not in text
    assert alice.dav("PUT", "/sync/files/rt.txt", b"x").status == 201
    assert heard(socket)["payload"]["doc"]["name"] == "rt.txt"
    made = alice.api("POST", "/data/io.cozy.contacts/_bulk_docs", {"docs": [{"fullname": "A"}, {"fullname": "B"}]})
    assert made.status == 201
    assert [heard(socket)["payload"]["doc"]["fullname"] for _ in range(2)] == ["A", "B"]


def test_other_tenants_hear_nothing(opened: Callable[..., ClientConnection], alice: Client, bob: Client):
    socket = watching(opened, alice, {"type": THINGS}, {"type": "io.cozy.files"})
    bob.api("PUT", f"/data/{THINGS}/hers", {})
    bob.api("POST", f"/realtime/{THINGS}/hers", {"n": 1})
    bob.dav("PUT", "/sync/files/hers.txt", b"x")
    assert quiet(socket)


def test_steps_of_a_document_are_told_in_order(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": THINGS})

    def write(number: int) -> None:
        rev = None
        for step in range(20):
            id = f"order-{number}"
            body = {"step": step} | ({"_id": id, "_rev": rev} if rev else {})
            rev = alice.api("PUT", f"/data/{THINGS}/{id}", body).json["rev"]

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    steps: dict[str, list[int]] = {}
    for _ in range(80):
        payload = heard(socket)["payload"]
        steps.setdefault(payload["id"], []).append(payload["doc"]["step"])
    for writer in writers:
        writer.join(10)
    assert list(steps.values()) == [list(range(20))] * 4


# -- events that apps push ------------------------------------------------------------------------------------------------


def test_a_pushed_event_is_told_and_not_stored(opened: Callable[..., ClientConnection], alice: Client):
    socket = watching(opened, alice, {"type": THINGS, "id": "pushed"})
    assert alice.api("POST", f"/realtime/{THINGS}/pushed", {"progress": 5, "_rev": "9-x"}).status == 204
    assert heard(socket) == {"event": "NOTIFIED", "payload": {"type": THINGS, "id": "pushed", "doc": {"_id": "pushed", "progress": 5}}}
    assert alice.api("GET", f"/data/{THINGS}/pushed").status == 404


@pytest.mark.parametrize(
    ("doctype", "body", "status"),
    [
        ("io.cozy.others", b"{}", 403),
        ("io.cozy.sessions", b"{}", 400),
        ("Not.A.Type", b"{}", 400),
        (THINGS, b"[1]", 400),
        (THINGS, b"{", 400),
    ],
)
def test_what_may_not_be_pushed_is_refused(alice: Client, doctype: str, body: bytes, status: int):
    assert alice.api("POST", f"/realtime/{doctype}/x", body, Content_Type="application/json").status == status
    assert alice.ask("POST", f"/realtime/{doctype}/x", body, Content_Type="application/json").status == 401


# -- frames ---------------------------------------------------------------------------------------------------------------


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    first = (0x80 if final else 0) | reserved | opcode
    mask, bit = b"\x01\x02\x03\x04", 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes((first, bit | len(payload)))
    elif len(payload) < 1 << 16:
        head = bytes((first, bit | 126)) + struct.pack(">H", len(payload))
    else:
        head = bytes((first, bit | 127)) + struct.pack(">Q", len(payload))
    return head + (mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if masked else payload)


def received(connection: Raw) -> tuple[int, bytes]:
    """Opcode and payload of the next frame."""
    first, length = connection.exactly(2)
    assert length < 0x80, "a server does not mask"
    if length == 126:
        length = struct.unpack(">H", connection.exactly(2))[0]
    elif length == 127:
        length = struct.unpack(">Q", connection.exactly(8))[0]
    return first & 0x0F, connection.exactly(length)


@pytest.fixture
def plain(alice: Client) -> Iterator[Raw]:
    """A socket after its opening and its token, frame by frame."""
    with Raw(alice.served.port) as connection:
        connection.send(opening(f"localhost:{alice.served.port}"))
        assert connection.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        yield connection.send(frame(json.dumps({"method": "AUTH", "payload": alice.token}).encode()))


SUBSCRIBE = json.dumps({"method": "SUBSCRIBE", "payload": {"type": "io.cozy.others"}}).encode()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"x" * 1025), 1009),
        (frame(b"x" * 600, final=False) + frame(b"x" * 600, 0), 1009),
        (frame("é".encode() * 513), 1009),
        (frame(b"x" * 70_000), 1009),
        (b"\x81\xff" + (1 << 62).to_bytes(8, "big") + b"mask" + b"x" * 2000, 1009),
        (frame(b"\x00\x01", BINARY), 1003),
        (frame(SUBSCRIBE, masked=False), 1002),
        (frame(SUBSCRIBE, reserved=0x40), 1002),
        (frame(SUBSCRIBE, 0x3), 1002),
        (frame(b"x" * 126, PING), 1002),
        (frame(b"x", PING, final=False), 1002),
        (frame(b"x", 0), 1002),
        (frame(b"\x01", CLOSE), 1002),
        (frame((1005).to_bytes(2, "big"), CLOSE), 1002),
        (frame(b"\xff\xfe"), 1007),
        (frame((1000).to_bytes(2, "big") + b"bye", CLOSE), 1000),
    ],
)
def test_frames_that_break_a_rule_close_the_socket_with_its_code(plain: Raw, sent: bytes, code: int):
    plain.send(sent)
    opcode, payload = received(plain)
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
    assert plain.ended()


def test_pings_are_answered_and_fragments_are_one_message(plain: Raw):
    plain.send(frame(b"still there?", PING))
    assert received(plain) == (PONG, b"still there?")
    plain.send(
        frame(SUBSCRIBE[:10], final=False) + frame(b"amid", PING) + frame(SUBSCRIBE[10:40], 0, final=False) + frame(SUBSCRIBE[40:], 0)
    )
    assert received(plain) == (PONG, b"amid")
    opcode, payload = received(plain)
    assert opcode == TEXT
    assert json.loads(payload)["payload"]["code"] == "forbidden"


def test_a_message_may_come_byte_by_byte(plain: Raw):
    for byte in frame(SUBSCRIBE):
        plain.send(bytes((byte,)))
    assert json.loads(received(plain)[1])["payload"]["code"] == "forbidden"


def test_a_message_of_1024_bytes_is_taken(plain: Raw):
    message = json.dumps({"method": "SUBSCRIBE", "payload": {"type": "io.cozy.others", "id": ""}}).encode()
    padded = message.replace(b'"id": ""', b'"id": "%s"' % (b"x" * (1024 - len(message))))
    assert len(padded) == 1024
    assert json.loads(received(plain.send(frame(padded)))[1])["payload"]["code"] == "forbidden"


# -- many, slow, and the end ----------------------------------------------------------------------------------------------


def test_five_hundred_sockets_hear_the_same_event(alice: Client):
    async def one(gate: asyncio.Barrier) -> str:
        async with connect_async(f"ws://localhost:{alice.served.port}/realtime/", open_timeout=20) as socket:
            await socket.send(json.dumps({"method": "AUTH", "payload": alice.token}))
            await socket.send(json.dumps({"method": "SUBSCRIBE", "payload": {"type": THINGS}}))
            await socket.send(json.dumps({"method": "PING", "payload": {"type": "x"}}))
            await socket.recv()
            await gate.wait()
            return str(json.loads(await socket.recv())["payload"]["id"])

    async def all_of_them() -> list[str]:
        gate = asyncio.Barrier(501)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(gate)) for _ in range(500)]
            await gate.wait()
            began = time.monotonic()
            assert (await asyncio.to_thread(alice.api, "GET", "/data/")).status == 200
            assert time.monotonic() - began < 5
            await asyncio.to_thread(alice.api, "PUT", f"/data/{THINGS}/many", {})
        return [task.result() for task in tasks]

    assert asyncio.run(all_of_them()) == ["many"] * 500


def open_sockets(server: Served) -> int:
    assert server.process is not None
    return sum(link.is_socket() for link in Path(f"/proc/{server.process.pid}/fd").iterdir())


def test_who_reads_nothing_is_dropped_and_memory_stays_flat(fresh: Served):
    alice = Client(fresh, scope=(THINGS,))
    before, at_first = fresh.memory(), open_sockets(fresh)
    with Raw(fresh.port, buffer=4096) as deaf:
        deaf.send(opening(f"localhost:{fresh.port}"))
        deaf.until(b"\r\n\r\n")
        for message in ({"method": "AUTH", "payload": alice.token}, {"method": "SUBSCRIBE", "payload": {"type": THINGS}}):
            deaf.send(frame(json.dumps(message).encode()))
        with alice.watch(THINGS) as reader:
            for number in range(60):
                assert alice.api("POST", f"/realtime/{THINGS}/x", {"n": number, "text": "x" * 1_000_000}).status == 204
                assert reader.next()["payload"]["doc"]["n"] == number
        assert fresh.memory() - before < 100 << 20
        eventually(lambda: open_sockets(fresh) <= at_first, within=30)  # nothing is read so long
        with pytest.raises((EOFError, OSError)):
            deaf.exactly(59_000_000)


def test_at_the_end_sockets_are_told_and_running_requests_finish(fresh: Served):
    alice = Client(fresh, scope=(THINGS, "io.cozy.files"))
    alice.api("PUT", f"/data/{THINGS}/there", {})
    content = bytes(range(256)) * 40_000
    assert alice.dav("PUT", "/sync/files/big.bin", content).status == 201
    with (
        connect(f"ws://localhost:{fresh.port}/realtime/", open_timeout=10) as socket,
        Raw(fresh.port) as waiting,
        Raw(fresh.port) as reading,
    ):
        say(socket, "AUTH", alice.token)
        credentials = f"Host: {alice.domain}\nAuthorization: Bearer {alice.token}\n\n"
        since = alice.api("GET", f"/data/{THINGS}/_changes").json["last_seq"]
        waiting.send(f"GET /data/{THINGS}/_changes?feed=longpoll&timeout=60000&since={since} HTTP/1.1\n{credentials}")
        reading.send(f"GET /files/download?Path=/big.bin HTTP/1.1\n{credentials}")
        began = reading.until(b"\r\n\r\n")
        assert b" 200 " in began
        assert quiet(socket)
        assert fresh.process is not None
        fresh.process.terminate()
        assert end_of(socket) == 1001
        assert reading.exactly(len(content)) == content
        assert json.loads(waiting.reply().body)["results"] == []
    assert fresh.process.wait(15) == 0
    assert "ERROR" not in fresh.log()


def test_a_socket_that_left_is_forgotten(served: Served, alice: Client):
    def descriptors() -> int:
        from pathlib import Path

        assert served.process is not None
        return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))

    before = descriptors()
    for _ in range(50):
        connection = Raw(served.port).send(opening(f"localhost:{served.port}"))
        connection.until(b"\r\n\r\n")
        connection.close()
    eventually(lambda: descriptors() <= before + 5)
    assert "Traceback" not in served.log()
