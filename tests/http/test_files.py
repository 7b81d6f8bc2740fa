"""`/files` as its clients use it: make, upload, read, change, trash; and what is refused."""

import base64
import hashlib
import http.client
import json

import pytest

from cozyd.permissions import FILES, ROOT_DIR
from tests.support.client import Answer, Client
from tests.support.data import with_rules
from tests.support.files import TRASH, is_error, mkdir, patched, upload, uploaded
from tests.support.raw import Raw
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(FILES,))


@pytest.fixture(scope="module")
def home(alice: Client) -> str:
    """A folder of this file's own."""
    return mkdir(alice, "test_files")


@pytest.fixture(autouse=True)
def _no_surprise(alice: Client):
    yield
    assert "Traceback" not in alice.served.log()


# -- making -------------------------------------------------------------------------------------------------------------


def test_a_folder_is_made(alice: Client, home: str):
    answer = alice.api("POST", f"/files/{home}?Type=directory&Name=Docs&Tags=a,%20b%20,a&CreatedAt=2020-01-02T03:04:05Z")
    assert (answer.status, answer.headers["Content-Type"]) == (201, "application/vnd.api+json")
    data = answer.json["data"]
    assert (data["type"], data["links"]) == (FILES, {"self": f"/files/{data['id']}"})
    known = {"type": "directory", "name": "Docs", "dir_id": home, "path": "/test_files/Docs", "tags": ["a", "b"]}
    assert {key: data["attributes"][key] for key in known} == known
    assert data["attributes"]["created_at"] == "2020-01-02T03:04:05Z"
    assert data["attributes"]["cozyMetadata"]["createdOn"] == f"http://{alice.domain}/"
    assert is_error(alice.api("POST", f"/files/{home}?Type=directory&Name=Docs"), 409)


def test_folders_are_made_by_path(alice: Client, home: str):
    assert alice.api("POST", "/files/?Type=directory&Path=/test_files/by/path").status == 404
    made = alice.api("POST", "/files/?Type=directory&Path=/test_files/by/path&Recursive=true")
    assert (made.status, made.json["data"]["attributes"]["path"]) == (201, "/test_files/by/path")
    again = alice.api("POST", "/files/?Type=directory&Path=/test_files/by/path&Recursive=true")
    assert (again.status, again.json["data"]["id"]) == (201, made.json["data"]["id"])


@pytest.mark.parametrize("name", ["", ".", "..", "a%2Fb", "a%00b", "a%0Ab", "a%0Db", "x" * 256])
@pytest.mark.parametrize("type", ["directory", "file"])
def test_bad_names_are_refused(alice: Client, home: str, name: str, type: str):
    assert is_error(alice.api("POST", f"/files/{home}?Type={type}&Name={name}", b"" if type == "file" else None), 422, parameter="name")


def test_a_type_is_needed(alice: Client, home: str):
    for query in ("", "?Type=nonsense&Name=x"):
        assert is_error(alice.api("POST", f"/files/{home}{query}"), 422, pointer="/data/attributes/type")


def test_nothing_is_made_without_a_token_or_with_too_small_a_one(alice: Client, home: str):
    for path in (f"/files/{home}?Type=directory&Name=x", "/files/?Type=directory&Path=/test_files/x"):
        assert alice.ask("POST", path).status == 401
        assert with_rules(alice, f"{FILES}:GET").api("POST", path).status == 403
        assert with_rules(alice, f"{FILES}:ALL:{TRASH}").api("POST", path).status == 403
    assert with_rules(alice, f"{FILES}:ALL:{home}").api("POST", f"/files/{home}?Type=directory&Name=mine").status == 201


# -- uploading ----------------------------------------------------------------------------------------------------------


def test_an_upload_is_answered_with_all_it_has(alice: Client, home: str):
    query = "&Tags=t1,t2&Executable=true&CreatedAt=2020-01-02T03:04:05Z&UpdatedAt=2021-01-02T03:04:05Z"
    data = uploaded(alice, home, "hello.txt", b"Hello world\n", query=query, Content_Type="text/plain; charset=utf-8")
    digest = base64.b64encode(hashlib.md5(b"Hello world\n").digest()).decode()
    expected = {
        "type": "file",
        "name": "hello.txt",
        "dir_id": home,
        "size": "12",
        "md5sum": digest,
        "mime": "text/plain",
        "class": "text",
        "executable": True,
        "trashed": False,
        "encrypted": False,
        "tags": ["t1", "t2"],
        "created_at": "2020-01-02T03:04:05Z",
        "updated_at": "2021-01-02T03:04:05Z",
    }
    assert {key: data["attributes"].get(key) for key in expected} == expected
    assert not {"path", "referenced_by", "internal_vfs_id"} & data["attributes"].keys()
    assert data["relationships"]["parent"] == {"links": {"related": f"/files/{home}"}, "data": {"id": home, "type": FILES}}
    metadata = data["attributes"]["cozyMetadata"]
    assert metadata["uploadedOn"] == f"http://{alice.domain}/"
    assert metadata["uploadedAt"]
    assert alice.api("GET", f"/files/{data['id']}").json["data"]["attributes"] == data["attributes"]
    assert alice.api("GET", "/files/metadata?Path=/test_files/hello.txt").json["data"]["id"] == data["id"]


def test_the_name_tells_the_type_when_the_header_does_not(alice: Client, home: str):
    assert uploaded(alice, home, "type.pdf")["attributes"]["mime"] == "application/pdf"
    shortcut = uploaded(alice, home, "link.url", Content_Type="text/plain")["attributes"]
    assert (shortcut["mime"], shortcut["class"]) == ("application/internet-shortcut", "shortcut")
    for nonsense in ("text/", "/plain", "text/plain/more", "foo / bar", "; charset=utf-8"):
        assert is_error(upload(alice, home, "bad.type", Content_Type=nonsense), 422, "Invalid Content-Type", parameter="mime")
    single = uploaded(alice, home, "single.type", Content_Type="word")["attributes"]
    assert (single["mime"], single["class"]) == ("word", "word")


def test_the_digest_is_checked(alice: Client, home: str):
    digest = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert upload(alice, home, "md5.txt", Content_MD5=digest).status == 201
    for wrong, status in (("AAAAAAAAAAAAAAAAAAAAAA==", 412), ("nonsense", 422), ("QUJD", 422), ("é", 422)):
        answer = upload(alice, home, "md5-wrong.txt", Content_MD5=wrong)
        assert is_error(answer, status, parameter="Content-MD5")
    assert alice.api("GET", "/files/metadata?Path=/test_files/md5-wrong.txt").status == 404


def test_a_name_that_is_taken_is_refused(alice: Client, home: str):
    uploaded(alice, home, "taken")
    assert is_error(upload(alice, home, "taken"), 409)
    assert is_error(alice.api("POST", f"/files/{home}?Type=directory&Name=taken"), 409)
    assert is_error(upload(alice, "nowhere", "x"), 404)


def test_a_body_without_a_length_is_fine(alice: Client, home: str):
    query = f"/files/{home}?Type=file&Name="
    made = _chunked(alice, query, "5")
    assert (made.status, made.json["data"]["attributes"]["size"]) == (201, "5")
    wrong = _chunked(alice, query, "6")
    assert is_error(wrong, 412, parameter="Content-Length")


def _chunked(alice: Client, query: str, size: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", alice.served.port, timeout=30)
    headers = {"Host": alice.host, "Authorization": f"Bearer {alice.token}", "Content-Type": "text/plain"}
    connection.request("POST", f"{query}chunked-{size}.txt&Size={size}", iter([b"hel", b"lo"]), headers, encode_chunked=True)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def test_the_next_content_takes_the_place_of_the_last(alice: Client, home: str):
    first = uploaded(alice, home, "over.txt", b"one", query="&Tags=t")
    path = f"/files/{first['id']}"
    assert is_error(alice.api("PUT", path, b"x", If_Match="1-stale"), 412, parameter="If-Match")
    assert is_error(alice.api("PUT", path + "?rev=1-stale", b"x"), 412, parameter="If-Match")
    second = alice.api("PUT", path, b"second", If_Match=first["meta"]["rev"], Content_Type="text/plain")
    assert second.status == 200
    attributes = second.json["data"]["attributes"]
    assert (attributes["size"], attributes["created_at"]) == ("6", first["attributes"]["created_at"])
    assert "tags" not in attributes
    assert alice.api("GET", f"/files/download/{first['id']}").body == b"second"
    assert alice.api("PUT", f"/files/{home}", b"x").status == 404


# -- reading ------------------------------------------------------------------------------------------------------------


def test_a_folder_shows_its_children(alice: Client):
    top = mkdir(alice, "children")
    for name in ("b", "a", "é"):
        mkdir(alice, name, into=top)
        uploaded(alice, top, f"{name}.txt")
    whole = alice.api("GET", f"/files/{top}").json
    assert [one["attributes"]["name"] for one in whole["included"]] == ["a", "b", "é", "a.txt", "b.txt", "é.txt"]
    contents = whole["data"]["relationships"]["contents"]
    assert (contents["meta"]["count"], [one["id"] for one in contents["data"]]) == (6, [one["id"] for one in whole["included"]])
    seen, link = [], f"/files/{top}/relationships/contents?page[limit]=4"
    while link:
        page = alice.api("GET", link).json
        assert page["meta"]["count"] == 6
        seen.append([one["attributes"]["name"] for one in page["data"]])
        link = page["links"].get("next")
    assert seen == [["a", "b", "é", "a.txt"], ["b.txt", "é.txt"]]
    skipped = alice.api("GET", f"/files/{top}/relationships/contents?page[skip]=4&page[limit]=1").json
    assert [one["attributes"]["name"] for one in skipped["data"]] == ["b.txt"]
    for bad in ("page[limit]=x", "page[limit]=-1", "page[cursor]=nonsense", "page[cursor]=[1,2]", "page[skip]=-1"):
        assert alice.api("GET", f"/files/{top}/relationships/contents?{bad}").status == 400, bad


def test_who_counts_pages_by_skipping_is_answered_so(alice: Client):
    top = mkdir(alice, "skipping")
    names = [f"{number}.txt" for number in range(5)]
    for name in names:
        uploaded(alice, top, name)
    seen, link = [], f"/files/{top}/relationships/contents?page[limit]=2&page[skip]=0"
    while link:
        page = alice.api("GET", link).json
        seen += [one["attributes"]["name"] for one in page["data"]]
        link = page["links"].get("next", "")
        assert "cursor" not in link
    assert seen == names
    first = alice.api("GET", f"/files/{top}?page[limit]=4&page[skip]=0").json
    assert first["links"]["next"] == f"/files/{top}?page%5Blimit%5D=4&page%5Bskip%5D=4"
    both = alice.api("GET", f"/files/{top}?page[limit]=2").json["links"]["next"] + "&page[skip]=9"
    assert [one["attributes"]["name"] for one in alice.api("GET", both).json["included"]] == names[2:4]


def test_a_folder_can_be_asked_for_without_its_children(alice: Client):
    top = mkdir(alice, "alone")
    empty = alice.api("GET", f"/files/{top}").json
    assert (empty["data"]["relationships"]["contents"], "included" in empty) == (
        {"meta": {"count": 0}, "links": {"self": f"/files/{top}/relationships/contents"}, "data": []},
        False,
    )
    uploaded(alice, top, "a.txt")
    alone = alice.api("GET", f"/files/{top}?page[limit]=0").json
    assert ("included" in alone, alone["data"]["relationships"]["contents"]["data"]) == (False, [])
    assert alone["data"]["relationships"]["contents"]["meta"]["count"] == 1
    assert alone["links"]["next"] == f"/files/{top}?page%5Blimit%5D=0"


def test_sizes_are_of_all_below(alice: Client, home: str):
    top = mkdir(alice, "sizes")
    inner = mkdir(alice, "inner", into=top)
    uploaded(alice, top, "a", b"x" * 10)
    uploaded(alice, inner, "b", b"x" * 100)
    answer = alice.api("GET", f"/files/{top}/size").json["data"]
    assert (answer["type"], answer["id"], answer["attributes"]) == ("io.cozy.files.sizes", top, {"size": "110"})
    assert alice.api("GET", f"/files/{uploaded(alice, home, 'sizeless')['id']}/size").status == 404


def test_head_tells_whether_it_is_there(alice: Client, home: str):
    assert (alice.api("HEAD", f"/files/{home}").status, alice.api("HEAD", "/files/nowhere").status) == (200, 404)


@pytest.mark.parametrize(
    "path", ["/files/nowhere", "/files/metadata?Path=/nowhere", "/files/download/nowhere", "/files/download?Path=/nowhere"]
)
def test_what_is_not_there_is_404(alice: Client, path: str):
    assert is_error(alice.api("GET", path), 404, "file does not exist")


@pytest.mark.parametrize("path", ["", "relative", "/a/../b"])
def test_a_path_is_absolute(alice: Client, path: str):
    assert alice.api("GET", f"/files/metadata?Path={path}").status in (400, 422)


# -- downloading --------------------------------------------------------------------------------------------------------


def test_a_content_comes_whole_or_in_part(alice: Client, home: str):
    data = uploaded(alice, home, "déjà vu.txt", b"Hello world\n")
    path = f"/files/download/{data['id']}"
    whole = alice.api("GET", path)
    assert (whole.status, whole.body, whole.headers["Accept-Ranges"]) == (200, b"Hello world\n", "bytes")
    assert whole.headers["Content-Disposition"] == "inline; filename=\"djvu.txt\"; filename*=UTF-8''d%C3%A9j%C3%A0%20vu.txt"
    assert whole.headers["ETag"] == f'"{data["attributes"]["md5sum"]}"'
    assert alice.api("GET", path + "?Dl=1").headers["Content-Disposition"].startswith("attachment;")
    for asked, body in (("bytes=6-10", b"world"), ("bytes=-6", b"world\n"), ("bytes=6-", b"world\n"), ("bytes=0-0", b"H")):
        part = alice.api("GET", path, Range=asked)
        assert (part.status, part.body) == (206, body)
        assert part.headers["Content-Range"].endswith("/12")
    beyond = alice.api("GET", path, Range="bytes=100-200")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */12")
    assert alice.api("GET", path, If_None_Match=whole.etag).status == 304
    assert alice.api("GET", path, If_Range='"other"', Range="bytes=0-1").status == 200
    assert alice.api("GET", "/files/download?Path=/test_files/d%C3%A9j%C3%A0%20vu.txt").body == b"Hello world\n"
    head = alice.api("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "12")
    assert alice.api("GET", f"/files/download/{home}").status == 404


# -- changing -----------------------------------------------------------------------------------------------------------


def test_a_file_is_renamed_moved_and_tagged(alice: Client, home: str):
    other, file = mkdir(alice, "other", into=home), uploaded(alice, home, "before.txt")
    answer = patched(alice, file["id"], name="after.png", tags=["new"], executable=True, metadata={"k": 1}, dir_id=other)
    assert answer.status == 200
    attributes = answer.json["data"]["attributes"]
    expected = {"name": "after.png", "dir_id": other, "tags": ["new"], "executable": True, "metadata": {"k": 1}, "mime": "image/png"}
    assert {key: attributes[key] for key in expected} == expected
    relationship = {"data": {"type": FILES, "id": file["id"], "relationships": {"parent": {"data": {"type": FILES, "id": home}}}}}
    assert alice.api("PATCH", f"/files/{file['id']}", relationship).json["data"]["attributes"]["dir_id"] == home
    by_path = {"data": {"type": FILES, "attributes": {"cozyMetadata": {"favorite": True}}}}
    moved = alice.api("PATCH", "/files/metadata?Path=/test_files/after.png", by_path).json["data"]
    assert moved["attributes"]["cozyMetadata"]["favorite"] is True


@pytest.mark.parametrize(
    ("attributes", "status", "source"),
    [
        ({"name": "a/b"}, 422, "name"),
        ({"dir_id": "nowhere"}, 404, ""),
        ({"updated_at": "1990-01-01T00:00:00Z"}, 422, "UpdatedAt"),
        ({"updated_at": "yesterday"}, 400, "/data/attributes/updated_at"),
        ({"updated_at": "9999-12-31T23:59:59-12:00"}, 400, "/data/attributes/updated_at"),
        ({"tags": "x"}, 400, "/data/attributes/tags"),
        ({"name": 5}, 400, "/data/attributes/name"),
        ({"executable": "yes"}, 400, "/data/attributes/executable"),
        ({"tags": [5]}, 400, "/data/attributes/tags"),
        ({"class": 5}, 400, "/data/attributes/class"),
        ({"move_to_trash": "yes"}, 400, "/data/attributes/move_to_trash"),
        ({"permanent_delete": 1}, 400, "/data/attributes/permanent_delete"),
        ({"cozyMetadata": []}, 400, "/data/attributes/cozyMetadata"),
        ({"cozyMetadata": {"favorite": "yes"}}, 400, "/data/attributes/cozyMetadata"),
    ],
)
def test_bad_changes_are_refused(alice: Client, home: str, attributes: dict[str, object], status: int, source: str):
    file = uploaded(alice, home, f"bad-{abs(hash(str(attributes)))}")
    where = {"pointer": source} if source.startswith("/") else {"parameter": source} if source else {}
    assert is_error(patched(alice, file["id"], **attributes), status, **where)
    assert alice.api("GET", f"/files/{file['id']}").json["data"]["meta"] == file["meta"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{oops",
        '{"data": null}',
        '{"data": {"attributes": 5}}',
        '{"data": {"attributes": []}}',
        '{"data": {"relationships": {"parent": {"data": null}}}}',
        '{"data": {"relationships": {"parent": {"data": []}}}}',
        '{"data": {"relationships": {"parent": {"data": {"type": "io.cozy.files"}}}}}',
    ],
)
def test_a_body_that_is_none_is_refused(alice: Client, home: str, body: str):
    assert alice.api("PATCH", f"/files/{home}", body.encode()).status == 400


def test_a_body_that_is_none_is_told_before_what_it_is_for(alice: Client):
    assert alice.api("PATCH", "/files/nowhere", b"{oops").status == 400
    assert alice.api("PATCH", "/files/metadata?Path=/nowhere", b"{oops").status == 400


def test_tags_have_no_spaces_around_them_and_none_is_empty(alice: Client, home: str):
    file = uploaded(alice, home, "tagged.txt")["id"]
    assert patched(alice, file, tags=[" red ", "red", "", "blue"]).json["data"]["attributes"]["tags"] == ["red", "blue"]
    assert "tags" not in patched(alice, file, tags=[" "]).json["data"]["attributes"]


def test_a_date_is_in_gmt_whatever_it_says(alice: Client, home: str):
    for zone in ("GMT", "MST"):
        answer = upload(alice, home, f"dated-{zone}", Date=f"Mon, 02 Jan 2006 15:04:05 {zone}").json["data"]["attributes"]
        assert (answer["created_at"], answer["updated_at"]) == ("2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("2017-12-16T13:37:01.345Z", "2017-12-16T13:37:01.345Z"),
        ("2017-12-16T13:37:10Z", "2017-12-16T13:37:10Z"),
        ("2017-12-16T15:37:01.100200%2B02:00", "2017-12-16T13:37:01.1002Z"),
        ("2017-12-16T13:37:01.123456789Z", "2017-12-16T13:37:01.123456Z"),
    ],
)
def test_a_time_is_kept_to_the_digit(alice: Client, home: str, told: str, kept: str):
    file = uploaded(alice, home, f"digits-{kept}", query=f"&CreatedAt={told}&UpdatedAt={told}")
    assert (file["attributes"]["created_at"], file["attributes"]["updated_at"]) == (kept, kept)
    assert alice.api("PUT", f"/files/{file['id']}?UpdatedAt={told}", b"next").json["data"]["attributes"]["updated_at"] == kept
    again = patched(alice, file["id"], updated_at=told.replace("%2B", "+")).json["data"]["attributes"]
    assert again["updated_at"] == kept


def test_where_nothing_can_be_put_is_no_parent(alice: Client):
    missing = "Parent directory with given DirID does not exist"
    assert is_error(upload(alice, "nowhere", "a.txt"), 404, missing)
    assert is_error(alice.api("POST", "/files/?Type=directory&Path=/"), 404, missing)
    assert is_error(upload(alice, TRASH, "a.txt"), 404, "Parent directory is in the trash")
    assert is_error(upload(alice, "nowhere", "a/b"), 422, parameter="name")


def test_a_time_before_1970_stands_for_none(alice: Client, home: str):
    file = uploaded(alice, home, "timeless.txt")
    attributes = patched(alice, file["id"], updated_at="0001-01-01T00:00:00Z", tags=["x"]).json["data"]["attributes"]
    assert (attributes["updated_at"], attributes["tags"]) == (file["attributes"]["updated_at"], ["x"])


def test_what_is_no_favorite_any_more_says_nothing_of_it(alice: Client, home: str):
    file = uploaded(alice, home, "favorite.txt")["id"]
    assert patched(alice, file, cozyMetadata={"favorite": True}).json["data"]["attributes"]["cozyMetadata"]["favorite"] is True
    assert "favorite" not in patched(alice, file, cozyMetadata={"favorite": False}).json["data"]["attributes"]["cozyMetadata"]


def test_roots_are_refused(alice: Client):
    for id in (ROOT_DIR, TRASH):
        assert patched(alice, id, name="x").status == 400
        assert alice.api("DELETE", f"/files/{id}").status == 400
        assert alice.api("DELETE", f"/files/trash/{id}").status == 400
        assert alice.api("POST", f"/files/trash/{id}").status == 400


# -- trash --------------------------------------------------------------------------------------------------------------


def test_through_the_trash_and_back(alice: Client, home: str):
    file = uploaded(alice, home, "gone.txt")
    path = f"/files/{file['id']}"
    assert is_error(alice.api("DELETE", path, If_Match="1-stale"), 412, parameter="If-Match")
    gone = alice.api("DELETE", path)
    attributes = gone.json["data"]["attributes"]
    assert (gone.status, attributes["trashed"], attributes["dir_id"], attributes["restore_path"]) == (200, True, TRASH, "/test_files")
    assert attributes["cozyMetadata"]["trashedBy"]["kind"] == "member"
    assert file["id"] in [one["id"] for one in alice.api("GET", "/files/trash?page[limit]=1000").json["data"]]
    assert is_error(alice.api("DELETE", path), 400)
    back = alice.api("POST", f"/files/trash/{file['id']}")
    assert (back.status, back.json["data"]["attributes"]["dir_id"], back.json["data"]["attributes"]["trashed"]) == (200, home, False)
    assert is_error(alice.api("POST", f"/files/trash/{file['id']}"), 400)
    assert alice.api("DELETE", f"/files/trash/{file['id']}").status == 204
    assert alice.api("GET", path).status == 404


def test_what_is_in_the_trash_gets_no_content(alice: Client, home: str):
    file = uploaded(alice, home, "thrown.txt")["id"]
    alice.api("DELETE", f"/files/{file}")
    told = "Parent directory is in the trash"
    assert is_error(alice.api("PUT", f"/files/{file}", b"next"), 404, told)
    assert is_error(alice.api("POST", f"/files/{file}/versions", {"data": {"attributes": {}}}), 404, told)
    assert is_error(alice.api("POST", f"/files/{file}/copy"), 404, told)
    assert alice.api("GET", f"/files/download/{file}").body == b"hello"


def test_only_what_a_token_names_is_seen_and_changed(alice: Client, home: str):
    mine, other = mkdir(alice, "mine-only", into=home), mkdir(alice, "not-mine", into=home)
    file = uploaded(alice, mine, "a.txt")
    guest = with_rules(alice, f"{FILES}:GET,PATCH:{mine}")
    assert guest.api("GET", f"/files/{file['id']}").status == 200
    assert guest.api("GET", f"/files/download/{file['id']}").status == 200
    assert guest.api("GET", f"/files/{other}").status == 403
    assert patched(guest, file["id"], dir_id=other).status == 403
    assert patched(guest, file["id"], dir_id=ROOT_DIR).status == 403
    assert patched(guest, file["id"], dir_id="").status == 403
    upwards = {"data": {"type": FILES, "relationships": {"parent": {"data": {"type": FILES, "id": ""}}}}}
    assert guest.api("PATCH", f"/files/{file['id']}", upwards).status == 403
    assert patched(alice, uploaded(alice, other, "up.txt")["id"], dir_id="").json["data"]["attributes"]["dir_id"] == ROOT_DIR
    assert guest.api("DELETE", f"/files/trash/{file['id']}").status == 403
    tagged = with_rules(alice, f"{FILES}:GET:seen:tags")
    assert tagged.api("GET", f"/files/{file['id']}").status == 403
    patched(alice, file["id"], tags=["seen"])
    assert tagged.api("GET", f"/files/{file['id']}").status == 200


def test_an_unknown_method_or_route_is_404(alice: Client, home: str):
    assert json.loads(alice.api("POST", f"/files/{home}/size").body) == {"error": "Not Found"}


@pytest.mark.parametrize("name", ["été 🌍.txt", "日本.txt"])
def test_characters_beyond_ascii_may_stand_in_an_address_as_they_are(alice: Client, name: str):
    """curl sends them so, and cozy-stack takes them."""
    home = mkdir(alice, f"raw-{len(name)}")
    head = f" HTTP/1.1\r\nHost: {alice.domain}\r\nAuthorization: Bearer {alice.token}\r\nContent-Length: 2\r\n\r\nhi"
    with Raw(alice.served.port) as connection:
        reply = connection.send(f"POST /files/{home}?Type=file&Name={name.replace(' ', '%20')}{head}".encode()).reply()
    assert (reply.status, json.loads(reply.body)["data"]["attributes"]["name"]) == (201, name)
