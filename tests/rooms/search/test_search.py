"""Full text: what a query means, what is found, in which order; what crashes and changes leave of the index."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd.config import Config, Storage
from cozyd.descriptions import described, description, problems, searched
from cozyd.documents.store import Ref, Write
from cozyd.errors import BadRequest
from cozyd.instance import Instance
from cozyd.search import Search
from cozyd.search.words import expression
from cozyd.stack import Stack
from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.stack import Clock

MARKS, CONTACTS = "io.cozy.bookmarks", "io.cozy.contacts"


@pytest.fixture(params=["sqlite", pytest.param("couchdb", marks=needs_couchdb)])
def alice(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Instance]:
    """On each store of documents; the index is a file of this machine with both."""
    with ExitStack() as opened:
        documents = opened.enter_context(empty_server()) if request.param == "couchdb" else Storage().documents
        stack = Stack(Config(storage=Storage(path=tmp_path / "data", documents=documents)), now=Clock())
        opened.callback(stack.close)
        yield stack.create("alice.localhost")


def put(alice: Instance, id: str, title: str, description: str = "", **more: Any) -> str:
    found = alice.docs.get_many(MARKS, [id])[0] if alice.docs.make(MARKS) is False else None
    body = {"_id": id, "title": title, "description": description, **more} | ({"_rev": found.rev} if found is not None else {})
    return alice.docs.put(MARKS, body).rev


def ids(alice: Instance, query: str, *doctypes: str, **more: int) -> list[str]:
    return [hit.id for hit in alice.search.find(query, doctypes or (MARKS,), **more).hits]


def test_words_are_found_whatever_their_case_and_accents(alice: Instance):
    put(alice, "a", "Été à la PLAGE")
    put(alice, "b", "Un e\u0301te\u0301 d’autrefois")
    for query in ("ete", "été", "ETE", "e\u0301te\u0301"):
        assert set(ids(alice, query)) == {"a", "b"}
    assert ids(alice, "plage ete") == ["a"]
    assert ids(alice, "straße") == []


def test_the_last_word_is_a_beginning_and_others_are_whole(alice: Instance):
    put(alice, "a", "Kitchen garden")
    assert ids(alice, "kitch") == ["a"]
    assert ids(alice, "garden kit") == ["a"]
    assert ids(alice, "kit garden") == []
    assert ids(alice, "kit* garden") == ["a"]
    assert ids(alice, "garden k") == []


@pytest.mark.parametrize("longer", ["Photographs", "photo2", "PHOTOÉ", "photoא", "photo𝓐"])
def test_a_word_that_stands_there_whole_is_a_beginning_too(alice: Instance, longer: str):
    put(alice, "a", "a photo")
    assert ids(alice, "photo") == ids(alice, "Photo*") == ["a"]  # begins no other word
    put(alice, "b", longer)
    assert set(ids(alice, "photo")) == set(ids(alice, "PHOTO")) == {"a", "b"}
    alice.docs.delete(Ref(MARKS, "b"), alice.docs.get(Ref(MARKS, "b")).rev)
    assert ids(alice, "photo") == ["a"]


def test_of_a_word_that_many_have_the_latest_are_compared(alice: Instance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.search.index.RANKED", 3)
    for number in range(6):
        put(alice, f"m{number}", "common")
    assert set(ids(alice, "common")) == {"m5", "m4", "m3"}


def test_phrases_stand_together_and_a_minus_leaves_out(alice: Instance):
    put(alice, "a", "the red house")
    put(alice, "b", "the house is red")
    assert set(ids(alice, "red house")) == {"a", "b"}
    assert ids(alice, '"red house"') == ["a"]
    assert ids(alice, 'red -"red house"') == ["b"]
    assert ids(alice, "house -is") == ["a"]


def test_titles_count_more_than_text(alice: Instance):
    put(alice, "text", "Something", "about a lighthouse and more")
    put(alice, "title", "Lighthouse")
    assert ids(alice, "lighthouse") == ["title", "text"]


def test_a_snippet_shows_where_the_words_are(alice: Instance):
    put(alice, "a", "Title", "before " * 40 + "the <b>needle</b> is here " + "after " * 40)
    (hit,) = alice.search.find("needle", [MARKS]).hits
    assert "\x02needle\x03" in hit.snippet
    assert len(hit.snippet) < 300
    assert hit.title == "Title"


def test_what_changed_or_went_is_found_as_it_is_now(alice: Instance):
    rev = put(alice, "a", "first")
    assert ids(alice, "first") == ["a"]
    alice.docs.put(MARKS, {"_id": "a", "_rev": rev, "title": "second"})
    assert (ids(alice, "first"), ids(alice, "second")) == ([], ["a"])
    alice.docs.delete(Ref(MARKS, "a"), alice.docs.get(Ref(MARKS, "a")).rev)
    assert ids(alice, "second") == []


def test_members_inside_lists_are_searched_and_others_are_not(alice: Instance):
    body = {"fullname": "Zoé Durand", "email": [{"address": "zoe@example.org"}], "phone": [{"number": "+33 612"}], "secret": "hidden"}
    alice.docs.put(CONTACTS, body)
    for query in ("durand", "zoe@example.org", "example", '"+33 612"'):
        assert len(ids(alice, query, CONTACTS)) == 1
    assert ids(alice, "hidden", CONTACTS) == []
    assert ids(alice, "durand", MARKS) == []
    assert len(ids(alice, "durand", MARKS, CONTACTS)) == 1


def test_files_in_the_trash_are_not_found_and_are_again_when_restored(alice: Instance):
    files = alice.files
    home = files.at("/Photos")
    with files.new() as upload:
        upload.write(b"words")
        file = files.put(home, "needle.txt", upload.seal())  # type: ignore[arg-type]
    alice.search.put_content(file.id, file.blob.key.partition("/")[2], "haystack")
    assert ids(alice, "needle", "io.cozy.files") == ids(alice, "haystack", "io.cozy.files") == [file.id]
    trashed = files.trash(file)
    assert ids(alice, "needle", "io.cozy.files") == ids(alice, "haystack", "io.cozy.files") == []
    files.restore(trashed)
    assert ids(alice, "needle", "io.cozy.files") == ids(alice, "haystack", "io.cozy.files") == [file.id]


def test_the_words_of_a_replaced_content_are_forgotten_even_when_they_come_late(alice: Instance):
    files = alice.files
    with files.new() as upload:
        upload.write(b"one")
        file = files.put(files.at("/Photos"), "a.txt", upload.seal())  # type: ignore[arg-type]
    old = file.blob.key.partition("/")[2]
    alice.search.put_content(file.id, old, "former")
    with files.new(replaces=file) as upload:
        upload.write(b"two")
        files.put(files.at("/Photos"), "a.txt", upload.seal(), replaces=file)  # type: ignore[arg-type]
    alice.search.put_content(file.id, old, "former")
    assert ids(alice, "former", "io.cozy.files") == []


def test_pages_follow_each_other(alice: Instance):
    alice.docs.commit([Write(Ref(MARKS, f"m{number:02}"), body={"title": f"common {number}"}) for number in range(25)])
    pages = [ids(alice, "common", limit=10, skip=skip) for skip in (0, 10, 20)]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert len({id for page in pages for id in page}) == 25
    assert alice.search.find("common", [MARKS], limit=10).more


@pytest.mark.parametrize("query", ["", "   ", "-only", '""', "!!!", "x" * 1001, "a " * 40])
def test_a_query_without_words_is_refused(alice: Instance, query: str):
    with pytest.raises(BadRequest):
        alice.search.find(query, [MARKS])


@given(st.text(max_size=60))
def test_no_query_is_the_index_own_language(query: str):
    try:
        asked = expression(query)
    except BadRequest:
        return
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (title)")
    connection.execute("SELECT * FROM words WHERE words MATCH ?", (asked,)).fetchall()
    connection.close()


def test_the_index_agrees_with_the_documents_after_any_history(alice: Instance):
    chance = random.Random(7)
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    known: dict[str, set[str]] = {}
    alice.docs.make(MARKS)
    for step in range(300):
        id = f"d{chance.randrange(30)}"
        stored = alice.docs.get_many(MARKS, [id])[0]
        if stored is not None and chance.random() < 0.3:
            alice.docs.delete(Ref(MARKS, id), stored.rev)
            known.pop(id)
        else:
            known[id] = set(chance.sample(words, 2))
            body = {"_id": id, "title": " ".join(known[id])} | ({"_rev": stored.rev} if stored is not None else {})
            alice.docs.put(MARKS, body)
        if step % 30 == 29:
            if step == 149:
                alice.search.close()
            for word in words:
                assert set(ids(alice, word, limit=50)) == {id for id, has in known.items() if word in has}
    alice.search.rebuild()
    assert alice.search.counts()[MARKS] == len(known)


def test_a_broken_index_is_made_anew(alice: Instance, tmp_path: Path):
    put(alice, "a", "needle")
    path = tmp_path / "index.sqlite"
    path.write_bytes(b"this is no database" * 400)
    search = Search(alice.docs, path)
    assert [hit.id for hit in search.find("needle", [MARKS]).hits] == ["a"]
    search.close()


# -- descriptions ---------------------------------------------------------------------------------------------------------


def test_every_description_says_what_each_member_is_and_searches_what_is_there():
    for doctype in described():
        known = description(doctype)
        assert known.name
        assert known.about.endswith(".")
        for path in (*known.title, *known.text):
            assert path.partition(".")[0] in known.schema["properties"], (doctype, path)
    assert {"io.cozy.files", CONTACTS, "io.cozy.emails"} <= searched().keys()


def test_a_document_that_is_not_as_described_is_told_without_its_values():
    bad = {"fullname": 3, "email": [{"address": None}], "me": "yes"}
    found = {problem.path: problem.text for problem in problems(CONTACTS, bad)}
    assert set(found) == {"/fullname", "/email/0/address", "/me"}
    assert "yes" not in str(found)
    assert problems(CONTACTS, {"fullname": None, "unknown": {"x": 1}, "email": []}) == []
    assert problems("io.cozy.nothings", {"x": 1}) == []
