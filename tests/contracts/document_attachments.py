"""The contract of the document store: attachments, as replicas and databases of a cozy-stack bring them."""

import base64
from typing import Any

import pytest

from cozyd.documents.store import DocumentStore, Ref, Write
from cozyd.errors import CozyError
from tests.contracts.document_values import THINGS, put

REF = Ref(THINGS, "pictured")
DIGEST = "md5-XUFAKrxLKna5cZ2REBfFkg=="  # of `hello`
A, B, C = "a" * 32, "b" * 32, "c" * 32


def inline(data: bytes, **more: Any) -> dict[str, Any]:
    return {"data": base64.b64encode(data).decode(), "content_type": "image/png"} | more


def graft(store: DocumentStore, rev: str, *before: str, **body: Any) -> list[Any]:
    revisions = {"start": int(rev[0]), "ids": [rev[2:], *before]}
    return list(store.graft(THINGS, [{"_id": REF.id, "_rev": rev, "_revisions": revisions} | body]))


def contents(store: DocumentStore, rev: str) -> dict[str, bytes]:
    """The contents of a revision's attachments."""
    doc = store.replicas(THINGS, {REF.id: [rev]})[0]
    return {name: base64.b64decode(entry["data"]) for name, entry in doc.get("_attachments", {}).items()}


class AttachmentsContract:
    """Every test of these promises."""

    def test_a_replica_s_attachment_shows_as_a_stub_and_its_content_comes_back(self, store: DocumentStore):
        assert not isinstance(graft(store, f"1-{A}", n=1, _attachments={"p é.png": inline(b"hello", revpos=1)})[0], CozyError)
        stub = {"content_type": "image/png", "revpos": 1, "digest": DIGEST, "length": 5, "stub": True}
        assert store.get(REF).doc["_attachments"] == {"p é.png": stub}
        assert contents(store, f"1-{A}") == {"p é.png": b"hello"}
        assert store.replicas(THINGS, {REF.id: [f"1-{B}"], "absent": [f"1-{A}"]}) == []

    def test_an_edit_that_names_none_keeps_them_and_a_deletion_drops_them(self, store: DocumentStore):
        graft(store, f"1-{A}", n=1, _attachments={"p": inline(b"hello")})
        edited = put(store, THINGS, REF.id, f"1-{A}", n=2)
        patched = store.commit([Write(REF, patch={"n": 3}, rev=edited.rev)])[0].new
        assert contents(store, patched.rev) == {"p": b"hello"}
        assert store.get(REF).doc["n"] == 3
        store.commit([Write(REF, rev=patched.rev, deleted=True)])
        born = put(store, THINGS, REF.id, n=4)
        assert "_attachments" not in store.get(REF).doc
        assert contents(store, born.rev) == {}

    def test_a_body_says_which_stay_by_their_stubs(self, store: DocumentStore):
        graft(store, f"1-{A}", _attachments={"p": inline(b"hello"), "q": inline(b"world")})
        stub = store.get(REF).doc["_attachments"]["p"]
        made = put(store, THINGS, REF.id, f"1-{A}", n=2, _attachments={"p": stub, "r": inline(b"new")})
        assert contents(store, made.rev) == {"p": b"hello", "r": b"new"}

    def test_each_branch_has_its_own(self, store: DocumentStore):
        graft(store, f"1-{A}", n=1)
        graft(store, f"2-{B}", A, n=2, _attachments={"p": inline(b"of b")})
        graft(store, f"2-{C}", A, n=3, _attachments={"p": inline(b"of c")})
        assert contents(store, f"2-{B}") == {"p": b"of b"}
        assert contents(store, f"2-{C}") == {"p": b"of c"}
        store.purge(THINGS, {REF.id: [f"2-{C}"]})
        assert contents(store, f"2-{B}") == {"p": b"of b"}

    @pytest.mark.parametrize("entry", [{"data": "%"}, {"stub": True}, "text", {"data": 1}])
    def test_one_that_is_malformed_or_not_here_is_refused_and_nothing_is_written(self, store: DocumentStore, entry: Any):
        first = put(store, THINGS, REF.id, n=1)
        with pytest.raises(CozyError):
            put(store, THINGS, REF.id, first.rev, n=2, _attachments={"p": entry})
        assert store.get(REF).rev == first.rev
        given = {"_id": REF.id, "_rev": f"1-{A}", "_attachments": {"p": entry}}
        refused, written = store.graft(THINGS, [given, {"_id": "other", "_rev": f"1-{A}", "n": 1}])
        assert isinstance(refused, CozyError)
        assert not isinstance(written, CozyError)
        assert (store.get(REF).rev, store.get(Ref(THINGS, "other")).rev) == (first.rev, f"1-{A}")
