"""A tenant moves to another store as it is, and the move proves it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import DocumentBackend, DocumentStore, Ref, Write
from cozyd.documents.transfer import Transfer
from cozyd.errors import Conflict
from tests.contracts.document_values import LENIENT, LENIENT_TYPE, PROJECTIONS, THINGS, put
from tests.support.lived_in import live_in


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[DocumentBackend]:
    made = SqliteBackend(tmp_path / "documents", PROJECTIONS, lenient=LENIENT)
    yield made
    made.close()


@pytest.fixture
def source(backend: DocumentBackend) -> DocumentStore:
    store = backend.create("source")
    live_in(store)
    return store


def move(source: DocumentStore, target: DocumentStore) -> dict[str, object]:
    """Copy and compare; the last step."""
    transfer = Transfer(source, target)
    return [*transfer.copy(), *transfer.compare()][-1]


def test_everything_arrives(backend: DocumentBackend, source: DocumentStore):
    target = backend.create("target")
    done = move(source, target)
    assert {name: done[name] for name in ("step", "doctypes", "documents", "deleted", "private", "locals")} == {
        "step": "equal",
        "doctypes": 4,
        "documents": 9,
        "deleted": 1,
        "private": 3,
        "locals": 1,
    }
    assert target.tree(Ref(THINGS, "branched")).conflicts == source.tree(Ref(THINGS, "branched")).conflicts != []
    tombstone = target.get_many(THINGS, ["gone"], deleted=True)[0]
    assert tombstone is not None
    assert tombstone.doc["why"] == "moved"
    assert target.get(Ref(LENIENT_TYPE, "card1")).private == {"href": "h1"}
    assert [row.key for row in target.rows("members", ("c",))] == [("c", "h0"), ("c", "h1"), ("c", "h2")]
    assert target.local(THINGS, "checkpoint/==") == {"_id": "_local/checkpoint/==", "_rev": "0-2", "seq": 2}
    assert list(target.check()) == []


def test_a_move_that_is_run_again_brings_what_is_new(backend: DocumentBackend, source: DocumentStore):
    target = backend.create("target")
    first = move(source, target)
    seq = target.info(THINGS).seq
    assert move(source, target) == first
    assert target.info(THINGS).seq == seq
    known = source.get(Ref(THINGS, "again"))
    put(source, THINGS, "again", known.rev, n=3)
    assert move(source, target)["sha256"] != first["sha256"]
    assert target.get(known.ref).doc["n"] == 3


def test_a_target_that_was_written_to_is_refused(backend: DocumentBackend, source: DocumentStore):
    target = backend.create("target")
    move(source, target)
    known = target.get(Ref(THINGS, "again"))
    made = put(target, THINGS, "again", known.rev, n=9)
    with pytest.raises(Conflict, match=r"newer revisions of 1 documents of io\.cozy\.things: again"):
        move(source, target)
    assert target.get(made.ref).rev == made.rev


@pytest.mark.parametrize("what", ["document", "private data", "doctype"])
def test_a_difference_is_found(backend: DocumentBackend, source: DocumentStore, what: str):
    target = backend.create("target")
    move(source, target)
    if what == "document":
        put(target, THINGS, "more", n=1)
    elif what == "doctype":
        target.make("io.cozy.more")
    else:
        known = target.get(Ref(LENIENT_TYPE, "card1"))
        target.purge(LENIENT_TYPE, {"card1": [known.rev]})
        target.graft(LENIENT_TYPE, [known.doc], private={"card1": {"href": "other"}})
    with pytest.raises(Conflict, match=r"differ|card1|more"):
        list(Transfer(source, target).compare())


def test_a_deletion_without_body_and_a_dropped_branch_move_too(backend: DocumentBackend, source: DocumentStore):
    target = backend.create("target")
    losing = source.tree(Ref(THINGS, "branched")).conflicts[0]
    source.commit([Write(Ref(THINGS, "branched"), rev=losing, deleted=True)])
    move(source, target)
    assert len(target.leaves(Ref(THINGS, "branched"))) == 2
    assert target.tree(Ref(THINGS, "branched")).conflicts == []
