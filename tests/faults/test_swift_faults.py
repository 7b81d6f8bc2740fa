"""A file store that is away, slow, cut off or wrong: no document for what it did not keep, and everything else goes on."""

import contextlib
import hashlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.records import prefix_of
from tests.support.client import Answer, Client
from tests.support.command import Command
from tests.support.faultproxy import FaultProxy
from tests.support.raw import Raw
from tests.support.serving import Served, eventually, free_port
from tests.support.swift import PASSWORD, Swift, connect

ROOT = "/files/io.cozy.files.root-dir"
TIMEOUT, AWAY = 3, 3
BIG = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def proxy(swift: Swift) -> Iterator[FaultProxy]:
    with FaultProxy(swift.port) as running:
        yield running


@pytest.fixture(scope="module")
def server(swift: Swift, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    address = f"{swift.address_by(proxy.netloc)}&Timeout={TIMEOUT}"
    environ = {"COZYD_STORAGE_BLOBS": address, "COZYD_SERVER_THREADS": "4"}
    with Served(tmp_path_factory.mktemp("onswift") / "data", environ=environ).add_alice() as served:
        yield served


@pytest.fixture(scope="module")
def client(server: Served) -> Client:
    return Client(server, scope=("io.cozy.files", "io.cozy.things"))


@pytest.fixture
def alice(client: Client, proxy: FaultProxy) -> Iterator[Client]:
    """With everything well before and after."""
    yield client
    proxy.heal()
    eventually(lambda: client.ask("GET", "/status").status == 200, within=AWAY + TIMEOUT + 5)
    temporary = client.served.folder / "blobs" / "tmp"
    eventually(lambda: list(temporary.glob("*/*")) == [])


def upload(alice: Client, name: str, content: bytes) -> Answer:
    return alice.api("POST", f"{ROOT}?Type=file&Name={name}", content)


def is_there(alice: Client, name: str) -> bool:
    return alice.api("GET", f"/files/metadata?Path=/{name}").status == 200


def download(alice: Client, name: str, **headers: str) -> Answer:
    return alice.api("GET", f"/files/download?Path=/{name}", **headers)


def is_told_to_come_back(answer: Answer) -> bool:
    return answer.status == 503 and int(answer.headers["Retry-After"]) > 0


def objects(swift: Swift, alice: Client) -> int:
    """How many objects Swift has of her."""
    with contextlib.closing(connect(swift)) as connection:
        return len(connection.get_container(f"cozy-v3-{prefix_of(alice.domain)}", full_listing=True)[1])


def ask_admin(server: Served, method: str, path: str) -> list[Any]:
    """The lines of an answer of the operator's socket."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(server.folder / "admin.sock"))
    with contextlib.closing(connection):
        connection.request(method, path)
        return [json.loads(line) for line in connection.getresponse().read().splitlines()]


# -- well ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 200_000, 3_000_000])
def test_files_are_kept_on_swift_through_both_doors(alice: Client, size: int):
    content, name = BIG[:size], f"well-{size}"
    made = upload(alice, name, content)
    assert made.status == 201
    assert made.json["data"]["attributes"]["size"] == str(size)
    assert download(alice, name).body == content
    assert alice.dav("PUT", f"/sync/files/dav-{size}", content).status == 201
    assert alice.dav("GET", f"/sync/files/dav-{size}").body == content
    assert alice.dav("COPY", f"/sync/files/{name}", Destination=f"/sync/files/copy-{size}").status == 201
    assert alice.dav("GET", f"/sync/files/copy-{size}").body == content
    assert not list((alice.served.folder / "blobs").glob("cozy*"))


def test_parts_of_a_file_are_read(alice: Client):
    assert upload(alice, "parts", BIG).status == 201
    for asked, part in (("bytes=5-9", BIG[5:10]), ("bytes=-7", BIG[-7:]), ("bytes=2999999-", BIG[-1:])):
        answer = download(alice, "parts", Range=asked)
        assert (answer.status, answer.body) == (206, part)
    assert download(alice, "parts", Range="bytes=3000000-").status == 416


def test_many_who_read_nothing_hold_no_thread(alice: Client):
    """Four threads, eight slow readers of 24 MB each: what comes from far away is taken ahead."""
    assert upload(alice, "slow", BIG * 8).status == 201
    head = f"GET /files/download?Path=/slow HTTP/1.1\nHost: {alice.domain}\nAuthorization: Bearer {alice.token}\n\n"
    readers = [Raw(alice.served.port, buffer=4096, timeout=30).send(head) for _ in range(8)]
    try:
        quick = 0
        for _ in range(10):
            began = time.monotonic()
            assert alice.ask("GET", "/version").status == 200
            quick += time.monotonic() - began < 2
        assert quick > 5, "a busy machine may keep one waiting, a held thread keeps all"
        reply = readers[0].reply()
        assert (reply.status, hashlib.md5(reply.body).digest()) == (200, hashlib.md5(BIG * 8).digest())
    finally:
        for reader in readers:
            reader.close()


# -- away ---------------------------------------------------------------------------------------------------------------


def test_while_it_is_down_uploads_and_reads_are_told_to_come_back_and_the_rest_goes_on(alice: Client, proxy: FaultProxy):
    assert upload(alice, "before", b"before").status == 201
    proxy.refuses = True
    proxy.drop()
    assert is_told_to_come_back(upload(alice, "down", b"x"))
    assert is_told_to_come_back(upload(alice, "down", BIG))
    assert alice.dav("PUT", "/sync/files/down", b"x").status == 503
    assert is_told_to_come_back(download(alice, "before"))
    assert alice.ask("GET", "/status").status == 502
    assert not is_there(alice, "down")
    assert alice.api("PUT", "/data/io.cozy.things/meanwhile", {}).status == 200
    assert alice.api("POST", f"{ROOT}?Type=directory&Name=meanwhile").status == 201
    assert is_there(alice, "before")
    proxy.heal()
    assert upload(alice, "down", BIG).status == 201
    assert (download(alice, "down").body, download(alice, "before").body) == (BIG, b"before")


def test_while_it_hangs_each_request_ends_and_others_are_served_at_once(alice: Client, proxy: FaultProxy):
    assert upload(alice, "hung", b"content").status == 201
    proxy.hangs = True
    answers: list[tuple[float, Answer]] = []

    def ask(number: int) -> None:
        began = time.monotonic()
        answer = upload(alice, f"hangs-{number}", b"x") if number % 2 else download(alice, "hung")
        answers.append((time.monotonic() - began, answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        began = time.monotonic()
        assert alice.ask("GET", "/version").status == 200
        assert time.monotonic() - began < 5
        time.sleep(0.05)
    assert len(answers) == 12
    assert all(is_told_to_come_back(answer) for _, answer in answers)
    assert max(spent for spent, _ in answers) < 10
    proxy.heal()
    eventually(lambda: download(alice, "hung").status == 200, within=AWAY + TIMEOUT + 2)
    assert not any(is_there(alice, f"hangs-{number}") for number in range(12))


def test_a_slow_one_is_waited_for(alice: Client, proxy: FaultProxy):
    proxy.delay = 0.05
    assert upload(alice, "delayed", BIG[:200_000]).status == 201
    assert download(alice, "delayed").body == BIG[:200_000]


def test_what_is_erased_while_it_is_down_is_erased(alice: Client, proxy: FaultProxy):
    id = upload(alice, "erased", b"x").json["data"]["id"]
    proxy.refuses = True
    proxy.drop()
    assert alice.api("DELETE", f"/files/trash/{id}").status == 204
    assert alice.api("GET", f"/files/{id}").status == 404
    assert "stay until fsck" in alice.served.log()


# -- cut, wrong ---------------------------------------------------------------------------------------------------------


def test_an_upload_cut_half_way_makes_no_document_and_can_be_sent_again(alice: Client, proxy: FaultProxy, swift: Swift):
    before = objects(swift, alice)
    proxy.drop()
    proxy.cut_up_after = len(BIG) // 2
    assert is_told_to_come_back(upload(alice, "cut", BIG))
    assert not is_there(alice, "cut")
    proxy.heal()
    assert upload(alice, "cut", BIG).status == 201
    assert download(alice, "cut").body == BIG
    assert objects(swift, alice) == before + 1


def test_a_download_cut_half_way_goes_on_where_it_was(alice: Client, proxy: FaultProxy):
    assert upload(alice, "resumed", BIG).status == 201
    proxy.drop()
    proxy.cut_down_after, proxy.cuts = len(BIG) // 2, 1
    assert download(alice, "resumed").body == BIG
    assert proxy.cuts == 0


def test_a_download_goes_on_as_long_as_something_comes(alice: Client, proxy: FaultProxy):
    assert upload(alice, "bumpy", BIG).status == 201
    proxy.drop()
    proxy.cut_down_after = 300_000
    assert download(alice, "bumpy").body == BIG


def test_a_download_of_which_nothing_comes_is_told_to_come_back(alice: Client, proxy: FaultProxy):
    assert upload(alice, "torn", BIG).status == 201
    proxy.drop()
    proxy.cut_down_after = 1000
    assert is_told_to_come_back(download(alice, "torn"))


def test_a_download_that_cannot_go_on_ends_short_never_wrong(alice: Client, proxy: FaultProxy):
    assert upload(alice, "short", BIG).status == 201
    proxy.drop()
    proxy.cut_down_after, proxy.refuses_after_cut = len(BIG) // 2, True
    head = f"GET /files/download?Path=/short HTTP/1.1\nHost: {alice.domain}\nAuthorization: Bearer {alice.token}\n\n"
    with Raw(alice.served.port, timeout=30) as connection:
        connection.send(head)
        assert f"content-length: {len(BIG)}" in connection.until(b"\r\n\r\n").decode().lower()
        with pytest.raises(EOFError):
            connection.exactly(len(BIG))
        assert connection.rest() == BIG[: len(connection.rest())]
        assert len(connection.rest()) > len(BIG) // 4


def test_a_wrong_etag_makes_no_document_and_leaves_no_object(alice: Client, proxy: FaultProxy, swift: Swift):
    before = objects(swift, alice)
    proxy.tell_wrong_etags()
    assert is_told_to_come_back(upload(alice, "wrong", BIG))
    proxy.heal()
    assert not is_there(alice, "wrong")
    eventually(lambda: objects(swift, alice) == before)
    assert upload(alice, "wrong", BIG).status == 201


def test_its_own_restart_is_noticed_by_nobody(swift: Swift, alice: Client, tmp_path: Path):
    assert upload(alice, "lasting", b"content").status == 201
    swift.stop()
    assert is_told_to_come_back(download(alice, "lasting"))
    swift.start()
    eventually(lambda: download(alice, "lasting").status == 200)
    assert json.loads(alice.ask("GET", "/status").body)["status"] == "OK"


# -- all of it ----------------------------------------------------------------------------------------------------------


def test_a_resumable_upload_ends_on_swift(alice: Client):
    tus = {"Tus_Resumable": "1.0.0"}
    began = alice.api("POST", "/files/uploads", **tus, Upload_Length=str(len(BIG)), Upload_Metadata="filename dHVz")
    path = began.headers["Location"].split(str(alice.served.port), 1)[1]
    half = len(BIG) // 2
    for offset, body in ((0, BIG[:half]), (half, BIG[half:])):
        sent = alice.api("PATCH", path, body, **tus, Upload_Offset=str(offset), Content_Type="application/offset+octet-stream")
        assert sent.status == 204
    assert download(alice, "tus").body == BIG
    assert not list((alice.served.folder / "uploads").glob("*/*/part"))


def test_a_resumable_upload_that_swift_does_not_take_is_finished_later(alice: Client, proxy: FaultProxy):
    tus = {"Tus_Resumable": "1.0.0"}
    began = alice.api("POST", "/files/uploads", **tus, Upload_Length="5", Upload_Metadata="filename bGF0ZXI=")
    path = began.headers["Location"].split(str(alice.served.port), 1)[1]
    proxy.refuses = True
    proxy.drop()
    sent = alice.api("PATCH", path, b"hello", **tus, Upload_Offset="0", Content_Type="application/offset+octet-stream")
    assert is_told_to_come_back(sent)
    assert not is_there(alice, "later")
    proxy.heal()
    assert alice.api("HEAD", path, **tus).headers["Upload-Offset"] == "5"
    assert download(alice, "later").body == b"hello"


def test_after_all_that_documents_and_contents_agree(alice: Client):
    assert "all is well" in alice.served.cli("fsck", alice.domain)
    usage = json.loads(alice.served.cli("files", "usage", alice.domain, "--json"))
    assert int(usage["files"]) > 0


def test_what_nobody_names_on_swift_is_found_and_deleted(alice: Client, swift: Swift):
    mend = f"/instances/{alice.domain}/fsck?OrphanAge=0&NoContents=true"
    ask_admin(alice.served, "POST", mend)  # what hung on its way above may have arrived
    with contextlib.closing(connect(swift)) as connection:
        container = f"cozy-v3-{prefix_of(alice.domain)}"
        connection.put_object(container, "0123456789abcdef012345/6789a/bcdef/0123456789abcdef", b"lost")
        assert "all is well" in alice.served.cli("fsck", alice.domain, "--no-contents"), "it is young"
        before = objects(swift, alice)
        lines = ask_admin(alice.served, "POST", mend)
        assert [line["type"] for line in lines if "mendable" in line] == ["index_missing"]
        assert lines[-1] == {"step": "done", "findings": 1, "mended": 1}
        assert objects(swift, alice) == before - 1


def test_the_configuration_of_a_store_is_checked(swift: Swift, tmp_path: Path):
    def findings(address: str, **more: str) -> str:
        done = Command(tmp_path / "data")("config", "check", COZYD_STORAGE_BLOBS=address, COZYD_SERVER_PORT=str(free_port()), **more)
        assert PASSWORD not in done.out + done.err
        return done.out

    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    without = swift.address.rpartition("&")[0]
    assert "All is well." in findings(swift.address)
    assert "All is well." in findings(without, COZYD_STORAGE_BLOBS_PASSWORD_FILE=str(secret))
    secret.write_text("wrong")
    assert "The file store refused" in findings(without, COZYD_STORAGE_BLOBS_PASSWORD_FILE=str(secret))
    assert "does not answer" in findings(f"swift://127.0.0.1:{free_port()}/auth/v1.0?UserName=a:b&Password=x")
    assert "Swift needs UserName and Password" in findings(without)
    shown = Command(tmp_path / "data")("config", "show", COZYD_STORAGE_BLOBS=swift.address).out
    assert "Password=..." in shown
    assert "secret" not in shown
