"""The promises of `DocumentStore` and `DocumentBackend`, run over every driver.

A driver's test module subclasses `DocumentStoreContract` with a `backend` fixture made with `PROJECTIONS` and `LENIENT`.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Change, DocumentBackend, DocumentStore, Projection, Query, Ref, Stored, Write
from cozyd.errors import BadRequest, Conflict, CozyError, Invalid, NotFound, SeqGone

THINGS, FILES, LENIENT_TYPE = "io.cozy.things", "io.cozy.test.files", "io.cozy.test.cards"


def _names(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    doc = stored.doc
    if "dir" in doc:
        yield (doc["dir"], doc["name"]), doc.get("size", 0)


def _sizes(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if "dir" in stored.doc:
        yield (stored.doc["dir"],), stored.doc.get("size", 0)


def _members(stored: Stored) -> Iterator[tuple[tuple[Any, ...], Any]]:
    doc = stored.doc
    if "col" in doc:
        yield (doc["col"], stored.private.get("href") or stored.ref.id), {"n": doc.get("n")}


PROJECTIONS = (
    Projection("by-name", of={FILES: _names}, reads=frozenset(("dir", "name", "size"))),
    Projection("unique-names", of={FILES: _names}, reads=frozenset(("dir", "name", "size")), unique=True),
    Projection("sizes", of={FILES: _sizes}, reads=frozenset(("dir", "size")), reduce="sum"),
    Projection("members", of={LENIENT_TYPE: _members}, unique=True, feed=True),
)
LENIENT = frozenset((LENIENT_TYPE,))


def put(store: DocumentStore, doctype: str, id: str, rev: str | None = None, /, **body: Any) -> Stored:
    return store.commit([Write(Ref(doctype, id), body=body, rev=rev)])[0].new


def ids(page: Any) -> list[str]:
    return [stored.ref.id for stored in page.rows]


class DocumentStoreContract:
    """Every test of a port's promise."""

    @pytest.fixture
    def store(self, backend: DocumentBackend) -> DocumentStore:
        return backend.create("tenant1")

    # -- documents --------------------------------------------------------------------------------------------------

    def test_a_document_is_read_back(self, store: DocumentStore):
        made = put(store, THINGS, "a", n=1, text="é")
        found = store.get(Ref(THINGS, "a"))
        assert found.doc == {"_id": "a", "_rev": made.rev, "n": 1, "text": "é"}
        assert made.rev.startswith("1-")
        assert len(made.rev) == 34

    def test_what_is_not_there_says_why(self, store: DocumentStore):
        with pytest.raises(NotFound, match="Database does not exist"):
            store.get(Ref(THINGS, "a"))
        made = put(store, THINGS, "a", n=1)
        with pytest.raises(NotFound, match="missing"):
            store.get(Ref(THINGS, "b"))
        store.commit([Write(made.ref, rev=made.rev, deleted=True)])
        with pytest.raises(NotFound, match="deleted"):
            store.get(made.ref)

    def test_the_same_edit_of_the_same_revision_gives_the_same_revision(self, backend: DocumentBackend):
        one, other = backend.create("one"), backend.create("other")
        first = [put(store, THINGS, "a", n=1, m=2).rev for store in (one, other)]
        assert first[0] == first[1]
        second = [put(store, THINGS, "a", first[0], m=2, n=3).rev for store in (one, other)]
        assert second[0] == second[1]
        patched = one.commit([Write(Ref(THINGS, "a"), patch={"n": 4}, rev=second[0])])[0].new.rev
        assert patched == put(other, THINGS, "a", second[0], n=4, m=2).rev

    def test_an_equal_body_still_makes_a_revision(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        second = put(store, THINGS, "a", first.rev, n=1)
        assert second.rev != first.rev
        assert second.rev.startswith("2-")

    def test_a_stale_revision_is_a_conflict_that_names_each(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        second = put(store, THINGS, "a", first.rev, n=2)
        batch = [
            Write(Ref(THINGS, "a"), body={}, rev=first.rev),
            Write(Ref(THINGS, "b"), body={}, rev=None),
            Write(Ref(THINGS, "c"), body={}, rev=second.rev),
        ]
        with pytest.raises(Conflict) as caught:
            store.commit(batch)
        assert set(caught.value.refs) == {Ref(THINGS, "a"), Ref(THINGS, "c")}
        if store.atomic:
            assert caught.value.done == ()
            assert store.get_many(THINGS, ["b"]) == [None]

    def test_a_patch_leaves_the_rest_of_the_text(self, store: DocumentStore):
        first = put(store, THINGS, "a", keep={"x": [1, 2.5, None]}, old=1, gone=2)
        found = store.commit([Write(first.ref, patch={"old": 3, "gone": ..., "new": True}, rev=first.rev)])[0].new
        assert {key: value for key, value in found.doc.items() if key[:1] != "_"} == {"keep": {"x": [1, 2.5, None]}, "old": 3, "new": True}

    def test_a_deleted_document_can_be_created_again(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        tombstone = store.commit([Write(first.ref, rev=first.rev, deleted=True)])[0].new
        again = put(store, THINGS, "a", n=2)
        assert again.rev.startswith("3-")
        assert store.tree(again.ref).path(again.rev) == [again.rev, tombstone.rev, first.rev]

    def test_a_tombstone_may_have_a_body(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        store.commit([Write(first.ref, body={"why": "moved"}, rev=first.rev, deleted=True)])
        found = store.get_many(THINGS, ["a"], deleted=True)[0]
        assert found is not None
        assert found.deleted
        assert found.doc["why"] == "moved"

    def test_many_are_read_in_the_order_asked(self, store: DocumentStore):
        for id in "abc":
            put(store, THINGS, id, n=id)
        found = store.get_many(THINGS, ["c", "none", "a", "c"])
        assert [None if one is None else one.ref.id for one in found] == ["c", None, "a", "c"]
        assert store.get_many("io.cozy.never", ["a"]) == [None]

    def test_all_are_listed_by_id_in_byte_order(self, store: DocumentStore):
        for id in ("b", "a", "B", "é", "_design/x", "c"):
            put(store, THINGS, id, n=1)
        assert ids(store.all(THINGS)) == ["B", "_design/x", "a", "b", "c", "é"]
        assert ids(store.all(THINGS, start="a", end="b")) == ["a", "b"]
        assert ids(store.all(THINGS, start="b", descending=True, limit=2)) == ["b", "a"]
        assert ids(store.all(THINGS, skip=2, limit=2)) == ["a", "b"]
        bare = store.all(THINGS, docs=False)
        assert bare.total == 6
        assert all(stored.text == b"{}" and stored.rev for stored in bare.rows)

    def test_unknown_underscored_members_are_invalid_and_known_ones_are_not_stored(self, store: DocumentStore):
        with pytest.raises(Invalid, match="_odd"):
            put(store, THINGS, "a", _odd=1)
        assert put(store, THINGS, "b", _id="x", _rev="1-z", _revisions={}, n=1).text == b'{"n":1}'

    # -- private data -----------------------------------------------------------------------------------------------

    def test_private_data_belongs_to_the_document_and_shows_nowhere(self, store: DocumentStore):
        ref = Ref(THINGS, "a")
        first = store.commit([Write(ref, body={"n": 1}, private={"secret": "s3cret"})])[0].new
        second = put(store, THINGS, "a", first.rev, n=2)
        assert store.get(ref).private == {"secret": "s3cret"}
        store.graft(THINGS, [{"_id": "a", "_rev": "3-" + "a" * 32, "_revisions": {"start": 3, "ids": ["a" * 32, second.rev[2:]]}, "n": 3}])
        found = store.get(ref)
        assert (found.doc["n"], found.private) == (3, {"secret": "s3cret"})
        assert b"s3cret" not in found.render()
        shown = store.changes(THINGS, docs=True).rows[0].stored
        assert shown is not None
        assert "secret" not in shown.doc
        store.commit([Write(ref, rev=found.rev, deleted=True)])
        assert put(store, THINGS, "a", n=4).private == {}
        assert store.get(ref).private == {}

    def test_private_data_does_not_enter_the_revision(self, backend: DocumentBackend):
        one, other = backend.create("one"), backend.create("other")
        write = Write(Ref(THINGS, "a"), body={"n": 1}, private={"x": 1})
        assert one.commit([write])[0].new.rev == put(other, THINGS, "a", n=1).rev

    # -- batches ----------------------------------------------------------------------------------------------------

    def test_each_stands_alone_in_commit_each(self, store: DocumentStore):
        put(store, THINGS, "taken", n=1)
        batch = [Write(Ref(THINGS, id), body={"n": 2}) for id in ("a", "taken", "b")]
        answers = store.commit_each(batch)
        assert [type(answer) for answer in answers] == [Change, Conflict, Change]
        assert store.get(Ref(THINGS, "b")).doc["n"] == 2

    def test_what_was_only_read_must_still_be_so(self, store: DocumentStore):
        parent = put(store, THINGS, "parent", n=1)
        store.commit([Write(Ref(THINGS, "child"), body={})], while_at=[(parent.ref, parent.rev)])
        put(store, THINGS, "parent", parent.rev, n=2)
        with pytest.raises(Conflict) as caught:
            store.commit([Write(Ref(THINGS, "other"), body={})], while_at=[(parent.ref, parent.rev)])
        assert caught.value.refs == (parent.ref,)
        assert store.get_many(THINGS, ["other"]) == [None]

    def test_reactions_belong_to_the_commit_and_are_idempotent(self, store: DocumentStore):
        seen: list[tuple[int, str]] = []

        def react(changes: Any, seq: str) -> list[Write]:
            seen.append((len(changes), seq))
            follow = Write(changes[0].new.ref, patch={"followed": True}, rev=changes[0].new.rev)
            return [Write(Ref("io.cozy.jobs", "job1"), body={"of": changes[0].new.ref.id}), follow]

        changes = store.commit([Write(Ref(THINGS, "a"), body={"n": 1}), Write(Ref(THINGS, "b"), body={})], react)
        assert [change.verb for change in changes] == ["CREATED", "CREATED", "CREATED", "UPDATED"]
        assert len(seen) == 1
        assert seen[0][0] == 2
        assert store.get(Ref(THINGS, "a")).doc["followed"] is True
        store.commit([Write(Ref(THINGS, "c"), body={})], react)
        assert store.get(Ref("io.cozy.jobs", "job1")).doc["of"] == "a"

    def test_changes_are_told_after_each_commit_in_order(self, store: DocumentStore):
        told: list[Change] = []
        store.listen(told.extend)
        first = put(store, THINGS, "a", n=1)
        second = put(store, THINGS, "a", first.rev, n=2)
        store.commit([Write(second.ref, rev=second.rev, deleted=True)])
        with pytest.raises(Conflict):
            put(store, THINGS, "a", first.rev, n=3)
        assert [change.verb for change in told] == ["CREATED", "UPDATED", "DELETED"]
        assert told[2].new.doc["n"] == 2
        assert told[2].new.rev.startswith("3-")
        assert told[1].old is not None
        assert told[1].old.doc["n"] == 1

    def test_threads_get_one_success_for_each_generation(self, store: DocumentStore):
        put(store, THINGS, "shared", n=0)
        wins: list[str] = []

        def work() -> None:
            for _ in range(25):
                known = store.get(Ref(THINGS, "shared"))
                try:
                    wins.append(put(store, THINGS, "shared", known.rev, n=known.doc["n"] + 1).rev)
                except Conflict:
                    continue

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        final = store.get(Ref(THINGS, "shared"))
        assert final.doc["n"] == len(wins) == len(set(wins))
        assert store.tree(final.ref).conflicts == []

    # -- projections ------------------------------------------------------------------------------------------------

    def test_rows_follow_their_documents(self, store: DocumentStore):
        one = put(store, FILES, "1", dir="r", name="b", size=5)
        put(store, FILES, "2", dir="r", name="a", size=7)
        put(store, FILES, "3", dir="s", name="c", size=1)
        assert [(row.key, row.value, row.ref.id) for row in store.rows("by-name", ("r",))] == [(("r", "a"), 7, "2"), (("r", "b"), 5, "1")]
        assert (store.total("sizes").sum, store.total("sizes", ("r",)).sum, store.total("sizes", ("r",)).count) == (13, 12, 2)
        moved = put(store, FILES, "1", one.rev, dir="s", name="b", size=6)
        assert [row.ref.id for row in store.rows("by-name", ("r",))] == ["2"]
        assert store.rows("by-name", ("s", "b"))[0].rev == moved.rev
        store.commit([Write(moved.ref, rev=moved.rev, deleted=True)])
        assert (store.total("sizes").sum, store.total("sizes").count) == (8, 2)
        assert list(store.check()) == []

    def test_a_patch_of_other_fields_leaves_rows_but_their_revision_moves(self, store: DocumentStore):
        one = put(store, FILES, "1", dir="r", name="b", size=5, note="x")
        patched = store.commit([Write(one.ref, patch={"note": "y"}, rev=one.rev)])[0].new
        rows = store.rows("by-name", ("r",))
        assert [(row.value, row.rev) for row in rows] == [(5, patched.rev)]

    def test_rows_come_in_pages(self, store: DocumentStore):
        for number in range(10):
            put(store, FILES, f"f{number}", dir="r", name=f"n{number}")
        first = store.rows("by-name", ("r",), limit=4)
        after = store.rows("by-name", ("r",), after=(first[-1].key, first[-1].ref.id), limit=4)
        assert [row.key[1] for row in (*first, *after)] == [f"n{number}" for number in range(8)]
        assert [row.key[1] for row in store.rows("by-name", ("r",), skip=8)] == ["n8", "n9"]
        assert [row.key[1] for row in store.rows("by-name", ("r",), descending=True, limit=2)] == ["n9", "n8"]
        assert [row.key[1] for row in store.rows("by-name", start=("r", "n3"), end=("r", "n5"))] == ["n3", "n4", "n5"]

    def test_a_unique_key_is_taken_once(self, store: DocumentStore):
        put(store, FILES, "1", dir="r", name="a")
        with pytest.raises(Conflict) as caught:
            put(store, FILES, "2", dir="r", name="a")
        assert caught.value.source == "unique-names"
        assert isinstance(store.commit_each([Write(Ref(FILES, "3"), body={"dir": "r", "name": "a"})])[0], Conflict)
        assert store.get_many(FILES, ["2", "3"]) == [None, None]
        store.graft(FILES, [{"_id": "4", "_rev": "1-" + "a" * 32, "dir": "r", "name": "a"}])
        assert store.get(Ref(FILES, "4")).doc["name"] == "a"
        assert [row.ref.id for row in store.rows("unique-names", ("r",))] == ["1"]
        assert any("4" in finding for finding in store.check())

    def test_a_lenient_doctype_leaves_a_taken_row_out_and_gets_it_back(self, store: DocumentStore):
        one = put(store, LENIENT_TYPE, "1", col="c", n=1)
        twin = Write(Ref(LENIENT_TYPE, "2"), body={"col": "c", "n": 2}, private={"href": "1"})
        with pytest.raises(Conflict):
            store.commit([Write(twin.ref, twin.body, private=twin.private, strict=True)])
        store.commit([twin])
        assert [row.ref.id for row in store.rows("members", ("c",))] == ["1"]
        store.commit([Write(one.ref, rev=one.rev, deleted=True)])
        store.tidy()
        assert [row.ref.id for row in store.rows("members", ("c",))] == ["2"]
        assert list(store.check()) == []

    def test_a_feed_tells_what_changed_since(self, store: DocumentStore):
        empty = store.total("members", ("c",)).seq
        one = put(store, LENIENT_TYPE, "1", col="c", n=1)
        two = put(store, LENIENT_TYPE, "2", col="c", n=1)
        put(store, LENIENT_TYPE, "3", col="other", n=1)
        token = store.total("members", ("c",)).seq
        assert {row.key[1] for row in store.rows("members", ("c",), since=empty)} == {"1", "2"}
        assert store.rows("members", ("c",), since=token) == []
        put(store, THINGS, "x", n=1)
        put(store, LENIENT_TYPE, "3", store.get(Ref(LENIENT_TYPE, "3")).rev, col="other", n=2)
        assert store.total("members", ("c",)).seq == token
        put(store, LENIENT_TYPE, "1", one.rev, col="c", n=2)
        store.commit([Write(two.ref, rev=two.rev, deleted=True)])
        changed = {row.key[1]: row.gone for row in store.rows("members", ("c",), since=token)}
        assert changed == {"1": False, "2": True}
        assert store.total("members", ("c",)).seq != token

    def test_a_row_that_moves_is_gone_where_it_was(self, store: DocumentStore):
        one = put(store, LENIENT_TYPE, "1", col="c", n=1)
        token = store.total("members", ("c",)).seq
        put(store, LENIENT_TYPE, "1", one.rev, col="d", n=1)
        assert [(row.key, row.gone) for row in store.rows("members", ("c",), since=token)] == [(("c", "1"), True)]
        assert [(row.key, row.gone) for row in store.rows("members", ("d",), since=token)] == [(("d", "1"), False)]

    def test_a_seq_of_a_lost_future_is_gone(self, store: DocumentStore):
        put(store, LENIENT_TYPE, "1", col="c", n=1)
        number, _, epoch = store.total("members", ("c",)).seq.partition("-")
        with pytest.raises(SeqGone):
            store.rows("members", ("c",), since=f"{int(number) + 100}-{epoch}")
        with pytest.raises(SeqGone):
            store.rows("members", ("c",), since=f"{number}-ffffffffffff")
        with pytest.raises(BadRequest):
            store.rows("members", ("c",), since="nonsense")

    # -- queries ----------------------------------------------------------------------------------------------------

    def people(self, store: DocumentStore) -> None:
        for number in range(12):
            put(store, THINGS, f"p{number:02d}", n=number, city=("Paris", "Lyon", "Rome")[number % 3])
        views = {"by-city": {"map": {"fields": {"city": "asc", "n": "asc"}}, "options": {"def": {"fields": ["city", "n"]}}}}
        put(store, THINGS, "_design/by-city", language="query", views=views)

    def test_a_query_reads_an_index(self, store: DocumentStore):
        self.people(store)
        query = Query({"city": "Paris", "n": {"$gte": 3}}, sort=(("city", "asc"), ("n", "asc")))
        page = store.find(THINGS, query)
        assert ids(page) == ["p03", "p06", "p09"]
        assert page.warning is None
        assert page.stats["total_docs_examined"] == 3
        down = store.find(THINGS, Query({"city": {"$gt": None}}, sort=(("city", "desc"), ("n", "desc")), limit=2))
        assert ids(down) == ["p11", "p08"]

    def test_a_bookmark_goes_on_whatever_was_written(self, store: DocumentStore):
        self.people(store)
        query = Query({"city": "Paris", "n": {"$gte": 0}}, limit=2)
        first = store.find(THINGS, query)
        put(store, THINGS, "new", city="Paris", n=-1)
        put(store, THINGS, "other", city="Paris", n=7)
        second = store.find(THINGS, replace(query, bookmark=first.bookmark))
        assert ids(second) == ["p06", "other"]
        with pytest.raises(BadRequest):
            store.find(THINGS, replace(query, bookmark="nonsense"))

    def test_a_query_no_index_serves_says_so(self, store: DocumentStore):
        self.people(store)
        page = store.find(THINGS, Query({"n": {"$lt": 2}}))
        assert ids(page) == ["p00", "p01"]
        assert page.warning is not None
        assert "No matching index found" in page.warning
        with pytest.raises(BadRequest, match="No index exists for this sort"):
            store.find(THINGS, Query({"n": 1}, sort=(("zip", "asc"),)))

    def test_an_index_has_only_documents_with_all_its_fields(self, store: DocumentStore):
        self.people(store)
        put(store, THINGS, "half", city="Paris")
        assert "half" not in ids(store.find(THINGS, Query({"city": "Paris", "n": {"$exists": True}})))
        assert "half" in ids(store.find(THINGS, Query({"city": "Paris"})))

    def test_a_dropped_design_document_drops_its_index(self, store: DocumentStore):
        self.people(store)
        design = store.get(Ref(THINGS, "_design/by-city"))
        store.commit([Write(design.ref, rev=design.rev, deleted=True)])
        assert store.find(THINGS, Query({"city": "Paris", "n": 3})).warning is not None

    # -- the change feed --------------------------------------------------------------------------------------------

    def test_each_document_is_in_the_feed_once_at_its_last_change(self, store: DocumentStore):
        first = put(store, THINGS, "a", n=1)
        put(store, THINGS, "b", n=1)
        put(store, THINGS, "a", first.rev, n=2)
        feed = store.changes(THINGS)
        assert [row.id for row in feed.rows] == ["b", "a"]
        assert feed.last_seq == store.info(THINGS).seq
        page = store.changes(THINGS, limit=1)
        assert ([row.id for row in page.rows], page.pending) == (["b"], 1)
        assert [row.id for row in store.changes(THINGS, since=page.last_seq).rows] == ["a"]
        assert store.changes(THINGS, since="now").rows == []
        assert store.changes(THINGS, descending=True, limit=1).last_seq == feed.last_seq

    def test_the_feed_is_narrowed(self, store: DocumentStore):
        for number in range(5):
            put(store, THINGS, f"d{number}", n=number)
        assert [row.id for row in store.changes(THINGS, ids=["d1", "d3"]).rows] == ["d1", "d3"]
        assert [row.id for row in store.changes(THINGS, match=lambda doc: doc["n"] > 2, docs=True).rows] == ["d3", "d4"]

    def test_an_unknown_since_rewinds_and_a_malformed_one_is_refused(self, store: DocumentStore):
        put(store, THINGS, "a", n=1)
        number, _, epoch = store.info(THINGS).seq.partition("-")
        for since in ("", "0", f"{int(number) + 5}-{epoch}", f"{number}-0123456789ab"):
            assert len(store.changes(THINGS, since=since).rows) == 1
        with pytest.raises(BadRequest):
            store.changes(THINGS, since="garbage!")

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
        assert [store.set_local(THINGS, "cp", {"seq": number}) for number in (1, 2)] == ["0-1", "0-2"]
        assert store.local(THINGS, "cp") == {"_id": "_local/cp", "_rev": "0-2", "seq": 2}
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
        backend.restore("one", str(tmp_path / "backup"))
        store = backend.open("one")
        put(store, LENIENT_TYPE, "3", col="c", n=1)
        assert [row.key[1] for row in store.rows("members", ("c",), since=before)] == ["3"]
        with pytest.raises(SeqGone):
            store.rows("members", ("c",), since=lost)
        assert [row.id for row in store.changes(LENIENT_TYPE, since=before).rows] == ["3"]
        assert [row.id for row in store.changes(LENIENT_TYPE, since=lost).rows] == ["1", "3"]
