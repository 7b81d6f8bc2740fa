"""`/search` as clients use it: who may search what, words of files' contents, freshness, rebuilding."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.client import Client
from tests.support.office import docx, odt, xlsx, zipped
from tests.support.pictures import pdf
from tests.support.serving import Served, eventually

SCOPE = ("io.cozy.files", "io.cozy.bookmarks", "io.cozy.contacts", "io.cozy.jobs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("search") / "data").add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, scope=SCOPE)


def found(client: Client, query: str, **more: str) -> list[dict[str, Any]]:
    answer = client.api("GET", f"/search?{urlencode({'q': query, **more})}")
    assert answer.status == 200, answer.body
    return list(answer.json["data"])


def upload(client: Client, name: str, content: bytes, mime: str) -> str:
    answer = client.api("POST", f"/files/io.cozy.files.root-dir?Type=file&Name={name}", content, Content_Type=mime)
    assert answer.status == 201, answer.body
    return str(answer.json["data"]["id"])


def errors(client: Client, file: str) -> list[str]:
    rows = client.api("GET", "/data/io.cozy.jobs/_all_docs?include_docs=true").json["rows"]
    docs = [row["doc"] for row in rows if not row["id"].startswith("_design")]
    return [doc["error"] for doc in docs if doc["worker"] == "indexer" and doc["message"] == {"file": file} and doc["state"] == "errored"]


def test_what_was_written_is_found_at_once_with_its_place(alice: Client):
    made = alice.api("POST", "/data/io.cozy.bookmarks/", {"title": "Lighthouse <keepers>", "url": "https://example.org/"}).json
    (hit,) = found(alice, "lightho")
    assert (hit["type"], hit["id"]) == ("io.cozy.bookmarks", made["id"])
    assert hit["attributes"]["title"] == "Lighthouse <keepers>"
    assert hit["attributes"]["snippet"] == "<mark>Lighthouse</mark> &lt;keepers&gt;"
    assert alice.api("GET", hit["links"]["self"]).status == 200


def test_the_index_is_read_in_the_background(alice: Client, server: Served):
    alice.api("POST", "/data/io.cozy.bookmarks/", {"title": "background"})
    index = next((server.folder / "search").glob("*.sqlite"))
    eventually(lambda: b"background" in index.read_bytes() + index.with_name(index.name + "-wal").read_bytes())


def test_only_doctypes_that_the_token_may_read_are_searched(alice: Client, server: Served):
    alice.api("POST", "/data/io.cozy.contacts/", {"fullname": "Zebra Contact"})
    alice.api("POST", "/data/io.cozy.bookmarks/", {"title": "Zebra bookmark"})
    assert {hit["type"] for hit in found(alice, "zebra")} == {"io.cozy.contacts", "io.cozy.bookmarks"}
    assert {hit["type"] for hit in found(alice, "zebra", doctype="io.cozy.contacts")} == {"io.cozy.contacts"}
    guest = Client(server, scope=("io.cozy.bookmarks:GET",))
    assert {hit["type"] for hit in found(guest, "zebra")} == {"io.cozy.bookmarks"}
    assert guest.api("GET", "/search?q=zebra&doctype=io.cozy.contacts").status == 403
    assert Client(server, scope=("io.cozy.contacts:POST",)).api("GET", "/search?q=zebra").status == 403
    one = Client(server, scope=("io.cozy.contacts:GET:some-id",))
    assert one.api("GET", "/search?q=zebra").status == 403
    assert alice.ask("GET", "/search?q=zebra").status == 401


def test_bad_queries_are_told(alice: Client):
    for query in ("", "q=", "q=-x", "q=a&page[limit]=0", "q=a&page[limit]=1000", "q=a&page[skip]=99999"):
        assert alice.api("GET", f"/search?{query}").status == 400, query
    assert alice.api("GET", "/search?q=a&doctype=io.cozy.nothings").status == 422


def test_pages_lead_to_the_next(alice: Client):
    docs = [{"title": f"paged {number}"} for number in range(5)]
    alice.api("POST", "/data/io.cozy.bookmarks/_bulk_docs", {"docs": docs})
    answer = alice.api("GET", "/search?q=paged&page[limit]=3").json
    assert len(answer["data"]) == 3
    rest = alice.api("GET", answer["links"]["next"]).json
    assert (len(rest["data"]), rest["links"]) == (2, {})
    assert {one["id"] for one in answer["data"]}.isdisjoint(one["id"] for one in rest["data"])


MAIL = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: a@b.org\r\nContent-Type: text/plain; charset=latin-1\r\n\r\nm\xe4dchenhaft\r\n"
CONTENTS = {
    "a.txt": (b"plainword here", "text/plain", "plainword"),
    "latin.txt": ("café naïf".encode("latin-1"), "text/plain", "naif"),
    "utf16.txt": ("sixteenbits".encode("utf-16"), "text/plain", "sixteenbits"),
    "a.md": (b"# Markdownhead", "text/markdown", "markdownhead"),
    "a.html": (b"<p>visible<script>var scripted</script> t&eacute;st</p>", "text/html", "visible test"),
    "a.pdf": (pdf("portable words"), "application/pdf", "portable"),
    "a.docx": (docx("paragraph ofword"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "paragraph ofword"),
    "a.odt": (odt("opendoc text"), "application/vnd.oasis.opendocument.text", "heading opendoc"),
    "a.xlsx": (xlsx("spreadcell"), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "spreadcell"),
    "a.eml": (MAIL, "message/rfc822", "grüße madchenhaft"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_words_of_contents_are_found(alice: Client, name: str):
    content, mime, query = CONTENTS[name]
    id = upload(alice, name, content, mime)
    eventually(lambda: [hit["id"] for hit in found(alice, query, doctype="io.cozy.files")] == [id], within=30)
    assert "scripted" not in json.dumps(found(alice, query, doctype="io.cozy.files"))


def test_contents_that_are_not_what_they_say_are_one_failed_job_each(alice: Client):
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    bomb = zipped({"word/document.xml": b"<w>" + b" " * (70 << 20)})
    entities = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    bad = [
        upload(alice, "bad.docx", b"no zip", word),
        upload(alice, "bomb.docx", bomb, word),
        upload(alice, "entities.docx", zipped({"word/document.xml": entities}), word),
        upload(alice, "bad.pdf", b"%PDF-1.7 nothing", "application/pdf"),
    ]
    for file in bad:
        eventually(lambda of=file: len(errors(alice, of)) == 1, within=30)  # type: ignore[misc]
        assert errors(alice, file)[0]
    good = upload(alice, "good.txt", b"afterwards", "text/plain")
    eventually(lambda: [hit["id"] for hit in found(alice, "afterwards")] == [good], within=30)


def test_deep_office_documents_and_mails_do_no_harm(alice: Client):
    deep = b"<a>" * 200_000 + b"x" + b"</a>" * 200_000
    upload(alice, "deep.odt", zipped({"content.xml": deep}), "application/vnd.oasis.opendocument.text")
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number) for number in range(1000))
    upload(alice, "deep.eml", nested + b"\r\nx", "message/rfc822")
    after = upload(alice, "harmless.txt", b"harmlessword", "text/plain")
    eventually(lambda: [hit["id"] for hit in found(alice, "harmlessword")] == [after], within=60)


def test_the_index_can_be_made_anew_with_the_contents(alice: Client, server: Served):
    id = upload(alice, "again.txt", b"rebuiltword", "text/plain")
    eventually(lambda: [hit["id"] for hit in found(alice, "rebuiltword")] == [id], within=30)
    said = server.cli("search", "rebuild", server.domain)
    assert "documents" in said
    eventually(lambda: [hit["id"] for hit in found(alice, "rebuiltword")] == [id], within=30)


def test_the_command_checks_and_shows_doctypes(alice: Client, server: Served):
    made = alice.api("POST", "/data/io.cozy.bookmarks/", {"title": 3}).json
    with pytest.raises(RuntimeError):
        server.cli("doctypes", "check", server.domain, "io.cozy.bookmarks")
    alice.api("DELETE", f"/data/io.cozy.bookmarks/{made['id']}?rev={made['rev']}")
    assert "0 are not as described" in server.cli("doctypes", "check", server.domain)
    assert "fullname" in server.cli("doctypes", "show", "io.cozy.contacts")
    assert json.loads(server.cli("doctypes", "show", "--schema", "io.cozy.contacts"))["title"] == "Contact"
    assert "io.cozy.bills" in server.cli("doctypes", "list")
    assert "export interface Bills" in server.cli("doctypes", "models")


def test_a_write_is_found_soon_while_much_is_indexed(alice: Client):
    docs = [{"title": f"bulk {number}", "description": "some words " * 5} for number in range(3000)]
    for start in range(0, 3000, 1000):
        alice.api("POST", "/data/io.cozy.bookmarks/_bulk_docs", {"docs": docs[start : start + 1000]})
    alice.api("POST", "/data/io.cozy.bookmarks/", {"title": "instantly"})
    eventually(lambda: bool(found(alice, "instantly")), within=30)
    eventually(lambda: alice.api("GET", "/search?q=bulk").json["meta"]["complete"], within=30)
    alice.api("POST", "/data/io.cozy.bookmarks/", {"title": "at once"})
    assert found(alice, '"at once"')
