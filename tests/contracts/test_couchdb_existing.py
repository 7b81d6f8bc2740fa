"""Databases that another server of the same data model made open in place: nothing changes by opening, nothing is lost by writing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from cozyd.config import load
from cozyd.documents.store import Query, Ref, Write
from cozyd.errors import Conflict
from cozyd.files.tree import Dir
from cozyd.stack import Stack
from tests.support.couchdb import empty_server, needs_couchdb

pytestmark = needs_couchdb
PREFIX, DOMAIN, ALIAS = "cozy0123456789abcdef0123456789abcdef", "zoe.example.org", "zoe.example.net"
CONTACTS, FILES = "io.cozy.contacts", "io.cozy.files"
A, B, C = "a" * 32, "b" * 32, "c" * 32
INDEX = {
    "_id": "_design/by-me",
    "language": "query",
    "views": {
        "3f2": {"map": {"fields": {"me": "asc"}, "partial_filter_selector": {}}, "reduce": "_count", "options": {"def": {"fields": ["me"]}}}
    },
}
BY_PARENT = {
    "_id": "_design/by-parent-type-name",
    "language": "javascript",
    "views": {"by-parent-type-name": {"map": "function (doc) { emit([doc.dir_id, doc.type, doc.name]) }", "reduce": "_count"}},
}
SECRETS = dict.fromkeys(("session_secret", "oauth_secret", "cli_secret"), "c2VjcmV0" * 16)
RECORD = {
    "_id": "8d1f6bb1cd12",
    "domain": DOMAIN,
    "domain_aliases": [ALIAS],
    "prefix": PREFIX,
    "locale": "fr",
    "disk_quota": "1000",
} | SECRETS
DATABASES: dict[str, list[dict[str, Any]]] = {
    "global/instances": [RECORD],
    f"{PREFIX}/io-cozy-contacts": [
        INDEX,
        {"_id": "me", "me": True},
        {"_id": "branched", "_rev": f"2-{B}", "_revisions": {"start": 2, "ids": [B, A]}, "n": 1},
        {"_id": "branched", "_rev": f"2-{C}", "_revisions": {"start": 2, "ids": [C, A]}, "n": 2},
        {"_id": "gone", "_rev": f"2-{B}", "_revisions": {"start": 2, "ids": [B, A]}, "_deleted": True, "why": "moved"},
        {"_id": "pictured", "_attachments": {"p.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}},
    ],
    f"{PREFIX}/io-cozy-files": [
        BY_PARENT,
        {"_id": "io.cozy.files.root-dir", "type": "directory", "dir_id": "", "name": "", "path": "/"},
        {"_id": "f1", "type": "file", "dir_id": "io.cozy.files.root-dir", "name": "é.txt", "size": "5", "md5sum": "x"},
        {"_id": "f2", "type": "file", "dir_id": "io.cozy.files.root-dir", "name": "e\u0301.txt", "size": "7", "md5sum": "y"},
    ],
    f"{PREFIX}/io-cozy-oauth-access_codes": [],
}


@pytest.fixture
def url() -> Iterator[str]:
    with empty_server() as address:
        for name, docs in DATABASES.items():
            place = f"{address}/{quote(name, safe='')}"
            assert requests.put(f"{place}?q=1", timeout=10).ok
            for doc in docs:
                body: Any = {"docs": [doc], "new_edits": "_revisions" not in doc}
                assert not any("error" in row for row in requests.post(f"{place}/_bulk_docs", json=body, timeout=10).json())
        yield address


@pytest.fixture
def stack(url: str, tmp_path: Path) -> Iterator[Stack]:
    opened = Stack.open(load(None, {}, {("storage", "path"): tmp_path / "data", ("storage", "documents"): url}))
    yield opened
    opened.close()


def dumped(url: str) -> dict[str, Any]:
    """Every database with every leaf."""
    found = {}
    for name in requests.get(f"{url}/_all_dbs", timeout=10).json():
        if not name.startswith("_"):
            found[name] = requests.get(f"{url}/{quote(name, safe='')}/_changes?style=all_docs&include_docs=true", timeout=10).json()[
                "results"
            ]
    return found


def test_opening_makes_no_database_and_no_document(url: str, stack: Stack):
    before = dumped(url)
    assert before == dumped(url)
    docs = stack.locate(ALIAS).docs
    assert list(docs.doctypes()) == [CONTACTS, FILES, "io.cozy.oauth.access_codes"]
    assert docs.tree(Ref(CONTACTS, "branched")).conflicts == [f"2-{B}"]
    assert docs.find(CONTACTS, Query({"me": True})).warning is None
    after = dumped(url)
    added = [row["id"] for row in after["global/instances"] if row not in before["global/instances"]]
    assert (added, after | {"global/instances": before["global/instances"]}) == (["_design/hosts"], before)


def test_it_is_found_by_domain_and_alias_whatever_its_record_s_id(stack: Stack):
    assert stack.locate(ALIAS) is stack.locate(DOMAIN)
    assert [instance.domain for instance in stack.instances()] == [DOMAIN]
    assert stack.modify(DOMAIN, locale="en").doc["locale"] == "en"
    assert stack.locate(DOMAIN).doc["_id"] == RECORD["_id"]


def test_an_edit_keeps_attachments_branches_and_unknown_fields(url: str, stack: Stack):
    docs = stack.locate(DOMAIN).docs
    known = docs.get(Ref(CONTACTS, "pictured"))
    docs.commit([Write(known.ref, patch={"note": "x"}, rev=known.rev)])
    place = f"{url}/{quote(PREFIX + '/io-cozy-contacts', safe='')}"
    assert requests.get(f"{place}/pictured/p.txt", timeout=10).text == "hello"
    winner = docs.get(Ref(CONTACTS, "branched"))
    assert winner.rev == f"2-{C}"
    assert docs.commit([Write(winner.ref, patch={"n": 3}, rev=winner.rev)])[0].made.rev.startswith("3-")
    assert docs.tree(winner.ref).conflicts == [f"2-{B}"]


def test_files_are_listed_counted_and_both_unicode_forms_stay(stack: Stack):
    files = stack.locate(DOMAIN).files
    root = files.get("io.cozy.files.root-dir")
    assert isinstance(root, Dir)
    assert sorted(row.key[2] for row in files.rows(root)) == sorted(["é.txt", "e\u0301.txt"])
    assert files.usage() == (12, 1000)


def test_contacts_are_listed_for_phones(stack: Stack):
    pim = stack.locate(DOMAIN).pim
    book = pim.collections()[0]
    assert {row.ref.id for row in pim.rows(book)} == {"me", "branched", "pictured"}
    assert list(stack.locate(DOMAIN).docs.check()) == []


def test_a_name_that_a_batch_gives_free_is_taken_in_it_and_one_that_it_takes_twice_is_not(stack: Stack):
    docs = stack.locate(DOMAIN).docs
    place = {"type": "file", "dir_id": "io.cozy.files.root-dir", "size": "1", "md5sum": "x"}
    old = docs.put(FILES, place | {"name": "a"})
    docs.commit([Write(old.ref, patch={"name": "b"}, rev=old.rev), Write(Ref(FILES, "new"), body=place | {"name": "a"})])
    with pytest.raises(Conflict):
        docs.commit([Write(Ref(FILES, id), body=place | {"name": "c"}) for id in ("one", "other")])
    each = docs.commit_each([Write(Ref(FILES, id), body=place | {"name": "d"}) for id in ("first", "second")])
    assert [isinstance(answer, Conflict) for answer in each] == [False, True]
    with pytest.raises(Conflict):
        docs.put(FILES, place | {"name": "a"})
    assert docs.get_many(FILES, ["one", "other"]) == [None, None]
