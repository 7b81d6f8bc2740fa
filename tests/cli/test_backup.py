"""`cozyd backup` and `cozyd restore`: what an operator types, while devices and apps go on; and what clients see after it."""

import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, Client
from tests.support.command import Command
from tests.support.pouchdb import Replicas
from tests.support.serving import Served, eventually

NOTES = "io.cozy.test.notes"
SCOPE = (NOTES, "io.cozy.files", "io.cozy.contacts")
CARD = 'BEGIN:VCARD\r\nVERSION:3.0\r\nUID:marie\r\nFN:Marie Curie\r\nN:Curie;Marie;;;\r\nX-ODD;X-P="q":kept as sent\r\nEND:VCARD\r\n'
KINDS = ["backup.tar", "backup"]
NUMBERS = count()


class Operated(Served):
    """A server whose operator types in this process."""

    def cli(self, *arguments: str) -> str:
        done = Command(self.folder)(*arguments, COZYD_SERVER_PORT=str(self.port))
        if done.status:
            raise RuntimeError(done.err)
        return done.out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with Operated(tmp_path_factory.mktemp("operated") / "data") as operated:
        yield operated


@pytest.fixture
def alice(server: Operated) -> Client:
    """An instance of one test's own."""
    domain = f"a{next(NUMBERS)}.localhost:{server.port}"
    server.cli("instances", "add", domain, "--alias", f"other-{domain}")
    return Client(server, domain=domain, scope=SCOPE)


def put(client: Client, id: str, **fields: Any) -> Answer:
    answer = client.api("PUT", f"/data/{NOTES}/{id}", fields)
    assert answer.status == 200, answer.body
    return answer


def fill(client: Client) -> None:
    """A document, a card with its own bytes, a small file and two others."""
    put(client, "one", n=1)
    assert client.dav("PUT", "/sync/dav/me/contacts/marie.vcf", CARD, Content_Type="text/vcard").status == 201
    assert client.dav("PUT", "/sync/files/a.txt", b"first content").status == 201
    assert client.dav("PUT", "/sync/files/b.bin", bytes(range(256)) * 5000).status == 201
    assert client.dav("PUT", "/sync/files/large.txt", b"first content" * 5000).status == 201


def same_as_filled(client: Client) -> bool:
    return (
        client.api("GET", f"/data/{NOTES}/one").json["n"] == 1
        and client.dav("GET", "/sync/dav/me/contacts/marie.vcf").body == CARD.encode()
        and client.dav("GET", "/sync/files/a.txt").body == b"first content"
        and client.dav("GET", "/sync/files/b.bin").body == bytes(range(256)) * 5000
        and client.dav("GET", "/sync/files/large.txt").body == b"first content" * 5000
    )


def spoil(client: Client) -> None:
    """Change and remove what was filled."""
    rev = client.api("GET", f"/data/{NOTES}/one").json["_rev"]
    put(client, "one", _id="one", _rev=rev, n=2)
    put(client, "lost", n=3)
    assert client.dav("DELETE", "/sync/dav/me/contacts/marie.vcf").status in (200, 204)
    assert client.dav("PUT", "/sync/files/a.txt", b"second content").status == 204
    assert client.dav("PUT", "/sync/files/large.txt", b"second content" * 5000).status == 204
    assert client.dav("DELETE", "/sync/files/b.bin").status == 204
    assert client.dav("PUT", "/sync/files/c.txt", b"new").status == 201


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back_as_it_was(server: Operated, alice: Client, tmp_path: Path, kind: str):
    fill(alice)
    target = tmp_path / kind
    assert str(target) in server.cli("backup", alice.domain, str(target))
    spoil(alice)
    server.cli("restore", alice.domain, str(target), "--force")
    assert same_as_filled(alice)
    assert alice.api("GET", f"/data/{NOTES}/lost").status == 404
    assert alice.dav("GET", "/sync/files/c.txt").status == 404
    assert put(alice, "after", n=4).json["rev"].startswith("1-")
    assert alice.dav("PUT", "/sync/files/c.txt", b"new again").status == 201
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_is_made_of_its_backup(server: Operated, alice: Client, tmp_path: Path, kind: str):
    fill(alice)
    target = tmp_path / kind
    server.cli("backup", f"other-{alice.domain}", str(target))
    server.cli("instances", "remove", alice.domain, "--force")
    assert alice.api("GET", f"/data/{NOTES}/one").status == 404
    server.cli("restore", alice.domain, str(target))
    assert same_as_filled(alice), "devices and tokens of before go on too"
    assert alice.ask("GET", "/status", Host=f"other-{alice.domain}").status == 200


def test_without_a_server_it_works_too(tmp_path: Path):
    cozyd, domain = Command(tmp_path / "data"), "alice.localhost:8080"
    assert cozyd("instances", "add", domain).status == 0
    told = cozyd("backup", domain, str(tmp_path / "b.tar"), "--json")
    steps = [json.loads(line) for line in told.out.splitlines()]
    assert [step["step"] for step in steps] == ["documents", "done"]
    assert steps[-1]["contents"] == 0
    assert steps[-1]["bytes"] > 0
    other = Command(tmp_path / "other")
    assert other("restore", domain, str(tmp_path / "b.tar")).status == 0
    shown = [json.loads(one("instances", "show", domain, "--json").out) for one in (cozyd, other)]
    assert shown[0] == shown[1]


def test_a_folder_is_brought_up_to_date(server: Operated, alice: Client, tmp_path: Path):
    target = tmp_path / "backup"
    fill(alice)
    server.cli("backup", alice.domain, str(target))
    before = {path: path.stat().st_mtime_ns for path in target.glob("contents/*/*")}
    assert len(before) == 2
    assert {path.stat().st_mode & 0o077 for path in target.rglob("*")} == {0}, "others may not read it"
    spoil(alice)
    assert alice.api("DELETE", "/files/trash").status == 204
    time.sleep(1.1)  # the names of a backup's own parts have seconds in them
    server.cli("backup", alice.domain, str(target))
    after = {path: path.stat().st_mtime_ns for path in target.glob("contents/*/*")}
    assert all(after[path] == before[path] for path in before.keys() & after.keys())
    assert after.keys() - before.keys()
    assert before.keys() - after.keys(), "a content that is gone does not stay"
    manifest = json.loads((target / "manifest.json").read_bytes())
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {*manifest["entries"], "manifest.json"}, "nothing of the backup before is left"
    server.cli("restore", alice.domain, str(target), "--force")
    assert alice.dav("GET", "/sync/files/a.txt").body == b"second content"


def test_documents_and_contents_agree_whatever_is_written_meanwhile(server: Operated, alice: Client, tmp_path: Path):
    stop, written = threading.Event(), list[int]()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            written.append(number)
            alice.dav("PUT", f"/sync/files/f{number % 5}.txt", f"content {number}".encode() * (1 + number % 2 * 5000))
            alice.api("POST", f"/data/{NOTES}/", {"n": number})
            if number % 7 == 0:
                alice.dav("DELETE", f"/sync/files/f{number % 5}.txt")

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        targets = [tmp_path / f"{number}.tar" for number in range(6)]
        for number, target in enumerate(targets):
            eventually(lambda number=number: len(written) > 20 * number + 5)  # type: ignore[misc]
            server.cli("backup", alice.domain, str(target))
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    for target in targets:
        server.cli("restore", alice.domain, str(target), "--force")
        rows = alice.api("GET", "/data/io.cozy.files/_all_docs?include_docs=true").json["rows"]
        files = [row["doc"] for row in rows if row["doc"].get("type") == "file"]
        assert files
        for file in files:
            answer = alice.api("GET", f"/files/download/{file['_id']}")
            assert (answer.status, str(len(answer.body))) == (200, file["size"])
    assert "Traceback" not in server.log()


def _cut(target: Path) -> None:
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])


def _flip(target: Path) -> None:
    with tarfile.open(target) as tar:
        where = max(tar.getmembers(), key=lambda one: one.size if one.name.startswith("contents/") else 0).offset_data
    text = bytearray(target.read_bytes())
    text[where] ^= 1
    target.write_bytes(text)


def _flip_documents(target: Path) -> None:
    with tarfile.open(target) as tar:
        where = next(one for one in tar.getmembers() if one.name.startswith("documents")).offset_data
    text = bytearray(target.read_bytes())
    text[where + 5000] ^= 1
    target.write_bytes(text)


def _other(target: Path) -> None:
    target.write_bytes(b"no backup at all")


@pytest.mark.parametrize("harm", [_cut, _flip, _flip_documents, _other])
def test_a_damaged_backup_changes_nothing(server: Operated, alice: Client, tmp_path: Path, harm: Callable[[Path], None]):
    fill(alice)
    target = tmp_path / "backup.tar"
    server.cli("backup", alice.domain, str(target))
    harm(target)
    assert alice.dav("DELETE", "/sync/files/b.bin").status == 204
    assert alice.api("DELETE", "/files/trash").status == 204
    put(alice, "two", n=2)
    server.cli("instances", "set", alice.domain, "--quota", "1GB")
    with pytest.raises(RuntimeError, match="backup"):
        server.cli("restore", alice.domain, str(target), "--force")
    assert alice.api("GET", f"/data/{NOTES}/two").status == 200
    assert alice.dav("GET", "/sync/files/a.txt").body == b"first content"
    assert json.loads(server.cli("instances", "show", alice.domain, "--json"))["disk_quota"] == str(1 << 30)


def test_what_cannot_be_done_is_said_and_leaves_nothing(server: Operated, alice: Client, tmp_path: Path):
    server.cli("backup", alice.domain, str(tmp_path / "b.tar"))
    (tmp_path / "file").write_text("x")
    server.cli("instances", "add", f"bob.localhost:{server.port}")
    for arguments, reason in (
        (("backup", "nobody.localhost", str(tmp_path / "x.tar")), "Instance not found"),
        (("backup", alice.domain, str(tmp_path / "file")), "is a file"),
        (("backup", alice.domain, str(tmp_path / "none" / "x.tar")), "No such file"),
        (("backup", alice.domain, "/proc/x"), "cannot be used"),
        (("restore", f"bob.localhost:{server.port}", str(tmp_path / "b.tar"), "--force"), "The backup is of a"),
        (("restore", alice.domain, str(tmp_path), "--force"), "no manifest"),
        (("restore", alice.domain, str(tmp_path / "file"), "--force"), "is no backup"),
    ):
        with pytest.raises(RuntimeError, match=reason):
            server.cli(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("data")) == ["b.tar", "file"]


def test_replicas_and_devices_go_on_exactly_or_from_the_beginning(server: Operated, alice: Client, tmp_path: Path):
    """A `since` that the backup had goes on; one of the lost future rewinds on `/data`, and is no token for DAV."""
    fill(alice)
    feed, calendar = f"/data/{NOTES}/_changes", "/sync/dav/me/contacts/"

    def token() -> str:
        ask = '<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>'
        text = alice.dav("PROPFIND", calendar, ask, Depth="0").body.decode()
        return text.split("sync-token>")[1].split("</")[0]

    def sync(since: str) -> Answer:
        head = f"<sync-token>{since}</sync-token><sync-level>1</sync-level>"
        ask = f'<sync-collection xmlns="DAV:">{head}<prop><getetag/></prop></sync-collection>'
        return alice.dav("REPORT", calendar, ask)

    since, known = alice.api("GET", feed).json["last_seq"], token()
    server.cli("backup", alice.domain, str(tmp_path / "b.tar"))
    put(alice, "lost", n=1)
    alice.dav("PUT", f"{calendar}lost.vcf", CARD.replace("marie", "lost"), Content_Type="text/vcard")
    future, lost = alice.api("GET", feed).json["last_seq"], token()
    server.cli("restore", alice.domain, str(tmp_path / "b.tar"), "--force")
    assert alice.api("GET", f"{feed}?since={since}").json["results"] == []
    put(alice, "after", n=1)
    alice.dav("PUT", f"{calendar}after.vcf", CARD.replace("marie", "after"), Content_Type="text/vcard")
    assert [row["id"] for row in alice.api("GET", f"{feed}?since={since}").json["results"]] == ["after"]
    assert [row["id"] for row in alice.api("GET", f"{feed}?since={future}").json["results"]] == ["one", "after"]
    exact = sync(known)
    assert exact.status == 207
    assert b"after.vcf" in exact.body
    assert b"marie.vcf" not in exact.body
    refused = sync(lost)
    assert refused.status == 403
    assert b"valid-sync-token" in refused.body


@pytest.mark.tool
def test_pouchdb_goes_on_by_itself(fresh: Served, tmp_path: Path):
    """A live sync that runs through a restore hears what is written after it; the next one brings back what was lost."""
    with Replicas() as replicas:
        remote = replicas.connect("remote", fresh, NOTES, fresh.token(NOTES))
        here, later = replicas.open("here"), replicas.open("later")
        remote.bulkDocs([{"_id": f"d{number}", "n": number} for number in range(20)])
        replicas.ask("startSync", name="live", one=here.name, other=remote.name)
        replicas.replicate(remote, later)
        eventually(lambda: len(here.state()) == 20)
        fresh.cli("backup", fresh.domain, str(tmp_path / "b.tar"))
        here.put(here.get("d1") | {"n": "lost on the server"})
        here.put({"_id": "lost too", "n": 1})
        eventually(lambda: len(remote.state()) == 21)
        eventually(lambda: remote.get("d1")["n"] == "lost on the server")
        replicas.replicate(remote, later)
        fresh.cli("restore", fresh.domain, str(tmp_path / "b.tar"), "--force")
        assert remote.get("d1")["n"] == 1
        remote.bulkDocs([{"_id": "after", "n": 2}])
        eventually(lambda: "after" in here.state())
        assert replicas.ask("stopSync", name="live") == []
        for _ in range(2):
            replicas.replicate(here, remote)
            replicas.replicate(remote, later)
            replicas.replicate(later, remote)
            replicas.replicate(remote, here)
        assert here.state() == remote.state() == later.state()
        assert remote.get("d1")["n"] == "lost on the server"
        assert set(remote.state()) == {*(f"d{number}" for number in range(20)), "after", "lost too"}
