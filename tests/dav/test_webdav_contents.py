"""PUT, GET and HEAD of files over WebDAV: whole contents, ranges, conditions (RFC 9110), clients' own headers."""

import hashlib
import http.client
import threading
from base64 import b64encode
from collections.abc import Iterator

import pytest

from cozyd.permissions import FILES
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.webdav import MOUNT, Device

TEN = b"0123456789"


@pytest.fixture(scope="module")
def phone(served: Served) -> Device:
    return Device(Client(served, scope=(FILES,)), "test_webdav_contents")


@pytest.fixture(autouse=True)
def _no_surprise(phone: Device) -> Iterator[None]:
    yield
    assert "Traceback" not in phone.client.served.log()


# -- PUT ----------------------------------------------------------------------------------------------------------------


def test_what_is_put_is_got(phone: Device):
    for status, body in ((201, b""), (204, bytes(range(256)) * 5000), (204, b"x")):
        answer = phone.put("/file.bin", body)
        assert (answer.status, answer.body) == (status, b"")
        got = phone.get("/file.bin")
        assert (got.status, got.body, got.etag) == (200, body, answer.etag)


@pytest.mark.parametrize("header", ["Content_Range", "X_Update_Range"])
def test_a_part_of_a_file_is_refused_and_changes_nothing(phone: Device, header: str):
    phone.put("/part.txt", TEN)
    assert phone.put("/part.txt", b"xx", **{header: "bytes 0-1/10"}).status == 400
    assert phone.put("/new-part.txt", b"xx", **{header: "bytes 0-1/10"}).status == 400
    assert phone.get("/part.txt").body == TEN
    assert phone.get("/new-part.txt").status == 404


def test_a_coded_content_is_refused(phone: Device):
    assert phone.put("/coded.txt", b"x", Content_Encoding="gzip").status == 415


@pytest.mark.parametrize("condition", ['"other"', "*"])
def test_if_match_makes_no_file(phone: Device, condition: str):
    assert phone.put("/absent.txt", If_Match=condition).status == 412
    assert phone.get("/absent.txt").status == 404


def test_a_file_is_replaced_only_as_it_was_seen(phone: Device):
    first = phone.put("/seen.txt", b"1").etag
    assert phone.put("/seen.txt", b"2", If_None_Match="*").status == 412
    second = phone.put("/seen.txt", b"2", If_Match=first)
    assert second.status == 204
    assert phone.put("/seen.txt", b"3", If_Match=first).status == 412
    assert phone.put("/seen.txt", b"3", If_Unmodified_Since="Thu, 01 Jan 2015 00:00:00 GMT").status == 412
    assert phone.get("/seen.txt").body == b"2"


def test_of_many_who_saw_the_same_one_replaces_it(phone: Device):
    etag = phone.put("/race.txt", b"0").etag
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda n=number: statuses.append(phone.put("/race.txt", str(n).encode(), If_Match=etag).status))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [204] + [412] * 7


def test_many_who_put_one_name_all_succeed_and_leave_one_whole_file(phone: Device):
    bodies = [bytes([65 + number]) * 300_000 for number in range(8)]
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda body=body: statuses.append(phone.put("/busy.bin", body).status)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [201] + [204] * 7
    assert phone.get("/busy.bin").body in bodies
    assert phone.names().count("busy.bin") == 1


def test_a_name_without_a_folder_and_a_folder_have_no_content(phone: Device):
    phone.mkcol("/folder")
    assert phone.put("/nowhere/file.txt").status == 409
    assert phone.put("/busy.txt").status == 201
    assert phone.put("/busy.txt/below.txt").status == 409
    for path in ("/folder", "/folder/", "/new/"):
        refused = phone.put(path)
        assert (refused.status, "PROPFIND" in refused.headers["Allow"]) == (405, True)
    assert "new" not in phone.names()


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "..", "."])
def test_a_name_that_cannot_be_is_refused(phone: Device, name: str):
    assert phone.put(f"/{name}").status == 400


def test_the_trash_is_not_there(phone: Device):
    assert phone.client.dav("PUT", f"{MOUNT}/.cozy_trash/x.txt", b"x").status == 404
    assert phone.client.dav("PROPFIND", f"{MOUNT}/.cozy_trash", Depth="0").status == 404
    assert b".cozy_trash" not in phone.client.dav("PROPFIND", f"{MOUNT}/", Depth="1").body
    phone.put("/trash.txt")
    assert phone.ask("MOVE", "/trash.txt", Destination=f"{MOUNT}/.cozy_trash/x.txt").status == 403


@pytest.mark.parametrize("name", [".DS_Store", "._photo.jpg", "Thumbs.db", "~$letter.docx", "desktop.ini"])
def test_what_file_managers_leave_beside_files_is_taken(phone: Device, name: str):
    assert phone.put(f"/{name}", b"x").status in (201, 204)
    assert phone.get(f"/{name}").body == b"x"
    assert phone.ask("DELETE", f"/{name}").status == 204


def test_the_time_of_the_client_is_kept(phone: Device):
    answer = phone.put("/times.txt", X_OC_Mtime="1700000000")
    assert (answer.status, answer.headers["X-OC-Mtime"]) == (201, "accepted")
    assert phone.get("/times.txt").headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    for wrong in ("yesterday", "nan", "1e300"):
        assert phone.put("/times.txt", X_OC_Mtime=wrong).status == 400


@pytest.mark.parametrize("kind", ["MD5", "SHA1", "SHA256", "sha1"])
def test_a_checksum_of_the_client_is_checked(phone: Device, kind: str):
    digest = hashlib.new(kind.lower(), TEN).hexdigest()
    assert phone.put("/sum.txt", TEN, OC_Checksum=f"{kind}:{digest}").status in (201, 204)
    assert phone.put("/sum.txt", b"other", OC_Checksum=f"{kind}:{digest}").status == 400
    assert phone.get("/sum.txt").body == TEN
    assert phone.put("/sum.txt", b"other", OC_Checksum="ADLER32:0").status == 204


def test_what_apps_noted_with_a_file_stays_when_its_content_is_replaced(phone: Device):
    id = phone.put("/tagged.txt").headers["OC-FileId"]
    patch = {"data": {"type": FILES, "id": id, "attributes": {"tags": ["kept"], "executable": True}}}
    assert phone.client.api("PATCH", f"/files/{id}", patch).status == 200
    phone.put("/tagged.txt", b"next")
    attributes = phone.client.api("GET", f"/files/{id}").json["data"]["attributes"]
    assert (attributes["tags"], attributes["executable"], attributes["size"]) == (["kept"], True, "4")


def test_a_chunked_upload_as_finder_sends_it(phone: Device):
    connection = http.client.HTTPConnection("127.0.0.1", phone.client.served.port, timeout=30)
    credentials = b64encode(f"me:{phone.client.password}".encode()).decode()
    headers = {"Host": phone.client.host, "Authorization": f"Basic {credentials}", "X-Expected-Entity-Length": "30"}
    connection.request("PUT", phone.at("/chunked.bin"), iter((TEN, TEN, TEN)), headers, encode_chunked=True)
    assert connection.getresponse().status == 201
    connection.close()
    assert phone.get("/chunked.bin").body == TEN * 3


def test_an_upload_that_is_cut_leaves_what_was(phone: Device):
    phone.put("/cut.bin", TEN)
    connection = http.client.HTTPConnection("127.0.0.1", phone.client.served.port, timeout=30)
    credentials = b64encode(f"me:{phone.client.password}".encode()).decode()
    connection.putrequest("PUT", phone.at("/cut.bin"), skip_host=True)
    for name, value in (("Host", phone.client.host), ("Authorization", f"Basic {credentials}"), ("Content-Length", "8000000")):
        connection.putheader(name, value)
    connection.endheaders(bytes(4_000_000))
    connection.close()
    assert phone.get("/cut.bin").body == TEN
    assert phone.names().count("cut.bin") == 1


# -- GET ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "body", "said"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-100", 206, TEN, "bytes 0-9/10"),
        ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=0-9", 206, TEN, "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=100-200", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=0-1,4-5", 200, TEN, None),
        ("bytes=5-2", 200, TEN, None),
        ("bytes=x", 200, TEN, None),
        ("lines=0-1", 200, TEN, None),
    ],
)
def test_ranges(phone: Device, asked: str, status: int, body: bytes, said: str | None):
    phone.put("/ten.txt", TEN)
    answer = phone.get("/ten.txt", Range=asked)
    assert (answer.status, answer.body, answer.headers.get("Content-Range")) == (status, body, said)


def test_head_knows_no_ranges(phone: Device):
    phone.put("/ten.txt", TEN)
    answer = phone.ask("HEAD", "/ten.txt", Range="bytes=0-3")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "10", b"")
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_range_of_another_content_is_not_sent(phone: Device):
    etag = phone.put("/if-range.txt", TEN).etag
    modified = phone.get("/if-range.txt").headers["Last-Modified"]
    for condition, status in ((etag, 206), (modified, 206), ('"other"', 200), (f"W/{etag}", 200), ("Thu, 01 Jan 2015 00:00:00 GMT", 200)):
        assert phone.get("/if-range.txt", Range="bytes=0-1", If_Range=condition).status == status


def test_what_has_not_changed_is_not_sent_again(phone: Device):
    etag = phone.put("/same.txt", TEN).etag
    for headers, status in (
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": f'"x", {etag}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": etag}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": f'"x", {etag}', "If_None_Match": etag}, 304),
        ({"If_Unmodified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"}, 412),
    ):
        answer = phone.get("/same.txt", **headers)
        assert (answer.status, answer.body if status == 304 else b"") == (status, b"")


def test_no_page_of_an_uploader_runs_on_the_owner_s_host(phone: Device):
    phone.put("/page.html", b"<script>alert(1)</script>")
    headers = phone.get("/page.html").headers
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_folder_tells_people_what_it_is(phone: Device):
    answer = phone.get("/")
    assert (answer.status, b"WebDAV" in answer.body) == (200, True)


def test_slow_readers_hold_no_thread(fresh: Served):
    phone = Device(Client(fresh), "slow")
    phone.put("/large.bin", bytes(8_000_000))
    credentials = b64encode(f"me:{phone.client.password}".encode()).decode()
    slow = []
    for _ in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=30)
        connection.request("GET", phone.at("/large.bin"), headers={"Host": phone.client.host, "Authorization": f"Basic {credentials}"})
        slow.append((connection, connection.getresponse()))
    assert phone.put("/meanwhile.txt").status == 201
    assert all(response.status == 200 for _, response in slow)
    for connection, response in slow:
        response.close()
        connection.close()
