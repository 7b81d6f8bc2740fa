"""The document store's contract on SQLite, and what only SQLite promises."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import DocumentBackend, DocumentStore, Query, Ref, Write
from cozyd.errors import NotFound
from tests.contracts.document_store import DocumentStoreContract
from tests.contracts.document_values import LENIENT, PROJECTIONS, THINGS, design, put


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[DocumentBackend]:
    made = SqliteBackend(tmp_path / "documents", PROJECTIONS, lenient=LENIENT, open_tenants=2)
    yield made
    made.close()


class TestSqliteStore(DocumentStoreContract):
    """The contract."""

    def test_the_file_is_found_again(self, tmp_path: Path):
        folder = tmp_path / "again"
        first = SqliteBackend(folder, PROJECTIONS, lenient=LENIENT)
        made = put(first.create("one"), THINGS, "a", n=1)
        first.close()
        second = SqliteBackend(folder, PROJECTIONS, lenient=LENIENT)
        assert second.open("one").get(made.ref).rev == made.rev
        second.close()

    def test_the_order_of_members_does_not_enter_the_revision(self, store: DocumentStore):
        assert put(store, THINGS, "a", m=1, n=2).rev == put(store, THINGS, "b", n=2, m=1).rev

    def test_a_seq_of_couchdb_rewinds(self, store: DocumentStore):
        put(store, THINGS, "a", n=1)
        since = "2-g1AAAABLeJzLYWBgYMxgTmHgz8tPSTV0MDQy1zMAQsMcoARTIkMeC8N_IMjKYE5kygUKsSclpxqYmlliasgCAKe1Eqg"
        assert [row.id for row in store.changes(THINGS, since=since).rows] == ["a"]

    def test_replaced_bodies_are_not_kept(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        put(store, THINGS, "a", first.rev, n=2)
        with pytest.raises(NotFound, match="missing"):
            store.get(first.ref, first.rev)

    def test_more_tenants_than_connections_are_served(self, backend: DocumentBackend):
        stores = [backend.create(f"t{number}") for number in range(6)]
        for turn in range(3):
            for number, store in enumerate(stores):
                store.commit([Write(Ref(THINGS, f"d{turn}"), body={"n": number})])
        assert [store.get(Ref(THINGS, "d1")).doc["n"] for store in stores] == list(range(6))

    @pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b"])
    def test_a_tenant_s_name_never_leaves_the_folder(self, backend: DocumentBackend, name: str):
        with pytest.raises(NotFound):
            backend.create(name)

    def test_what_was_dropped_is_given_back_to_the_disk(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("one")
        store.commit([Write(Ref(THINGS, f"d{number}"), body={"text": "x" * 3000}) for number in range(3000)])
        put(store, "io.cozy.other", "kept", n=1)
        store.tidy()
        path = tmp_path / "documents" / "one.sqlite"
        full = path.stat().st_size
        store.drop(THINGS)
        store.tidy()
        assert path.stat().st_size < full / 4
        assert store.get(Ref("io.cozy.other", "kept")).doc["n"] == 1
        assert list(store.check()) == []

    def test_an_index_that_comes_or_goes_never_hides_documents(self, store: DocumentStore):
        store.commit([Write(Ref(THINGS, f"d{number}"), body={"n": number}) for number in range(300)])
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                made = put(store, THINGS, "_design/by-n", None, **design("by-n", "n"))
                store.commit([Write(made.ref, rev=made.rev, deleted=True)])

        thread = threading.Thread(target=work)
        thread.start()
        try:
            pages = [store.find(THINGS, Query({"n": {"$gte": 0}}, limit=1000)) for _ in range(400)]
        finally:
            stop.set()
            thread.join(30)
        assert {len(page.rows) for page in pages} == {300}
        assert {page.warning is None for page in pages} == {True, False}, "with the index and without"
