"""What the server does before and around a request: framing, bodies that wait for their sender, ids, errors, health."""

import base64
import contextlib
import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.raw import Raw, Reply
from tests.support.serving import Served, eventually

THINGS = "io.cozy.server.things"
UPLOAD = "/files/io.cozy.files.root-dir?Type=file&Name="
LARGE = 3_000_000
EXPECTING = ["", "Expect: 100-continue\n"]


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(THINGS, "io.cozy.files"))


@pytest.fixture(scope="module")
def read_only(served: Served) -> Client:
    client = Client(served, scope=(f"{THINGS}:GET", "io.cozy.files:GET"))
    client.password = served.password("--files", "--contacts", "--read-only", name="reader")
    return client


@pytest.fixture
def connect(served: Served) -> Iterator[Callable[[], Raw]]:
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(Raw(served.port))


def basic(client: Client) -> str:
    return "Basic " + base64.b64encode(f"me:{client.password}".encode()).decode()


def head(client: Client, method: str, path: str, *lines: str, sender: str | None = "token") -> str:
    """A request's head, with the sender's credentials."""
    shown = {"token": f"Bearer {client.token}", "password": basic(client), "forged": "Bearer x.y.z"}
    credentials = f"Authorization: {shown[sender]}\n" if sender else ""
    return f"{method} {path} HTTP/1.1\nHost: {client.domain}\n{credentials}" + "".join(f"{line}\n" for line in lines if line) + "\n"


# -- bodies that wait for their sender ----------------------------------------------------------------------------------


@pytest.mark.parametrize("expect", EXPECTING)
@pytest.mark.parametrize("length", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("method", "path", "sender", "status"),
    [
        ("POST", UPLOAD + "a", None, 401),
        ("POST", UPLOAD + "a", "forged", 400),
        ("PUT", "/files/abc", None, 401),
        ("POST", f"/data/{THINGS}/", None, 401),
        ("POST", "/data/io.cozy.others/_bulk_docs", "token", 403),
        ("PUT", "/sync/files/a", None, 401),
        ("PUT", "/sync/dav/me/contacts/a.vcf", None, 401),
        ("POST", "/nothing/there", None, 401),
    ],
)
def test_who_may_not_send_is_told_before_the_body(
    alice: Client, connect: Callable[[], Raw], method: str, path: str, sender: str | None, status: int, length: str, expect: str
):
    connection = connect().send(head(alice, method, path, length, expect.strip(), sender=sender))
    reply = connection.reply()
    assert reply.status == status, reply
    assert connection.ended()


@pytest.mark.parametrize("expect", EXPECTING)
@pytest.mark.parametrize(
    ("method", "path", "sender"),
    [
        ("POST", UPLOAD + "a", "token"),
        ("PUT", f"/data/{THINGS}/a", "token"),
        ("POST", f"/data/{THINGS}/_bulk_docs", "token"),
        ("PUT", "/sync/files/a", "password"),
        ("PUT", "/sync/dav/me/contacts/a.vcf", "password"),
    ],
)
def test_who_may_only_read_is_told_before_the_body(
    read_only: Client, connect: Callable[[], Raw], method: str, path: str, sender: str, expect: str
):
    reply = connect().send(head(read_only, method, path, f"Content-Length: {LARGE}", expect.strip(), sender=sender)).reply()
    assert reply.status == 403, reply


@pytest.mark.parametrize(
    ("method", "path", "sender", "body", "status"),
    [
        ("POST", f"/data/{THINGS}/_bulk_get", "token", b'{"docs":[{"id":"a"}]}', 200),
        ("POST", f"/data/{THINGS}/_all_docs", "token", b'{"keys":["a"]}', 200),
        ("PROPFIND", "/sync/files/", "password", b"", 207),
    ],
)
def test_readers_may_ask_with_a_body_in_chunks(
    alice: Client, read_only: Client, connect: Callable[[], Raw], method: str, path: str, sender: str, body: bytes, status: int
):
    alice.api("PUT", f"/data/{THINGS}/a", {})
    more = ("Transfer-Encoding: chunked", "Content-Type: application/json", "Depth: 0")
    connection = connect().send(head(read_only, method, path, *more, sender=sender))
    if body:
        connection.send(b"%x\r\n%s\r\n" % (len(body), body))
    assert connection.send(b"0\r\n\r\n").reply().status == status


def test_what_finds_no_room_is_refused_before_the_body(fresh: Served):
    alice = Client(fresh, scope=("io.cozy.files",))
    assert alice.dav("PUT", "/sync/files/kept.bin", b"x" * 500_000).status == 201
    file = alice.api("GET", "/files/metadata?Path=/kept.bin").json["data"]["id"]
    fresh.cli("instances", "set", fresh.domain, "--quota", "2000000")
    for method, path, sender, status in (
        ("POST", UPLOAD + "a", "token", 413),
        ("PUT", f"/files/{file}", "token", 413),
        ("PUT", "/sync/files/a", "password", 507),
        ("PUT", "/sync/files/kept.bin", "password", 507),
    ):
        for expect in EXPECTING:
            with Raw(fresh.port) as connection:
                connection.send(head(alice, method, path, f"Content-Length: {LARGE}", expect.strip(), sender=sender))
                assert connection.reply().status == status, path
    for path, sender, size in ((f"/files/{file}", "token", 1_200_000), ("/sync/files/kept.bin", "password", 1_400_000)):
        with Raw(fresh.port) as connection:
            connection.send(head(alice, "PUT", path, f"Content-Length: {size}", sender=sender)).send(b"y" * size)
            assert connection.reply().status in (200, 204), "beside the version, it fits in the place of what it replaces"


@pytest.mark.parametrize(
    ("method", "path", "sender", "status"),
    [
        ("POST", UPLOAD + "endless", "token", 413),
        ("PUT", "/sync/files/endless", "password", 507),
        ("PUT", "/sync/files/kept.bin", "password", 507),
    ],
)
def test_a_body_of_no_known_length_ends_where_the_room_does(fresh: Served, method: str, path: str, sender: str, status: int):
    alice = Client(fresh, scope=("io.cozy.files",))
    assert alice.dav("PUT", "/sync/files/kept.bin", b"x" * 500_000).status == 201
    fresh.cli("instances", "set", fresh.domain, "--quota", "2000000")
    with Raw(fresh.port, timeout=20) as connection:
        connection.send(head(alice, method, path, "Transfer-Encoding: chunked", sender=sender))
        with contextlib.suppress(OSError):
            for _ in range(48):
                connection.send(b"10000\r\n" + b"y" * 0x10000 + b"\r\n")
        assert connection.reply().status == status, "though the body has not ended"
    eventually(lambda: not list((fresh.folder / "blobs" / "tmp").glob("*/*")))
    assert alice.dav("GET", "/sync/files/kept.bin").body == b"x" * 500_000
    with Raw(fresh.port) as connection:
        connection.send(head(alice, "PUT", "/sync/files/fits", "Transfer-Encoding: chunked", sender="password"))
        for _ in range(20_000):
            connection.send(b"1\r\nz\r\n")
        assert connection.send(b"0\r\n\r\n").reply().status == 201, "its framing does not count"


def test_an_allowed_body_is_asked_for_and_stored(alice: Client, connect: Callable[[], Raw]):
    content = bytes(range(256)) * 12_000
    connection = connect().send(head(alice, "POST", UPLOAD + "asked.bin", f"Content-Length: {len(content)}", "Expect: 100-continue"))
    assert connection.reply().status == 100
    made = connection.send(content).reply()
    assert made.status == 201
    id = json.loads(made.body)["data"]["id"]
    assert alice.api("GET", f"/files/download/{id}").body == content
    again = connection.send(head(alice, "GET", "/version")).reply()
    assert again.status == 200, "the connection goes on"


@pytest.mark.parametrize("expect", EXPECTING)
def test_chunked_uploads_arrive_whole(alice: Client, connect: Callable[[], Raw], expect: str):
    name = f"chunked-{len(expect)}.bin"
    connection = connect().send(head(alice, "PUT", f"/sync/files/{name}", "Transfer-Encoding: chunked", expect.strip(), sender="password"))
    if expect:
        assert connection.reply().status == 100
    for number in range(300):
        piece = bytes([number % 256]) * (number * 37 % 9000 + 1)
        connection.send(b"%X;ext=1\r\n" % len(piece) + piece + b"\r\n")
    connection.send(b"0\r\nTrailer: x\r\n\r\n")
    assert connection.reply().status == 201
    expected = b"".join(bytes([number % 256]) * (number * 37 % 9000 + 1) for number in range(300))
    assert alice.dav("GET", f"/sync/files/{name}").body == expected


def test_small_bodies_do_not_wait(alice: Client, connect: Callable[[], Raw]):
    body = b'{"small": true}'
    connection = connect().send(
        head(
            alice, "PUT", f"/data/{THINGS}/small", f"Content-Length: {len(body)}", "Content-Type: application/json", "Expect: 100-continue"
        )
    )
    assert connection.reply().status == 100
    assert connection.send(body).reply().status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_to_expect_a_go_ahead_without_a_body_is_harmless(alice: Client, connect: Callable[[], Raw], method: str):
    assert connect().send(head(alice, method, f"/data/{THINGS}/none", "Expect: 100-continue")).reply().status == 404


def test_a_refused_client_that_sends_on_still_gets_its_answer(alice: Client):
    connection = http.client.HTTPConnection("127.0.0.1", alice.served.port, timeout=20)
    connection.request("POST", UPLOAD + "rude.bin", b"x" * 20_000_000, {"Host": alice.domain})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (401, b"No token in request")
    connection.close()


@pytest.mark.parametrize("body", ["GET /data/ HTTP/1.1\nHost: {host}\n\n", "0\n\nGET /data/ HTTP/1.1\nHost: {host}\n\n"])
def test_nothing_behind_a_refused_body_is_a_request(alice: Client, connect: Callable[[], Raw], body: str):
    smuggled = body.format(host=alice.domain)
    connection = connect().send(head(alice, "POST", UPLOAD + "x", f"Content-Length: {LARGE}", sender=None) + smuggled)
    assert connection.reply().status == 401
    assert connection.send(smuggled).ended()


# -- too large --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [20_000_000, 10**15, 10**30])
@pytest.mark.parametrize("sender", [None, "token"])
@pytest.mark.parametrize("expect", EXPECTING)
def test_too_large_a_length_is_refused_at_once(alice: Client, connect: Callable[[], Raw], length: int, sender: str | None, expect: str):
    connection = connect().send(head(alice, "POST", f"/data/{THINGS}/", f"Content-Length: {length}", expect.strip(), sender=sender))
    reply = connection.reply()
    assert reply.status == 413
    assert json.loads(reply.body)["error"] == "too_large"
    assert connection.ended()


def test_each_door_tells_too_large_in_its_own_shape(alice: Client, connect: Callable[[], Raw]):
    def refused(method: str, path: str) -> Reply:
        reply = connect().send(head(alice, method, path, f"Content-Length: {10**14}", "Accept: text/html")).reply()
        assert reply.status == 413
        return reply

    assert json.loads(refused("POST", UPLOAD + "x").body)["errors"][0]["status"] == "413"
    assert refused("PUT", "/sync/files/x").headers["content-type"].startswith("text/plain")
    assert refused("POST", "/auth/login").headers["content-type"].startswith("text/html")


def test_a_form_of_the_log_in_page_has_a_small_cap(alice: Client, connect: Callable[[], Raw]):
    for path in ("/auth/login", "//auth/login"):
        assert connect().send(head(alice, "POST", path, "Content-Length: 100000", sender=None)).reply().status == 413


def test_chunks_are_counted(alice: Client, connect: Callable[[], Raw]):
    connection = connect().send(head(alice, "POST", f"/data/{THINGS}/", "Transfer-Encoding: chunked"))
    with contextlib.suppress(OSError):
        for _ in range(20):
            connection.send(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
    assert connection.reply().status == 413


# -- framing ------------------------------------------------------------------------------------------------------------

AMBIGUOUS = [
    "Content-Length: 5\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\nContent-Length: 5",
    "Content-Length: 5\nContent-Length: 6",
    "Content-Length: 5, 6",
    "Content-Length: +5",
    "Content-Length: 5 6",
    "Content-Length: 0x5",
    "Content-Length: -1",
    "Content-Length: " + "9" * 5000,
    "Content-Length:",
    "Content-Length : 5",
    " Content-Length: 5",
    "X: y\n Content-Length: 5",
    "X: y\n\tz",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding : chunked",
    "Host: evil.example",
    "X: a\rb",
    "X: a\x00b",
    "no colon",
]


@pytest.mark.parametrize("lines", AMBIGUOUS)
def test_a_head_that_two_parties_may_read_differently_is_refused(alice: Client, connect: Callable[[], Raw], lines: str):
    following = f"GET /version HTTP/1.1\nHost: {alice.domain}\n\n"
    connection = connect().send(head(alice, "POST", f"/data/{THINGS}/", lines, "Content-Type: application/json") + "0\n\n" + following)
    reply = connection.reply()
    assert reply.status in (400, 501), (lines, reply)
    assert connection.ended(), "nothing behind it is a request"


@pytest.mark.parametrize("text", ["GET /version HTTP/1.1\n\n", "GET /version HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n"])
def test_a_missing_host_or_chunks_of_old_clients_are_refused(connect: Callable[[], Raw], text: str):
    connection = connect().send(text)
    assert connection.reply().status == 400
    assert connection.ended()


@pytest.mark.parametrize(
    "chunks",
    ["zz\nab\n0\n\n", "-2\nab\n0\n\n", "0x2\nab\n0\n\n", "2\nabc\n0\n\n", "2 \nab\n0\n\n", ";\n", "2;\x01\nab\n0\n\n", "1" * 20_000],
)
def test_bad_chunks_are_refused_and_store_nothing(alice: Client, connect: Callable[[], Raw], chunks: str):
    connection = connect().send(head(alice, "POST", UPLOAD + "bad-chunks.bin", "Transfer-Encoding: chunked") + chunks)
    assert connection.reply().status == 400
    assert connection.ended()
    assert alice.api("GET", "/files/metadata?Path=/bad-chunks.bin").status == 404


def test_the_tenant_of_an_absolute_target_is_the_target_s(alice: Client, connect: Callable[[], Raw]):
    text = head(alice, "GET", f"http://bob.localhost:{alice.served.port}/data/{THINGS}/_all_docs")
    assert connect().send(text).reply().status == 400, "her token is nobody's at his address"


def test_an_answer_without_a_body_leaves_the_connection_open(alice: Client):
    connection = http.client.HTTPConnection("127.0.0.1", alice.served.port, timeout=20)
    credentials = {"Host": alice.domain, "Authorization": basic(alice)}
    connection.request("PUT", "/sync/files/kept-alive.txt", b"one", credentials)
    made = connection.getresponse()
    made.read()
    opened = connection.sock
    for method, more, status in (
        ("PUT", {}, 204),
        ("GET", {"If-None-Match": "*"}, 304),
        ("DELETE", {}, 204),
        ("OPTIONS", {}, 200),
        ("DELETE", {"Connection": "close"}, 404),
    ):
        assert connection.sock is opened
        connection.request(method, "/sync/files/kept-alive.txt", b"two" if method == "PUT" else None, credentials | more)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    assert connection.sock is None


def test_requests_of_one_connection_are_answered_in_order(alice: Client, connect: Callable[[], Raw]):
    names = [f"order-{number}" for number in range(30)]
    for name in names:
        alice.api("PUT", f"/data/{THINGS}/{name}", {})
    connection = connect().send("".join(head(alice, "GET", f"/data/{THINGS}/{name}") for name in names))
    assert [json.loads(connection.reply().body)["_id"] for _ in names] == names


def test_a_head_may_not_be_endless(connect: Callable[[], Raw]):
    connection = connect().send("GET / HTTP/1.1\n" + "X: " + "y" * 70_000)
    assert connection.reply().status == 431


# -- ids, errors, health ------------------------------------------------------------------------------------------------

ASKED = [
    ("GET", "/version", 200),
    ("GET", "/data/", 200),
    ("GET", "/nothing", 404),
    ("PROPFIND", "/sync/files/", 401),
    ("OPTIONS", "/data/", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), ASKED)
def test_each_answer_has_an_id_of_its_own(alice: Client, method: str, path: str, status: int):
    first, second = (alice.ask(method, path) for _ in range(2))
    assert first.status == status
    assert re.fullmatch("[0-9a-f]{16}", first.headers["X-Request-Id"])
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]


def test_a_fault_tells_an_id_that_the_log_explains_and_nothing_else(fresh: Served):
    alice = Client(fresh, scope=("io.cozy.files",))
    assert alice.dav("PUT", "/sync/files/a.txt", b"content" * 10_000).status == 201
    id = alice.api("GET", "/files/metadata?Path=/a.txt").json["data"]["id"]
    (blob,) = [path for path in (fresh.folder / "blobs").rglob("*") if path.is_file() and path.read_bytes() == b"content" * 10_000]
    blob.unlink()
    blob.mkdir()
    answer = alice.api("GET", f"/files/download/{id}?secret=hidden-in-query")
    assert answer.status == 500
    assert answer.headers["X-Request-Id"] in answer.json["errors"][0]["detail"]
    assert f"ERROR [{answer.headers['X-Request-Id']} {alice.domain}]" in fresh.log()
    assert str(fresh.folder) not in answer.body.decode()
    assert b"Traceback" not in answer.body
    assert "hidden-in-query" not in fresh.log()


def test_the_log_names_no_secret_and_no_line_is_made_up(fresh: Served):
    alice = Client(fresh, scope=(THINGS,))
    with Raw(fresh.port) as connection:
        connection.send(head(alice, "GET", f"/data/{THINGS}/a%0AFAKE%20LINE?bearer_token={alice.token}", sender=None)).reply()
    alice.ask("POST", "/auth/login", "passphrase=very-secret-passphrase", Content_Type="application/x-www-form-urlencoded")
    alice.ask("GET", "/", Host="made-up-host\x1b[31m")
    alice.dav("PROPFIND", "/sync/files/")
    log = fresh.log()
    for secret in (alice.token, alice.password, "very-secret-passphrase", "made-up-host"):
        assert secret not in log
    assert not [line for line in log.splitlines() if line.startswith("FAKE")]


def test_log_lines_may_be_json(tmp_path: Path):
    with Served(tmp_path / "data", environ={"COZYD_LOG_FORMAT": "json"}) as server:
        server.stop()
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert lines
    assert set(lines[0]) == {"time", "level", "logger", "request_id", "domain", "message"}


@pytest.mark.parametrize(
    ("accept", "kind"), [("application/json", "application/json"), ("text/html", "text/html"), ("", "text/plain"), ("*/*", "text/plain")]
)
def test_unknown_routes_are_told_by_accept(alice: Client, accept: str, kind: str):
    answer = alice.ask("GET", "/nothing/there", Accept=accept)
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith(kind)


def test_services_tell_errors_in_their_own_shape(alice: Client):
    files = alice.api("GET", "/files/none")
    assert files.headers["Content-Type"] == "application/vnd.api+json"
    assert files.json["errors"][0]["status"] == "404"
    data = alice.api("GET", f"/data/{THINGS}/none")
    assert (data.status, data.json["error"], data.json["reason"]) == (404, "not_found", "missing")
    assert alice.ask("GET", f"/data/{THINGS}/none").headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/version", "/nothing", "/files/none", "/auth/login", "/status"])
def test_head_has_no_body(alice: Client, connect: Callable[[], Raw], path: str):
    connection = connect().send(head(alice, "HEAD", path))
    status = connection.reply(head_request=True).status
    assert connection.send(head(alice, "GET", "/version", "Connection: close")).reply().status == 200
    assert status == alice.api("GET", path).status


def test_other_origins_may_ask_with_a_token_but_not_for_pages(alice: Client):
    origin = {"Origin": "https://app.example"}
    assert alice.api("GET", f"/data/{THINGS}/none", **origin).headers["Access-Control-Allow-Origin"] == "https://app.example"
    preflight = alice.ask("OPTIONS", f"/data/{THINGS}/none", Access_Control_Request_Headers="authorization", **origin)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Headers"]) == (204, "authorization")
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert alice.ask("GET", "/auth/login", **origin).headers["Access-Control-Allow-Origin"] is None


def test_status_and_version_say_what_they_promise(alice: Client):
    status = alice.ask("GET", "/status").json
    assert (status["status"], status["message"]) == ("OK", "OK")
    assert {name: status[name] for name in ("couchdb", "fs", "cache")} == dict.fromkeys(("couchdb", "fs", "cache"), "healthy")
    assert all(re.fullmatch(r"[0-9.]+µs", value) for value in status["latency"].values())
    version = alice.ask("GET", "/version").json
    assert set(version) == {"version", "runtime_version", "build_mode", "build_time"}
    assert alice.ask("GET", "/connection_check").status == 204


def test_status_says_when_the_store_of_contents_is_away(fresh: Served):
    alice = Client(fresh)
    blobs = fresh.folder / "blobs"
    blobs.rename(fresh.folder / "away")
    answer = alice.ask("GET", "/status")
    assert answer.status == 502
    assert answer.json["status"] == "KO"
    assert answer.json["fs"] != "healthy"
    assert str(fresh.folder) not in answer.body.decode()
    (fresh.folder / "away").rename(blobs)
    eventually(lambda: alice.ask("GET", "/status").status == 200)
