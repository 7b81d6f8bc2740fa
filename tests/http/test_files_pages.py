"""Single pages of PDFs: in downloads and in archives; PDFs that are none, or hostile."""

import io
import zipfile
from typing import Any

import pytest
from pypdfium2 import PdfDocument

from tests.support.client import Answer, Client
from tests.support.files import is_error, mkdir, uploaded
from tests.support.pictures import sheets
from tests.support.serving import Served

FILES = "io.cozy.files"
ROOT = "io.cozy.files.root-dir"


@pytest.fixture
def alice(served: Served) -> Client:
    return Client(served, scope=(FILES,))


def widths_of(data: bytes) -> list[int]:
    opened = PdfDocument(data)
    return [round(page.get_width()) for page in opened]


@pytest.fixture
def paper(alice: Client, request: pytest.FixtureRequest) -> Any:
    """A PDF of three pages, 200, 300 and 400 wide, in a folder of the test's own."""
    return uploaded(alice, mkdir(alice, request.node.name), "paper.pdf", sheets(200, 300, 400), Content_Type="application/pdf")


def test_one_page_is_a_pdf_of_its_own(alice: Client, paper: Any):
    answer = alice.api("GET", f"/files/download/{paper['id']}?Page=2")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"] == """inline; filename="paper(2).pdf"; filename*=UTF-8''paper%20%282%29.pdf"""
    assert widths_of(answer.body) == [300]
    assert answer.headers["ETag"] != alice.api("GET", f"/files/download/{paper['id']}").headers["ETag"]
    assert widths_of(alice.api("GET", f"/files/download/{paper['id']}").body) == [200, 300, 400]


def test_a_secret_link_leads_to_a_page_too(alice: Client, paper: Any):
    link = alice.api("POST", f"/files/downloads?Id={paper['id']}").json["links"]["related"]
    assert widths_of(alice.ask("GET", f"{link}?Page=3&Dl=1").body) == [400]


@pytest.mark.parametrize("page", ["0", "4", "-1", "x", "1.5", "99999999999999999999"])
def test_a_page_that_is_not_there_is_told(alice: Client, paper: Any, page: str):
    assert is_error(alice.api("GET", f"/files/download/{paper['id']}?Page={page}"), 422, parameter="Page")


@pytest.mark.parametrize("content", [b"", b"no pdf", b"%PDF-1.7\n" + b"\0" * 5000])
def test_what_is_no_pdf_has_no_pages(alice: Client, request: pytest.FixtureRequest, content: bytes):
    home = mkdir(alice, f"{request.node.name[:80]}".replace("/", "_").replace("\\", "_"))
    file = uploaded(alice, home, "a.pdf", content, Content_Type="application/pdf")
    assert is_error(alice.api("GET", f"/files/download/{file['id']}?Page=1"), 422, parameter="Page")


def test_only_pdfs_have_pages(alice: Client, request: pytest.FixtureRequest):
    file = uploaded(alice, mkdir(alice, request.node.name), "a.txt", b"text", Content_Type="text/plain")
    assert is_error(alice.api("GET", f"/files/download/{file['id']}?Page=1"), 422, parameter="Page")


def archive(alice: Client, **attributes: Any) -> Answer:
    return alice.api("POST", "/files/archive", {"data": {"attributes": attributes}})


def test_an_archive_of_pages(alice: Client, paper: Any):
    pages = [{"id": paper["id"], "page": number} for number in (1, 3, 3)]
    made = archive(alice, name="pages", pages=pages, ids=[paper["id"]])
    assert made.json["data"]["attributes"]["pages"] == pages
    answer = alice.ask("GET", made.json["links"]["related"])
    with zipfile.ZipFile(io.BytesIO(answer.body)) as opened:
        found = {name: widths_of(opened.read(name)) for name in opened.namelist()}
        assert opened.testzip() is None
    assert found == {
        "pages/paper.pdf": [200, 300, 400],
        "pages/paper (1).pdf": [200],
        "pages/paper (3).pdf": [400],
        "pages/paper (3) (2).pdf": [400],
    }


@pytest.mark.parametrize("pages", ["x", [1], [{"id": "x"}], [{"id": "x", "page": "1"}], [{"id": "x", "page": 1}] * 101])
def test_pages_that_are_none_are_refused(alice: Client, pages: Any):
    assert is_error(archive(alice, pages=pages), 422, pointer="/data/attributes/pages")


def test_pages_of_what_may_not_be_read_are_refused(alice: Client, paper: Any, served: Served):
    other = uploaded(alice, mkdir(alice, "pages-of-another"), "other.pdf", sheets(100), Content_Type="application/pdf")
    guest = Client(served, scope=(f"{FILES}:GET:{other['id']}",))
    assert archive(guest, pages=[{"id": other["id"], "page": 1}]).status == 200
    assert archive(guest, pages=[{"id": paper["id"], "page": 1}]).status == 403
    assert archive(alice, pages=[{"id": "nowhere", "page": 1}]).status == 404
