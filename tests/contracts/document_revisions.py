"""The contract of the document store: revisions, local documents, doctypes."""

import threading
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from cozyd.documents.malformed import Malformed
from cozyd.documents.store import DocumentBackend, DocumentStore, Query, Ref, Write
from cozyd.errors import CozyError, NotFound
from tests.contracts.document_values import FILES, THINGS, design, put


class RevisionsContract:
    """Every test of these promises."""

    # -- revisions --------------------------------------------------------------------------------------------------

    def graft(self, store: DocumentStore, id: str, *path: str, **more: Any) -> None:
        number = int(path[0].split("-")[0])
        revisions = {"start": number, "ids": [rev.split("-")[1] for rev in path]}
        answers = store.graft(THINGS, [{"_id": id, "_rev": path[0], "_revisions": revisions} | more])
        assert not [answer for answer in answers if isinstance(answer, CozyError)]

    def test_branches_merge_and_the_winner_is_deterministic(self, store: DocumentStore):
        a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "2-" + "c" * 32
        self.graft(store, "x", b, a, n="b")
        self.graft(store, "x", c, a, n="c")
        tree = store.tree(Ref(THINGS, "x"))
        assert (tree.winner, list(tree.conflicts)) == (c, [b])
        assert store.get(Ref(THINGS, "x")).doc["n"] == "c"
        assert store.get(Ref(THINGS, "x"), b).doc["n"] == "b"
        assert [leaf.rev for leaf in store.leaves(Ref(THINGS, "x"))] == [c, b]
        assert store.changes(THINGS).rows[0].leaves == [c, b]
        assert [leaf.rev for leaf in store.leaves(Ref(THINGS, "x"), [a], latest=True)] == [c, b]

    def test_a_document_that_is_written_all_the_time_always_has_its_leaf(self, store: DocumentStore):
        ref = Ref(THINGS, "a")
        rev, stop = put(store, THINGS, "a", n=0).rev, threading.Event()

        def work() -> None:
            known = rev
            while not stop.is_set():
                known = put(store, THINGS, "a", known, n=1).rev

        writer = threading.Thread(target=work)
        writer.start()
        try:
            for _ in range(300):
                assert len(store.leaves(ref)) == 1
                assert len(store.leaves(ref, [rev], latest=True)) == 1
        finally:
            stop.set()
            writer.join(30)

    def test_a_deleted_winner_gives_way(self, store: DocumentStore):
        a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "2-" + "c" * 32
        self.graft(store, "x", b, a, n="b")
        self.graft(store, "x", c, a, n="c")
        store.commit([Write(Ref(THINGS, "x"), rev=c, deleted=True)])
        found = store.get(Ref(THINGS, "x"))
        assert (found.rev, found.doc["n"]) == (b, "b")
        assert list(store.tree(found.ref).conflicts) == []
        assert store.info(THINGS).count == 1

    def test_a_losing_branch_can_grow_and_win(self, store: DocumentStore):
        a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "2-" + "c" * 32
        self.graft(store, "x", b, a, n="b")
        self.graft(store, "x", c, a, n="c")
        grown = put(store, THINGS, "x", b, n="grown")
        assert store.get(Ref(THINGS, "x")).doc["n"] == "grown"
        assert list(store.tree(Ref(THINGS, "x")).conflicts) == [c]
        assert grown.rev.startswith("3-")

    def test_a_known_revision_changes_nothing(self, store: DocumentStore):
        a = "1-" + "a" * 32
        self.graft(store, "x", a, n=1)
        seq = store.info(THINGS).seq
        assert store.graft(THINGS, [{"_id": "x", "_rev": a, "n": 1}]) == [None]
        assert store.info(THINGS).seq == seq

    def test_missing_revisions_are_told_with_possible_ancestors(self, store: DocumentStore):
        made = put(store, THINGS, "a", n=1)
        later = "3-" + "f" * 32
        found = store.missing_revs(THINGS, {"a": [made.rev, later], "none": ["1-" + "0" * 32]})
        assert {id: (list(missing), list(ancestors)) for id, (missing, ancestors) in found.items()} == {
            "a": ([later], [made.rev]),
            "none": (["1-" + "0" * 32], []),
        }

    def test_long_histories_are_stemmed(self, store: DocumentStore):
        path = [f"{number}-{number:032x}" for number in range(1500, 0, -1)]
        self.graft(store, "x", *path, n=1)
        assert len(store.tree(Ref(THINGS, "x")).path(path[0])) == 1000

    def test_purged_leaves_are_forgotten(self, store: DocumentStore):
        a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "2-" + "c" * 32
        self.graft(store, "x", b, a, n="b")
        self.graft(store, "x", c, a, n="c")
        store.purge(THINGS, {"x": [c]})
        assert store.get(Ref(THINGS, "x")).rev == b
        store.purge(THINGS, {"x": [b]})
        with pytest.raises(NotFound, match="missing"):
            store.get(Ref(THINGS, "x"))
        assert store.info(THINGS).count == 0

    # -- local documents and doctypes -------------------------------------------------------------------------------

    def test_local_documents_are_apart(self, store: DocumentStore):
        store.make(THINGS)
        assert store.local(THINGS, "cp") is None
        assert store.set_local(THINGS, "cp", {"seq": 1}) == "0-1"
        assert store.set_local(THINGS, "cp", {"seq": 2, "_rev": "0-1"}) == "0-2"
        assert store.local(THINGS, "cp") == {"_id": "_local/cp", "_rev": "0-2", "seq": 2}
        with pytest.raises(Malformed):
            store.set_local(THINGS, "cp", {"_rev": "1-a"})
        assert store.set_local(THINGS, "cp", {"seq": 3}) == "0-1"
        assert store.changes(THINGS).rows == []

    def test_doctypes_are_made_counted_and_dropped(self, store: DocumentStore):
        assert [store.make(THINGS), store.make(THINGS)] == [True, False]
        made = put(store, FILES, "1", dir="r", name="a", size=3)
        put(store, FILES, "2", dir="r", name="b", size=4)
        store.commit([Write(made.ref, rev=made.rev, deleted=True)])
        info = store.info(FILES)
        assert (info.count, info.deleted) == (1, 1)
        assert list(store.doctypes()) == sorted([THINGS, FILES])
        store.drop(FILES)
        assert store.total("sizes").sum == 0
        assert list(store.doctypes()) == [THINGS]
        with pytest.raises(NotFound):
            store.drop(FILES)
        put(store, FILES, "1", dir="r", name="a", size=3)
        assert list(store.check()) == []

    @pytest.mark.parametrize("seed", range(6))
    def test_stores_that_got_the_same_branches_agree(self, backend: DocumentBackend, seed: int):
        random = Random(seed)
        history: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        for number in range(12):
            above = random.choice(history)[0] if history and random.random() < 0.8 else ()
            path = (f"{len(above) + 1}-{random.randrange(16**4):04x}{number:02x}", *above)
            history.append((path, {"n": number} | ({"_deleted": True} if random.random() < 0.3 else {})))
        seen = []
        for name in ("one", "other", "third"):
            store = backend.create(f"{name}{seed}")
            for path, body in random.sample(history, len(history)):
                revisions = {"start": len(path), "ids": [rev.partition("-")[2] for rev in path]}
                store.graft(THINGS, [{"_id": "x", "_rev": path[0], "_revisions": revisions} | body])
            ref = Ref(THINGS, "x")
            leaves = [(leaf.rev, leaf.deleted, leaf.doc["n"]) for leaf in store.leaves(ref)]
            paths = [tuple(store.tree(ref).path(rev)) for rev, _, _ in leaves]
            winner = [None if one is None else one.doc for one in store.get_many(THINGS, ["x"], deleted=True)]
            seen.append((leaves, paths, winner, store.info(THINGS).count, store.changes(THINGS).rows[0].leaves))
            assert list(store.check()) == []
        assert seen[0] == seen[1] == seen[2]

    def test_ancestors_that_come_late_join_branches(self, store: DocumentStore):
        a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "3-" + "c" * 32
        self.graft(store, "x", c, n="c")
        self.graft(store, "x", b, a, n="b")
        assert list(store.tree(Ref(THINGS, "x")).conflicts) == [b]
        self.graft(store, "x", c, b, a, n="c")
        tree = store.tree(Ref(THINGS, "x"))
        assert (list(tree.conflicts), tree.path(c)) == ([], [c, b, a])
        assert store.changes(THINGS).rows[0].leaves == [c]
        assert store.get(Ref(THINGS, "x")).doc["n"] == "c"

    def test_a_cut_history_is_completed_without_a_change(self, store: DocumentStore):
        a, b, c = "1-" + "a" * 32, "2-" + "b" * 32, "3-" + "c" * 32
        self.graft(store, "x", c, b, n="c")
        seq = store.info(THINGS).seq
        self.graft(store, "x", c, b, a, n="c")
        assert store.tree(Ref(THINGS, "x")).path(c) == [c, b, a]
        if store.atomic:  # CouchDB counts it
            assert store.info(THINGS).seq == seq

    def test_edits_are_stemmed_too(self, store: DocumentStore):
        path = [f"{number}-{number:032x}" for number in range(998, 0, -1)]
        self.graft(store, "x", *path, n=1)
        rev = path[0]
        for number in range(105):
            rev = put(store, THINGS, "x", rev, n=number).rev
        kept = store.tree(Ref(THINGS, "x")).path(rev)
        assert rev.startswith("1103-")
        assert 1000 <= len(kept) < 1100

    def test_a_replaced_body_is_missing_or_exact(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        put(store, THINGS, "a", first.rev, n=2)
        with suppress(NotFound):  # a driver may keep it until its next upkeep
            assert store.get(first.ref, first.rev).doc["n"] == 1

    def test_a_tombstone_is_purged_too(self, store: DocumentStore):
        made = put(store, THINGS, "a", n=1)
        gone = store.commit([Write(made.ref, rev=made.rev, deleted=True)])[0].new
        store.purge(THINGS, {"a": [gone.rev], "none": ["1-a"]})
        assert (store.info(THINGS).count, store.info(THINGS).deleted) == (0, 0)
        with pytest.raises(NotFound, match="missing"):
            store.tree(made.ref)
        assert put(store, THINGS, "a", n=2).rev.startswith("1-")
        assert list(store.check()) == []

    def test_doctypes_are_made_once_and_forget_everything_when_dropped(self, store: DocumentStore):
        assert [store.make(THINGS), store.make(THINGS)] == [True, False]
        put(store, THINGS, "_design/v", **design("v", "n"))
        put(store, THINGS, "a", n=1)
        store.set_local(THINGS, "cp", {"n": 1})
        store.drop(THINGS)
        assert store.get_many(THINGS, ["a"]) == [None]
        for look in (store.info, store.all, store.changes, lambda doctype: store.find(doctype, Query({"n": 1}))):
            with pytest.raises(NotFound, match="Database does not exist"):
                look(THINGS)
        put(store, THINGS, "a", n=1)
        assert store.local(THINGS, "cp") is None
        assert store.find(THINGS, Query({"n": 1})).warning is not None
        assert [row.id for row in store.changes(THINGS).rows] == ["a"]
