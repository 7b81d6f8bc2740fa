"""`cozyd migrate documents`: between SQLite and a real CouchDB, there and back, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd import jsons
from cozyd.documents.couchdb import CouchBackend
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.transfer import Transfer
from cozyd.locks import LocalLocks
from tests.contracts.document_values import LENIENT, LENIENT_TYPE, PROJECTIONS, THINGS
from tests.support.command import Command
from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.lived_in import live_in

ALICE = "alice.localhost:8080"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    made = Command(tmp_path / "data")
    assert made("instances", "add", ALICE, "--passphrase", "correct horse battery").status == 0
    return made


@pytest.fixture
def couchdb() -> Iterator[str]:
    with empty_server() as url:
        yield url


def test_without_an_address_it_says_what_is_missing(command: Command):
    done = command("migrate", "documents", ALICE, "--to", "couchdb")
    assert (done.status, done.out) == (1, "")
    assert "CouchDB's address has to be given, or to be in storage.documents" in done.err


def test_an_address_where_nobody_listens_is_told(command: Command):
    done = command("migrate", "documents", ALICE, "--to", "couchdb", "--url", "http://u:secret@127.0.0.1:1/")
    assert done.status == 1
    assert "http://127.0.0.1:1: CouchDB cannot be reached" in done.err
    assert "secret" not in done.err


@needs_couchdb
def test_an_instance_moves_there_and_back(command: Command, couchdb: str):
    there = command("migrate", "documents", ALICE, "--to", "couchdb", "--url", couchdb, "--json")
    assert there.status == 0, there.err
    steps = [jsons.load(line) for line in there.out.splitlines()]
    assert {step["step"] for step in steps} == {"copy", "compare", "done"}
    assert steps[-1]["documents"] >= 10
    again = command("migrate", "documents", ALICE, "--to", "couchdb", "--url", couchdb, "--json")
    assert jsons.load(again.last_line)["sha256"] == steps[-1]["sha256"]
    moved = {"COZYD_STORAGE_DOCUMENTS": couchdb}
    shown = command("instances", "show", ALICE, **moved)
    assert (shown.status, ALICE in shown.out) == (0, True)
    assert command("passwords", "add", ALICE, "phone", "--contacts", **moved).status == 0
    refused = command("migrate", "documents", ALICE, "--to", "couchdb", "--url", couchdb)
    assert refused.status == 1
    back = command("migrate", "documents", ALICE, "--to", "sqlite", **moved)
    assert back.status == 0, back.err
    assert 'storage.documents = "sqlite:"' in back.out
    assert "phone" in command("passwords", "list", ALICE).out


@needs_couchdb
def test_small_contents_that_lie_beside_the_documents_go_along(command: Command, couchdb: str, tmp_path: Path):
    source, moved = tmp_path / "source", {"COZYD_STORAGE_DOCUMENTS": couchdb}
    source.mkdir()
    (source / "small.txt").write_bytes(b"small")
    (source / "large.txt").write_bytes(b"large" * 10_000)
    assert command("files", "import", str(source), ALICE, "/Moved").status == 0
    assert command("migrate", "documents", ALICE, "--to", "couchdb", "--url", couchdb).status == 0
    assert command("files", "export", ALICE, "/Moved", str(tmp_path / "there"), **moved).status == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == {
        "small.txt": b"small",
        "large.txt": b"large" * 10_000,
    }
    assert command("migrate", "documents", ALICE, "--to", "sqlite", **moved).status == 0
    assert command("files", "export", ALICE, "/Moved", str(tmp_path / "back")).status == 0
    assert command("fsck", ALICE, "--offline").out == f"{ALICE}: all is well\n"


@needs_couchdb
def test_an_unknown_instance_is_told(command: Command, couchdb: str):
    done = command("migrate", "documents", "nobody.localhost", "--to", "couchdb", "--url", couchdb)
    assert (done.status, "no instance of the store" in done.err) == (1, True)


@needs_couchdb
def test_branches_deletions_private_data_and_checkpoints_move_both_ways(tmp_path: Path, couchdb: str):
    embedded = SqliteBackend(tmp_path / "documents", PROJECTIONS, lenient=LENIENT)
    couch = CouchBackend(couchdb, PROJECTIONS, lenient=LENIENT, locks=LocalLocks())
    source, middle, end = embedded.create("source"), couch.create("middle"), embedded.create("end")
    live_in(source)
    digests = []
    for one, other in ((source, middle), (middle, end)):
        transfer = Transfer(one, other)
        steps = [*transfer.copy(), *transfer.compare()]
        digests.append(steps[-1]["sha256"])
    assert digests[0] == digests[1]
    assert [row.key for row in middle.rows("members", ("c",))] == [("c", "h0"), ("c", "h1"), ("c", "h2")]
    assert [*middle.check(), *end.check()] == []
    seq = source.info(THINGS).seq
    assert {row.id for row in middle.changes(THINGS, since=seq).rows} == {row.id for row in source.changes(THINGS).rows}
    assert middle.info(LENIENT_TYPE).count == 3
    assert list(couch.open("middle").rows("members", ("c",), since=middle.total("members", ("c",)).seq)) == []
    couch.close()
    embedded.close()
