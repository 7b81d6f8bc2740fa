"""What is malformed gets the right 4xx, no stack trace, stores nothing, and the next request is fine."""

import base64
import hashlib
import socket

import pytest

from tests.support.client import Answer, Client
from tests.support.serving import Served, eventually

DOCTYPES = ("io.cozy.contacts", "io.cozy.files", "io.cozy.things")
CLIMBING = ["..", "../x", "a/../b", "%2e%2e", "%2e%2e%2fx", "..%2fx", "/../etc/passwd", "....//x", "a/%2e%2e/b"]
ASKING = '<propfind xmlns="DAV:"><prop>{}</prop></propfind>'
ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + ASKING.format("<getetag/>&b;")
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + ASKING.format("&a;")
DEEP = "<a>" * 200_000 + "</a>" * 200_000


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=DOCTYPES)


def refused(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses, (answer.status, answer.body[:300])
    assert b"Traceback" not in answer.body
    assert b"/work/" not in answer.body
    assert b"site-packages" not in answer.body


@pytest.fixture(autouse=True)
def _the_next_request_is_fine(alice: Client):
    yield
    assert alice.api("GET", "/data/").status == 200
    assert "Traceback" not in alice.served.log()


@pytest.mark.parametrize(
    "body", [b"{", b"", b"nul", b"[1,2]", b'"x"', b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000, b'{"a":"\\ud800"}', b"1" * 100_000]
)
@pytest.mark.parametrize(
    "path", ["/data/io.cozy.things/", "/data/io.cozy.things/_find", "/data/io.cozy.things/_bulk_docs", "/data/io.cozy.things/_index"]
)
def test_malformed_json_is_a_bad_request(alice: Client, path: str, body: bytes):
    refused(alice.api("POST", path, body, Content_Type="application/json"), 400, 404)


def test_json_nested_too_deep_stores_nothing(alice: Client):
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    refused(alice.api("PUT", "/data/io.cozy.things/deep", deep, Content_Type="application/json"), 400)
    refused(alice.api("GET", "/data/io.cozy.things/deep"), 404)


@pytest.mark.parametrize("path", ["/sync/dav/me/contacts/", "/sync/files/", "/sync/dav/"])
@pytest.mark.parametrize(
    "body",
    [ENTITIES, EXTERNAL, DEEP, "<a", "<propfind xmlns='DAV:'><prop></propfind>", "\x00", "<?xml version='1.0' encoding='utf-99'?><a/>"],
)
def test_evil_xml_is_a_bad_request(alice: Client, path: str, body: str):
    refused(alice.dav("PROPFIND", path, body, Depth="0"), *((400, 413) if body is DEEP else (400,)))
    refused(alice.dav("REPORT", "/sync/dav/me/contacts/", body, Depth="0"), 400)


def test_a_card_of_10_mb_is_refused(alice: Client):
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:huge\r\nFN:x\r\nNOTE:" + "x" * 10_000_000 + "\r\nEND:VCARD\r\n"
    answer = alice.dav("PUT", "/sync/dav/me/contacts/huge.vcf", card)
    refused(answer, 403)
    assert b"max-resource-size" in answer.body
    refused(alice.dav("GET", "/sync/dav/me/contacts/huge.vcf"), 404)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "BEGIN:VCARD\r\nEND:VCARD\r\n",
        "BEGIN:VCARD\r\nVERSION:2.1\r\nFN:x\r\nEND:VCARD\r\n",
        "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:x\r\n",
        "BEGIN:VCARD\r\nVERSION:3.0\r\nno colon here\r\nEND:VCARD\r\n",
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nUID:b\r\nFN:x\r\nEND:VCARD\r\n",
        "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:\udcff\r\nEND:VCARD\r\n",
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n",
    ],
)
def test_what_is_no_card_is_refused_with_its_precondition(alice: Client, text: str):
    answer = alice.dav("PUT", "/sync/dav/me/contacts/bad.vcf", text.encode("utf-8", "surrogateescape"))
    refused(answer, 403)
    assert b"valid-address-data" in answer.body
    refused(alice.dav("GET", "/sync/dav/me/contacts/bad.vcf"), 404)


def test_a_card_in_a_calendar_and_an_event_with_a_method_are_refused(alice: Client):
    event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{more}BEGIN:{kind}\r\nUID:1\r\nDTSTART:20260101T000000Z\r\nEND:{kind}\r\nEND:VCALENDAR\r\n"
    for text, name in (
        (event.format(more="METHOD:REQUEST\r\n", kind="VEVENT"), b"valid-calendar-object-resource"),
        (event.format(more="", kind="VJOURNAL"), b"supported-calendar-component"),
        (event.format(more="", kind="VEVENT").replace("DTSTART:20260101T000000Z", "DTSTART:20269999"), b"valid-calendar-data"),
    ):
        answer = alice.dav("PUT", "/sync/dav/me/calendar/bad.ics", text)
        refused(answer, 403)
        assert name in answer.body


@pytest.mark.parametrize("name", CLIMBING)
def test_no_path_climbs(alice: Client, name: str):
    from urllib.parse import quote

    for path in (f"/sync/files/{name}", f"/sync/dav/me/contacts/{name}", f"/assets/{name}"):
        refused(alice.dav("GET", path), 400, 404)
    refused(alice.dav("PUT", f"/sync/files/{name}", b"x"), 400, 404, 405, 409)
    quoted = name if "%" in name else quote(name)
    refused(alice.api("POST", f"/files/?Type=directory&Path=/{quoted}"), 422, 404)
    refused(alice.api("GET", f"/files/metadata?Path=/{quoted}"), 422, 404)
    refused(alice.api("GET", f"/files/download?Path=/{quoted}"), 422, 404)
    moved = {"Destination": f"http://{alice.domain}/sync/files/{name}"}
    assert alice.dav("PUT", "/sync/files/to-move.txt", b"x").status in (201, 204)
    refused(alice.dav("MOVE", "/sync/files/to-move.txt", **moved), 400, 403, 404, 409, 502)
    assert alice.dav("GET", "/sync/files/to-move.txt").status == 200


@pytest.mark.parametrize("name", CLIMBING)
def test_no_card_climbs(alice: Client, name: str):
    card = "/sync/dav/me/contacts/climber.vcf"
    alice.dav("PUT", card, "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:climber\r\nFN:x\r\nEND:VCARD\r\n")
    for method in ("COPY", "MOVE"):
        refused(alice.dav(method, card, Destination=f"/sync/dav/me/contacts/../{name}"), 400, 403, 404, 409, 502)
    asked = (
        '<C:addressbook-multiget xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><prop><getetag/></prop>'
        f"<href>/sync/dav/me/contacts/{name}</href></C:addressbook-multiget>"
    )
    answer = alice.dav("REPORT", "/sync/dav/me/contacts/", asked, Depth="1")
    assert (answer.status, b"404 Not Found" in answer.body, b"getetag" in answer.body) == (207, True, False)
    assert alice.dav("GET", card).status == 200


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "a\x00b", "x" * 300, "é" * 200])
def test_impossible_names_are_unprocessable(alice: Client, name: str):
    from urllib.parse import quote

    root = "io.cozy.files.root-dir"
    refused(alice.api("POST", f"/files/{root}?Type=directory&Name={quote(name)}"), 422)
    refused(alice.api("POST", f"/files/{root}?Type=file&Name={quote(name)}", b"x", Content_Type="text/plain"), 422)
    found = alice.api("GET", f"/files/{root}").json["included"][0]["id"]
    body = {"data": {"type": "io.cozy.files", "id": found, "attributes": {"name": name}}}
    refused(alice.api("PATCH", f"/files/{found}", body), 422)


def test_a_300_byte_name_is_refused_by_webdav_too(alice: Client):
    refused(alice.dav("PUT", "/sync/files/" + "x" * 300, b"x"), 400)
    refused(alice.dav("MKCOL", "/sync/files/" + "x" * 300), 400)
    refused(
        alice.dav("PUT", "/sync/dav/me/contacts/" + "x" * 300 + ".vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:u\r\nFN:x\r\nEND:VCARD\r\n"), 400
    )


def test_a_wrong_md5_leaves_nothing(alice: Client):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    path = "/files/io.cozy.files.root-dir?Type=file&Name=md5.txt"
    refused(alice.api("POST", path, b"content", Content_Type="text/plain", Content_MD5=wrong), 412)
    refused(alice.api("POST", path, b"content", Content_Type="text/plain", Content_MD5="not base64!"), 422)
    refused(alice.api("GET", "/files/metadata?Path=/md5.txt"), 404)


def raw(client: Client, head: str, body: bytes, *, cut: bool) -> bytes:
    """Send bytes as they are; what the server answers until it closes, or the client leaves."""
    with socket.create_connection(("127.0.0.1", client.served.port), timeout=10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        if cut:
            return b""
        connection.settimeout(10)
        return connection.recv(65536)


def head(client: Client, method: str, path: str, length: int, **headers: str) -> str:
    credentials = base64.b64encode(f"me:{client.password}".encode()).decode()
    more = "".join(f"\n{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\nHost: {client.host}\nAuthorization: Basic {credentials}\nContent-Length: {length}{more}"


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_cut_upload_leaves_nothing(alice: Client, size: int):
    raw(alice, head(alice, "PUT", "/sync/files/cut.bin", size), b"x" * (size // 2), cut=True)
    refused(alice.dav("GET", "/sync/files/cut.bin"), 404)
    folder = alice.served.folder / "blobs" / "tmp"
    eventually(lambda: list(folder.glob("*/*")) == [])


def test_a_body_longer_than_declared_is_no_part_of_the_file(alice: Client):
    answer = raw(alice, head(alice, "PUT", "/sync/files/longer.txt", 5, Connection="close"), b"12345SURPLUS", cut=False)
    assert answer.startswith(b"HTTP/1.1 201")
    assert alice.dav("GET", "/sync/files/longer.txt").body == b"12345"


@pytest.mark.parametrize("credentials", ["é", "/w==", "***", "YQ", ""])
def test_basic_credentials_that_are_none_are_nobody_s(alice: Client, credentials: str):
    for path in ("/files/io.cozy.files.root-dir", "/data/io.cozy.contacts/x", "/settings/instance", "/permissions/self"):
        assert alice.ask("GET", path, Authorization=f"Basic {credentials}").status == 401, path
    assert alice.ask("POST", "/files/io.cozy.files.root-dir?Type=file&Name=x", b"x", Authorization=f"Basic {credentials}").status == 401


def test_an_undecodable_id_is_a_bad_request(alice: Client):
    refused(alice.api("GET", "/data/io.cozy.things/%ff%fe"), 400)
    refused(alice.dav("GET", "/sync/files/%ff%fe"), 400)
    refused(alice.dav("GET", "/sync/dav/me/contacts/%ff%fe.vcf"), 400)


@pytest.mark.parametrize(
    "head_text",
    ["GARBAGE", "GET / HTTP/9.9\nHost: x", "GET /" + "x" * 400_000 + " HTTP/1.1\nHost: x", "GET / HTTP/1.1\nHost: x\nBad Header: y"],
)
def test_malformed_requests_are_refused(alice: Client, head_text: str):
    answer = raw(alice, head_text, b"", cut=False)
    assert answer[:12] in (b"HTTP/1.0 400", b"HTTP/1.1 400", b"HTTP/1.0 431", b"HTTP/1.1 404", b"HTTP/1.0 404"), answer[:100]
