"""`/data`: documents, lists and queries as clients use them, and what is refused."""

import json
import threading
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.data import T, is_error, is_framework, made, with_rules
from tests.support.serving import Served

SCOPE = ("io.cozy.test.notes", "io.cozy.test.lists", "io.cozy.test.deep", "io.cozy.contacts", "io.cozy.settings", "io.cozy.doctypes")


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(*SCOPE, "io.cozy.files", "io.cozy.sessions", "io.cozy.test.never"))


@pytest.fixture(autouse=True)
def _no_surprise(alice: Client):
    yield
    assert "Traceback" not in alice.served.log()


# -- documents ----------------------------------------------------------------------------------------------------------


def test_a_document_lives_and_dies(alice: Client):
    answer = alice.api("POST", f"{T}/", {"n": 1, "title": "é ☃"})
    assert answer.status == 201
    id, rev = answer.json["id"], answer.json["rev"]
    assert answer.json["data"] == {"_id": id, "_rev": rev, "_type": "io.cozy.test.notes", "n": 1, "title": "é ☃"}
    assert alice.api("GET", f"{T}/{id}").json == answer.json["data"]
    changed = alice.api("PUT", f"{T}/{id}", {"_id": id, "_rev": rev, "_type": "io.cozy.test.notes", "n": 2})
    assert (changed.status, changed.json["data"]["n"]) == (200, 2)
    assert changed.json["rev"].startswith("2-")
    assert is_error(alice.api("PUT", f"{T}/{id}", {"_id": id, "_rev": rev, "n": 3}), 409, "conflict", "Document update conflict.")
    gone = alice.api("DELETE", f"{T}/{id}?rev={changed.json['rev']}")
    assert gone.json | {"rev": ""} == {"ok": True, "id": id, "rev": "", "type": "io.cozy.test.notes", "deleted": True}
    assert is_error(alice.api("GET", f"{T}/{id}"), 404, "not_found", "deleted")
    again = alice.api("PUT", f"{T}/{id}", {"n": 4})
    assert again.json["rev"].startswith("4-")


def test_ids_that_rise_are_given(alice: Client):
    ids = [alice.api("POST", f"{T}/", {}).json["id"] for _ in range(5)]
    assert ids == sorted(ids)
    assert all(len(id) == 32 and int(id, 16) for id in ids)


def test_writing_needs_what_it_replaces(alice: Client):
    rev = made(alice, "w1", n=1)["rev"]
    for body in ({"_id": "w1", "n": 2}, {"_rev": rev, "n": 2}, {"_id": "other", "_rev": rev}):
        assert alice.api("PUT", f"{T}/w1", body).status == 400
    assert alice.api("PUT", f"{T}/w1", {"n": 2}).status == 409
    assert is_error(alice.api("PUT", f"{T}/w1", {"_id": "w1", "_rev": "nonsense"}), 400, "bad_request", "Invalid rev format")
    assert alice.api("PUT", f"{T}/none", {"_id": "none", "_rev": rev}).status == 404
    for query, headers in (("", {}), ("?rev=", {}), (f"?rev={rev}", {"If_Match": "1-" + "0" * 32}), ("", {"If_Match": f'"{rev}"'})):
        assert alice.api("DELETE", f"{T}/w1{query}", **headers).status == 400
    assert alice.api("DELETE", f"{T}/w1", If_Match="1-" + "0" * 32).status == 409
    assert alice.api("DELETE", f"{T}/w1", If_Match=rev).status == 200
    assert is_error(alice.api("DELETE", f"{T}/w1?rev={rev}"), 404, "not_found", "deleted")


def test_a_write_that_says_deleted_deletes(alice: Client):
    rev = made(alice, "w2", n=1)["rev"]
    answer = alice.api("PUT", f"{T}/w2", {"_id": "w2", "_rev": rev, "_deleted": True})
    assert answer.json["data"]["_deleted"] is True
    assert is_error(alice.api("GET", f"{T}/w2"), 404, "not_found", "deleted")
    readers = with_rules(alice, "io.cozy.test.notes:GET,POST,PUT")
    rev = made(readers, "w3", n=1)["rev"]
    assert readers.api("PUT", f"{T}/w3", {"_id": "w3", "_rev": rev, "_deleted": True}).status == 403


@pytest.mark.parametrize("body", [{"_odd": 1}, {"_type": "x"}, {"_attachments": {"a.txt": "eA=="}}])
def test_special_members_are_refused(alice: Client, body: dict[str, Any]):
    name = next(iter(body))
    assert is_error(alice.api("POST", f"{T}/", body), 400, "doc_validation", f"Bad special document member: {name}")
    rows = alice.api("POST", f"{T}/_bulk_docs", {"docs": [{"_id": "special"} | body]}).json
    assert rows == [{"id": "special", "error": "doc_validation", "reason": f"Bad special document member: {name}"}]


@pytest.mark.parametrize(
    "id",
    [
        "a/b",
        "a+b",
        "a b",
        "é",
        "日本/語",
        "a%2Fb",
        "..",
        ".",
        "a?b",
        "a#b",
        "x" * 500,
        "a\nb",
        "\n",
        "/a",
        "a//b",
        "a/",
        "~'()*",
        "A",
        "a&b=c",
    ],
)
def test_odd_ids_are_one_document(alice: Client, id: str):
    for whole in (f"odd:{id}", f"{id}!"):
        address = f"{T}/{quote(whole, safe='')}"
        answer = alice.api("PUT", address, {"n": id})
        assert (answer.status, answer.json["id"]) == (200, whole)
        assert alice.api("GET", address).json["n"] == id
        rows = alice.api("POST", f"{T}/_all_docs?include_docs=true", {"keys": [whole]}).json["rows"]
        assert rows[0]["doc"]["n"] == id
        assert alice.api("DELETE", f"{address}?rev={answer.json['rev']}").status == 200


def test_a_plus_in_the_address_is_a_space(alice: Client):
    made(alice, "a plus", n="space")
    assert alice.api("GET", f"{T}/a+plus").json["n"] == "space"
    assert alice.api("GET", f"{T}/a%2Bplus").status == 404


@pytest.mark.parametrize("path", ["a/b", "slash/", "/slash", "_design/a/_view/b", "_all_docs/", "_local_docs/x"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_slash_that_is_not_encoded_belongs_to_no_id(alice: Client, method: str, path: str):
    """Attachments and views have such addresses: nothing may be written there by mistake."""
    answer = alice.api(method, f"{T}/{path}", {"n": 1} if method == "PUT" else None)
    assert is_framework(answer, 404, "Not Found")


@pytest.mark.parametrize("id", ["%zz", "%", "a%2", "%ff"])
def test_an_id_that_is_not_encoded_is_refused(alice: Client, id: str):
    for method in ("GET", "PUT", "DELETE"):
        assert alice.api(method, f"{T}/{id}", {} if method == "PUT" else None).status == 400


@pytest.mark.parametrize("id", ["_x", "_local_docs", "_security", "%5Fx"])
def test_ids_with_an_underscore_are_no_documents(alice: Client, id: str):
    shown = id.replace("%5F", "_")
    for method in ("GET", "DELETE"):
        assert is_error(alice.api(method, f"{T}/{id}"), 400, "bad_id", f"Unsuported couchdb operation {shown}")
    assert is_error(alice.api("PUT", f"{T}/{id}", {}), 400, "bad_id", f"Unsuported couchdb operation {shown}")


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "PROPFIND"])
def test_unknown_methods_are_not_found(alice: Client, method: str):
    answer = alice.api(method, f"{T}/x")
    assert answer.status == 404
    assert method == "HEAD" or answer.json == {"error": "code=404, message=Not Found"}


# -- what JSON may be ---------------------------------------------------------------------------------------------------

WHOLE = [
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    1.5,
    -0.0,
    1e-300,
    1.7976931348623157e308,
    "",
    "\x00",
    "\U0001f600",
    [],
    {},
    None,
]


def test_values_come_back_as_they_were(alice: Client):
    made(alice, "values", values=WHOLE)
    assert alice.api("GET", f"{T}/values").json["values"] == WHOLE
    assert repr(alice.api("GET", f"{T}/values").json["values"]) == repr(WHOLE)


@pytest.mark.parametrize(
    "text", ['{"n":1e400}', '{"n":-1e400}', '{"a":"\\ud800"}', '{"a":NaN}', '{"a":Infinity}', '{"a":1,}', "{'a':1}", "[]", "null", '"x"']
)
def test_what_is_no_object_of_json_is_refused(alice: Client, text: str):
    for method, path in (("POST", f"{T}/"), ("PUT", f"{T}/refused"), ("POST", f"{T}/_find"), ("POST", f"{T}/_bulk_docs")):
        assert alice.api(method, path, text.encode(), Content_Type="application/json").status == 400
    assert alice.api("GET", f"{T}/refused").status == 404


def test_of_members_with_one_name_the_last_counts(alice: Client):
    rev = alice.api("PUT", f"{T}/twice", b'{"a":1,"a":2}').json["rev"]
    assert alice.api("GET", f"{T}/twice").json["a"] == 2
    assert alice.api("PUT", f"{T}/twin", b'{"a":2}').json["rev"] == rev, "equal documents have equal revisions"


@pytest.mark.parametrize("levels", [10, 200, 250, 253, 254])
def test_deep_documents_are_shown_everywhere_or_refused(alice: Client, levels: int):
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    path = f"/data/io.cozy.test.deep/d{levels}"
    answer = alice.api("PUT", path, deep)
    assert answer.status == 200
    shown = [
        alice.api("GET", path),
        alice.api("GET", "/data/io.cozy.test.deep/_all_docs?include_docs=true"),
        alice.api("GET", "/data/io.cozy.test.deep/_all_docs?Fields=a"),
        alice.api("POST", "/data/io.cozy.test.deep/_bulk_get?revs=true", {"docs": [{"id": f"d{levels}"}]}),
        alice.api("GET", f"{path}?revs=true&open_revs=all"),
        alice.api("GET", f"{path}?revs=true"),
        alice.api("GET", "/data/io.cozy.test.deep/_changes?include_docs=true"),
        alice.api("GET", "/data/io.cozy.test.deep/_normal_docs"),
        alice.api("POST", "/data/io.cozy.test.deep/_find", {"selector": {"a": {"$exists": True}, "_id": {"$gt": ""}}}),
    ]
    assert {one.status for one in shown[:-1]} == {200}
    assert all(deep[5:-1] in one.body for one in shown[:-1])
    assert shown[-1].json["error"] == "no_index"
    rev = answer.json["rev"]
    assert alice.api("PUT", path, b'{"_id":"d%d","_rev":"%s",' % (levels, rev.encode()) + deep[1:]).status == 200


@pytest.mark.parametrize("levels", [255, 1000, 1024, 5000])
def test_documents_deeper_than_254_levels_are_refused(alice: Client, levels: int):
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    assert alice.api("PUT", "/data/io.cozy.test.deep/refused", deep).status == 400
    rows = alice.api(
        "POST", "/data/io.cozy.test.deep/_bulk_docs", b'{"docs":[{"_id":"fine"},' + deep + b"]}", Content_Type="application/json"
    )
    assert rows.status in (201, 400)
    assert alice.api("GET", "/data/io.cozy.test.deep/refused").status == 404


@pytest.mark.parametrize("levels", [150, 900])
def test_deep_selectors_are_refused(alice: Client, levels: int):
    for deep in (
        b'{"a":' * levels + b"1" + b"}" * levels,
        b'{"a":' + b"[" * levels + b"]" * levels + b"}",
        b'{"$not":' * levels + b"{}" + b"}" * levels,
    ):
        answer = alice.api("POST", f"{T}/_find", b'{"selector":' + deep + b"}")
        assert (answer.status, answer.json["error"]) == (400, "invalid_selector_json")
        answer = alice.api("POST", f"{T}/_changes?filter=_selector", b'{"selector":' + deep + b"}")
        assert answer.status == 400
        index = b'{"index":{"fields":["a"],"partial_filter_selector":' + deep + b"}}"
        assert alice.api("POST", f"{T}/_index", index).status == 400


def test_a_document_has_at_most_8_mb(alice: Client):
    text = "x" * 7_999_000
    rev = made(alice, "large", text=text)["rev"]
    assert alice.api("GET", f"{T}/large").json["text"] == text
    assert alice.api("DELETE", f"{T}/large?rev={rev}").status == 200
    larger = {"text": "x" * 8_000_000}
    began = time.monotonic()
    assert is_error(alice.api("PUT", f"{T}/larger", larger), 413, "document_too_large", "larger")
    assert alice.api("POST", f"{T}/", larger).status == 413
    rows = alice.api("POST", f"{T}/_bulk_docs", {"docs": [{"_id": "larger"} | larger, {"_id": "beside"}]}).json
    assert [row.get("error") for row in rows] == ["document_too_large", None]
    assert alice.api("PUT", f"{T}/larger", b"[" * 20_000_000).status == 413
    assert time.monotonic() - began < 5
    assert alice.api("GET", f"{T}/larger").status == 404


@pytest.mark.parametrize("levels", [1025, 100_000, 2_000_000])
@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_json_of_any_depth_is_answered_at_once(alice: Client, levels: int, opening: bytes):
    closing = b"}" if opening[:1] == b"{" else b"]"
    deep = opening * levels + b"1" + closing * levels
    began = time.monotonic()
    for method, path in (("PUT", f"{T}/deepest"), ("POST", f"{T}/_find"), ("POST", f"{T}/_bulk_docs"), ("POST", f"{T}/_index")):
        assert alice.api(method, path, deep, Content_Type="application/json").status in (400, 413)
    assert time.monotonic() - began < 5


# -- lists --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listed(alice: Client) -> str:
    path = "/data/io.cozy.test.lists"
    docs = [{"_id": f"d{number}", "n": number} for number in range(6)]
    assert len(alice.api("POST", f"{path}/_bulk_docs", {"docs": docs}).json) == 6
    assert alice.api("POST", f"{path}/_index", {"index": {"fields": ["n"]}, "ddoc": "by-n", "name": "by-n"}).json["result"] == "created"
    return path


ALL = ["_design/by-n", "d0", "d1", "d2", "d3", "d4", "d5"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ALL),
        ("descending=true", ALL[::-1]),
        ('startkey="d2"', ALL[3:]),
        ('startkey="d2"&endkey="d4"', ["d2", "d3", "d4"]),
        ('startkey="d2"&endkey="d4"&inclusive_end=false', ["d2", "d3"]),
        ('start_key="d2"&end_key="d3"', ["d2", "d3"]),
        ('startkey="d4"&endkey="d2"', []),
        ('startkey="d4"&endkey="d2"&descending=true', ["d4", "d3", "d2"]),
        ('startkey="d4"&endkey="d2"&descending=true&inclusive_end=false', ["d4", "d3"]),
        ("startkey_docid=d4", ["d4", "d5"]),
        ("limit=2", ALL[:2]),
        ("limit=0", []),
        ("limit=2&skip=3", ALL[3:5]),
        ("skip=100", []),
        ("limit=18446744073709551615&skip=0", ALL),
        ("skip=18446744073709551615", []),
        ('key="d3"', ["d3"]),
        ('key="none"', []),
        ('keys=["d3","d1"]', ["d3", "d1"]),
        ('keys=["d3","d1","d2"]&descending=true&limit=2', ["d2", "d1"]),
        ("keys=[]", []),
        ("startkey={}", ALL),
        ("endkey={}", []),
        ("startkey=5", ALL),
        ("_nonce=abc&stale=ok&unknown", ALL),
    ],
)  # fmt: skip
def test_documents_are_listed_between_ids(alice: Client, listed: str, query: str, ids: list[str]):
    answer = alice.api("GET", f"{listed}/_all_docs?{quote(query, safe='=&_')}")
    assert [row["id"] for row in answer.json["rows"]] == ids
    assert answer.json["total_rows"] == 7


def test_listed_rows_have_couchdb_s_shape(alice: Client, listed: str):
    answer = alice.api("POST", f"{listed}/_all_docs?include_docs=true", {"keys": ["d1", "none", 5]}).json
    assert answer["offset"] is None
    assert answer["rows"][0] | {"doc": 0, "value": 0} == {"id": "d1", "key": "d1", "value": 0, "doc": 0}
    assert answer["rows"][0]["doc"]["n"] == 1
    assert answer["rows"][1:] == [{"key": "none", "error": "not_found"}, {"key": 5, "error": "not_found"}]
    plain = alice.api("GET", f"{listed}/_all_docs?limit=1").json
    assert plain["offset"] == 0
    assert list(plain["rows"][0]) == ["id", "key", "value"]
    cut = alice.api("GET", f"{listed}/_all_docs?Fields=n,none.x&DesignDocs=false&limit=2").json
    assert (cut["total_rows"], cut["offset"], [row["doc"] for row in cut["rows"]]) == (1, 0, [{"n": 0}])
    full = alice.api("GET", f"{listed}/_all_docs?DesignDocs=false&include_docs=true").json
    assert [row["doc"]["n"] for row in full["rows"]] == list(range(6))


def test_documents_are_listed_with_their_conflicts(alice: Client):
    for letter in "ab":
        doc = {"_id": "branched", "_rev": f"1-{letter * 32}", "n": letter}
        assert alice.api("POST", f"{T}/_bulk_docs", {"docs": [doc], "new_edits": False}).json == []
    path = f"{T}/_all_docs?include_docs=true&conflicts=true&key=%22branched%22"
    assert alice.api("GET", path).json["rows"][0]["doc"]["_conflicts"] == ["1-" + "a" * 32]
    assert alice.api("POST", f"{T}/_index", {"index": {"fields": ["n"]}}).status == 200
    asked = {"selector": {"n": "b"}, "conflicts": True, "fields": ["_conflicts"]}
    assert alice.api("POST", f"{T}/_find", asked).json["docs"] == [{"_conflicts": ["1-" + "a" * 32]}]


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "skip=1.5", "startkey=d1", "keys=5", "keys={", "limit=true"])
def test_malformed_list_parameters_are_refused(alice: Client, listed: str, query: str):
    assert alice.api("GET", f"{listed}/_all_docs?{quote(query, safe='=')}").status == 400


def test_normal_docs_come_in_pages_without_design_documents(alice: Client, listed: str):
    seen, bookmark = [], ""
    for _ in range(4):
        page = alice.api("GET", f"{listed}/_normal_docs?limit=2&skip=0&bookmark={bookmark}").json
        assert page["total_rows"] == 6
        seen += [row["n"] for row in page["rows"]]
        bookmark = page["bookmark"]
    assert seen == list(range(6))
    assert "execution_stats" not in page
    assert alice.api("GET", f"{listed}/_normal_docs?execution_stats=true").json["execution_stats"]["results_returned"] == 6


def test_a_doctype_has_figures_and_can_be_dropped(alice: Client):
    path = "/data/io.cozy.test.never"
    assert is_error(alice.api("GET", f"{path}/x"), 404, "not_found", "wrong_doctype")
    assert is_error(alice.api("GET", f"{path}/_all_docs"), 404, "not_found", "Database does not exist.")
    assert alice.api("PUT", f"{path}/").status == 201
    assert alice.api("PUT", f"{path}/").status == 412
    rev = alice.api("PUT", f"{path}/x", {}).json["rev"]
    alice.api("PUT", f"{path}/y", {})
    alice.api("DELETE", f"{path}/x?rev={rev}")
    figures = alice.api("GET", f"{path}/").json
    assert (figures["doc_count"], figures["doc_del_count"]) == (1, 1)
    assert "io.cozy.test.never" in alice.api("GET", "/data/_all_doctypes").json
    assert alice.api("DELETE", f"{path}/").json == {"ok": True, "deleted": True}
    assert alice.api("GET", f"{path}/y").status == 404
    assert alice.api("DELETE", f"{path}/").status == 404
    assert "io.cozy.test.never" not in alice.api("GET", "/data/_all_doctypes").json


# -- queries ------------------------------------------------------------------------------------------------------------


def test_a_query_without_index_is_refused_and_served_after(alice: Client):
    path = "/data/io.cozy.test.notes"
    for selector in ({}, {"_id": "x"}, {"_id": {"$gt": None}}, {"size": 1}):
        answer = alice.api("POST", f"{path}/_find", {"selector": selector})
        assert is_error(answer, 400, "no_index", "no matching index found, create an index")
    assert alice.api("POST", f"{path}/_index", {"index": {"fields": ["size"]}}).json["result"] == "created"
    assert alice.api("POST", f"{path}/_index", {"index": {"fields": ["size"]}}).json["result"] == "exists"
    for number in range(150):
        made(alice, f"size{number}", size=number)
    page = alice.api("POST", f"{path}/_find", {"selector": {"size": {"$gte": 0}}, "fields": ["size", "_id"]}).json
    assert (len(page["docs"]), page["limit"], page["next"], page["docs"][3]) == (100, 100, True, {"size": 3, "_id": "size3"})
    rest = {"selector": {"size": {"$gte": 0}}, "bookmark": page["bookmark"], "execution_stats": True}
    page = alice.api("POST", f"{path}/_find", rest).json
    assert (len(page["docs"]), page["next"], page["execution_stats"]["results_returned"]) == (50, False, 50)
    for limit, wanted in ((7, 7), (1001, 100), (1000, 150), ("x", 100), (True, 100), (None, 100), (0, 0)):
        asked = {"selector": {"size": {"$gte": 0}}, "limit": limit}
        assert len(alice.api("POST", f"{path}/_find", asked).json["docs"]) == wanted


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, "missing_required_key"),
        ({"selector": 5}, "invalid_selector_json"),
        ({"selector": None}, "invalid_selector_json"),
        ({"selector": {"size": 1}, "limit": -1}, "invalid_non_neg_integer"),
        ({"selector": {"size": 1}, "limit": 1.5}, "invalid_non_neg_integer"),
        ({"selector": {"size": 1}, "nope": 1}, "invalid_key"),
        ({"selector": {"size": 1}, "conflicts": 1}, "invalid_boolean"),
        ({"selector": {"size": 1}, "sort": [{"size": "up"}]}, "invalid_sort_field"),
        ({"selector": {"size": 1}, "sort": ["size", {"n": "desc"}]}, "unsupported_mixed_sort"),
        ({"selector": {"size": 1}, "sort": ["_id"]}, "no_usable_index"),
        ({"selector": {"size": 1}, "fields": [5]}, "invalid_field"),
        ({"selector": {"size": 1}, "fields": ["a."]}, "invalid_field_name"),
        ({"selector": {"size": 1}, "allow_fallback": False}, "invalid_index"),
        ({"selector": {"size": 1}, "allow_fallback": False, "use_index": "none"}, "invalid_index"),
        ({"selector": {"size": {"$nope": 1}}}, "invalid_operator"),
        ({"selector": {"size": {"$in": 5}}}, "bad_arg"),
        ({"selector": {"size": {"$regex": "("}}}, "bad_arg"),
        ({"selector": {"size": 1}, "sort": ["zip"]}, "no_usable_index"),
        ({"selector": {"size": 1}, "sort": 5}, "invalid_sort_json"),
        ({"selector": {"size": 1}, "bookmark": "nonsense"}, "invalid_bookmark"),
        ({"selector": {"size": 1}, "bookmark": 5}, "invalid_bookmark"),
        ({"selector": {"size": 1}, "skip": -1}, "invalid_non_neg_integer"),
        ({"selector": {"size": 1}, "fields": "size"}, "invalid_fields"),
        ({"selector": {"size": 1}, "use_index": 5}, "invalid_index_name"),
    ],
)
def test_malformed_queries_say_what_is_wrong(alice: Client, asked: dict[str, Any], error: str):
    alice.api("POST", f"{T}/_index", {"index": {"fields": ["size"]}})
    answer = alice.api("POST", f"{T}/_find", asked)
    assert (answer.status, answer.json["error"], answer.json["status"]) == (400, error, "400")


@pytest.mark.parametrize("index", [None, {}, {"fields": "a"}, {"fields": [{"a": "up"}]}, {"fields": [{"a": "asc"}, {"b": "desc"}]}])
def test_malformed_indexes_are_refused(alice: Client, index: Any):
    assert alice.api("POST", f"{T}/_index", {"index": index}).status == 400


def test_design_documents_are_read_copied_and_deleted(alice: Client, listed: str):
    design = alice.api("GET", f"{listed}/_design/by-n").json
    assert design["language"] == "query"
    found = alice.api("GET", f"{listed}/_design_docs?descending=true").json
    assert ([row["id"] for row in found["rows"]], found["total_rows"]) == (["_design/by-n"], 1)
    for query, count in (
        ('startkey="_design/c"', 0),
        ('endkey="_design/c"', 1),
        ('key="_design/by-n"', 1),
        ('keys=["d0"]', 0),
        ("skip=1", 0),
    ):
        assert len(alice.api("GET", f"{listed}/_design_docs?{quote(query, safe='=')}").json["rows"]) == count
    copied = alice.api("POST", f"{listed}/_design/by-n/copy", Destination="_design/other")
    assert (copied.status, copied.json["id"]) == (201, "_design/other")
    assert alice.api("POST", f"{listed}/_design/by-n/copy").status == 400
    assert alice.api("DELETE", f"{listed}/_design/other").json == {"error": "Bad Request(400): You must pass a rev param"}
    assert alice.api("DELETE", f"{listed}/_design/other?rev={copied.json['rev']}").json["ok"] is True
    assert alice.api("GET", f"{listed}/_design/other").status == 404


def test_design_documents_the_server_needs_stay(alice: Client):
    path = "/data/io.cozy.contacts"
    design = alice.api("GET", f"{path}/_design/by-me").json
    answer = alice.api("DELETE", f"{path}/_design/by-me?rev={design['_rev']}")
    assert is_framework(answer, 403, "This design doc cannot be deleted")
    assert alice.api("POST", f"{path}/_index", {"index": {"fields": ["x"]}, "ddoc": "by-me", "name": "by-me"}).status == 403
    assert alice.api("POST", f"{path}/_index", {"index": {"fields": ["me"]}, "ddoc": "by-me", "name": "by-me"}).json["result"] == "exists"
    rows = alice.api("POST", f"{path}/_bulk_docs", {"docs": [design | {"_deleted": True}]}).json
    assert rows[0]["error"] == "forbidden"
    path_to = {"start": 2, "ids": ["a" * 32, design["_rev"][2:]]}
    grafted = design | {"_rev": "2-" + "a" * 32, "_revisions": path_to, "_deleted": True}
    rows = alice.api("POST", f"{path}/_bulk_docs", {"docs": [design, grafted], "new_edits": False}).json
    assert [row["error"] for row in rows] == ["forbidden"], "what is known is no change"
    assert alice.api("GET", f"{path}/_design/by-me").json == design


def test_a_design_document_that_cannot_be_read_harms_nobody(alice: Client):
    for filter in ({"$nope": 1}, [1], "x", {"a": {"$regex": "("}}):
        views = {"v": {"map": {"fields": {"n": "asc"}, "partial_filter_selector": filter}}}
        alice.api("POST", f"{T}/_bulk_docs", {"docs": [{"_id": "_design/broken", "language": "query", "views": views}]})
        assert alice.api("POST", f"{T}/", {"n": 1}).status == 201
        design = alice.api("GET", f"{T}/_design/broken").json
        assert alice.api("DELETE", f"{T}/_design/broken?rev={design['_rev']}").status == 200


def test_of_writers_of_one_revision_one_wins(alice: Client):
    rev = made(alice, "race", n=0)["rev"]
    statuses: list[int] = []

    def write(number: int) -> None:
        statuses.append(alice.api("PUT", f"{T}/race", {"_id": "race", "_rev": rev, "n": number}).status)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200] + [409] * 7
    assert "_conflicts" not in json.loads(alice.api("GET", f"{T}/race?revs=true&conflicts=true").body)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_doctype_s_address_ends_in_a_slash(alice: Client, method: str):
    answer = alice.api(method, "/data/io.cozy.test.notes", None if method in ("GET", "DELETE") else {})
    assert is_framework(answer, 404, "Not Found")


def test_events_tell_each_write_once(alice: Client):
    """What a socket hears of the writes of `/data`: verb and public fields, without `_type`."""
    with alice.watch("io.cozy.test.notes") as watch:
        made = alice.api("POST", f"{T}/", {"n": 1}).json
        rows = [{"_id": made["id"], "_rev": made["rev"], "n": 2}, {"_id": "told", "n": 3}, {"_id": "told", "n": 4}]
        first = alice.api("POST", f"{T}/_bulk_docs", {"docs": rows}).json[1]["rev"]
        history = {"start": 2, "ids": ["a" * 32, first[2:]]}
        grafted = {"_id": "told", "_rev": "2-" + "a" * 32, "_revisions": history, "_deleted": True}
        alice.api("POST", f"{T}/_bulk_docs", {"docs": [grafted, grafted], "new_edits": False})
        alice.api("PUT", f"{T}/_local/told", {"n": 5})
        told = [watch.next() for _ in range(4)]
        assert watch.quiet()
    assert [event["event"] for event in told] == ["CREATED", "UPDATED", "CREATED", "DELETED"]
    assert told[0]["payload"] == {"type": "io.cozy.test.notes", "id": made["id"], "doc": {"_id": made["id"], "_rev": made["rev"], "n": 1}}
