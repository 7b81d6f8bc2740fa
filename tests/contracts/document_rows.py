"""The contract of the document store: projections, queries, the change feed."""

from dataclasses import replace
from typing import Any

import pytest

from cozyd.documents.store import DocumentStore, Query, Ref, Write
from cozyd.errors import BadRequest, Conflict, SeqGone
from tests.contracts.document_values import FILES, LENIENT_TYPE, THINGS, design, ids, put


class RowsContract:
    """Every test of these promises."""

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

    def test_rows_bring_their_documents_to_who_asks(self, store: DocumentStore):
        one = put(store, FILES, "1", dir="r", name="b", size=5)
        put(store, LENIENT_TYPE, "2", col="c", n=1)
        row = store.rows("by-name", ("r",), docs=True)[0]
        assert row.stored is not None
        assert (row.value, row.stored.ref, row.stored.rev, row.stored.doc["name"]) == (5, one.ref, one.rev, "b")
        since = store.total("members", ("c",)).seq
        two = store.get(Ref(LENIENT_TYPE, "2"))
        assert [row.stored.doc["n"] for row in store.rows("members", ("c",), docs=True) if row.stored is not None] == [1]
        store.commit([Write(two.ref, rev=two.rev, deleted=True)])
        gone = store.rows("members", ("c",), since=since, docs=True)[0]
        assert gone.gone

    def test_a_sieve_lets_through_what_has_a_text_or_is_beyond_ascii(self, store: DocumentStore):
        for id, text in (("1", "Marie Curie"), ("2", "CURIE, Pierre"), ("3", "\u212aurie"), ("4", "Ada"), ("5", None)):
            put(store, LENIENT_TYPE, id, col="c", n=text)
        found = [row.key[1] for row in store.rows("members", ("c",), sieve=["curie", "x"])]
        assert set(found) >= {"1", "2", "3"}

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
        put(store, THINGS, "_design/by-city", **design("by-city", "city", "n"))

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
        known = store.get(Ref(THINGS, "_design/by-city"))
        store.commit([Write(known.ref, rev=known.rev, deleted=True)])
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
        some = store.changes(THINGS, match=lambda doc: doc["n"] > 0, limit=2)
        assert ([row.id for row in some.rows], some.pending) == (["d1", "d2"], 2)
        rest = store.changes(THINGS, since=some.last_seq, match=lambda doc: doc["n"] > 0, limit=2)
        assert ([row.id for row in rest.rows], rest.pending) == (["d3", "d4"], 0)

    def test_an_unknown_since_rewinds_and_a_malformed_one_is_refused(self, store: DocumentStore):
        put(store, THINGS, "a", n=1)
        number, _, epoch = store.info(THINGS).seq.partition("-")
        unknown = ["", "0", f"{number}-0123456789ab"]
        for since in (*unknown, f"{int(number) + 5}-{epoch}") if store.atomic else unknown:
            assert len(store.changes(THINGS, since=since).rows) == 1
        with pytest.raises(BadRequest):
            store.changes(THINGS, since="garbage!")

    def test_rows_with_one_key_are_paged_by_id(self, store: DocumentStore):
        for number in range(5):
            put(store, FILES, f"f{number}", dir="r", name=f"n{number}", size=1)
        for down, order in ((False, ["f0", "f1", "f2", "f3", "f4"]), (True, ["f4", "f3", "f2", "f1", "f0"])):
            first = store.rows("sizes", ("r",), limit=2, descending=down)
            rest = store.rows("sizes", ("r",), after=(first[-1].key, first[-1].ref.id), descending=down)
            assert [row.ref.id for row in (*first, *rest)] == order

    def test_prefixes_end_where_they_end(self, store: DocumentStore):
        for number, folder in enumerate(("r", "r ", "ra", "R", "", "r\x00")):
            put(store, FILES, f"f{number}", dir=folder, name=str(number), size=1)
        assert [row.ref.id for row in store.rows("unique-names", ("r",))] == ["f0"]
        assert "f2" not in [row.ref.id for row in store.rows("by-name", ("r",))]
        assert len(store.rows("by-name")) == 6

    def test_private_data_that_a_reaction_replaces_takes_its_rows_along(self, store: DocumentStore):
        ref = Ref(LENIENT_TYPE, "1")
        first = store.commit([Write(ref, body={"col": "c", "n": 1}, private={"href": "old"})])[0].new
        store.commit([Write(Ref(THINGS, "a"), body={"n": 0})], lambda *_: [Write(ref, patch={}, rev=first.rev, private={"href": "new"})])
        assert [row.key for row in store.rows("members", ("c",))] == [("c", "new")]

    def test_a_key_taken_again_is_told_once(self, store: DocumentStore):
        first = store.commit([Write(Ref(LENIENT_TYPE, "1"), body={"col": "c", "n": 1}, private={"href": "h"})])[0].new
        token = store.total("members", ("c",)).seq
        store.commit([Write(first.ref, rev=first.rev, deleted=True)])
        store.commit([Write(Ref(LENIENT_TYPE, "2"), body={"col": "c", "n": 2}, private={"href": "h"})])
        assert [(row.key, row.ref.id, row.gone) for row in store.rows("members", ("c",), since=token)] == [(("c", "h"), "2", False)]

    def test_a_dropped_doctype_leaves_gone_rows_in_feeds(self, store: DocumentStore):
        put(store, LENIENT_TYPE, "1", col="c", n=1)
        put(store, LENIENT_TYPE, "2", col="d", n=1)
        token = store.total("members", ("c",)).seq
        store.drop(LENIENT_TYPE)
        assert store.total("members", ("c",)).seq != token
        assert (store.total("members", ("c",)).count, store.total("members").count) == (0, 0)
        assert [(row.key, row.gone) for row in store.rows("members", ("c",), since=token)] == [(("c", "1"), True)]
        assert store.rows("members", ("c",)) == []
        put(store, LENIENT_TYPE, "1", col="c", n=2)
        assert [(row.key, row.gone) for row in store.rows("members", ("c",), since=token)] == [(("c", "1"), False)]
        assert list(store.check()) == []

    def test_a_purged_document_leaves_a_gone_row(self, store: DocumentStore):
        made = put(store, LENIENT_TYPE, "1", col="c", n=1)
        token = store.total("members", ("c",)).seq
        store.purge(LENIENT_TYPE, {"1": [made.rev]})
        put(store, LENIENT_TYPE, "2", col="c", n=1)
        assert [(row.key[1], row.gone) for row in store.rows("members", ("c",), since=token)] == [("1", True), ("2", False)]
        assert list(store.check()) == []

    def test_a_grafted_revision_moves_rows_and_totals(self, store: DocumentStore):
        made = put(store, FILES, "1", dir="r", name="a", size=5)
        path: dict[str, Any] = {"start": 2, "ids": ["e" * 32, made.rev[2:]]}
        store.graft(FILES, [{"_id": "1", "_rev": "2-" + "e" * 32, "_revisions": path, "dir": "s", "name": "b", "size": 7}])
        assert [row.key for row in store.rows("by-name")] == [("s", "b")]
        assert (store.total("sizes").sum, store.total("sizes", ("r",)).count) == (7, 0)
        store.graft(
            FILES, [{"_id": "1", "_rev": "3-" + "e" * 32, "_revisions": {"start": 3, "ids": ["e" * 32, *path["ids"]]}, "_deleted": True}]
        )
        assert store.rows("by-name") == []
        assert store.total("sizes").sum == 0
        assert list(store.check()) == []

    def test_a_changed_design_document_rebuilds_its_index(self, store: DocumentStore):
        self.people(store)
        known = store.get(Ref(THINGS, "_design/by-city"))
        put(store, THINGS, "_design/by-city", known.rev, **design("by-city", "n"))
        page = store.find(THINGS, Query({"n": {"$gte": 10}}))
        assert (ids(page), page.warning) == (["p10", "p11"], None)
        assert store.find(THINGS, Query({"city": "Paris"})).warning is not None

    def test_an_index_of_a_commit_that_was_undone_is_not_used(self, store: DocumentStore):
        put(store, THINGS, "a", n=1)
        written = Write(Ref(THINGS, "_design/v"), body=design("v", "n"))
        with pytest.raises(Conflict):
            store.commit([written, Write(Ref(THINGS, "a"), body={})])
        if not store.atomic:
            pytest.skip("this driver undoes no commit")
        page = store.find(THINGS, Query({"n": 1}))
        assert ids(page) == ["a"]
        assert page.warning is not None

    def test_deletions_and_designs_are_in_the_feed(self, store: DocumentStore):
        made = put(store, THINGS, "a", n=1)
        put(store, THINGS, "_design/x", language="query", views={})
        store.commit([Write(made.ref, rev=made.rev, deleted=True)])
        rows = store.changes(THINGS, docs=True).rows
        assert [(row.id, row.deleted, row.stored is not None and row.stored.deleted) for row in rows] == [
            ("_design/x", False, False),
            ("a", True, True),
        ]
        assert [row.id for row in store.changes(THINGS, descending=True).rows] == ["a", "_design/x"]
