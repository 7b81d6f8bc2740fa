"""The contract of the document store: documents, private data, batches."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import LARGEST_DOCUMENT, Change, ContentEdits, DocumentBackend, DocumentStore, Ref, Write
from cozyd.errors import Conflict, CozyError, Invalid, NotFound, QuotaExceeded, TooLarge
from tests.contracts.document_values import FILES, LENIENT_TYPE, THINGS, ids, put


class WritesContract:
    """Every test of these promises."""

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
        assert patched == put(other, THINGS, "a", second[0], m=2, n=4).rev

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

    def test_a_write_that_cannot_be_stored_undoes_its_batch(self, store: DocumentStore):
        put(store, THINGS, "before", n=1)
        for bad in (
            Write(Ref(THINGS, "bad"), body={"_odd": 1}),
            Write(Ref(THINGS, "bad"), body=b"{"),
            Write(Ref(THINGS, "bad"), body={"s": "\ud800"}),
        ):
            with pytest.raises(CozyError):
                store.commit([Write(Ref(THINGS, "a"), body={}), Write(Ref("io.cozy.new", "a"), body={}), bad])
        if store.atomic:
            assert store.get_many(THINGS, ["a", "bad"]) == [None, None]
            assert list(store.doctypes()) == [THINGS]
        assert put(store, "io.cozy.new", "a", n=1).rev.startswith("1-")
        assert list(store.check()) == []

    def test_a_document_has_at_most_8_mb(self, store: DocumentStore):
        large = {"text": "x" * LARGEST_DOCUMENT}
        with pytest.raises(TooLarge):
            store.commit([Write(Ref(THINGS, "a"), body=large)])
        answers = store.commit_each([Write(Ref(THINGS, "a"), body=large), Write(Ref(THINGS, "b"), body={})])
        assert [type(answer) for answer in answers] == [TooLarge, Change]
        assert isinstance(store.graft(THINGS, [{"_id": "c", "_rev": "1-" + "a" * 32} | large])[0], TooLarge)
        assert ids(store.all(THINGS)) == ["b"]
        large["text"] = large["text"][:-11]
        assert put(store, THINGS, "a", **large).rev.startswith("1-")

    def test_refused_writes_of_commit_each_leave_nothing(self, store: DocumentStore):
        views = {"v": {"map": {"fields": {"n": "asc"}, "partial_filter_selector": {"$nope": 1}}}}
        answers = store.commit_each(
            [
                Write(Ref(THINGS, "a"), body={"n": 1}),
                Write(Ref(THINGS, "odd"), body={"_odd": 1}),
                Write(Ref(THINGS, "_design/odd"), body={"language": "query", "views": views}),
                Write(Ref(THINGS, "gone"), rev="1-" + "a" * 32, deleted=True),
                Write(Ref(THINGS, "b"), body={"n": 2}),
            ]
        )
        assert [type(answer) for answer in answers] == [Change, Invalid, Change, Conflict, Change]
        assert ids(store.all(THINGS)) == ["_design/odd", "a", "b"]
        assert list(store.check()) == []

    def test_a_thousand_documents_are_one_commit(self, store: DocumentStore):
        told: list[int] = []
        store.listen(lambda changes: told.append(len(changes)))
        changes = store.commit([Write(Ref(THINGS, f"d{number:04d}"), body={"n": number}) for number in range(1000)])
        assert [change.new.ref.id for change in changes] == [f"d{number:04d}" for number in range(1000)]
        assert told == [1000]
        assert store.info(THINGS).count == 1000
        assert len(store.changes(THINGS).rows) == 1000
        gone = store.commit([Write(change.new.ref, rev=change.new.rev, deleted=True) for change in changes])
        assert {change.verb for change in gone} == {"DELETED"}
        assert (store.info(THINGS).count, store.info(THINGS).deleted) == (0, 1000)

    def test_a_conflict_names_what_was_read_too(self, store: DocumentStore):
        one, other = put(store, THINGS, "one", n=1), put(store, THINGS, "other", n=1)
        store.commit([Write(one.ref, rev=one.rev, deleted=True)])
        with pytest.raises(Conflict) as caught:
            store.commit(
                [Write(other.ref, body={}, rev="1-" + "0" * 32)],
                while_at=[(one.ref, one.rev), (other.ref, other.rev), (Ref(THINGS, "never"), "1-" + "a" * 32)],
            )
        assert list(caught.value.refs) == [one.ref, Ref(THINGS, "never"), other.ref]

    def test_a_reaction_that_fails_undoes_the_commit(self, store: DocumentStore):
        told: list[Change] = []
        store.listen(told.extend)

        def react(changes: Any, seq: str) -> list[Write]:
            raise Invalid(f"stale triggers at {seq}: {len(changes)}")

        for write in (
            lambda: store.commit([Write(Ref(THINGS, "a"), body={})], react),
            lambda: store.commit_each([Write(Ref(THINGS, "b"), body={})], react),
            lambda: store.graft(THINGS, [{"_id": "c", "_rev": "1-" + "a" * 32}], react),
        ):
            with pytest.raises(Invalid):
                write()
        if store.atomic:
            assert list(store.doctypes()) == []
            assert told == []

    def test_every_kind_of_write_is_reacted_to_once(self, store: DocumentStore):
        seen: list[tuple[list[str], str]] = []

        def react(changes: Any, seq: str) -> list[Write]:
            seen.append(([change.new.ref.id for change in changes], seq))
            return []

        put(store, "io.cozy.triggers", "t", n=1)
        at = store.info("io.cozy.triggers").seq
        store.commit_each(
            [Write(Ref(THINGS, "a"), body={}), Write(Ref(THINGS, "b"), body={"_odd": 1}), Write(Ref(THINGS, "c"), body={})], react
        )
        store.graft(THINGS, [{"_id": "d", "_rev": "1-" + "a" * 32}, {"_id": "a", "_rev": "bad"}], react)
        assert seen == [(["a", "c"], at), (["d"], at)]

    def test_changes_are_told_in_the_order_of_their_seqs(self, store: DocumentStore):
        told: list[int] = []
        store.listen(lambda changes: told.extend(int(change.seq.partition("-")[0]) for change in changes))

        def work(name: str) -> None:
            for number in range(20):
                put(store, THINGS, f"{name}{number}", n=number)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert told == sorted(told)
        assert len(told) == 80

    def test_conflicts_of_some_never_hide_doctypes_from_others(self, store: DocumentStore):
        """A commit that is undone while others read leaves them undisturbed."""
        put(store, THINGS, "a", n=1)
        stop = threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                with pytest.raises(Conflict):
                    store.commit([Write(Ref("io.cozy.passing", "x"), body={}), Write(Ref(THINGS, "a"), body={})])

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            for _ in range(1500):
                assert store.get(Ref(THINGS, "a")).doc["n"] == 1
        finally:
            stop.set()
            thread.join(30)
        if store.atomic:
            assert list(store.doctypes()) == [THINGS]

    def test_private_data_is_kept_by_patches_and_removed_by_nothing(self, store: DocumentStore):
        ref = Ref(THINGS, "a")
        first = store.commit([Write(ref, body={"n": 1}, private={"x": 1})])[0].new
        second = store.commit([Write(ref, patch={"n": 2}, rev=first.rev)])[0].new
        assert (store.get(ref).private, second.private) == ({"x": 1}, {"x": 1})
        third = store.commit([Write(ref, patch={"n": 3}, rev=second.rev, private={})])[0].new
        assert (store.get(ref).private, third.private) == ({}, {})

    def test_private_data_stays_when_another_branch_wins(self, store: DocumentStore):
        ref = Ref(THINGS, "a")
        first = store.commit([Write(ref, body={"n": 1}, private={"x": 1})])[0].new
        for letter in "ef":
            store.graft(THINGS, [{"_id": "a", "_rev": f"3-{letter * 32}", "n": letter}])
            assert (store.get(ref).doc["n"], store.get(ref).private) == (letter, {"x": 1})
        store.graft(
            THINGS, [{"_id": "a", "_rev": "4-" + "f" * 32, "_deleted": True, "_revisions": {"start": 4, "ids": ["f" * 32, "f" * 32]}}]
        )
        assert (store.get(ref).doc["n"], store.get(ref).private) == ("e", {"x": 1})
        store.commit([Write(ref, rev="3-" + "e" * 32, deleted=True)])
        assert (store.get(ref).rev, store.get(ref).private) == (first.rev, {"x": 1})
        store.commit([Write(ref, rev=first.rev, deleted=True)])
        store.graft(THINGS, [{"_id": "a", "_rev": "9-" + "a" * 32, "n": "new"}])
        assert store.get(ref).private == {}

    def test_values_come_back_as_they_were(self, store: DocumentStore):
        values = [2**53 + 1, 2**64 - 1, -(2**63), 1e300, -0.0 if store.atomic else 0.0, "\x00", "\U0001f600", {"": [[]]}]
        put(store, THINGS, "a", values=values)
        assert repr(store.get(Ref(THINGS, "a")).doc["values"]) == repr(values)

    @pytest.mark.parametrize("id", ["/", "a/b", "a\x00b", "\n", "é", "\U0010ffff", "x" * 2000, "%", "'; DROP TABLE doc"])
    def test_any_text_is_an_id(self, store: DocumentStore, id: str):
        made = put(store, THINGS, id, n=1)
        put(store, THINGS, "a", n=2)
        assert store.get(made.ref).doc["n"] == 1
        assert [one.ref.id if one else None for one in store.get_many(THINGS, [id, "a"])] == [id, "a"]
        assert sorted(ids(store.all(THINGS))) == sorted([id, "a"])
        assert id in [row.id for row in store.changes(THINGS).rows]

    # -- small contents, and what was counted -------------------------------------------------------------------------

    def test_small_contents_belong_to_the_commit(self, store: DocumentStore):
        if not store.holds_contents:
            assert (store.content("a/1"), list(store.contents())) == (None, [])
            pytest.skip("this driver holds no contents")
        put(store, THINGS, "a", n=1)
        store.commit([Write(Ref(THINGS, "b"), body={})], contents=ContentEdits(put={"a/1": b"\0one", "a/2": b""}))
        assert (store.content("a/1"), store.content("a/2"), store.content("a/3")) == (b"\0one", b"", None)
        with pytest.raises(Conflict):
            store.commit([Write(Ref(THINGS, "a"), body={})], contents=ContentEdits(put={"a/3": b"x"}, removed=["a/1"]))
        assert sorted((key, size) for key, size, _ in store.contents()) == [("a/1", 4), ("a/2", 0)]
        store.commit((), contents=ContentEdits(copied={"b/1": "a/1"}, removed=["a/1", "absent/1"]))
        assert (store.content("a/1"), store.content("b/1")) == (None, b"\0one")
        with pytest.raises(NotFound):
            store.commit((), contents=ContentEdits(copied={"c/1": "absent/1"}))

    def test_a_backup_has_the_small_contents(self, backend: DocumentBackend, tmp_path: Path):
        store = backend.create("kept")
        if not store.holds_contents:
            pytest.skip("this driver holds no contents")
        store.commit([Write(Ref(THINGS, "a"), body={})], contents=ContentEdits(put={"a/1": b"one"}))
        backend.backup("kept", str(tmp_path / "backup"))
        store.commit((), contents=ContentEdits(put={"a/1": b"two"}))
        backend.restore("kept", str(tmp_path / "backup"))
        assert backend.open("kept").content("a/1") == b"one"

    def test_what_was_counted_has_to_be_so_still(self, store: DocumentStore):
        if not store.atomic:
            pytest.skip("no commit is atomic here: a lock guards it")
        put(store, FILES, "a", dir="d", name="a", size=1)
        mine = Write(Ref(FILES, "mine"), body={"dir": "e", "name": "m", "size": 1})
        for count in (0, 2):
            with pytest.raises(Conflict):
                store.commit([mine], while_counts=[("by-name", ("d",), count)])
        store.commit([mine], while_counts=[("by-name", ("d",), 1), ("by-name", ("nowhere",), 0)])

    def test_values_add_up_to_no_more_than_a_commit_allows(self, store: DocumentStore):
        if not store.atomic:
            pytest.skip("no commit is atomic here: a lock guards it")
        kept = put(store, FILES, "a", dir="d", name="a", size=60)
        for limit, projections in ((100, ["sizes"]), (160, ["sizes", "weights"])):
            put(store, LENIENT_TYPE, f"weight-{limit}", weight=60)
            with pytest.raises(QuotaExceeded):
                store.commit([Write(Ref(FILES, "b"), body={"dir": "e", "name": "b", "size": 41})], while_totals=[(projections, limit)])
        assert store.get_many(FILES, ["b"]) == [None]
        assert store.total("sizes").sum == 60
        smaller = Write(kept.ref, patch={"size": 10}, rev=kept.rev)
        larger = Write(Ref(FILES, "b"), body={"dir": "e", "name": "b", "size": 90})
        store.commit([larger, smaller], while_totals=[(["sizes"], 100), (["weights"], 120)])  # what a commit frees is free for it
        assert (store.total("sizes").sum, store.total("weights").sum) == (100, 120)

    def test_of_many_who_each_take_most_of_what_is_left_one_does(self, store: DocumentStore):
        if not store.atomic:
            pytest.skip("no commit is atomic here: a lock guards it")
        start = threading.Barrier(20)

        def take(number: int) -> bool:
            start.wait()
            try:
                body = {"dir": f"d{number}", "name": "n", "size": 60}
                store.commit([Write(Ref(FILES, f"{number}"), body=body)], while_totals=[(["sizes"], 100)])
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(20) as pool:
            assert sorted(pool.map(take, range(20))) == [False] * 19 + [True]
        assert (store.total("sizes").count, store.total("sizes").sum) == (1, 60)
        assert list(store.check()) == []
