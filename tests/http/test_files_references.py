"""References between documents and files from both sides, and folders left out on devices."""

from typing import Any

import pytest

from cozyd.permissions import FILES
from tests.support.client import Client
from tests.support.data import with_rules
from tests.support.files import is_error, mkdir, uploaded
from tests.support.serving import Served

ALBUMS = "io.cozy.photos.albums"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(FILES, ALBUMS, "io.cozy.oauth.clients", "io.cozy.apps"))


@pytest.fixture(scope="module")
def home(alice: Client) -> str:
    return mkdir(alice, "test_files_references")


def of_album(alice: Client, album: str, query: str = "") -> Any:
    answer = alice.api("GET", f"/data/{ALBUMS}/{album}/relationships/references{query}")
    assert answer.status == 200, answer.body
    return answer.json


def test_a_file_is_referenced_and_no_more(alice: Client, home: str):
    file = uploaded(alice, home, "a.jpg")
    path = f"/files/{file['id']}/relationships/referenced_by"
    one, two = {"type": ALBUMS, "id": "one"}, {"type": ALBUMS, "id": "two"}
    added = alice.api("POST", path, {"data": [one, two, one]})
    assert (added.status, added.json["data"], added.json["meta"]["count"]) == (200, [one, two], 2)
    shown = alice.api("GET", f"/files/{file['id']}").json["data"]
    assert shown["meta"]["rev"] == added.json["meta"]["rev"]
    assert shown["relationships"]["referenced_by"]["data"] == [one, two]
    assert "referenced_by" not in shown["attributes"]
    assert of_album(alice, "one") == {"data": [{"id": file["id"], "type": FILES}], "links": {}, "meta": {"count": 1}}
    removed = alice.api("DELETE", path, {"data": one})
    assert (removed.status, removed.json["data"], removed.json["meta"]["count"]) == (200, [two], 1)
    assert of_album(alice, "one")["data"] == []


def test_a_folder_says_so_among_its_attributes(alice: Client, home: str):
    dir = mkdir(alice, "folder", into=home)
    reference = {"type": "io.cozy.apps", "id": "io.cozy.apps/photos"}
    alice.api("POST", f"/files/{dir}/relationships/referenced_by", {"data": [reference]})
    assert alice.api("GET", f"/files/{dir}").json["data"]["attributes"]["referenced_by"] == [reference]
    found = alice.api("GET", "/data/io.cozy.apps/io.cozy.apps%2Fphotos/relationships/references").json
    assert [one["id"] for one in found["data"]] == [dir]


def test_an_album_takes_files_in_and_out(alice: Client, home: str):
    files = [uploaded(alice, home, f"p{number}.jpg")["id"] for number in range(3)]
    path = f"/data/{ALBUMS}/taken/relationships/references"
    body = {"data": [{"type": FILES, "id": id} for id in files]}
    assert alice.api("POST", path, body).status == 204
    assert [one["id"] for one in of_album(alice, "taken")["data"]] == sorted(files)
    whole = of_album(alice, "taken", "?include=files")
    assert [one["attributes"]["name"] for one in whole["included"]] == ["p0.jpg", "p1.jpg", "p2.jpg"]
    seen, link = [], f"{path}?page[limit]=2"
    while link:
        page = alice.api("GET", link).json
        assert page["meta"]["count"] == 3
        seen.append([one["id"] for one in page["data"]])
        link = page["links"].get("next")
    assert seen == [files[:2], files[2:]]
    assert alice.api("DELETE", path, {"data": {"type": FILES, "id": files[0]}}).status == 204
    assert of_album(alice, "taken")["meta"]["count"] == 2
    unknown = alice.api("POST", path, {"data": [{"type": FILES, "id": files[0]}, {"type": FILES, "id": "nowhere"}]})
    assert (unknown.status, of_album(alice, "taken")["meta"]["count"]) == (404, 2)


def test_references_are_sorted_by_the_time_of_the_picture(alice: Client, home: str):
    ids = {}
    for name, time in (("late", "2022"), ("early", "2020"), ("none", "")):
        query = f"&Metadata=%7B%22datetime%22%3A%22{time}-01-01T00%3A00%3A00Z%22%7D" if time else ""
        ids[name] = uploaded(alice, home, f"{name}.bin", query=query)["id"]
        alice.api("POST", f"/files/{ids[name]}/relationships/referenced_by", {"data": {"type": ALBUMS, "id": "sorted"}})
    order = [ids["none"], ids["early"], ids["late"]]
    assert [one["id"] for one in of_album(alice, "sorted", "?sort=datetime")["data"]] == order
    assert [one["id"] for one in of_album(alice, "sorted", "?sort=-datetime")["data"]] == order[::-1]
    assert [one["id"] for one in of_album(alice, "sorted", "?sort=-id")["data"]] == sorted(ids.values(), reverse=True)
    first = of_album(alice, "sorted", "?sort=-datetime&page[limit]=1")
    second = alice.api("GET", first["links"]["next"]).json
    assert [one["id"] for one in second["data"]] == [ids["early"]]
    assert alice.api("GET", f"/data/{ALBUMS}/sorted/relationships/references?sort=name").status == 400


def test_old_clients_wrote_slashes_encoded(alice: Client, home: str):
    file = uploaded(alice, home, "legacy.jpg")["id"]
    alice.api("POST", f"/files/{file}/relationships/referenced_by", {"data": {"type": ALBUMS, "id": "a%2Fb"}})
    assert [one["id"] for one in of_album(alice, "a%2Fb")["data"]] == [file]
    assert alice.api("DELETE", f"/data/{ALBUMS}/a%2Fb/relationships/references", {"data": {"type": FILES, "id": file}}).status == 204
    assert of_album(alice, "a%2Fb")["data"] == []


def test_folders_are_left_out_on_devices(alice: Client, home: str):
    dir, file = mkdir(alice, "left-out", into=home), uploaded(alice, home, "never-left-out")
    device = {"type": "io.cozy.oauth.clients", "id": "laptop"}
    path = f"/files/{dir}/relationships/not_synchronized_on"
    assert alice.api("POST", path, {"data": [device]}).json["data"] == [device]
    shown = alice.api("GET", f"/files/{dir}").json["data"]
    assert (shown["attributes"]["not_synchronized_on"], shown["relationships"]["not_synchronized_on"]["data"]) == ([device], [device])
    list_path = "/data/io.cozy.oauth.clients/laptop/relationships/not_synchronizing"
    assert [one["id"] for one in alice.api("GET", list_path).json["data"]] == [dir]
    assert alice.api("DELETE", path, {"data": [device]}).json["meta"]["count"] == 0
    assert alice.api("POST", list_path, {"data": [{"type": FILES, "id": dir}]}).status == 204
    assert alice.api("GET", list_path).json["meta"]["count"] == 1
    assert alice.api("DELETE", list_path, {"data": [{"type": FILES, "id": dir}]}).status == 204
    assert is_error(alice.api("POST", f"/files/{file['id']}/relationships/not_synchronized_on", {"data": [device]}), 404)
    assert alice.api("POST", list_path, {"data": [{"type": FILES, "id": file["id"]}]}).status == 400


def test_what_a_document_points_at_is_a_folder_or_file_whatever_its_type_says(alice: Client, home: str):
    ids = [uploaded(alice, home, f"typed-{number}")["id"] for number in range(2)]
    path = f"/data/{ALBUMS}/typed/relationships/references"
    assert alice.api("POST", path, {"data": [{"id": ids[0]}, {"type": "io.cozy.photos", "id": ids[1]}]}).status == 204
    listed = alice.api("GET", path).json
    assert (listed["meta"]["count"], {one["type"] for one in listed["data"]}) == (2, {FILES})
    assert alice.api("DELETE", path, {"data": {"id": ids[0]}}).status == 204
    assert [one["id"] for one in alice.api("GET", path).json["data"]] == ids[1:]
    empty = alice.api("GET", f"/data/{ALBUMS}/nothing/relationships/references?include=files").json
    assert (empty["data"], "included" in empty) == ([], False)


@pytest.mark.parametrize(
    "body", [None, {}, {"data": "x"}, {"data": [{}]}, {"data": [{"type": ALBUMS}]}, {"data": [{"type": ALBUMS, "id": 5}]}]
)
def test_bodies_without_references_are_refused(alice: Client, home: str, body: object):
    for method in ("POST", "DELETE"):
        assert alice.api(method, f"/files/{home}/relationships/referenced_by", body).status == 400
        assert alice.api(method, f"/data/{ALBUMS}/x/relationships/references", body).status == 400


def test_rights_on_either_side(alice: Client, home: str):
    file = uploaded(alice, home, "rights.jpg")["id"]
    path, body = f"/data/{ALBUMS}/mine/relationships/references", {"data": {"type": FILES, "id": file}}
    own = with_rules(alice, f"{ALBUMS}:PUT,GET,DELETE:mine")
    assert own.api("POST", path, body).status == 204
    assert own.api("GET", path).status == 200
    assert own.api("POST", path.replace("mine", "other"), body).status == 403
    whole = with_rules(alice, f"{FILES}:GET,PATCH")
    assert (whole.api("GET", path).status, whole.api("DELETE", path, body).status) == (200, 204)
    one = with_rules(alice, f"{FILES}:ALL:{file}")
    assert one.api("GET", path).status == 403
    assert one.api("POST", f"/files/{file}/relationships/referenced_by", {"data": {"type": ALBUMS, "id": "x"}}).status == 200
    reader = with_rules(alice, f"{FILES}:GET")
    for method in ("POST", "DELETE"):
        assert reader.api(method, f"/files/{file}/relationships/referenced_by", {"data": {"type": ALBUMS, "id": "x"}}).status == 403
        assert reader.api(method, f"/files/{home}/relationships/referenced_by", {"data": {"type": ALBUMS, "id": "x"}}).status == 403
