"""The documents room: what it keeps in memory is never stale, and several processes never harm each other's data."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cozyd import config
from cozyd.documents import Documents
from cozyd.documents.doctype import Doctype
from cozyd.documents.ids import RisingIds
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import Change, Doc, DocumentStore, Query, Ref, Write
from cozyd.errors import BadRequest, Conflict, Invalid, Locked, NotFound
from cozyd.stack import Stack
from tests.support.client import Client
from tests.support.serving import Served

THINGS = "io.cozy.things"


def _checked(new: Doc, old: Doc | None) -> Doc:
    if new.get("n") == "refused":
        raise Invalid("n cannot be that")
    return dict(new) | {"before": old.get("n") if old else None}


def _mirror(change: Change) -> Sequence[Write]:
    if change.new.deleted or change.new.doc.get("mirrored") == change.new.doc.get("n"):
        return ()
    return (Write(change.new.ref, patch={"mirrored": change.new.doc.get("n")}, rev=change.new.rev),)


TABLE = {
    "io.cozy.checked": Doctype("io.cozy.checked", normalise=_checked),
    "io.cozy.mirrored": Doctype("io.cozy.mirrored", follow_up=_mirror),
}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    made = SqliteBackend(tmp_path / "documents", ())
    yield made
    made.close()


@pytest.fixture
def store(backend: SqliteBackend) -> DocumentStore:
    return backend.create("one")


@pytest.fixture
def docs(store: DocumentStore) -> Documents:
    return Documents(store, TABLE, new_id=RisingIds())


# -- what is kept in memory ---------------------------------------------------------------------------------------------


def test_what_was_read_is_never_stale_after_a_write(docs: Documents):
    ref = Ref(THINGS, "a")
    made = docs.put(THINGS, {"_id": "a", "n": 0})
    rev = made.rev

    def is_now(n: object) -> bool:
        return bool(docs.get(ref).doc["n"] == n and docs.get(ref).doc["n"] == n)

    assert is_now(0)
    rev = docs.put(THINGS, {"_id": "a", "_rev": rev, "n": 1}).rev
    assert is_now(1)
    docs.graft(THINGS, [{"_id": "a", "_rev": "3-" + "f" * 32, "_revisions": {"start": 3, "ids": ["f" * 32, rev[2:]]}, "n": 2}])
    assert is_now(2)
    docs.commit_each([Write(ref, body={"n": 3}, rev="3-" + "f" * 32)])
    assert is_now(3)
    docs.graft(THINGS, [{"_id": "a", "_rev": "5-" + "f" * 32, "n": "conflict"}])
    assert is_now("conflict")
    docs.purge(THINGS, {"a": ["5-" + "f" * 32]})
    assert is_now(3)
    docs.delete(ref, docs.get(ref).rev)
    with pytest.raises(NotFound, match="deleted"):
        docs.get(ref)
    docs.put(THINGS, {"_id": "a", "n": 4})
    assert is_now(4)
    docs.drop(THINGS)
    with pytest.raises(NotFound, match="Database does not exist"):
        docs.get(ref)
    docs.put(THINGS, {"_id": "a", "n": 5})
    assert is_now(5)


def test_readers_beside_a_writer_never_go_back(docs: Documents):
    ref = Ref(THINGS, "a")
    rev = docs.put(THINGS, {"_id": "a", "n": 0}).rev
    acknowledged = [0]
    wrong: list[tuple[int, int]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            least = acknowledged[0]
            found = docs.get(ref).doc["n"]
            if found < least:
                wrong.append((found, least))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 40):
        rev = docs.put(THINGS, {"_id": "a", "_rev": rev, "n": number}).rev
        acknowledged[0] = number
    stop.set()
    for reader in readers:
        reader.join(30)
    assert wrong == []


def test_more_documents_than_are_kept_are_read(docs: Documents):
    docs.commit([Write(Ref(THINGS, f"d{number}"), body={"n": number}) for number in range(2500)])
    for _ in range(2):
        assert all(docs.get(Ref(THINGS, f"d{number}")).doc["n"] == number for number in range(0, 2500, 2))


# -- rules of doctypes --------------------------------------------------------------------------------------------------


def test_a_doctype_s_rules_apply_to_each_write_alone(docs: Documents):
    made = docs.put("io.cozy.checked", {"_id": "a", "n": 1})
    assert docs.put("io.cozy.checked", {"_id": "a", "_rev": made.rev, "n": 2}).doc["before"] == 1
    answers = docs.commit_each([Write(Ref("io.cozy.checked", id), body={"n": n}) for id, n in (("b", 1), ("c", "refused"), ("d", 3))])
    assert [type(answer) for answer in answers] == [Change, Invalid, Change]
    with pytest.raises(Invalid):
        docs.put("io.cozy.checked", {"n": "refused"})


def test_follow_ups_belong_to_the_commit_and_are_seen(docs: Documents):
    made = docs.put("io.cozy.mirrored", {"_id": "a", "n": 1})
    assert docs.get(made.ref).doc["mirrored"] == 1
    docs.graft("io.cozy.mirrored", [{"_id": "a", "_rev": "7-" + "a" * 32, "n": 2}])
    assert docs.get(made.ref).doc["mirrored"] == 2


def test_a_read_that_changed_meanwhile_is_tried_again(docs: Documents):
    rev = docs.put(THINGS, {"_id": "a", "n": 0}).rev
    tries: list[int] = []

    def step() -> str:
        tries.append(1)
        base = rev if len(tries) < 3 else docs.get(Ref(THINGS, "a")).rev
        return docs.put(THINGS, {"_id": "a", "_rev": base, "n": len(tries)}).rev

    docs.put(THINGS, {"_id": "a", "_rev": rev, "n": "other"})
    assert docs.retry(step).startswith("3-")
    with pytest.raises(Conflict):
        docs.retry(lambda: docs.put(THINGS, {"_id": "a", "_rev": rev}))


@pytest.mark.parametrize("views", [5, "x", [], None, {"by-n": 5}])
def test_an_index_is_made_over_an_odd_design_document(docs: Documents, views: Any):
    docs.put(THINGS, {"_id": "_design/by-n", "language": "query", "views": views})
    docs.put(THINGS, {"n": 1})
    docs.index(THINGS, ["n"], name="by-n")
    docs.index(THINGS, ["n"], name="by-n")
    assert docs.find(THINGS, Query({"n": 1})).warning is None
    assert docs.get(Ref(THINGS, "_design/by-n")).rev.startswith("2-")


# -- several processes --------------------------------------------------------------------------------------------------

OTHER = """
import sys
from pathlib import Path
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import Ref, Write
from cozyd.errors import Conflict
store = SqliteBackend(Path(sys.argv[1]), ()).open("one")
"""
COUNTING = """
for number in range(60):
    store.commit([Write(Ref("io.cozy.things", f"{NAME}{number}"), body={"n": number})])
    while True:
        known = store.get(Ref("io.cozy.things", "shared"))
        try:
            store.commit([Write(known.ref, body={"n": known.doc["n"] + 1}, rev=known.rev)])
            break
        except Conflict:
            continue
"""


def other_process(backend_folder: Path, script: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", OTHER + script, str(backend_folder)], text=True, **options)


def test_two_processes_lose_nothing(store: DocumentStore, tmp_path: Path):
    store.commit([Write(Ref(THINGS, "shared"), body={"n": 0})])
    other = other_process(tmp_path / "documents", COUNTING.replace("NAME", "'other'"))
    exec(COUNTING.replace("NAME", "'mine'"), {"store": store, "Ref": Ref, "Write": Write, "Conflict": Conflict})
    assert other.wait(60) == 0
    assert store.get(Ref(THINGS, "shared")).doc["n"] == 120
    info = store.info(THINGS)
    assert info.count == 121
    rows = store.changes(THINGS).rows
    assert len({row.seq for row in rows}) == 121
    assert list(store.check()) == []


def test_what_another_process_wrote_is_seen_and_kept_up(store: DocumentStore, tmp_path: Path):
    """New doctypes, indexes and documents of another process; writes here feed the indexes made there."""
    docs = Documents(store, {}, new_id=RisingIds())
    docs.put(THINGS, {"_id": "a", "n": 1})
    assert docs.get(Ref(THINGS, "a")).doc["n"] == 1
    script = """
from cozyd.documents.mango import Index, design_of
known = store.get(Ref("io.cozy.things", "a"))
store.commit([Write(known.ref, body={"n": 2}, rev=known.rev), Write(Ref("io.cozy.new", "x"), body={"n": 1})])
store.commit([Write(Ref("io.cozy.things", "_design/by-n"), body=design_of(Index("by-n", "by-n", ("n",))))])
store.make("io.cozy.passing")
store.drop("io.cozy.passing")
"""
    assert other_process(tmp_path / "documents", script).wait(60) == 0
    assert store.get(Ref(THINGS, "a")).doc["n"] == 2
    assert docs.get(Ref("io.cozy.new", "x")).doc["n"] == 1
    assert [row.id for row in store.changes(THINGS).rows] == ["a", "_design/by-n"]
    docs.put(THINGS, {"_id": "b", "n": 3})
    assert docs.get(Ref(THINGS, "a")).doc["n"] == 2
    found = docs.find(THINGS, Query({"n": {"$gte": 2}}))
    assert ([stored.ref.id for stored in found.rows], found.warning) == (["a", "b"], None)
    assert list(docs.doctypes()) == ["io.cozy.new", THINGS]
    assert list(store.check()) == []


def test_a_data_folder_has_one_process(tmp_path: Path):
    settings = config.load(None, {"COZYD_STORAGE_PATH": str(tmp_path / "data")}, {})
    stack = Stack.open(settings)
    try:
        with pytest.raises(Locked):
            Stack.open(settings)
    finally:
        stack.close()
    Stack.open(settings).close()


def test_what_the_command_line_writes_the_server_sees_at_once(fresh: Served):
    """The commands are processes of their own; with a server running they write through it, past no cache of its."""
    alice = Client(fresh, scope=("io.cozy.things",))
    for _ in range(3):
        assert alice.dav("PROPFIND", "/sync/dav/me/contacts/", Depth="0").status == 207
        fresh.cli("passwords", "remove", fresh.domain, "test")
        assert alice.dav("PROPFIND", "/sync/dav/me/contacts/", Depth="0").status == 401
        alice.password = fresh.password()
    assert alice.ask("GET", "/data/", Host="other.localhost").status == 404
    fresh.cli("instances", "set", fresh.domain, "--alias", "other.localhost", "--alias", f"localhost:{fresh.port}")
    assert alice.ask("GET", "/data/", Host="other.localhost").status == 200
    fresh.cli("instances", "set", fresh.domain, "--alias", f"localhost:{fresh.port}")
    assert alice.ask("GET", "/data/", Host="other.localhost").status == 404


def test_what_was_written_without_a_server_is_served(fresh: Served):
    alice = Client(fresh, scope=("io.cozy.things",))
    rev = alice.api("PUT", "/data/io.cozy.things/a", {"n": 1}).json["rev"]
    fresh.stop()
    fresh.cli("instances", "set", fresh.domain, "--alias", f"localhost:{fresh.port}", "--alias", "other.localhost")
    fresh.start()
    alice.token = fresh.token("io.cozy.things")
    assert alice.ask("GET", "/data/", Host="other.localhost").status == 200
    assert alice.api("GET", "/data/io.cozy.things/a").json["_rev"] == rev


def test_ids_rise_when_the_clock_does_not():
    new_id = RisingIds()
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert {len(id) for id in ids} == {32}


def test_a_malformed_write_is_refused_by_the_room(docs: Documents):
    with pytest.raises(BadRequest):
        docs.put(THINGS, {"n": "\ud800"})
