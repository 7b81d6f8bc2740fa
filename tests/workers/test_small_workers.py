"""Archives in and out, logs, short messages, and what is done once a day."""

import io
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pypdfium2 import PdfDocument

from cozyd.config import Config, Storage
from cozyd.config import Files as FilesConfig
from cozyd.documents.store import Ref
from cozyd.errors import JobFailed, NotFound
from cozyd.files.tree import TRASH_DIR
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from cozyd.stack import Stack
from tests.support.client import Client
from tests.support.office import zipped
from tests.support.pictures import sheets
from tests.support.programs import ended, push
from tests.support.serving import Served
from tests.support.stack import Clock
from workers import TABLE, clients, trash, unzip, upkeep, zipper

SCOPE = ("io.cozy.files", "io.cozy.jobs")
ROOT = "io.cozy.files.root-dir"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("small") / "data").add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, scope=SCOPE)


def run(client: Client, worker: str, message: Any, *, within: float = 30) -> dict[str, Any]:
    """Push a job, and wait for its end."""
    return ended(client, push(client, worker, message), within=within)


def upload(client: Client, name: str, content: bytes, into: str = ROOT, mime: str = "application/octet-stream") -> str:
    answer = client.api("POST", f"/files/{into}?Type=file&Name={name}", content, Content_Type=mime)
    assert answer.status == 201, answer.body
    return str(answer.json["data"]["id"])


def folder(client: Client, name: str) -> str:
    return str(client.api("POST", f"/files/{ROOT}?Type=directory&Name={name}").json["data"]["id"])


def below(client: Client, id: str) -> dict[str, str]:
    """Path -> id of all below a folder."""
    found = {}
    for one in client.api("GET", f"/files/{id}?page[limit]=1000").json.get("included") or []:
        name = one["attributes"]["name"]
        found[name] = one["id"]
        if one["attributes"]["type"] == "directory":
            found |= {f"{name}/{path}": inner for path, inner in below(client, one["id"]).items()}
    return found


def content(client: Client, id: str) -> bytes:
    return client.api("GET", f"/files/download/{id}").body


class Days:
    """An instance whose trash is emptied after 30 days, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        config = Config(storage=Storage(path=folder), files=FilesConfig(trash_days=30))
        self.stack = Stack(config, TABLE, now=self.clock)
        self.instance: Instance = self.stack.create("alice.localhost")


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    made = Days(tmp_path / "data")
    yield made
    made.stack.close()


def job(message: Any = None) -> Job:
    return Job({}, "id", "rev", "worker", message)


# -- zip ------------------------------------------------------------------------------------------------------------------


def test_files_are_packed_under_the_paths_that_are_asked_for(alice: Client):
    home = folder(alice, "packed")
    one, two = upload(alice, "one.txt", b"first" * 1000), upload(alice, "two.txt", b"second")
    message = {"files": {"a/one.txt": one, "zwei.txt": {"id": two}}, "dir_id": home, "filename": "all.zip"}
    assert run(alice, "zip", message)["state"] == "done"
    assert run(alice, "zip", message)["state"] == "done"
    found = below(alice, home)
    assert set(found) == {"all.zip", "all (2).zip"}
    with zipfile.ZipFile(io.BytesIO(content(alice, found["all.zip"]))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {"a/one.txt": b"first" * 1000, "zwei.txt": b"second"}


def test_pages_of_a_pdf_are_packed_as_pdfs_of_their_own(alice: Client):
    home, paper = folder(alice, "pages"), upload(alice, "paper.pdf", sheets(200, 300), mime="application/pdf")
    message = {"files": {"second.pdf": {"id": paper, "page": 2}, "all.pdf": paper}, "dir_id": home, "filename": "pages.zip"}
    assert run(alice, "zip", message)["state"] == "done"
    with zipfile.ZipFile(io.BytesIO(content(alice, below(alice, home)["pages.zip"]))) as archive:
        found = {name: [round(page.get_width()) for page in PdfDocument(archive.read(name))] for name in archive.namelist()}
    assert found == {"second.pdf": [300], "all.pdf": [200, 300]}
    for wanted in ({"id": paper, "page": 3}, {"id": paper, "page": 0}, {"id": paper, "page": "1"}):
        assert run(alice, "zip", message | {"files": {"x": wanted}})["state"] == "errored"
    plain = upload(alice, "plain.txt", b"no pages")
    assert "no page of a PDF" in run(alice, "zip", message | {"files": {"x": {"id": plain, "page": 1}}})["error"]


@pytest.mark.parametrize(
    "change", [{"files": {}}, {"files": {"../x": "id"}}, {"files": {"x": "nowhere"}}, {"dir_id": "nowhere"}, {"filename": 3}]
)
def test_a_zip_that_cannot_be_is_one_failed_job(alice: Client, change: dict[str, Any]):
    found = run(alice, "zip", {"files": {"x": "nowhere"}, "dir_id": ROOT, "filename": "no.zip"} | change)
    assert found["state"] == "errored"
    assert found["error"]


# -- unzip ----------------------------------------------------------------------------------------------------------------


def test_an_archive_is_unpacked_beside_what_is_there(alice: Client):
    home = folder(alice, "unpacked")
    there = upload(alice, "a.txt", b"mine", into=home)
    archive = upload(alice, "in.zip", zipped({"a.txt": "theirs", "deep/er/b.txt": "b", "deep/": ""}))
    assert run(alice, "unzip", {"zip": archive, "destination": home})["state"] == "done"
    found = below(alice, home)
    assert content(alice, there) == b"mine"
    (beside,) = [path for path in found if path.startswith("a.txt - conflict - ")]
    assert content(alice, found[beside]) == b"theirs"
    assert content(alice, found["deep/er/b.txt"]) == b"b"


def linked() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("plain", "x")
    return made.getvalue()


def test_links_in_an_archive_are_left_out(alice: Client):
    home = folder(alice, "linked")
    assert run(alice, "unzip", {"zip": upload(alice, "linked.zip", linked()), "destination": home})["state"] == "done"
    assert set(below(alice, home)) == {"plain"}


def lying() -> bytes:
    """An archive of 200 KB that says, rightly, that it has a gigabyte in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w", force_zip64=True) as stream:
        for _ in range(300):
            stream.write(bytes(1 << 20))
    return made.getvalue()


def packed(method: int, harm: Callable[[bytearray], None]) -> bytes:
    """An archive with something wrong in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("a", "hello" * 100)
    raw = bytearray(made.getvalue())
    harm(raw)
    return bytes(raw)


def garble(raw: bytearray) -> None:
    raw[31 + 12 : 31 + 24] = b"\xff" * 12


def mislead(raw: bytearray) -> None:
    """The contents are said to begin far behind, which puts the entries before the file's beginning."""
    raw[raw.rindex(b"PK\x05\x06") + 19] = 0x7F


BAD: Mapping[str, bytes] = {
    "broken bzip2": packed(zipfile.ZIP_BZIP2, garble),
    "broken lzma": packed(zipfile.ZIP_LZMA, garble),
    "broken deflate": packed(zipfile.ZIP_DEFLATED, garble),
    "list elsewhere": packed(zipfile.ZIP_DEFLATED, mislead),
    "too deep": zipped({"plain": "x", "a/" * 600 + "x": ""}),
    "climbing": zipped({"../../evil": "x"}),
    "absolute": zipped({"/etc/evil": "x"}),
    "backslashes": zipped({"..\\..\\evil": "x"}),
    "no zip": b"PK\x03\x04 nothing",
    "empty": b"",
    "cut": zipped({"a": "x" * 100})[:-30],
    "too many": zipped({f"n{number}": "" for number in range(10_001)}),
    "too large": lying(),
    "slash in the name": zipped({"a/\0b": "x"})[:40],
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_that_may_not_be_unpacked_leaves_nothing(alice: Client, name: str):
    home = folder(alice, f"bad-{abs(hash(name))}")
    found = run(alice, "unzip", {"zip": upload(alice, f"{abs(hash(name))}.zip", BAD[name]), "destination": home}, within=60)
    assert found["state"] == "errored"
    assert found["error"]
    assert "Unexpected" not in found["error"]
    assert below(alice, home) == {}


def test_an_archive_beyond_the_quota_leaves_nothing(server: Served, alice: Client):
    home = folder(alice, "no-room")
    archive = upload(alice, "room.zip", zipped({"a": "x" * 1000, "b": "y" * 200_000}))
    server.cli("instances", "modify", server.domain, "--disk-quota", "1")
    try:
        found = run(alice, "unzip", {"zip": archive, "destination": home})
    finally:
        server.cli("instances", "modify", server.domain, "--disk-quota", "0")
    assert found["state"] == "errored"
    assert below(alice, home) == {}


def test_a_path_that_no_archive_can_hold_is_refused_by_its_length(alice: Client):
    found = run(alice, "zip", {"files": {"x" * 70_000: upload(alice, "long.txt", b"x")}, "dir_id": ROOT, "filename": "long.zip"})
    assert (found["state"], found["error"]) == ("errored", "A path in the archive would be too long")


@pytest.mark.parametrize("worker", [unzip, zipper])
def test_an_archive_that_takes_too_long_is_given_up_by_itself(days: Days, worker: Any):
    """Its thread would go on for as long as it likes, and leave files behind after the job's end."""
    files = days.instance.files
    home = files.mkdir(files.dir(ROOT), "home")
    with files.new() as opened:
        opened.write(zipped({"a": "x", "b": "y"}))
        blob = opened.seal()
    archive = files.put(files.dir(ROOT), "in.zip", blob)
    late = job({"zip": archive.id, "destination": home.id, "files": {"a": archive.id}, "dir_id": home.id, "filename": "out.zip"})
    late.deadline = time.monotonic() - 1
    with pytest.raises(JobFailed, match="context deadline exceeded") as failed:
        worker.run(days.instance, late)
    assert not failed.value.again
    assert files.rows(files.dir(home.id), limit=10) == []


# -- log, sms -------------------------------------------------------------------------------------------------------------


def test_a_text_goes_to_the_log_on_one_line(alice: Client, server: Served):
    assert run(alice, "log", "a word\nINFO forged")["state"] == "done"
    assert "a word\\nINFO forged" in server.log()
    refused = run(alice, "log", {"no": "text"})
    assert (refused["state"], refused["error"]) == ("errored", "jobs: message unmarshal")


def test_the_log_of_a_job_is_told_to_the_command_line_that_asks_for_it(server: Served):
    cli = Client(server, scope=("io.cozy.jobs", "io.cozy.jobs.logs"))
    with cli.watch("io.cozy.jobs.logs") as watch:
        ended(cli, push(cli, "log", "in private"), within=30)
        asked = {"arguments": "for all who watch", "forward_logs": True}
        job = cli.api("POST", "/jobs/queue/log", {"data": {"attributes": asked}}).json["data"]["id"]
        told = watch.next(timeout=20)
    assert (told["event"], told["payload"]["id"], told["payload"]["doc"]["_id"]) == ("CREATED", job, job)
    assert (told["payload"]["doc"]["level"], told["payload"]["doc"]["message"]) == ("info", "for all who watch")


@pytest.mark.parametrize("worker", ["sms", "clean-clients", "clean-old-trashed", "upkeep", "thumbnail", "metadata", "indexer"])
def test_workers_of_the_server_take_no_jobs_of_others(worker: str):
    assert TABLE[worker].reserved


# -- once a day -----------------------------------------------------------------------------------------------------------


def test_the_trash_is_emptied_of_what_is_old(days: Days):
    files = days.instance.files
    home = files.dir(files.at("/Photos").id)
    old = files.trash(files.mkdir(home, "old"))
    days.clock.passes(days=20)
    young = files.trash(files.mkdir(home, "young"))
    trash.run(days.instance, job())
    assert {row.ref.id for row in files.rows(files.dir(TRASH_DIR))} == {old.id, young.id}
    days.clock.passes(days=11)
    upkeep.run(days.instance, job())
    assert {row.ref.id for row in files.rows(files.dir(TRASH_DIR))} == {young.id}


def test_a_client_that_was_never_let_in_is_removed_and_others_stay(days: Days):
    auth = days.instance.auth
    given = {"client_name": "One", "software_id": "one", "redirect_uris": ["https://one.example/"]}
    pending, known = auth.clients.register(given), auth.clients.register(given)
    clients.run(days.instance, job({"client_id": pending.id}))
    with pytest.raises(NotFound):
        days.instance.docs.get(Ref("io.cozy.oauth.clients", pending.id))
    assert days.instance.docs.get(Ref("io.cozy.oauth.clients", known.id))
    clients.run(days.instance, job({"client_id": "nowhere"}))


def test_upkeep_asks_for_the_registries_where_an_app_follows_one(days: Days):
    docs, jobs = days.instance.docs, days.instance.jobs
    for came_along in days.instance.apps.list("webapp"):
        docs.delete(came_along.ref, came_along.rev)
    for slug, source in {"pinned": "registry://pinned/1.0.0", "local": "file:///srv/local"}.items():
        docs.put("io.cozy.apps", {"_id": f"io.cozy.apps/{slug}", "slug": slug, "source": source})
    upkeep.run(days.instance, job())
    assert jobs.queue("registry") == []
    docs.put("io.cozy.konnectors", {"_id": "io.cozy.konnectors/bank", "slug": "bank", "source": "registry://bank/beta"})
    upkeep.run(days.instance, job())
    assert len(jobs.queue("registry")) == 1


def test_upkeep_is_asked_for_once_a_day(days: Days):
    def asked() -> int:
        rows = days.instance.docs.all("io.cozy.jobs").rows
        return sum(stored.doc.get("worker") == "upkeep" for stored in rows)

    for _ in range(3):
        days.instance.look_after()
    assert asked() == 1
    days.clock.passes(hours=25)
    days.instance.look_after()
    assert asked() == 2
