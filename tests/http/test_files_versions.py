"""Earlier contents over HTTP: kept, listed, read, tagged, taken back, removed; and copies of what a file says of itself."""

from typing import Any

import pytest

from cozyd.permissions import FILES
from tests.support.client import Client
from tests.support.data import with_rules
from tests.support.files import is_error, mkdir, uploaded
from tests.support.serving import Served

VERSIONS = "io.cozy.files.versions"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(FILES, VERSIONS))


@pytest.fixture(scope="module")
def home(alice: Client) -> str:
    return mkdir(alice, "test_files_versions")


def overwritten(alice: Client, file: Any, content: bytes, query: str = "", **headers: str) -> Any:
    answer = alice.api("PUT", f"/files/{file['id']}{query}", content, **{"Content_Type": "text/plain"} | headers)
    assert answer.status == 200, answer.body
    return answer.json


def test_a_content_that_is_replaced_is_kept(alice: Client, home: str):
    file = uploaded(alice, home, "kept.txt", b"one", query="&Tags=first")
    answer = overwritten(alice, file, b"second")
    versions = answer["data"]["relationships"]["old_versions"]["data"]
    assert [one["type"] for one in versions] == [VERSIONS]
    version = answer["included"][0]
    assert (version["id"], version["type"]) == (versions[0]["id"], VERSIONS)
    attributes = version["attributes"]
    assert version["id"].startswith(file["id"] + "/")
    assert (attributes["size"], attributes["md5sum"], attributes["tags"]) == ("3", file["attributes"]["md5sum"], ["first"])
    assert attributes["relationships"] == {"file": {"data": {"_id": file["id"], "_type": FILES}}}
    assert alice.api("GET", f"/files/{file['id']}").json == answer
    old = alice.api("GET", f"/files/download/{version['id']}")
    assert (old.body, old.etag) == (b"one", f'"{attributes["md5sum"]}"')
    assert alice.api("GET", f"/data/{VERSIONS}/{version['id'].replace('/', '%2F')}").json["size"] == "3"


def test_versions_are_told_by_get_put_and_revert_only(alice: Client, home: str):
    file = uploaded(alice, home, "told.txt", b"one")
    overwritten(alice, file, b"two!")
    body = {"data": {"type": FILES, "id": file["id"], "attributes": {"tags": ["x"]}}}
    assert "old_versions" not in alice.api("PATCH", f"/files/{file['id']}", body).json["data"]["relationships"]
    assert "old_versions" not in alice.api("DELETE", f"/files/{file['id']}").json["data"]["relationships"]
    assert "old_versions" in alice.api("GET", f"/files/{file['id']}").json["data"]["relationships"]


def test_the_same_content_and_a_quick_successor_make_no_version(alice: Client, home: str):
    file = uploaded(alice, home, "quick.txt", b"one")
    assert "old_versions" not in overwritten(alice, file, b"one")["data"]["relationships"]
    assert len(overwritten(alice, file, b"two")["included"]) == 1
    assert len(overwritten(alice, file, b"three")["included"]) == 1
    assert len(overwritten(alice, file, b"four", "?Tags=keep")["included"]) == 1
    assert len(overwritten(alice, file, b"five")["included"]) == 2


def test_a_version_comes_back_and_the_present_content_becomes_one(alice: Client, home: str):
    file = uploaded(alice, home, "revert.txt", b"one", query="&Tags=first&UpdatedAt=2030-01-01T00:00:00Z")
    version = overwritten(alice, file, b"second")["included"][0]
    back = alice.api("POST", f"/files/revert/{version['id']}")
    assert back.status == 200
    attributes = back.json["data"]["attributes"]
    assert (attributes["size"], attributes["tags"], attributes["updated_at"]) == ("3", ["first"], "2030-01-01T00:00:00Z")
    assert alice.api("GET", f"/files/download/{file['id']}").body == b"one"
    assert [one["attributes"]["size"] for one in back.json["included"]] == ["6"]
    assert is_error(alice.api("POST", f"/files/revert/{version['id']}"), 404)
    other = uploaded(alice, home, "other.txt", b"x")
    assert alice.api("POST", f"/files/revert/{other['id']}/{back.json['included'][0]['id'].split('/')[1]}").status == 404


def test_a_version_is_tagged_and_removed(alice: Client, home: str):
    file = uploaded(alice, home, "tagged.txt", b"one")
    version = overwritten(alice, file, b"second")["included"][0]
    path = f"/files/{version['id']}"
    tagged = alice.api("PATCH", path, {"data": {"type": VERSIONS, "id": version["id"], "attributes": {"tags": ["poem"]}}})
    assert (tagged.status, tagged.json["data"]["attributes"]["tags"], tagged.json["data"]["type"]) == (200, ["poem"], VERSIONS)
    attributes: tuple[dict[str, Any], ...] = ({}, {"tags": "x"}, {"tags": [1]})
    for given in attributes:
        assert alice.api("PATCH", path, {"data": {"attributes": given}}).status == 400
    assert alice.api("DELETE", path).status == 204
    for method in ("DELETE", "PATCH"):
        answer = alice.api(method, path, {"data": {"attributes": {"tags": []}}} if method == "PATCH" else None)
        assert (answer.status, answer.json["errors"][0]["title"]) == (404, "not_found")
    assert alice.api("GET", f"/files/download/{version['id']}").status == 404


def test_other_metadata_for_the_same_content(alice: Client, home: str):
    file = uploaded(alice, home, "relabel.txt", b"one", query="&Metadata=%7B%22a%22%3A1%7D")
    body = {"data": {"type": "io.cozy.files.metadata", "attributes": {"qualification": {"label": "invoice"}}}}
    answer = alice.api("POST", f"/files/{file['id']}/versions?Tags=x,y", body)
    assert answer.status == 200
    attributes = answer.json["data"]["attributes"]
    assert (attributes["metadata"], attributes["tags"]) == ({"qualification": {"label": "invoice"}}, ["x", "y"])
    assert (attributes["md5sum"], answer.json["data"]["relationships"].get("old_versions")) == (file["attributes"]["md5sum"], None)
    assert is_error(alice.api("POST", f"/files/{home}/versions", body), 400)


def test_versions_need_their_rights(alice: Client, home: str):
    file = uploaded(alice, home, "rights.txt", b"one")
    version = overwritten(alice, file, b"second")["included"][0]["id"]
    reader = with_rules(alice, f"{FILES}:GET:{home}")
    assert reader.api("GET", f"/files/download/{version}").status == 200
    body = {"data": {"attributes": {"tags": ["x"]}}}
    for method, path in (
        ("POST", f"/files/revert/{version}"),
        ("PATCH", f"/files/{version}"),
        ("DELETE", f"/files/{version}"),
        ("POST", f"/files/{file['id']}/versions"),
        ("DELETE", "/files/versions"),
    ):
        assert reader.api(method, path, body).status == 403, path
    assert with_rules(alice, f"{FILES}:ALL:{home}").api("DELETE", "/files/versions").status == 403


def test_all_versions_go_at_once(fresh: Served):
    alice = Client(fresh, scope=(FILES,))
    home = mkdir(alice, "clear")
    for name in ("a", "b"):
        file = uploaded(alice, home, name, b"one", query="&Tags=t")
        overwritten(alice, file, b"second")
    assert alice.api("DELETE", "/files/versions").status == 204
    for one in alice.api("GET", f"/files/{home}").json["included"]:
        assert "old_versions" not in alice.api("GET", f"/files/{one['id']}").json["data"]["relationships"]
