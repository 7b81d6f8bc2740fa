"""Permission documents and share links, as apps and guests use them."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.client import Answer, Client, Watch
from tests.support.oauth import Application, with_token
from tests.support.serving import Served
from tests.support.visitor import Visitor

ROOT = "io.cozy.files.root-dir"
THINGS = "io.cozy.test.shared"
ALL = f"io.cozy.files io.cozy.photos.albums {THINGS} io.cozy.contacts"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own: an instance takes fifty registrations an hour."""
    with Served(tmp_path_factory.mktemp("permissions") / "data").add_alice() as server:
        yield server


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served).log_in()


@pytest.fixture(scope="module")
def app(owner: Visitor) -> Client:
    """A client that may do everything with these types."""
    return client(owner, ALL)


def client(owner: Visitor, scope: str) -> Client:
    return with_token(owner.served, Application(owner).tokens(scope)["access_token"])


def share(app: Client, rules: dict[str, Any], query: str = "?codes=code", **attributes: Any) -> Answer:
    body = {"data": {"type": "io.cozy.permissions", "attributes": {"permissions": rules} | attributes}}
    return app.api("POST", f"/permissions{query}", body, Accept="application/vnd.api+json")


def shared(app: Client, rules: dict[str, Any], query: str = "?codes=code", **attributes: Any) -> dict[str, Any]:
    answer = share(app, rules, query, **attributes)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json["data"]
    return found


def guest(app: Client, link: dict[str, Any], name: str = "code", kind: str = "codes") -> Client:
    return with_token(app.served, link["attributes"][kind][name])


def patched(app: Client, id: str, **attributes: Any) -> Answer:
    return app.api("PATCH", f"/permissions/{id}", {"data": {"type": "io.cozy.permissions", "id": id, "attributes": attributes}})


def thing(app: Client, **fields: Any) -> str:
    made = app.api("POST", f"/data/{THINGS}/", fields)
    assert made.status == 201, made.body
    return str(made.json["id"])


def folder(app: Client, name: str, inside: str = ROOT) -> str:
    made = app.api("POST", f"/files/{inside}?Type=directory&Name={name}")
    assert made.status == 201, made.body
    return str(made.json["data"]["id"])


def file(app: Client, name: str, inside: str = ROOT) -> str:
    made = app.api("POST", f"/files/{inside}?Type=file&Name={name}", b"text", Content_Type="text/plain")
    assert made.status == 201, made.body
    return str(made.json["data"]["id"])


def one(id: str, *verbs: str) -> dict[str, Any]:
    return {"things": {"type": THINGS, "values": [id]} | ({"verbs": list(verbs)} if verbs else {})}


# -- links ------------------------------------------------------------------------------------------------------------


def test_a_link_opens_one_document_and_nothing_else(app: Client):
    mine, other = thing(app, n=1), thing(app, n=2)
    visitor = guest(app, shared(app, one(mine, "GET")))
    assert visitor.api("GET", f"/data/{THINGS}/{mine}").json["n"] == 1
    assert visitor.api("GET", f"/data/{THINGS}/{other}").status == 403
    for method, path in (("POST", "_find"), ("GET", "_all_docs"), ("GET", "_changes"), ("GET", "_normal_docs"), ("GET", "")):
        assert visitor.api(method, f"/data/{THINGS}/{path}", {"selector": {}} if method == "POST" else None).status == 403
    assert visitor.api("DELETE", f"/data/{THINGS}/{mine}?rev=1-a").status == 403
    assert visitor.api("GET", "/data/io.cozy.contacts/x").status == 403


def test_a_short_code_stands_for_the_long_one_in_every_place(app: Client):
    mine = thing(app, n=1)
    short = shared(app, one(mine, "GET"))["attributes"]["shortcodes"]["code"]
    assert re.fullmatch("[A-Za-z0-9]{12}", short)
    path = f"/data/{THINGS}/{mine}"
    for code in (short, short + "."):
        assert with_token(app.served, code).api("GET", path).status == 200
        assert app.ask("GET", f"{path}?bearer_token={code}").status == 200
        assert app.ask("GET", f"{path}?sharecode={code}").status == 200
    assert with_token(app.served, "x" * 12).api("GET", path).json == {
        "error": f"code=403, message=no permission doc for shortcode {'x' * 12}"
    }


def test_a_link_to_a_folder_shows_what_is_below_and_nothing_beside(app: Client):
    top, beside = folder(app, "link-top"), folder(app, "link-beside")
    inner = folder(app, "inner", top)
    deep, other = file(app, "deep.txt", inner), file(app, "other.txt", beside)
    visitor = guest(app, shared(app, {"files": {"type": "io.cozy.files", "verbs": ["GET"], "values": [top]}}))
    for id in (top, inner, deep):
        assert visitor.api("GET", f"/files/{id}").status == 200
    assert visitor.api("GET", f"/files/download/{deep}").body == b"text"
    assert visitor.api("GET", "/files/download?Path=/link-top/inner/deep.txt").body == b"text"
    for id in (beside, other, ROOT):
        assert visitor.api("GET", f"/files/{id}").status == 403
    assert visitor.api("GET", "/files/download?Path=/link-beside/other.txt").status == 403
    assert visitor.api("POST", "/data/io.cozy.files/_find", {"selector": {}}).status == 403
    assert visitor.api("PATCH", f"/files/{deep}", {"data": {"attributes": {"name": "x"}}}).status == 403


def test_a_guest_hears_of_the_shared_document_and_of_no_other(app: Client):
    mine = thing(app, n=1)
    visitor = guest(app, shared(app, one(mine, "GET")))
    with Watch(visitor, ()) as socket:
        socket.send({"method": "SUBSCRIBE", "payload": {"type": THINGS}})
        assert socket.next()["payload"]["code"] == "forbidden"
        socket.send({"method": "SUBSCRIBE", "payload": {"type": THINGS, "id": mine}})
        assert socket.quiet()


def test_a_revoked_link_is_shut_at_once_and_its_sockets_with_it(app: Client):
    mine = thing(app, n=1)
    link = shared(app, one(mine, "GET"))
    visitor = guest(app, link)
    with Watch(visitor, ()) as socket:
        socket.send({"method": "SUBSCRIBE", "payload": {"type": THINGS, "id": mine}})
        assert socket.quiet()
        assert app.api("DELETE", f"/permissions/{link['id']}").status == 204
        refused = visitor.api("GET", f"/data/{THINGS}/{mine}")
        assert (refused.status, refused.json["error"]) == (403, "code=403, message=Forbidden")
        assert socket.next()["payload"]["code"] == "unauthorized"


def test_dropping_one_name_revokes_one_recipient(app: Client):
    mine = thing(app, n=1)
    link = shared(app, one(mine, "GET"), "?codes=bob,jane")
    bob, jane = guest(app, link, "bob"), guest(app, link, "jane")
    kept = patched(app, link["id"], codes={"jane": "anything"}).json["data"]["attributes"]
    assert (list(kept["codes"]), list(kept["shortcodes"])) == (["jane"], ["jane"])
    assert bob.api("GET", f"/data/{THINGS}/{mine}").status == 403
    assert jane.api("GET", f"/data/{THINGS}/{mine}").status == 200


def test_nobody_chooses_a_code_herself(app: Client):
    mine = thing(app, n=1)
    link = shared(app, one(mine, "GET"))
    codes = patched(app, link["id"], codes={"code": "easy", "new": "easy"}).json["data"]["attributes"]["codes"]
    assert codes["code"] == link["attributes"]["codes"]["code"]
    assert codes["new"].count(".") == 2


def test_the_documents_of_a_link_keep_titles_order_and_rules(app: Client):
    rules = {
        "zeta": {"type": "io.cozy.files", "verbs": ["GET"], "values": ["a"]},
        "alpha": {"type": THINGS, "description": "why", "verbs": ["ALL"]},
        "mid": {"type": "io.cozy.contacts", "verbs": ["GET", "PATCH"], "values": ["x"], "selector": "group"},
    }
    found = shared(app, rules)["attributes"]["permissions"]
    assert list(found) == ["zeta", "alpha", "mid"]
    assert found["alpha"] == {"type": THINGS, "description": "why"}
    assert found["mid"] == rules["mid"]


def test_verbs_that_were_named_one_by_one_are_shown_so_though_they_are_all(owner: Visitor, app: Client):
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    link = shared(app, {"named": {"type": THINGS, "verbs": every[::-1]}, "word": {"type": THINGS, "verbs": ["ALL"]}})
    assert link["attributes"]["permissions"] == {"named": {"type": THINGS, "verbs": every}, "word": {"type": THINGS}}
    assert app.api("GET", f"/permissions/{link['id']}").json["data"]["attributes"]["permissions"]["named"]["verbs"] == every
    scoped = client(owner, f"{THINGS}:ALL io.cozy.contacts").api("GET", "/permissions/self").json["data"]["attributes"]
    assert scoped["permissions"] == {"rule0": {"type": THINGS, "verbs": every}, "rule1": {"type": "io.cozy.contacts"}}


@pytest.mark.parametrize(
    "permissions", [[], "x", {"a": []}, {"a": {"type": THINGS, "verbs": "GET"}}, {"a": {"type": 7}}, {"a": {"type": THINGS, "values": [1]}}]
)
def test_rules_of_a_wrong_type_are_bad_requests(app: Client, permissions: Any):
    assert share(app, permissions).status == 400


@pytest.mark.parametrize(
    "rule",
    [
        {"type": THINGS, "verbs": ["FETCH"]},
        {"type": THINGS, "selector": "city"},
        {"type": THINGS, "values": [""]},
        {"verbs": ["GET"]},
    ],
)
def test_a_malformed_rule_opens_nothing(app: Client, rule: dict[str, Any]):
    assert share(app, {"a": rule}).status == 400


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":{}}', b'{"data":{"attributes":7}}', b"[" * 3000]
)
@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PATCH", "/missing"), ("POST", "/exists")])
def test_a_broken_body_is_a_bad_request(app: Client, method: str, path: str, body: bytes):
    if (path, body) == ("/exists", b'{"data":[]}'):
        return
    answer = app.api(method, f"/permissions{path}", body, Content_Type="application/vnd.api+json")
    assert answer.status in (400, 404)


def test_reserved_types_are_shared_by_nobody(served: Served, app: Client):
    operator = with_token(served, served.token("io.cozy.sessions", "io.cozy.permissions", "io.cozy.jobs"))
    for doctype in ("io.cozy.sessions", "io.cozy.permissions", "io.cozy.jobs"):
        answer = share(operator, {"a": {"type": doctype}})
        assert (answer.status, answer.body.decode()) == (403, f"reserved doctype {doctype} unwritable")
    assert share(app, {"a": {"type": "*"}}).status == 403


def test_a_guest_makes_no_links(app: Client):
    mine = thing(app, n=1)
    answer = share(guest(app, shared(app, one(mine))), one(mine))
    assert (answer.status, answer.body.decode()) == (403, "Only apps can create sharing permissions")


# -- passwords and time ------------------------------------------------------------------------------------------------


def unlock(visitor: Visitor, id: str, password: str) -> Answer:
    return visitor.post("/auth/share-by-link/password", {"perm_id": id, "password": password}, Origin="http://drive.alice.localhost")


def test_a_link_with_a_password_opens_with_its_cookie_only(app: Client):
    mine = thing(app, n=1)
    link = shared(app, one(mine, "GET"), password="open sesame")
    assert link["attributes"]["password"] is True
    code, browser = link["attributes"]["codes"]["code"], Visitor(app.served)
    path = f"/data/{THINGS}/{mine}"
    locked = browser.get(path, Authorization=f"Bearer {code}")
    assert (locked.status, locked.json) == (400, {"error": "code=400, message=Invalid JWT token"})
    assert unlock(browser, link["id"], "wrong").status == 403
    opened = unlock(browser, link["id"], "open sesame")
    assert (opened.status, opened.json, opened.headers["Access-Control-Allow-Origin"]) == (
        200,
        {"password": "ok"},
        "http://drive.alice.localhost",
    )
    cookie = opened.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert browser.get(path, Authorization=f"Bearer {code}").status == 200
    assert patched(app, link["id"], password="another").json["data"]["attributes"]["password"] is True
    assert browser.get(path, Authorization=f"Bearer {code}").status == 400
    assert "password" not in patched(app, link["id"], password="").json["data"]["attributes"]
    assert browser.get(path, Authorization=f"Bearer {code}").status == 200


def test_the_cookie_of_one_link_opens_no_other(app: Client):
    mine = thing(app, n=1)
    first, second = (shared(app, one(mine, "GET"), password="same") for _ in range(2))
    browser = Visitor(app.served)
    unlock(browser, first["id"], "same")
    browser.cookies[f"pass{second['id']}"] = browser.cookies.pop(f"pass{first['id']}")
    assert browser.get(f"/data/{THINGS}/{mine}", Authorization=f"Bearer {second['attributes']['codes']['code']}").status == 400


def test_a_link_without_a_password_says_so_and_an_unknown_one_is_missing(app: Client):
    browser = Visitor(app.served)
    assert unlock(browser, shared(app, one(thing(app)))["id"], "x").json == {"password": "none"}
    assert unlock(browser, "unknown", "x").status == 404


@pytest.mark.parametrize("given", [7, ["x"], {"a": 1}, True])
def test_a_password_is_a_text(app: Client, given: Any):
    assert share(app, one(thing(app)), password=given).status == 422


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("1D", 86400), ("2W", 1209600), ("1M", 2592000), ("1Y", 31536000), ("30m", 1800), ("1h30m", 5400), ("90s", 90)]
)
def test_a_span_of_time_ends_a_link(app: Client, ttl: str, seconds: int):
    until = datetime.fromisoformat(shared(app, one(thing(app), "GET"), f"?codes=code&ttl={ttl}")["attributes"]["expires_at"])
    assert abs((until - datetime.now(UTC)).total_seconds() - seconds) < 60


def test_tiny_codes_are_for_an_hour_at_most(app: Client):
    def short(query: str) -> str:
        found: str = shared(app, one(thing(app)), f"?codes=code&{query}")["attributes"]["shortcodes"]["code"]
        return found

    assert re.fullmatch("[0-9]{6}", short("ttl=1h&tiny=true"))
    assert len(short("ttl=2h&tiny=true")) == 12
    assert len(short("tiny=true")) == 12


def test_an_expired_link_is_used_by_nobody_and_can_be_given_more_time(app: Client):
    mine = thing(app, n=1)
    link = shared(app, one(mine, "GET"), expires_at="2020-01-01T00:00:00Z")
    visitor = guest(app, link)
    assert visitor.api("GET", f"/data/{THINGS}/{mine}").json == {"error": "code=400, message=Expired token"}
    assert app.api("GET", f"/permissions/{link['id']}").status == 400
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert patched(app, link["id"], expires_at=later).status == 200
    assert visitor.api("GET", f"/data/{THINGS}/{mine}").status == 200
    assert "expires_at" not in patched(app, link["id"], expires_at="").json["data"]["attributes"]
    assert app.api("DELETE", f"/permissions/{link['id']}").status == 204


@pytest.mark.parametrize("given", ["tomorrow", 7, "2026-13-01T00:00:00Z", "2030-01-01", "2030-01-01T00:00:00", ["2030-01-01T00:00:00Z"]])
def test_a_wrong_time_is_refused(app: Client, given: Any):
    answer = share(app, one(thing(app)), expires_at=given)
    assert (answer.status, answer.json["errors"][0]["source"]) == (422, {"pointer": "/data/attributes/expires_at"})


# -- documents --------------------------------------------------------------------------------------------------------


def test_self_shows_the_rules_in_force_and_no_codes(app: Client):
    own = app.api("GET", "/permissions/self").json["data"]
    assert (own["id"], own["attributes"]["type"], own["links"]) == ("", "oauth", {"self": "/permissions/"})
    assert list(own["attributes"]["permissions"]) == ["rule0", "rule1", "rule2", "rule3"]
    link = shared(app, one(thing(app), "GET"))
    seen = guest(app, link).api("GET", "/permissions/self").json["data"]
    assert (seen["id"], seen["attributes"]["type"]) == (link["id"], "share")
    assert not {"codes", "shortcodes"} & set(seen["attributes"])


def test_show_hides_codes_and_strangers_see_nothing(owner: Visitor, app: Client):
    link = shared(app, one(thing(app), "GET"))
    shown = app.api("GET", f"/permissions/{link['id']}").json["data"]["attributes"]
    assert not {"codes", "shortcodes"} & set(shown)
    assert guest(app, link).api("GET", f"/permissions/{link['id']}").status == 200
    assert client(owner, THINGS).api("GET", f"/permissions/{link['id']}").status == 403
    missing = app.api("GET", "/permissions/unknown", Accept="application/vnd.api+json")
    assert (missing.status, missing.json["errors"][0]["title"]) == (404, "not_found")


def test_the_list_comes_page_by_page(owner: Visitor, app: Client):
    doctype = "io.cozy.test.paged"
    maker = client(owner, doctype)
    made = [shared(maker, {"a": {"type": doctype, "values": [str(number)]}})["id"] for number in range(5)]
    path, found = f"/permissions/doctype/{doctype}/shared-by-link?page[limit]=2", []
    while path:
        page = maker.api("GET", path).json
        assert page["meta"]["count"] == len(page["data"]) <= 2
        found += [link["id"] for link in page["data"]]
        path = page["links"].get("next", "")
    assert found == sorted(made)
    assert [link["id"] for link in maker.api("GET", f"/permissions/doctype/{doctype}/sharedByLink").json["data"]] == sorted(made)
    path = f"/permissions/doctype/{doctype}/shared-by-link?page[limit]=2&page[skip]=1"
    assert [link["id"] for link in maker.api("GET", path).json["data"]] == sorted(made)[1:3]


@pytest.mark.parametrize("cursor", ["x", "[]", '["x"]', '[["io.cozy.other","share"],"x"]', '[["io.cozy.contacts","share"],7]'])
def test_a_cursor_that_is_none_is_refused(app: Client, cursor: str):
    query = urlencode({"page[cursor]": cursor})
    assert app.api("GET", f"/permissions/doctype/io.cozy.contacts/shared-by-link?{query}").status == 400


def test_the_list_needs_the_whole_type(owner: Visitor):
    answer = client(owner, f"{THINGS}:GET:some").api("GET", f"/permissions/doctype/{THINGS}/shared-by-link")
    assert (answer.status, answer.json["errors"][0]["status"]) == (403, "403")


def test_exists_merges_what_links_allow(app: Client):
    mine, other = thing(app), thing(app)
    shared(app, one(mine, "GET"))
    shared(app, one(mine, "GET", "PATCH"))
    shared(app, one(mine, "DELETE"), expires_at="2020-01-01T00:00:00Z")
    asked = {"data": [{"type": THINGS, "id": mine}, {"type": THINGS, "id": other}]}
    assert app.api("POST", "/permissions/exists", asked).json == {"data": [{"id": mine, "type": THINGS, "verbs": ["GET", "PATCH"]}]}
    assert app.api("POST", "/permissions/exists", {"data": [{"type": THINGS, "id": other}]}).json == {"data": None}
    alone = app.api("POST", "/permissions/exists", {"data": {"type": THINGS, "id": mine}}).json["data"]
    assert [one["id"] for one in alone] == [mine]


@pytest.mark.parametrize("home", ["apps", "konnectors"])
def test_who_is_not_installed_has_no_rules_to_change(app: Client, home: str):
    answer = app.api("PATCH", f"/permissions/{home}/unknown", {"data": {"attributes": {}}}, Accept="application/vnd.api+json")
    assert (answer.status, answer.json["errors"][0]["title"]) == (404, "not_found")


def test_rules_are_added_replaced_and_removed_by_title(app: Client):
    first, second = thing(app), thing(app)
    link = shared(app, one(first, "GET"))
    added = patched(app, link["id"], permissions={"more": {"type": THINGS, "verbs": ["GET"], "values": [second]}}).json["data"]
    assert list(added["attributes"]["permissions"]) == ["things", "more"]
    left = patched(app, link["id"], permissions={"things": {}}).json["data"]
    assert list(left["attributes"]["permissions"]) == ["more"]
    visitor = guest(app, link)
    assert [visitor.api("GET", f"/data/{THINGS}/{id}").status for id in (first, second)] == [403, 200]


@pytest.mark.parametrize("attributes", [{}, {"codes": {"a": "b"}, "permissions": {"x": {"type": THINGS}}}, {"cozyMetadata": {}}])
def test_a_patch_changes_codes_or_rules(app: Client, attributes: dict[str, Any]):
    answer = patched(app, shared(app, one(thing(app)))["id"], **attributes)
    assert (answer.status, answer.json["error"]) == (400, "The patch doc should have property 'codes' or 'permissions', not both")


def test_the_operator_makes_links_and_changes_none(served: Served, app: Client):
    operator = with_token(served, served.token(THINGS))
    link = shared(operator, one(thing(app)))
    assert link["attributes"]["source_id"] == ""
    for answer in (patched(operator, link["id"], codes={"a": ""}), operator.api("DELETE", f"/permissions/{link['id']}")):
        assert (answer.status, answer.json) == (403, {"error": "Permissions can be updated only by its parent"})


# -- what the reference gets wrong ----------------------------------------------------------------------------------------


def test_a_read_only_client_makes_no_writing_link(owner: Visitor):
    reader = client(owner, f"{THINGS}:GET")
    for rule in (
        {"type": THINGS},
        {"type": THINGS, "verbs": []},
        {"type": THINGS, "verbs": ["ALL"]},
        {"type": THINGS, "verbs": ["GET", "PUT"]},
    ):
        answer = share(reader, {"a": rule})
        assert (answer.status, answer.body.decode()) == (403, "Attempt to create a larger permission set")
    assert share(reader, {"a": {"type": THINGS, "verbs": ["GET"]}}).status == 200


def test_a_client_of_one_folder_shares_nothing_larger(owner: Visitor, app: Client):
    mine = folder(app, "only-this")
    limited = client(owner, f"io.cozy.files:ALL:{mine}")
    for rule in (
        {"type": "io.cozy.files"},
        {"type": "io.cozy.files", "values": []},
        {"type": "io.cozy.files", "values": [ROOT]},
        {"type": "io.cozy.files", "values": [mine, ROOT]},
        {"type": "io.cozy.files", "values": [mine], "selector": "name"},
        {"type": "io.cozy.files.*"},
    ):
        assert share(limited, {"a": rule}).status in (400, 403), rule
    assert share(limited, {"a": {"type": "io.cozy.files", "values": [mine]}}).status == 200


def test_a_clients_link_is_patched_read_and_revoked_by_nobody_else(owner: Visitor, app: Client):
    link = shared(app, one(thing(app), "GET"))
    stranger = client(owner, "io.cozy.events")
    attempts: list[dict[str, Any]] = [
        {"permissions": {"events": {"type": "io.cozy.events"}}},
        {"permissions": {"things": {}}},
        {"codes": {"code": ""}},
        {"password": "x"},
        {"expires_at": "2030-01-01T00:00:00Z"},
        {"permissions": {"things": {}}, "password": "x"},
    ]
    for attributes in attempts:
        answer = patched(stranger, link["id"], **attributes)
        assert answer.status == 403
        assert link["attributes"]["codes"]["code"] not in answer.body.decode()
    assert stranger.api("DELETE", f"/permissions/{link['id']}").status == 403
    assert guest(app, link).api("DELETE", f"/permissions/{link['id']}").status == 403
    assert list(app.api("GET", f"/permissions/{link['id']}").json["data"]["attributes"]["permissions"]) == ["things"]


def test_exists_is_for_who_may_read(owner: Visitor, app: Client):
    mine = thing(app)
    shared(app, one(mine, "GET"))
    asked = json.dumps({"data": [{"type": THINGS, "id": mine}]}).encode()
    assert app.ask("POST", "/permissions/exists", asked, Content_Type="application/json").status == 401
    stranger = client(owner, "io.cozy.events")
    assert stranger.api("POST", "/permissions/exists", asked).status == 403


def test_a_link_with_a_bad_ttl_is_refused_and_never_lasts_for_ever(app: Client):
    for ttl in ("soon", "1", "1x", "-1h", "1h-", "0x10h", "1e9Y", "99999999Y", "٣h", " 1h", "1h 2m"):
        answer = share(app, one(thing(app)), "?" + urlencode({"codes": "code", "ttl": ttl}))
        assert (answer.status, answer.json["errors"][0]["source"]) == (422, {"parameter": "ttl"}), ttl


def test_two_links_of_the_same_second_have_different_codes(app: Client):
    mine = thing(app, n=1)
    links = [shared(app, one(mine, "GET")) for _ in range(5)]
    assert len({link["attributes"]["codes"]["code"] for link in links}) == 5
    assert {guest(app, link).api("GET", f"/data/{THINGS}/{mine}").status for link in links} == {200}


def test_a_list_shows_no_code_that_opens_more_than_the_reader_may(owner: Visitor, app: Client):
    link = shared(app, one(thing(app), "GET", "PUT"))

    def codes(reader: Client) -> bool:
        page = reader.api("GET", f"/permissions/doctype/{THINGS}/shared-by-link?page[limit]=100").json["data"]
        (found,) = [seen["attributes"] for seen in page if seen["id"] == link["id"]]
        return "codes" in found

    assert codes(app)
    assert not codes(client(owner, f"{THINGS}:GET"))


def test_events_tell_no_secret_of_links_and_clients(owner: Visitor, app: Client):
    watcher = client(owner, "io.cozy.permissions io.cozy.oauth.clients io.cozy.oauth.access_codes")
    with Watch(watcher, ("io.cozy.permissions", "io.cozy.oauth.clients")) as socket:
        socket.send({"method": "SUBSCRIBE", "payload": {"type": "io.cozy.oauth.access_codes"}})
        assert socket.next()["payload"]["code"] == "forbidden"
        link = shared(app, one(thing(app)), password="hush")
        told = socket.next()["payload"]
        assert (told["type"], told["id"]) == ("io.cozy.permissions", link["id"])
        assert not {"codes", "shortcodes", "password"} & set(told["doc"])
        registered = Application(owner).id
        told = socket.next()["payload"]
        assert (told["type"], told["id"], "client_secret" in told["doc"]) == ("io.cozy.oauth.clients", registered, False)


def test_the_hash_of_a_password_never_leaves(app: Client):
    link = shared(app, one(thing(app)), password="secret words")
    for answer in (
        app.api("GET", f"/permissions/{link['id']}"),
        app.api("GET", f"/permissions/doctype/{THINGS}/shared-by-link"),
        patched(app, link["id"], codes={"code": ""}),
    ):
        assert b"argon2" not in answer.body


def test_guessing_a_links_password_is_slowed_down(fresh: Served):
    owner = Visitor(fresh).log_in()
    maker = client(owner, THINGS)
    link = shared(maker, one(thing(maker), "GET"), password="x")
    statuses = [unlock(Visitor(fresh), link["id"], f"guess {number}") for number in range(12)]
    assert [answer.status for answer in statuses] == [403] * 10 + [429] * 2
    assert int(statuses[-1].headers["Retry-After"]) > 0


def test_guessing_short_codes_is_slowed_down(fresh: Served):
    statuses = [with_token(fresh, f"{number:06}").api("GET", "/permissions/self").status for number in range(40)]
    assert statuses[:30] == [403] * 30
    assert set(statuses[31:]) == {429}
