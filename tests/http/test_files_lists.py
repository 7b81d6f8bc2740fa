"""Folders and files as lists of documents: queries, by id, the change feed; and changes of many at once."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from cozyd.permissions import FILES, ROOT_DIR
from tests.support.client import Client
from tests.support.data import with_rules
from tests.support.files import TRASH, is_error, mkdir, uploaded
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(FILES,))


@pytest.fixture(scope="module")
def home(alice: Client) -> str:
    alice.api("POST", f"/data/{FILES}/_index", {"index": {"fields": ["dir_id", "name"]}})
    return mkdir(alice, "test_files_lists")


def find(alice: Client, home: str, address: str = "", **query: Any) -> Any:
    answer = alice.api("POST", f"/files/_find{address}", {"selector": {"dir_id": home, "name": {"$gt": None}}} | query)
    assert answer.status == 200, answer.body
    return answer.json


# -- queries ------------------------------------------------------------------------------------------------------------


def test_a_query_finds_files_with_their_paths(alice: Client, home: str):
    top = mkdir(alice, "query", into=home)
    mkdir(alice, "dir", into=top)
    uploaded(alice, top, "file.txt", b"hello")
    found = find(alice, top, sort=["dir_id", "name"])
    assert [one["attributes"]["path"] for one in found["data"]] == ["/test_files_lists/query/dir", "/test_files_lists/query/file.txt"]
    assert (found["meta"]["count"], found["links"]) == (2, {})
    cut = find(alice, top, fields=["name"], sort=["dir_id", "name"])["data"]
    assert cut[0]["attributes"].keys() == {"name", "type"}
    assert "links" not in cut[0]
    assert cut[1]["attributes"] == {"name": "file.txt", "type": "file", "class": "text", "size": "5", "trashed": False}
    assert cut[1]["links"]["self"] == f"/files/{cut[1]['id']}"
    placed = find(alice, top, fields=["path"])["data"][1]["attributes"]
    assert (placed["path"], placed["dir_id"]) == ("/test_files_lists/query/file.txt", top)


def test_a_query_goes_on_where_its_page_ended(alice: Client, home: str):
    top = mkdir(alice, "pages", into=home)
    for number in range(5):
        uploaded(alice, top, f"{number}")
    page = find(alice, top, "?page[limit]=2")
    assert (len(page["data"]), page["meta"]["count"]) == (2, 2147483646)
    names = [one["attributes"]["name"] for one in page["data"]]
    while "next" in page["links"]:
        cursor = page["links"]["next"].partition("page[cursor]=")[2]
        page = find(alice, top, f"?page[limit]=2&page[cursor]={quote(cursor)}")
        names += [one["attributes"]["name"] for one in page["data"]]
    assert names == ["0", "1", "2", "3", "4"]
    assert [one["attributes"]["name"] for one in find(alice, top, "?page[skip]=3")["data"]] == ["3", "4"]
    assert find(alice, top, "?page[skip]=3")["meta"]["count"] == 5


def test_queries_that_are_refused(alice: Client):
    no_index = alice.api("POST", "/files/_find", {"selector": {"zzz": 1}})
    assert (no_index.status, no_index.json["errors"][0]["title"]) == (400, "no_index")
    for body in (b"", b"{oops", b"[]", b"{}", b'{"selector": 5}'):
        assert alice.api("POST", "/files/_find", body).status == 400, body
    assert with_rules(alice, f"{FILES}:GET:{ROOT_DIR}").api("POST", "/files/_find", {"selector": {"name": "x"}}).status == 403


def test_by_id(alice: Client, home: str):
    file = uploaded(alice, home, "by-id")["id"]
    answer = alice.api("POST", "/files/_all_docs", {"keys": [file, "nowhere", TRASH, home]})
    assert [(one["id"], one["attributes"]["path"]) for one in answer.json["data"]] == [
        (file, "/test_files_lists/by-id"),
        (home, "/test_files_lists"),
    ]
    assert answer.json["meta"]["count"] == 2
    for body in (b"{oops", b"{}", b'{"keys": 5}', b'{"keys": [5]}'):
        assert alice.api("POST", "/files/_all_docs", body).status == 400


# -- the feed -----------------------------------------------------------------------------------------------------------


def last(alice: Client) -> str:
    return quote(alice.api("GET", "/files/_changes").json["last_seq"])


def test_the_feed_tells_what_changed(alice: Client, home: str):
    since = last(alice)
    kept, gone = uploaded(alice, home, "kept"), uploaded(alice, home, "gone")
    alice.api("DELETE", f"/files/trash/{gone['id']}")
    trashed = uploaded(alice, home, "trashed")
    alice.api("DELETE", f"/files/{trashed['id']}")
    plain = alice.api("GET", f"/files/_changes?since={since}").json
    assert [(one["id"], one["doc"], one.get("deleted")) for one in plain["results"]] == [
        (kept["id"], None, None),
        (gone["id"], None, True),
        (trashed["id"], None, None),
    ]
    assert plain["pending"] == 0
    query = f"/files/_changes?since={since}&include_docs=true"
    paths = alice.api("GET", query + "&include_file_path=true").json["results"]
    assert [one["doc"].get("path") for one in paths] == ["/test_files_lists/kept", None, "/.cozy_trash/trashed"]
    assert [one["id"] for one in alice.api("GET", query + "&skip_deleted=false").json["results"]] == [kept["id"], trashed["id"]]
    assert [one["id"] for one in alice.api("GET", query + "&skip_deleted=1&skip_trashed=1").json["results"]] == [kept["id"]]
    cut = alice.api("GET", query + "&fields=name&limit=1").json
    assert (cut["results"][0]["doc"], cut["pending"]) == ({"name": "kept"}, 2)


def test_the_feed_has_no_design_documents(alice: Client, home: str):
    assert not [one for one in alice.api("GET", "/files/_changes").json["results"] if one["id"].startswith("_design/")]


@pytest.mark.parametrize(
    "query", ["feed=longpoll", "nonsense=1", "limit=x", "include_file_path=true", "skip_trashed=true", "since=garbage"]
)
def test_odd_parameters_of_the_feed_are_refused(alice: Client, query: str):
    assert alice.api("GET", f"/files/_changes?{query}").status == 400


# -- many at once -------------------------------------------------------------------------------------------------------


def many(alice: Client, *changes: tuple[str, dict[str, Any]]) -> Any:
    data = [{"type": FILES, "id": id, "attributes": attributes} for id, attributes in changes]
    return alice.api("PATCH", "/files/", {"data": data})


def test_several_changes_in_one_request(alice: Client, home: str):
    ids = [uploaded(alice, home, f"many{number}")["id"] for number in range(3)]
    changes = ((ids[0], {"name": "renamed"}), (ids[1], {"move_to_trash": True}), (ids[2], {"permanent_delete": True}))
    assert many(alice, *changes).status == 204
    assert alice.api("GET", f"/files/{ids[0]}").json["data"]["attributes"]["name"] == "renamed"
    assert alice.api("GET", f"/files/{ids[1]}").json["data"]["attributes"]["trashed"] is True
    assert alice.api("GET", f"/files/{ids[2]}").status == 404


def test_those_that_fail_are_named_and_the_others_done(alice: Client, home: str):
    id = uploaded(alice, home, "partly")["id"]
    answer = many(alice, ("nowhere", {"name": "x"}), (id, {"name": "a/b"}), (ROOT_DIR, {"name": "x"}), (id, {"tags": ["done"]}))
    assert answer.status == 404
    assert [(one["status"], one["source"]) for one in answer.json["errors"]] == [
        ("404", {"parameter": "_id", "pointer": "nowhere"}),
        ("422", {"parameter": "_id", "pointer": id}),
        ("400", {"parameter": "_id", "pointer": ROOT_DIR}),
    ]
    assert alice.api("GET", f"/files/{id}").json["data"]["attributes"]["tags"] == ["done"]


def test_a_missing_right_ends_the_list(alice: Client, home: str):
    first, second = uploaded(alice, home, "first")["id"], uploaded(alice, home, "second")["id"]
    guest = with_rules(alice, f"{FILES}:PATCH:{second}")
    assert many(guest, (first, {"tags": ["x"]}), (second, {"tags": ["x"]})).status == 403
    assert "tags" not in alice.api("GET", f"/files/{second}").json["data"]["attributes"]
    for body in (b"", b"{}", b'{"data": {}}', b'{"data": [5]}', b'{"data": [{"id": 5}]}'):
        assert alice.api("PATCH", "/files/", body).status == 400


# -- metadata -----------------------------------------------------------------------------------------------------------


def test_metadata_is_sent_before_its_file(alice: Client, home: str):
    metadata = {"qualification": {"label": "invoice"}, "carbonCopy": True}
    answer = alice.api("POST", "/files/upload/metadata", {"data": {"type": "io.cozy.files.metadata", "attributes": metadata}})
    assert (answer.status, answer.json["data"]["type"]) == (201, "io.cozy.files.metadata")
    assert answer.json["data"]["attributes"] == {"qualification": {"label": "invoice"}}
    id = answer.json["data"]["id"]
    for name in ("once.pdf", "twice.pdf"):
        assert uploaded(alice, home, name, query=f"&MetadataID={id}")["attributes"]["metadata"] == {"qualification": {"label": "invoice"}}
    unknown = alice.api("POST", f"/files/{home}?Type=file&Name=x&MetadataID=nonsense", b"x")
    assert is_error(unknown, 422, parameter="MetadataID")
    assert is_error(alice.api("POST", f"/files/{home}?Type=file&Name=x&Metadata=%7Boops", b"x"), 422, parameter="Metadata")
    certifier = with_rules(alice, FILES, "io.cozy.certified.carbon_copy")
    kept = uploaded(certifier, home, "certified.pdf", query=f"&Metadata={quote(json.dumps(metadata))}")
    assert kept["attributes"]["metadata"]["carbonCopy"] is True


def test_whoever_brings_a_file_from_an_account_says_so(alice: Client, home: str):
    made = uploaded(alice, home, "bill.pdf", query="&SourceAccount=acc&SourceAccountIdentifier=me%40example.org")
    metadata = made["attributes"]["cozyMetadata"]
    assert (metadata["sourceAccount"], metadata["sourceAccountIdentifier"]) == ("acc", "me@example.org")
    again = alice.api("PUT", f"/files/{made['id']}?SourceAccount=other", b"x").json["data"]["attributes"]["cozyMetadata"]
    assert again["sourceAccount"] == "acc"


def test_copies_get_free_names(alice: Client, home: str):
    file = uploaded(alice, home, "copy me.txt", query="&Tags=t")
    alice.api("POST", f"/files/{file['id']}/relationships/referenced_by", {"data": {"type": "x.y", "id": "z"}})
    names = [alice.api("POST", f"/files/{file['id']}/copy").json["data"]["attributes"]["name"] for _ in range(3)]
    assert names == ["copy me (copy).txt", "copy me (copy) (2).txt", "copy me (copy) (3).txt"]
    named = alice.api("POST", f"/files/{file['id']}/copy?Name=copy%20me.txt")
    assert (named.status, named.json["data"]["attributes"]["name"]) == (201, "copy me (2).txt")
    assert named.json["data"]["attributes"]["tags"] == ["t"]
    assert not named.json["data"]["relationships"]["referenced_by"]["data"]
    assert alice.api("POST", f"/files/{home}/copy").status == 404
    assert is_error(alice.api("POST", f"/files/{file['id']}/copy?Name=..%2Fx"), 422, parameter="name")
    elsewhere = mkdir(alice, "elsewhere", into=home)
    moved = alice.api("POST", f"/files/{file['id']}/copy?Name=x.txt&DirID={elsewhere}").json["data"]
    assert moved["attributes"]["dir_id"] == elsewhere
    assert alice.api("POST", f"/files/{file['id']}/copy?DirID=nowhere").status == 404


def test_the_folder_of_shared_drives(alice: Client):
    first = alice.api("POST", "/files/shared-drives")
    assert (first.status, first.json["data"]["id"]) == (200, "io.cozy.files.shared-drives-dir")
    assert alice.api("POST", "/files/shared-drives").json["data"]["meta"] == first.json["data"]["meta"]


def test_damaged_contents_are_named(fresh: Served):
    alice = Client(fresh, scope=(FILES,))
    good, bad = (uploaded(alice, ROOT_DIR, name, b"hello" * 10_000) for name in ("good", "bad"))
    assert alice.api("GET", "/files/fsck").json == []
    (path,) = [one for one in fresh.folder.rglob("*") if one.is_file() and one.parent.name == bad["id"]]
    path.write_bytes(b"jello" * 10_000)
    (found,) = alice.api("GET", "/files/fsck").json
    assert (found["type"], found["id"], found["is_file"]) == ("content_mismatch", bad["id"], True)
    assert found["content_mismatch"]["md5sum_index"] == good["attributes"]["md5sum"]
    assert with_rules(alice, f"{FILES}:GET:{good['id']}").api("GET", "/files/fsck").status == 403


def test_an_app_is_named_by_what_it_makes_and_changes(alice: Client, home: str, served: Served):
    token = served.cli("token", alice.domain, "--app", "drive", FILES).strip().splitlines()[-1]
    app = with_rules(alice, FILES)
    app.token = token
    made = uploaded(app, home, "by-app.txt")["attributes"]["cozyMetadata"]
    assert (made["createdByApp"], made["uploadedBy"]) == ("drive", {"slug": "drive"})
    mine = uploaded(alice, home, "by-me.txt")
    assert "createdByApp" not in mine["attributes"]["cozyMetadata"]
    for _ in range(2):
        changed = app.api("PATCH", f"/files/{mine['id']}", {"data": {"attributes": {"cozyMetadata": {"favorite": True}}}})
    metadata = changed.json["data"]["attributes"]["cozyMetadata"]
    assert [(one["slug"], one["instance"]) for one in metadata["updatedByApps"]] == [("drive", f"http://{alice.domain}/")]
    assert metadata["favorite"] is True
