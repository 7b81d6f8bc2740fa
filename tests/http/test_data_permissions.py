"""`/data`: who may read and write what."""

from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.data import T, is_framework, made, with_rules
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=("io.cozy.test.notes", "io.cozy.settings", "io.cozy.files", "io.cozy.sessions"))


@pytest.fixture(autouse=True)
def _no_surprise(alice: Client):
    yield
    assert "Traceback" not in alice.served.log()


def test_nobody_reads_or_writes_without_a_token(alice: Client):
    made(alice, "mine", n=1)
    for method, path in (
        ("GET", f"{T}/mine"),
        ("GET", f"{T}/mine?revs=true"),
        ("GET", f"{T}/mine?open_revs=all&revs=true"),
        ("DELETE", f"{T}/never"),
        ("POST", f"{T}/_bulk_get?revs=true&latest=true"),
        ("GET", f"{T}/_local/x"),
        ("GET", f"{T}/_changes"),
        ("GET", "/data/_all_doctypes"),
    ):
        answer = alice.ask(method, path, b"{}" if method == "POST" else None, Content_Type="application/json")
        assert is_framework(answer, 401, "No token in request"), path
    bad = alice.ask("GET", f"{T}/mine", Authorization="Bearer nonsense")
    assert is_framework(bad, 400, "Invalid JWT token")
    assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]
    assert alice.ask("GET", "/data/").json == {"message": "welcome to a cozy API"}
    assert alice.ask("GET", f"{T}/mine?bearer_token={alice.token}").json["n"] == 1


WHOLE_ROUTES = [
    ("GET", "/_all_docs"),
    ("GET", "/_normal_docs"),
    ("POST", "/_find"),
    ("POST", "/_index"),
    ("GET", "/_changes"),
    ("GET", "/_design_docs"),
    ("POST", "/_bulk_get"),
    ("POST", "/_revs_diff"),
    ("GET", "/_local/x"),
    ("PUT", "/_local/x"),
    ("GET", "/"),
    ("POST", "/_ensure_full_commit"),
]


@pytest.mark.parametrize(("method", "path"), WHOLE_ROUTES)
def test_lists_and_replication_need_the_whole_type(alice: Client, method: str, path: str):
    limited = with_rules(alice, "io.cozy.test.notes:GET:mine", "io.cozy.test.notes:POST,PUT,DELETE,PATCH")
    body = {"selector": {"a": 1}} if method != "GET" else None
    assert is_framework(limited.api(method, T + path, body), 403, "Forbidden")


def test_a_rule_on_an_id_reaches_that_document_only(alice: Client):
    made(alice, "rule-mine", n=1)
    made(alice, "rule-other", n=1)
    limited = with_rules(alice, "io.cozy.test.notes:GET:rule-mine,rule-none")
    assert limited.api("GET", f"{T}/rule-mine").json["n"] == 1
    for path in ("rule-other", "rule-other?revs=true", "rule-other?revs=true&open_revs=all", "rule-none"):
        assert is_framework(limited.api("GET", f"{T}/{path}"), 403, "Forbidden")
    assert limited.api("PUT", f"{T}/rule-new", {}).status == 403
    assert limited.api("DELETE", f"{T}/rule-mine?rev=1-a").status == 403
    assert limited.api("POST", f"{T}/_bulk_docs", {"docs": []}).status == 403


def test_a_rule_with_a_selector_asks_old_and_new(alice: Client):
    limited = with_rules(alice, "io.cozy.test.notes:ALL:blue:colour")
    rev = limited.api("PUT", f"{T}/sky", {"colour": "blue"}).json["rev"]
    assert limited.api("PUT", f"{T}/sky", {"_id": "sky", "_rev": rev, "colour": "red"}).status == 403
    assert limited.api("PUT", f"{T}/rose", {"colour": "red"}).status == 403
    rose = made(alice, "rose", colour="red")["rev"]
    assert limited.api("PUT", f"{T}/rose", {"_id": "rose", "_rev": rose, "colour": "blue"}).status == 403
    assert limited.api("GET", f"{T}/rose").status == 403
    assert limited.api("DELETE", f"{T}/rose?rev={rose}").status == 403
    assert limited.api("DELETE", f"{T}/sky?rev={rev}").status == 200
    branch = {"_id": "sky2", "_rev": "1-a", "colour": "red"}, {"_id": "sky2", "_rev": "1-b", "colour": "blue"}
    alice.api("POST", f"{T}/_bulk_docs", {"new_edits": False, "docs": branch})
    assert limited.api("GET", f"{T}/sky2").json["colour"] == "blue"
    assert limited.api("GET", f"{T}/sky2?revs=true&rev=1-a").status == 403
    assert limited.api("GET", f"{T}/sky2?revs=true&open_revs=all").status == 403


@pytest.mark.parametrize(("verb", "allowed"), [("GET", "GET"), ("POST", "POST"), ("PUT", "PUT"), ("DELETE", "DELETE")])
def test_each_verb_opens_its_own_method(alice: Client, verb: str, allowed: str):
    rev = made(alice, f"verb-{verb}", n=1)["rev"]
    limited = with_rules(alice, f"io.cozy.test.notes:{verb}")
    answers = {
        "GET": limited.api("GET", f"{T}/verb-{verb}"),
        "POST": limited.api("POST", f"{T}/", {}),
        "PUT": limited.api("PUT", f"{T}/verb-{verb}", {"_id": f"verb-{verb}", "_rev": "9-a"}),
        "DELETE": limited.api("DELETE", f"{T}/verb-{verb}?rev=9-a"),
    }
    assert [name for name, answer in answers.items() if answer.status != 403] == [allowed]
    assert alice.api("GET", f"{T}/verb-{verb}").json["_rev"] == rev


def test_reserved_doctypes_stay_closed(alice: Client):
    for method, path in (("GET", "x"), ("GET", "_all_docs"), ("GET", "_changes"), ("POST", "_find")):
        answer = alice.api(method, f"/data/io.cozy.sessions/{path}", {"selector": {}} if method == "POST" else None)
        assert is_framework(answer, 403, "reserved doctype io.cozy.sessions unreadable")
    unwritable = "reserved doctype io.cozy.files unwritable"
    assert is_framework(alice.api("POST", "/data/io.cozy.files/", {}), 403, unwritable)
    assert is_framework(alice.api("PUT", "/data/io.cozy.files/x", {}), 403, unwritable)
    assert is_framework(alice.api("DELETE", "/data/io.cozy.files/x?rev=1-a"), 403, unwritable)
    assert is_framework(alice.api("DELETE", "/data/io.cozy.files/"), 403, unwritable)
    assert is_framework(alice.api("POST", "/data/io.cozy.files/_bulk_docs", {"docs": []}), 403, unwritable)
    assert alice.api("GET", "/data/io.cozy.files/_all_docs?limit=1").status == 200
    assert alice.api("PUT", "/data/io.cozy.files/_local/mine", {"seq": 1}).status == 201
    for name in ("Bad", ".x", "x.", "a..b", "a-b", "é"):
        answer = alice.api("GET", f"/data/{quote(name)}/x")
        assert is_framework(answer, 403, f"{name} is not a valid doctype name")


def test_the_owner_s_address_is_changed_by_no_document(alice: Client):
    path = "/data/io.cozy.settings/io.cozy.settings.instance"
    doc = {key: value for key, value in alice.api("GET", path).json.items() if key != "_type"}
    assert doc["email"] == "wire@example.org"
    evil = doc | {"email": "evil@example.org"}
    assert alice.api("PUT", path, evil).status == 403
    assert alice.api("DELETE", f"{path}?rev={doc['_rev']}").status == 403
    assert alice.api("DELETE", "/data/io.cozy.settings/").status == 403
    for body in ({"docs": [evil]}, {"docs": [evil | {"_rev": "9-a"}], "new_edits": False}, {"docs": [doc | {"_deleted": True}]}):
        rows = alice.api("POST", "/data/io.cozy.settings/_bulk_docs", body).json
        assert [row["error"] for row in rows] == ["forbidden"]
    assert alice.api("GET", path).json["email"] == "wire@example.org"
    assert alice.api("PUT", path, doc | {"tz": "Europe/Paris"}).json["data"]["tz"] == "Europe/Paris"
