"""Contents by secret links, archives, thumbnails' placeholders, and what browsers may do with them."""

import io
import zipfile

import pytest

from cozyd.permissions import FILES, ROOT_DIR
from tests.support.client import Client
from tests.support.data import with_rules
from tests.support.files import is_error, mkdir, uploaded
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(FILES,))


@pytest.fixture(scope="module")
def home(alice: Client) -> str:
    return mkdir(alice, "test_files_downloads")


def archive(alice: Client, **attributes: object) -> str:
    answer = alice.api("POST", "/files/archive", {"data": {"type": "io.cozy.files.archives", "attributes": attributes}})
    assert answer.status == 200, answer.body
    related: str = answer.json["links"]["related"]
    return related


# -- links --------------------------------------------------------------------------------------------------------------


def test_a_link_opens_one_file_without_a_token(alice: Client, home: str):
    file = uploaded(alice, home, "note é.txt", b"hello", Content_Type="text/plain")
    for query in ("Path=/test_files_downloads/note%20%C3%A9.txt", f"Id={file['id']}"):
        answer = alice.api("POST", f"/files/downloads?{query}")
        assert (answer.status, answer.json["data"]["id"]) == (200, file["id"])
        link = answer.json["links"]["related"]
        found = alice.ask("GET", link)
        assert (found.status, found.body) == (200, b"hello")
        assert found.headers["Content-Security-Policy"] == "form-action 'none'; frame-ancestors *"
        assert alice.ask("GET", link, Range="bytes=1-2").body == b"el"
        saved = alice.ask("GET", link + "?Dl=1")
        assert saved.headers["Content-Disposition"].startswith("attachment")
        assert saved.headers["Content-Security-Policy"] == "form-action 'none'"


def test_a_link_to_a_version(alice: Client, home: str):
    file = uploaded(alice, home, "v.txt", b"one")
    version = alice.api("PUT", f"/files/{file['id']}", b"second").json["included"][0]["id"]
    link = alice.api("POST", f"/files/downloads?VersionId={version}&Filename=old.txt").json["links"]["related"]
    assert link.startswith("/files/downloads/v-")
    answer = alice.ask("GET", link)
    assert (answer.body, answer.headers["Content-Disposition"]) == (b"one", 'inline; filename="old.txt"')
    assert alice.api("POST", f"/files/downloads?VersionId={file['id']}/none").status == 404


def test_what_makes_no_link(alice: Client, home: str):
    assert alice.api("POST", "/files/downloads").status == 400
    assert alice.api("POST", f"/files/downloads?Id={home}").status == 404
    assert alice.api("POST", "/files/downloads?Path=/nowhere").status == 404
    file = uploaded(alice, home, "unseen", b"x")
    assert with_rules(alice, f"{FILES}:GET:other").api("POST", f"/files/downloads?Id={file['id']}").status == 403
    for secret in ("0123456789abcdef", "v-0123456789abcdef", "x"):
        assert is_error(alice.ask("GET", f"/files/downloads/{secret}/x"), 400, "Wrong download token")
        assert is_error(alice.ask("GET", f"/files/archive/{secret}/x.zip"), 400, "Wrong download token")


def test_a_link_of_one_tenant_opens_nothing_at_another(alice: Client, home: str, served: Served):
    file = uploaded(alice, home, "mine", b"x")
    link = alice.api("POST", f"/files/downloads?Id={file['id']}").json["links"]["related"]
    bob = Client(served, domain=f"bob.localhost:{served.port}")
    assert bob.ask("GET", link).status == 400


@pytest.mark.parametrize(
    ("name", "sandboxed"), [("a.html", True), ("a.svg", True), ("a.xml", True), ("a.pdf", False), ("a.png", False), ("a.txt", False)]
)
def test_active_content_is_sandboxed(alice: Client, home: str, name: str, sandboxed: bool):
    file = uploaded(alice, home, name, b"<script>alert(1)</script>")
    by_id = alice.api("GET", f"/files/download/{file['id']}")
    by_path = alice.api("GET", f"/files/download?Path=/test_files_downloads/{name}")
    for answer in (by_id, by_path):
        assert ("sandbox" in answer.headers.get("Content-Security-Policy", "")) == sandboxed
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "form-action 'none'" in by_path.headers["Content-Security-Policy"]


# -- archives -----------------------------------------------------------------------------------------------------------


def test_a_selection_in_a_zip(alice: Client, home: str):
    top = mkdir(alice, "zipped", into=home)
    inner = mkdir(alice, "in ner é", into=top)
    mkdir(alice, "empty", into=top)
    uploaded(alice, inner, "a.txt", b"hello")
    uploaded(alice, top, "run.sh", b"#!/bin/sh\n", query="&Executable=true&UpdatedAt=2020-01-02T03:04:06Z")
    single = uploaded(alice, home, "single.bin", bytes(range(256)) * 40)
    link = archive(alice, name="pack", ids=[single["id"]], files=["/test_files_downloads/zipped"])
    answer = alice.ask("GET", link)
    assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == ("application/zip", 'attachment; filename="pack.zip"')
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as found:
        assert found.testzip() is None
        names = ["single.bin", "zipped/", "zipped/empty/", "zipped/in ner é/", "zipped/in ner é/a.txt", "zipped/run.sh"]
        assert found.namelist() == [f"pack/{name}" for name in names]
        assert found.read("pack/single.bin") == bytes(range(256)) * 40
        script = found.getinfo("pack/zipped/run.sh")
        assert (script.date_time, script.external_attr >> 16 & 0o777) == ((2020, 1, 2, 3, 4, 6), 0o755)
    assert alice.ask("HEAD", link).headers["Content-Length"] == str(len(answer.body))


def test_any_range_of_a_zip(alice: Client, home: str):
    top = mkdir(alice, "ranged", into=home)
    for number in range(5):
        uploaded(alice, top, f"{number}.bin", bytes([number]) * 1000 * number)
    link = archive(alice, ids=[top])
    whole = alice.ask("GET", link)
    assert whole.headers["Content-Disposition"] == 'attachment; filename="archive.zip"'
    size = len(whole.body)
    for start, stop in ((0, 10), (35, 36), (500, 5000), (size - 30, size), (size - 500, size), (1, size)):
        part = alice.ask("GET", link, Range=f"bytes={start}-{stop - 1}", If_Range=whole.etag)
        assert (part.status, part.body) == (206, whole.body[start:stop]), (start, stop)
    uploaded(alice, top, "more", b"x")
    assert alice.ask("GET", link, Range="bytes=0-1", If_Range=whole.etag).status == 200


def test_a_zip_at_once(alice: Client, home: str):
    file = uploaded(alice, home, "now.txt", b"x")
    body = {"data": {"attributes": {"ids": [file["id"], file["id"]]}}}
    answer = alice.api("POST", "/files/archive", body, Accept="application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as found:
        assert found.namelist() == ["archive/now.txt", "archive/now (2).txt"]


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({}, 400),
        ({"ids": [], "files": []}, 400),
        ({"name": "a/b", "ids": [ROOT_DIR]}, 400),
        ({"name": "..", "ids": [ROOT_DIR]}, 400),
        ({"ids": ["nowhere"]}, 404),
        ({"files": ["/nowhere"]}, 404),
        ({"ids": "x"}, 422),
        ({"ids": [1]}, 422),
        ({"name": 5, "ids": [ROOT_DIR]}, 422),
    ],
)
def test_what_makes_no_zip(alice: Client, attributes: dict[str, object], status: int):
    assert alice.api("POST", "/files/archive", {"data": {"attributes": attributes}}).status == status


def test_each_item_of_a_zip_needs_the_right(alice: Client, home: str):
    mine, other = mkdir(alice, "mine-zip", into=home), mkdir(alice, "other-zip", into=home)
    guest = with_rules(alice, f"{FILES}:GET:{mine}")
    assert guest.api("POST", "/files/archive", {"data": {"attributes": {"ids": [mine]}}}).status == 200
    assert guest.api("POST", "/files/archive", {"data": {"attributes": {"ids": [mine, other]}}}).status == 403


# -- thumbnails ---------------------------------------------------------------------------------------------------------


def test_a_picture_links_to_thumbnails_that_are_placeholders_yet(alice: Client, home: str):
    links = uploaded(alice, home, "p.png", b"no picture")["links"]
    assert list(links) == ["self", "tiny", "small", "medium", "large"]
    for size, width in (("tiny", 96), ("small", 640), ("medium", 1280), ("large", 1920)):
        answer = alice.ask("GET", links[size])
        assert (answer.status, answer.headers["Content-Type"]) == (404, "image/png")
        assert answer.body.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(answer.body[16:20]) == width
    unknown = alice.ask("GET", links["tiny"].replace("tiny", "huge"), Accept="application/json")
    assert (unknown.status, unknown.json) == (404, {"error": "Format does not exist"})
    other = uploaded(alice, home, "q.png", b"no picture")
    secret = links["tiny"].split("/")[4]
    assert is_error(alice.ask("GET", f"/files/{other['id']}/thumbnails/{secret}/tiny"), 400, "Wrong download token")
    assert list(uploaded(alice, home, "t.txt")["links"]) == ["self"]
