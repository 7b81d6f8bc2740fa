"""The document store's contract on SQLite, and what only SQLite promises."""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.sqlite.store import SqliteStore
from cozyd.documents.store import Batch, Change, DocumentBackend, DocumentStore, Query, React, Ref, Write
from cozyd.errors import Conflict, NotFound
from tests.contracts.document_store import DocumentStoreContract
from tests.contracts.document_values import LENIENT, LENIENT_TYPE, PROJECTIONS, THINGS, design, put
from tests.support.serving import eventually


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

    def test_what_a_call_costs_does_not_grow_with_the_documents(self, backend: SqliteBackend):
        """Counted in steps of SQLite's machine, with statistics that were taken of a file that was nearly empty."""
        store = backend.create("one")
        put(store, LENIENT_TYPE, "first", col="c", n=0)
        put(store, LENIENT_TYPE, "_design/by-n", **design("by-n", "n"))
        store.tidy()
        database = backend._tenants["one"][0]
        calls: dict[str, Callable[[], Any]] = {
            "write": lambda: put(store, LENIENT_TYPE, secrets.token_hex(8), col="c", n=1),
            "find": lambda: store.find(LENIENT_TYPE, Query({"n": {"$gte": 1}}, sort=(("n", "asc"),), limit=5)),
            "get": lambda: store.get(Ref(LENIENT_TYPE, "first")),
            "all": lambda: store.all(LENIENT_TYPE, start="d", limit=5),
            "changes": lambda: store.changes(LENIENT_TYPE, since=store.info(LENIENT_TYPE).seq),
            "rows": lambda: store.rows("members", ("c",), limit=5),
            "rows since": lambda: store.rows("members", ("c",), since=store.total("members", ("c",)).seq),
        }

        def cost(call: Callable[[], Any]) -> int:
            call()
            steps: list[int] = []
            with database.maintaining() as writer:
                connections = [writer, *(reader for _, reader in database._pool)]
            for connection in connections:
                connection.set_progress_handler(lambda: steps.append(1), 10)
            call()
            for connection in connections:
                connection.set_progress_handler(None, 0)
            return len(steps)

        found: list[dict[str, int]] = []
        for size in (500, 20_000):
            store.commit([Write(Ref(LENIENT_TYPE, f"d{size}-{number}"), body={"col": "c", "n": number % 7}) for number in range(size)])
            found.append({name: cost(call) for name, call in calls.items()})
        assert all(found[1][name] <= 2 * found[0][name] + 20 for name in calls), [str(one) for one in found]


# -- commits that wait together -----------------------------------------------------------------------------------------


class Crowd:
    """Commits of several threads that all wait for one that was first."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.told: list[list[str]] = []
        store.listen(lambda changes: self.told.append([change.new.ref.id for change in changes]))
        self._inside, self._gate = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(20)
        self._first = self._pool.submit(store.commit, [Write(Ref(THINGS, "first"), body={})], self._slow)
        assert self._inside.wait(20)

    def _slow(self, _changes: Sequence[Change], _seq: str) -> Batch:
        self._inside.set()
        assert self._gate.wait(20)
        return ()

    def run(self, *commits: Callable[[], Any]) -> list[Any]:
        """What each answers, or raises; all begin before any is done, in this order."""
        futures: list[Future[Any]] = []
        for commit in commits:
            futures.append(self._pool.submit(commit))
            eventually(lambda: len(self.store._together._waiting) == len(futures))
        self._gate.set()
        self._first.result(20)
        answers = [future.exception(20) or future.result() for future in futures]
        self._pool.shutdown()
        return answers


def commit(store: DocumentStore, *writes: Write, react: React | None = None) -> Callable[[], Sequence[Change]]:
    return lambda: store.commit(writes, react)


@pytest.fixture
def lone(backend: DocumentBackend) -> SqliteStore:
    store = backend.create("one")
    assert isinstance(store, SqliteStore)
    return store


def test_of_commits_that_waited_together_one_that_is_refused_leaves_the_others(lone: SqliteStore):
    fresh = "io.cozy.fresh"

    def breaks(_changes: Sequence[Change], _seq: str) -> Batch:
        raise ZeroDivisionError

    refused = Write(Ref(THINGS, "first"), body={}, rev="7-none")
    good, conflict, broken, same, last = Crowd(lone).run(
        commit(lone, Write(Ref(THINGS, "good"), body={"n": 1})),
        commit(lone, Write(Ref(fresh, "undone"), body={}), refused),
        commit(lone, Write(Ref(THINGS, "broken"), body={}), react=breaks),
        commit(lone, Write(Ref(THINGS, "good"), body={"n": 2})),
        commit(lone, Write(Ref(fresh, "last"), body={})),
    )
    assert [type(one) for one in (conflict, broken, same)] == [Conflict, ZeroDivisionError, Conflict]
    assert [row.doc.get("n") for row in lone.all(THINGS).rows] == [None, 1]
    assert [row.ref.id for row in lone.all(fresh).rows] == ["last"]
    assert [int(one[0].seq.partition("-")[0]) for one in (good, last)] == [2, 3]
    assert list(lone.check()) == []


def test_what_waited_together_is_told_one_by_one_when_all_of_it_can_be_read(lone: SqliteStore):
    crowd = Crowd(lone)
    readable: list[bool] = []
    lone.listen(lambda changes: readable.extend(lone.get(change.new.ref).rev == change.new.rev for change in changes))
    crowd.run(*(commit(lone, Write(Ref(THINGS, f"d{number}"), body={})) for number in range(8)))
    assert readable == [True] * 9
    assert [row.id for row in lone.changes(THINGS).rows] == ["first", *(f"d{number}" for number in range(8))]


def test_who_is_told_of_a_commit_may_commit_something(lone: SqliteStore):
    def answers(changes: Sequence[Change]) -> None:
        if changes[0].new.ref.id == "d1":
            lone.commit([Write(Ref(THINGS, "answer"), body={})])

    lone.listen(answers)
    lone.commit([Write(Ref(THINGS, "d1"), body={})])
    assert lone.get(Ref(THINGS, "answer")).rev


def test_who_is_told_may_commit_while_others_wait_for_the_writer(lone: SqliteStore):
    waits = threading.Thread(target=commit(lone, Write(Ref(THINGS, "other"), body={})))

    def answers(changes: Sequence[Change]) -> None:
        if changes[0].new.ref.id == "d1":
            waits.start()
            eventually(lambda: lone._together._led)
            lone.commit([Write(Ref(THINGS, "answer"), body={})])

    lone.listen(answers)
    lone.commit_each([Write(Ref(THINGS, "d1"), body={})])
    waits.join(10)
    assert [row.ref.id for row in lone.all(THINGS).rows] == ["answer", "d1", "other"]


def test_commits_of_many_threads_are_all_there_with_their_totals(lone: SqliteStore):
    def work(number: int) -> None:
        for step in range(40):
            lone.commit([Write(Ref(THINGS, f"{number}-{step}"), body={"n": step})])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert lone.info(THINGS).count == 320
    assert len({row.seq for row in lone.changes(THINGS).rows}) == 320
    assert list(lone.check()) == []
