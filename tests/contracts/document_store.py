"""The promises of `DocumentStore` and `DocumentBackend`, run over every driver.

A driver's test module subclasses `DocumentStoreContract` with a `backend` fixture made with `PROJECTIONS` and `LENIENT`.
"""

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from cozyd.documents.store import DocumentBackend, DocumentStore, Query, Ref, Write
from cozyd.errors import Conflict, Invalid, NotFound, SeqGone
from tests.contracts.document_attachments import AttachmentsContract
from tests.contracts.document_model import compare
from tests.contracts.document_revisions import RevisionsContract
from tests.contracts.document_rows import RowsContract
from tests.contracts.document_values import FILES, LENIENT_TYPE, THINGS, design, ids, put
from tests.contracts.document_writes import WritesContract


class DocumentStoreContract(WritesContract, RowsContract, RevisionsContract, AttachmentsContract):
    """Every test of a port's promise."""

    @pytest.fixture
    def store(self, backend: DocumentBackend) -> DocumentStore:
        return backend.create("tenant1")

    # -- the backend ------------------------------------------------------------------------------------------------

    def test_tenants_come_and_go(self, backend: DocumentBackend):
        backend.create("one")
        put(backend.create("two"), THINGS, "a", n=1)
        assert list(backend.tenants()) == ["one", "two"]
        with pytest.raises(Conflict):
            backend.create("one")
        with pytest.raises(NotFound):
            backend.open("three")
        backend.destroy("two")
        backend.destroy("two")
        assert list(backend.tenants()) == ["one"]
        with pytest.raises(NotFound):
            backend.open("two")
        assert backend.create("two").doctypes() == []
        backend.ping()

    def test_a_restored_backup_begins_an_epoch(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("one")
        put(store, LENIENT_TYPE, "1", col="c", n=1)
        before = store.total("members", ("c",)).seq
        backend.backup("one", str(tmp_path / "backup"))
        put(store, LENIENT_TYPE, "2", col="c", n=1)
        lost = store.total("members", ("c",)).seq
        forgotten: list[bool] = []
        store.listen(lambda _: None, lambda: forgotten.append(True))
        backend.restore("one", str(tmp_path / "backup"))
        assert forgotten
        assert backend.open("one").get_many(LENIENT_TYPE, ["2"]) == store.get_many(LENIENT_TYPE, ["2"]) == [None]
        put(store, LENIENT_TYPE, "3", col="c", n=1)
        assert [row.key[1] for row in store.rows("members", ("c",), since=before)] == ["3"]
        with pytest.raises(SeqGone):
            store.rows("members", ("c",), since=lost)
        known = ["3"] if store.atomic else ["1", "3"]  # CouchDB begins again in a database that was made anew
        assert [row.id for row in store.changes(LENIENT_TYPE, since=before).rows] == known
        assert [row.id for row in store.changes(LENIENT_TYPE, since=lost).rows] == ["1", "3"]

    def test_doctypes_and_indexes_are_those_of_the_backup(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("one")
        put(store, THINGS, "_design/by-n", **design("by-n", "n"))
        put(store, THINGS, "a", n=1)
        backend.backup("one", str(tmp_path / "backup"))
        store.drop(THINGS)
        put(store, FILES, "1", dir="r", name="a", size=3)
        put(store, THINGS, "b", n=1)
        backend.restore("one", str(tmp_path / "backup"))
        assert (list(store.doctypes()), store.total("sizes").count) == ([THINGS], 0)
        found = store.find(THINGS, Query({"n": 1}))
        assert (ids(found), found.warning) == (["a"], None)
        put(store, FILES, "2", dir="r", name="a", size=4)
        assert store.total("sizes").sum == 4
        assert list(store.check()) == []

    def test_readers_and_writers_go_on_through_a_restore(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("one")
        store.commit([Write(Ref(THINGS, id), body={"n": 0}) for id in "ab"])
        backend.backup("one", str(tmp_path / "backup"))
        stop, seen = threading.Event(), []

        def work() -> None:
            while not stop.is_set():
                first, second = (one for one in store.get_many(THINGS, ["a", "b"]) if one is not None)
                seen.append(first.doc["n"] == second.doc["n"])
                with suppress(Conflict):
                    store.commit([Write(one.ref, patch={"n": one.doc["n"] + 1}, rev=one.rev) for one in (first, second)])

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(5):
                backend.restore("one", str(tmp_path / "backup"))
        finally:
            stop.set()
            thread.join(30)
        assert seen
        assert all(seen) or not store.atomic
        assert list(store.check()) == []

    def test_what_is_no_backup_changes_nothing(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("one")
        made = put(store, THINGS, "a", n=1)
        whole = tmp_path / "backup"
        backend.backup("one", str(whole))
        for content in (b"", b"nonsense", whole.read_bytes()[: whole.stat().st_size // 2]):
            (tmp_path / "broken").write_bytes(content)
            with pytest.raises(Invalid):
                backend.restore("one", str(tmp_path / "broken"))
            with pytest.raises(Invalid):
                backend.restore("other", str(tmp_path / "broken"))
        assert store.get(made.ref).rev == made.rev
        assert list(backend.tenants()) == ["one"]

    def test_a_backup_is_whole_while_others_write(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("one")
        store.commit([Write(Ref(THINGS, "a"), body={"n": 0}, private={"kept": True}), Write(Ref(THINGS, "b"), body={"n": 0})])
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                known = store.get_many(THINGS, ["a", "b"])
                store.commit([Write(one.ref, patch={"n": one.doc["n"] + 1}, rev=one.rev) for one in known if one is not None])

        thread = threading.Thread(target=work)
        thread.start()
        try:
            backend.backup("one", str(tmp_path / "backup"))
        finally:
            stop.set()
            thread.join(30)
        backend.create("copy")
        backend.restore("copy", str(tmp_path / "backup"))
        copy = backend.open("copy")
        found = [one for one in copy.get_many(THINGS, ["a", "b"]) if one is not None]
        assert found[0].doc["n"] == found[1].doc["n"]
        assert found[0].private == {"kept": True}
        assert list(copy.check()) == []

    def test_tenants_do_not_see_each_other(self, backend: DocumentBackend):
        one, other = backend.create("one"), backend.create("other")
        told: list[str] = []
        other.listen(lambda changes: told.extend(change.new.ref.id for change in changes))
        put(one, THINGS, "a", n=1)
        assert list(other.doctypes()) == []
        assert told == []

    # -- against a model --------------------------------------------------------------------------------------------

    def test_random_writes_give_what_a_plain_model_gives(self, backend: DocumentBackend):
        compare(backend, start=1, steps=1500)

    @pytest.mark.soak
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("start", [11, 12, 13, 14, 15])
    def test_many_random_writes_give_what_a_plain_model_gives(self, backend: DocumentBackend, start: int):
        compare(backend, start=start, steps=10_000)
