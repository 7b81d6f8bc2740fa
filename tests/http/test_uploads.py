"""Resumable uploads by tus 1.0, header by header: begin, continue, cut, kill, finish, give up; who may, and what it may take."""

import base64
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.client import Answer, Client
from tests.support.raw import Raw
from tests.support.serving import Served, eventually

ROOT = "io.cozy.files.root-dir"
BIG = os.urandom(5_000_000)
VERSION = {"Tus-Resumable": "1.0.0"}
OFFSET = "application/offset+octet-stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    environ = {"COZYD_SERVER_BODY_TIMEOUT": "5", "COZYD_LIMITS_UPLOAD": str(1 << 30)}
    with Served(tmp_path_factory.mktemp("tus") / "data", environ=environ).add_alice() as served:
        yield served


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, scope=("io.cozy.files",))


def told(**said: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())


def ask(client: Client, method: str, path: str, body: bytes | None = None, *, token: str | None = None, **headers: str) -> Answer:
    """A request of the protocol."""
    given = {"Tus_Resumable": "1.0.0", "Authorization": f"Bearer {token or client.token}"}
    if body is not None:
        given["Content_Type"] = OFFSET
    return client.ask(method, path, body, **{name: value for name, value in (given | headers).items() if value})


def begin(client: Client, length: int, name: str, body: bytes | None = None, **options: str) -> str:
    """Begin an upload; its path."""
    said = told(filename=name, **{key: value for key, value in options.items() if key.islower()})
    made = ask(client, "POST", "/files/uploads", body, Upload_Length=str(length), Upload_Metadata=said)
    assert made.status == 201, made.body
    return urlsplit(made.headers["Location"]).path


def send(client: Client, upload: str, offset: int, body: bytes, **headers: str) -> Answer:
    return ask(client, "PATCH", upload, body, Upload_Offset=str(offset), **headers)


def offset_of(client: Client, upload: str) -> int:
    looked = ask(client, "HEAD", upload)
    assert looked.status == 200
    return int(looked.headers["Upload-Offset"])


def content(client: Client, path: str) -> bytes:
    return client.api("GET", f"/files/download?Path={path}").body


def is_file(client: Client, path: str) -> bool:
    return client.api("GET", f"/files/metadata?Path={path}").status == 200


def used(client: Client) -> int:
    return sum(int(row["doc"]["size"]) for row in rows(client) if row["doc"].get("type") == "file")


def rows(client: Client) -> list[Any]:
    found: list[Any] = client.api("GET", "/data/io.cozy.files/_all_docs?include_docs=true").json["rows"]
    return found


# -- the protocol -------------------------------------------------------------------------------------------------------


def test_what_is_spoken_is_told_to_anybody(alice: Client):
    answer = alice.ask("OPTIONS", "/files/uploads")
    assert answer.status == 204
    assert (answer.headers["Tus-Resumable"], answer.headers["Tus-Version"]) == ("1.0.0", "1.0.0")
    assert set(answer.headers["Tus-Extension"].split(",")) == {"creation", "creation-with-upload", "termination", "checksum", "expiration"}
    assert set(answer.headers["Tus-Checksum-Algorithm"].split(",")) == {"md5", "sha1", "sha256"}
    assert answer.headers["Tus-Max-Size"] == str(1 << 30)


@pytest.mark.parametrize("piece", [700_000, 2_000_000, 5_000_000])
def test_a_file_comes_in_pieces_of_any_size(alice: Client, piece: int):
    name = f"pieces-{piece}.bin"
    upload = begin(alice, len(BIG), name)
    assert not is_file(alice, f"/{name}")
    for offset in range(0, len(BIG), piece):
        assert offset_of(alice, upload) == offset
        answer = send(alice, upload, offset, BIG[offset : offset + piece])
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(min(len(BIG), offset + piece)))
        assert "Upload-Expires" in answer.headers
    assert content(alice, f"/{name}") == BIG
    id = answer.headers["Content-Location"].rpartition("/")[2]
    assert alice.api("GET", f"/files/{id}").json["data"]["attributes"]["md5sum"] == base64.b64encode(hashlib.md5(BIG).digest()).decode()
    assert offset_of(alice, upload) == len(BIG)
    assert ask(alice, "HEAD", upload).headers["Content-Location"] == f"/files/{id}"


def test_what_the_client_said_comes_back_and_into_the_document(alice: Client):
    said = told(
        filename="résumé.txt", filetype="text/x-own; charset=utf-8", executable="true", tags="a, b,a", updatedAt="2020-02-02T02:02:02Z"
    )
    made = ask(alice, "POST", "/files/uploads", b"hello", Upload_Length="5", Upload_Metadata=said)
    assert (made.status, made.headers["Upload-Offset"]) == (201, "5")
    id = made.headers["Content-Location"].rpartition("/")[2]
    attributes = alice.api("GET", f"/files/{id}").json["data"]["attributes"]
    shown = {key: attributes[key] for key in ("name", "mime", "executable", "tags", "updated_at", "size", "dir_id")}
    assert shown == {
        "name": "résumé.txt",
        "mime": "text/x-own",
        "executable": True,
        "tags": ["a", "b"],
        "updated_at": "2020-02-02T02:02:02Z",
        "size": "5",
        "dir_id": ROOT,
    }
    looked = ask(alice, "HEAD", urlsplit(made.headers["Location"]).path)
    assert (looked.headers["Upload-Metadata"], looked.headers["Upload-Length"], looked.headers["Cache-Control"]) == (said, "5", "no-store")


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_the_first_bytes_may_come_with_the_beginning(alice: Client, size: int):
    upload = begin(alice, len(BIG), f"first-{size}.bin", BIG[:size])
    assert offset_of(alice, upload) == size
    assert send(alice, upload, size, BIG[size:]).status == 204
    assert content(alice, f"/first-{size}.bin") == BIG


def test_an_empty_file_is_whole_at_once(alice: Client):
    upload = begin(alice, 0, "empty.txt")
    assert is_file(alice, "/empty.txt")
    assert offset_of(alice, upload) == 0


def test_a_file_gets_its_next_content(alice: Client):
    made = alice.api("POST", f"/files/{ROOT}?Type=file&Name=next.txt", b"before")
    id = made.json["data"]["id"]
    begin(alice, 5, "", b"after", replaces=id)
    assert alice.api("GET", f"/files/download/{id}").body == b"after"
    assert alice.api("GET", f"/files/{id}").json["data"]["attributes"]["name"] == "next.txt"


def test_a_client_that_can_only_post_names_the_method(alice: Client):
    upload = begin(alice, 5, "post.txt")
    assert ask(alice, "POST", upload, b"hello", Upload_Offset="0", X_HTTP_Method_Override="PATCH").status == 204
    assert content(alice, "/post.txt") == b"hello"
    assert ask(alice, "POST", upload, X_HTTP_Method_Override="DELETE").status == 204
    assert ask(alice, "HEAD", upload).status == 404
    assert content(alice, "/post.txt") == b"hello", "the file stays"


def test_browsers_may_read_what_they_need(alice: Client):
    made = ask(alice, "POST", "/files/uploads", Upload_Length="3", Upload_Metadata=told(filename="cors"), Origin="https://app.example")
    assert made.headers["Access-Control-Allow-Origin"] == "https://app.example"
    for name in ("Location", "Upload-Offset", "Upload-Length", "Tus-Resumable"):
        assert name in made.headers["Access-Control-Expose-Headers"]
    preflight = alice.ask("OPTIONS", "/files/uploads", Origin="https://app.example", Access_Control_Request_Headers="tus-resumable")
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.headers["Access-Control-Allow-Headers"] == "tus-resumable"


# -- mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus_Resumable": ""}, 412),
        ({"Tus_Resumable": "0.2.2"}, 412),
        ({"Upload_Length": ""}, 400),
        ({"Upload_Length": "-1"}, 400),
        ({"Upload_Length": "1e3"}, 400),
        ({"Upload_Length": "٣"}, 400),
        ({"Upload_Length": "9" * 40}, 400),
        ({"Upload_Length": str(2 << 30)}, 413),
        ({"Upload_Metadata": ""}, 422),
        ({"Upload_Metadata": "filename ***"}, 400),
        ({"Upload_Metadata": "filename /w=="}, 400),
        ({"Upload_Metadata": told(filename="a") + "," + told(filename="b")}, 400),
        ({"Upload_Metadata": told(filename="a/b")}, 422),
        ({"Upload_Metadata": told(filename="..")}, 422),
        ({"Upload_Metadata": told(filename="x" * 256)}, 422),
        ({"Upload_Metadata": told(filename="a", dir="nowhere")}, 404),
        ({"Upload_Metadata": told(filename="a", dir="io.cozy.files.trash-dir")}, 404),
        ({"Upload_Metadata": told(filename="Photos")}, 409),
        ({"Upload_Metadata": told(replaces="nothing")}, 404),
        ({"Upload_Metadata": told(filename="a", filetype="not a type")}, 422),
        ({"Upload_Metadata": told(filename="a", createdAt="yesterday")}, 422),
        ({"Upload_Checksum": "crc32 AAAA"}, 400),
        ({"Upload_Checksum": "sha1 ***"}, 400),
        ({"Upload_Checksum": "sha1 é"}, 400),
        ({"Upload_Metadata": "filename é"}, 400),
    ],
)
def test_a_beginning_that_cannot_be_is_refused(alice: Client, server: Served, headers: dict[str, str], status: int):
    before = sorted((server.folder / "uploads").glob("*/*"))
    given: dict[str, Any] = {"Upload_Length": "3", "Upload_Metadata": told(filename="refused.txt")} | headers
    if "Upload_Length" in headers and not headers["Upload_Length"].isascii():
        given["Upload_Length"] = headers["Upload_Length"].encode().decode("latin-1")
    answer = ask(alice, "POST", "/files/uploads", **given)
    assert answer.status == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"
    assert sorted((server.folder / "uploads").glob("*/*")) == before


@pytest.mark.parametrize("size", [4, 2_000_000])
def test_bytes_that_do_not_fit_on_are_refused_and_nothing_is_lost(alice: Client, size: int):
    upload = begin(alice, size + 2, f"refuse-{size}.bin", b"ab")
    body = b"x" * size
    refused = [
        (send(alice, upload, 0, body), 409),
        (send(alice, upload, 3, body), 409),
        (send(alice, upload, 2, body + b"y"), 413),
        (send(alice, upload, 2, body, Content_Type="text/plain"), 415),
        (send(alice, upload, 2, body, Tus_Resumable="2.0"), 412),
        (ask(alice, "PATCH", upload, body), 400),
        (send(alice, upload, 2, body, Upload_Checksum="sha1 " + base64.b64encode(hashlib.sha1(b"other").digest()).decode()), 460),
        (send(alice, "/files/uploads/" + "0" * 32, 2, body), 404),
        (send(alice, "/files/uploads/..%2f..%2fetc", 2, body), 404),
    ]
    assert [answer.status for answer, _ in refused] == [status for _, status in refused]
    assert offset_of(alice, upload) == 2
    assert send(alice, upload, 2, body).status == 204
    assert content(alice, f"/refuse-{size}.bin") == b"ab" + body


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_checksum_is_compared_and_wrong_bytes_are_dropped(alice: Client, algorithm: str, size: int):
    body, name = BIG[:size], f"{algorithm}-{size}.bin"
    upload = begin(alice, size, name)

    def checksum(data: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"

    wrong = send(alice, upload, 0, body, Upload_Checksum=checksum(body + b"x"))
    assert (wrong.status, offset_of(alice, upload)) == (460, 0)
    half = size // 2
    assert send(alice, upload, 0, body[:half], Upload_Checksum=checksum(body[:half])).status == 204
    assert send(alice, upload, half, body[half:], Upload_Checksum=checksum(body[:1])).status == 460
    assert send(alice, upload, half, body[half:], Upload_Checksum=checksum(body[half:])).status == 204
    assert content(alice, f"/{name}") == body


def test_one_that_was_given_up_is_gone(alice: Client, server: Served):
    upload = begin(alice, 1000, "given-up.bin", b"x" * 500)
    assert ask(alice, "DELETE", upload, Tus_Resumable="").status == 412
    assert ask(alice, "DELETE", upload).status == 204
    for method in ("HEAD", "DELETE"):
        assert ask(alice, method, upload).status == 404
    assert send(alice, upload, 500, b"x" * 500).status == 404
    assert not list((server.folder / "uploads").glob(f"*/{upload.rpartition('/')[2]}"))


# -- who may ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 2_000_000])
def test_every_request_is_asked_for_its_right(alice: Client, server: Served, size: int):
    home = alice.api("POST", f"/files/{ROOT}?Type=directory&Name=mine-{size}").json["data"]["id"]
    allowed, reading, elsewhere = (
        server.token(scope) for scope in (f"io.cozy.files:POST:{home}", "io.cozy.files:GET", f"io.cozy.files:POST:{ROOT[:-1]}x")
    )
    given = {"Upload_Length": str(size * 2), "Upload_Metadata": told(filename="x", dir=home)}
    for token, status in (("none", 400), (reading, 403), (elsewhere, 403)):
        assert ask(alice, "POST", "/files/uploads", b"x" * size, token=token, **given).status == status
    made = ask(alice, "POST", "/files/uploads", b"x" * size, token=allowed, **given)
    assert made.status == 201
    upload = urlsplit(made.headers["Location"]).path
    for token, status in (("none", 400), (reading, 403), (elsewhere, 403)):
        assert send(alice, upload, size, b"x" * size, token=token).status == status
        assert ask(alice, "HEAD", upload, token=token).status == status
        assert ask(alice, "DELETE", upload, token=token).status == status
    assert offset_of(alice, upload) == size
    assert send(alice, upload, size, b"x" * size, token=allowed).status == 204


def test_nobody_without_a_token(alice: Client):
    assert alice.ask("POST", "/files/uploads", Tus_Resumable="1.0.0", Upload_Length="3").status == 401


def test_the_quota_counts_what_is_under_way(tmp_path: Path):
    with Served(tmp_path / "data").add_alice() as served:
        alice = Client(served, scope=("io.cozy.files",))
        served.cli("instances", "set", served.domain, "--quota", "10000000")
        first = begin(alice, 6_000_000, "first.bin", BIG)
        refused = ask(alice, "POST", "/files/uploads", Upload_Length="6000000", Upload_Metadata=told(filename="second.bin"))
        assert refused.status == 413
        assert ask(alice, "POST", "/files/uploads", Upload_Length="20000000", Upload_Metadata=told(filename="third.bin")).status == 413
        second = begin(alice, 4_000_000, "second.bin")
        assert ask(alice, "DELETE", first).status == 204
        assert send(alice, second, 0, BIG[:4_000_000]).status == 204
        assert used(alice) == 4_000_000
        third = begin(alice, 6_000_000, "third.bin", BIG)
        served.cli("instances", "set", served.domain, "--quota", "9000000")
        assert send(alice, third, len(BIG), BIG[:1_000_000]).status == 413
        assert not is_file(alice, "/third.bin")
        served.cli("instances", "set", served.domain, "--quota", "-1")
        length = offset_of(alice, third)
        assert send(alice, third, length, BIG[: 6_000_000 - length]).status == 204
        assert is_file(alice, "/third.bin"), "it is finished once there is room"


# -- cut, killed, contended ---------------------------------------------------------------------------------------------


def head(client: Client, upload: str, offset: int, length: int, *lines: str) -> str:
    more = "".join(f"{line}\n" for line in lines)
    return (
        f"PATCH {upload} HTTP/1.1\nHost: {client.domain}\nAuthorization: Bearer {client.token}\nTus-Resumable: 1.0.0\n"
        f"Content-Type: {OFFSET}\nUpload-Offset: {offset}\nContent-Length: {length}\n{more}\n"
    )


def test_what_came_before_the_connection_broke_is_kept(alice: Client):
    upload = begin(alice, len(BIG), "cut.bin")
    with Raw(alice.served.port) as connection:
        connection.send(head(alice, upload, 0, len(BIG))).send(BIG[:3_000_000])
        eventually(lambda: offset_of(alice, upload) >= 2_900_000)
    eventually(lambda: send(alice, upload, 0, b"x").status == 409)
    came = offset_of(alice, upload)
    assert 2_900_000 <= came <= 3_000_000
    assert send(alice, upload, came, BIG[came:]).status == 204
    assert content(alice, "/cut.bin") == BIG


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_in_chunks_goes_on_too_and_never_past_the_end(alice: Client, more: int):
    upload = begin(alice, len(BIG), f"chunked-{more}.bin", BIG[:1000])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (BIG[1000:2_000_000], BIG[2_000_000:] + b"x" * more))
    asking = head(alice, upload, 1000, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
    with Raw(alice.served.port, timeout=20) as connection:
        connection.send(asking).send(chunks + b"0\r\n\r\n")
        assert connection.reply().status == (413 if more else 204)
    if more:
        came = offset_of(alice, upload)
        assert came <= len(BIG)
        assert send(alice, upload, came, BIG[came:]).status == 204
    assert content(alice, f"/chunked-{more}.bin") == BIG


def test_a_piece_that_was_to_be_compared_is_not_kept_in_part(alice: Client):
    upload = begin(alice, len(BIG), "cut-compared.bin")
    digest = base64.b64encode(hashlib.sha1(BIG).digest()).decode()
    with Raw(alice.served.port) as connection:
        connection.send(head(alice, upload, 0, len(BIG), f"Upload-Checksum: sha1 {digest}")).send(BIG[:3_000_000])
        eventually(lambda: offset_of(alice, upload) >= 2_900_000)
    eventually(lambda: offset_of(alice, upload) == 0)
    assert send(alice, upload, 0, BIG, Upload_Checksum=f"sha1 {digest}").status == 204
    assert content(alice, "/cut-compared.bin") == BIG


def test_only_one_sends_at_once_and_who_hangs_is_given_up(alice: Client):
    upload = begin(alice, len(BIG), "contended.bin")
    with Raw(alice.served.port, timeout=30) as hanging:
        hanging.send(head(alice, upload, 0, len(BIG))).send(BIG[:2_000_000])
        eventually(lambda: offset_of(alice, upload) >= 1_900_000)
        locked = send(alice, upload, offset_of(alice, upload), b"x" * 10)
        assert (locked.status, locked.headers["Retry-After"]) == (423, "1")
        assert ask(alice, "DELETE", upload).status == 423
        eventually(lambda: send(alice, upload, 0, b"x").status == 409, within=15)
    came = offset_of(alice, upload)
    assert send(alice, upload, came, BIG[came:]).status == 204
    assert content(alice, "/contended.bin") == BIG


def test_many_who_finish_at_once_make_one_file(alice: Client):
    upload = begin(alice, 10, "once.bin", b"12345")
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(send(alice, upload, 5, b"67890").status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers.count(204) == 1
    assert set(answers) <= {204, 409, 423}
    assert content(alice, "/once.bin") == b"1234567890"


def test_a_name_that_was_taken_meanwhile_costs_no_byte(alice: Client):
    upload = begin(alice, 5, "taken.bin", b"123")
    other = alice.api("POST", f"/files/{ROOT}?Type=file&Name=taken.bin", b"other").json["data"]
    sent = send(alice, upload, 3, b"45")
    assert sent.status == 204
    made = alice.api("GET", sent.headers["Content-Location"]).json["data"]
    assert made["attributes"]["name"] == "taken (2).bin"
    assert (content(alice, "/taken.bin"), content(alice, "/taken%20(2).bin")) == (b"other", b"12345")
    assert ask(alice, "HEAD", upload).headers["Content-Location"] == sent.headers["Content-Location"]
    assert other["attributes"]["md5sum"] != made["attributes"]["md5sum"]


def killed_and_gone_on(folder: Path, rounds: int) -> None:
    """One upload after the other, the server killed at another moment of a request each time."""
    server = Served(folder / "data").add_alice()
    server.start()
    alice = Client(server, scope=("io.cozy.files",))
    whole, piece, done = BIG * 2, 4_000_000, 0
    upload, offset = begin(alice, len(whole), "0.bin"), 0
    for number in range(rounds):
        sender = threading.Thread(target=_sent, args=(alice, upload, offset, whole[offset : offset + piece]))
        sender.start()
        time.sleep(0.005 * (number % 12))
        server.kill()
        sender.join(20)
        server.start()
        came = offset_of(alice, upload)
        assert came >= offset, "what was acknowledged is there"
        offset = min(len(whole), came + piece)
        if came < len(whole):
            assert send(alice, upload, came, whole[came:offset]).status == 204
        if offset == len(whole):
            assert content(alice, f"/{done}.bin") == whole
            done += 1
            upload, offset = begin(alice, len(whole), f"{done}.bin"), 0
    server.stop()
    assert done
    assert "all is well" in server.cli("fsck", server.domain, "--offline")


def test_kill_9_loses_no_acknowledged_byte(tmp_path: Path):
    killed_and_gone_on(tmp_path, 4)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_kill_9_a_hundred_times_loses_no_acknowledged_byte(tmp_path: Path):
    killed_and_gone_on(tmp_path, 100)


def _sent(client: Client, upload: str, offset: int, body: bytes) -> None:
    try:
        send(client, upload, offset, body)
    except OSError:
        return
    except Exception as error:
        if type(error).__module__ != "http.client":
            raise


# -- running out --------------------------------------------------------------------------------------------------------


def test_what_nobody_goes_on_with_is_collected_and_an_instance_takes_hers_along(tmp_path: Path):
    server = Served(tmp_path / "data").add_alice()
    with server:
        alice = Client(server, scope=("io.cozy.files",))
        old, young = begin(alice, 1000, "old.bin", b"x" * 500), begin(alice, 1000, "young.bin", b"y" * 500)
        [part] = (server.folder / "uploads").glob(f"*/{old.rpartition('/')[2]}/part")
        week = time.time() - 8 * 24 * 3600
        os.utime(part, (week, week))
        assert ask(alice, "HEAD", old).status == 404
        assert send(alice, old, 500, b"x" * 500).status == 404
    with server:
        eventually(lambda: not part.parent.exists())
        assert offset_of(alice, young) == 500
        assert send(alice, young, 500, b"y" * 500).status == 204
        begin(alice, 1000, "left.bin", b"z" * 500)
        server.cli("instances", "remove", server.domain, "--force")
        assert not list((server.folder / "uploads").glob("*/*"))
