"""How `/files` answers beside its data: packed, refused by an antivirus' verdict, ranges and parameters that are none."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cozyd.documents.store import Ref, Write
from cozyd.permissions import FILES, ROOT_DIR
from tests.support.inprocess import Place, Tenant

ALBUMS = "io.cozy.photos.albums"
ANTIVIRUS = {
    "enabled": True,
    "actions": {"infected": ["delete"], "pending": ["Download", "preview", "delete"], "clean": ["download", "share", "preview", "delete"]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    contexts = {"guarded": {"antivirus": ANTIVIRUS}, "unguarded": {"antivirus": ANTIVIRUS | {"enabled": False}}}
    place = Place(tmp_path_factory.mktemp("answers") / "data", contexts=contexts)
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    return place.tenant()


def ask(alice: Tenant, method: str, path: str, body: Any = None, *, scope: str = FILES, **headers: str) -> TestResponse:
    return alice.cli(method, f"/files{path}", body, scope=scope, **headers)


def uploaded(alice: Tenant, name: str = "a.txt", content: bytes = b"hello", **headers: str) -> str:
    answer = ask(alice, "POST", f"/{ROOT_DIR}?Type=file&Name={name}", content, **headers)
    assert answer.status_code == 201, answer.data
    id: str = answer.get_json(force=True)["data"]["id"]
    return id


def error_of(answer: TestResponse) -> Any:
    return json.loads(answer.data)["errors"][0]


# -- packed -------------------------------------------------------------------------------------------------------------


def test_long_answers_are_packed_for_who_takes_it(alice: Tenant):
    for number in range(10):
        uploaded(alice, f"{number}.txt")
    packed = ask(alice, "GET", f"/{ROOT_DIR}", Accept_Encoding="gzip, br")
    plain = ask(alice, "GET", f"/{ROOT_DIR}")
    assert (packed.headers["Content-Encoding"], packed.headers["Vary"], plain.headers["Vary"]) == (
        "gzip",
        "Accept-Encoding",
        "Accept-Encoding",
    )
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) * 3 < len(plain.data)
    assert packed.headers["Content-Length"] == str(len(packed.data))


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br", ""])
def test_who_does_not_take_it_gets_it_plain(alice: Tenant, accepted: str):
    answer = ask(alice, "GET", f"/{ROOT_DIR}", Accept_Encoding=accepted)
    assert "Content-Encoding" not in answer.headers
    assert json.loads(answer.data)["data"]["id"] == ROOT_DIR


def test_contents_are_never_packed(alice: Tenant):
    id = uploaded(alice, content=b"x" * 10_000)
    answer = ask(alice, "GET", f"/download/{id}", Accept_Encoding="gzip")
    assert ("Content-Encoding" in answer.headers, answer.data) == (False, b"x" * 10_000)


# -- what an antivirus said ---------------------------------------------------------------------------------------------


def scanned(alice: Tenant, status: str, name: str = "a.txt", **more: str) -> str:
    id = uploaded(alice, name)
    docs = alice.instance.docs
    rev = docs.get(Ref(FILES, id)).rev
    docs.commit([Write(Ref(FILES, id), patch={"antivirus_scan": {"status": status, **more}}, rev=rev)])
    return id


def statuses(alice: Tenant, id: str) -> dict[str, int]:
    """What may be done with a file; at last it is deleted."""
    steps = {
        "download": ("GET", f"/download/{id}", None),
        "path": ("GET", "/download?Path=/a.txt", None),
        "share": ("POST", f"/downloads?Id={id}", None),
        "archive": ("POST", "/archive", {"data": {"attributes": {"ids": [id]}}}),
        "delete": ("DELETE", f"/{id}", None),
        "destroy": ("DELETE", f"/trash/{id}", None),
    }
    return {name: ask(alice, *step).status_code for name, step in steps.items()}


DONE = {"download": 200, "path": 200, "share": 200, "archive": 200, "delete": 200, "destroy": 204}


def test_a_verdict_allows_what_the_context_says(place: Place):
    alice = place.tenant(context="guarded")
    assert statuses(alice, scanned(alice, "infected")) == DONE | {"download": 451, "path": 451, "share": 451, "archive": 451}
    assert statuses(alice, scanned(alice, "pending")) == DONE | {"share": 451}
    assert statuses(alice, scanned(alice, "clean")) == DONE
    assert statuses(alice, scanned(alice, "unheard-of")) == DONE
    assert statuses(alice, uploaded(alice)) == DONE


def test_without_an_antivirus_verdicts_say_nothing(place: Place, alice: Tenant):
    assert statuses(alice, scanned(alice, "infected")) == DONE
    bob = place.tenant(context="unguarded")
    assert statuses(bob, scanned(bob, "infected")) == DONE


def test_who_is_refused_is_told_why(place: Place):
    alice = place.tenant(context="guarded")
    id = scanned(alice, "infected", virus_name="Eicar-Signature")
    answer = ask(alice, "GET", f"/download/{id}")
    assert error_of(answer) == {
        "status": "451",
        "title": "Unavailable For Legal Reasons",
        "code": "antivirus_blocked",
        "detail": "Action 'download' is blocked for files with antivirus status 'infected' (detected: Eicar-Signature)",
        "source": {},
    }
    assert ask(alice, "GET", f"/{id}").get_json(force=True)["data"]["attributes"]["antivirus_scan"]["status"] == "infected"


def test_a_secret_link_ends_with_a_verdict(place: Place):
    alice = place.tenant(context="guarded")
    id = uploaded(alice)
    link = ask(alice, "POST", f"/downloads?Id={id}").get_json(force=True)["links"]["related"]
    assert alice.ask("GET", link).status_code == 200
    rev = alice.instance.docs.get(Ref(FILES, id)).rev
    alice.instance.docs.commit([Write(Ref(FILES, id), patch={"antivirus_scan": {"status": "infected"}}, rev=rev)])
    assert alice.ask("GET", link).status_code == 451


# -- parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("range", ["bytes=x", "bytes=5-2", "bytes=9-", "bytes=", "bytes=--1", "nonsense"])
def test_a_range_that_is_none_is_refused(alice: Tenant, range: str):
    answer = ask(alice, "GET", f"/download/{uploaded(alice)}", Range=range)
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */5")


@pytest.mark.parametrize("range", ["items=0-1", "bytes=0-1,3-4"])
def test_other_ranges_give_all(alice: Tenant, range: str):
    assert ask(alice, "GET", f"/download/{uploaded(alice)}", Range=range).data == b"hello"


@pytest.mark.parametrize("range", ["bytes=0-", "bytes=0-4", "bytes=0-99", "bytes=-99"])
def test_a_range_of_all_bytes_is_a_range(alice: Tenant, range: str):
    """Players ask for `bytes=0-` and take 206 for the sign that they may jump."""
    answer = ask(alice, "GET", f"/download/{uploaded(alice)}", Range=range)
    assert (answer.status_code, answer.data, answer.headers["Content-Range"]) == (206, b"hello", "bytes 0-4/5")


def test_nothing_has_no_ranges(alice: Tenant):
    answer = ask(alice, "GET", f"/download/{uploaded(alice, content=b'')}", Range="bytes=0-")
    assert (answer.status_code, answer.data, "Content-Range" in answer.headers) == (200, b"", False)


def test_conditions_that_do_not_hold_are_refused(alice: Tenant):
    path = f"/download/{uploaded(alice)}"
    found = ask(alice, "GET", path)
    etag, changed = found.headers["ETag"], found.headers["Last-Modified"]
    for status, headers in (
        (412, {"If_Match": '"another"'}),
        (412, {"If_Match": '"another"', "If_None_Match": etag}),
        (412, {"If_Unmodified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"}),
        (200, {"If_Match": f'"another", {etag}'}),
        (200, {"If_Match": "*"}),
        (200, {"If_Match": etag, "If_Unmodified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"}),
        (200, {"If_Unmodified_Since": changed}),
        (304, {"If_Match": etag, "If_None_Match": etag}),
    ):
        for method in ("GET", "HEAD"):
            assert ask(alice, method, path, **headers).status_code == status, headers


def test_a_folder_has_no_versions(alice: Tenant):
    made = ask(alice, "POST", "/?Type=directory&Name=plain").get_json(force=True)["data"]["id"]
    for method, body in (("PATCH", {"data": {"attributes": {"tags": []}}}), ("DELETE", None)):
        assert ask(alice, method, f"/{made}/1", body).status_code == 409


@pytest.mark.parametrize("query", ["page[limit]=99999999999999999999", "page[skip]=99999999999999999999", "page[limit]=-1"])
def test_numbers_that_no_store_takes_are_refused(alice: Tenant, query: str):
    assert ask(alice, "GET", f"/{ROOT_DIR}?{query}").status_code == 400
    path = "/data/io.cozy.photos.albums/x/relationships/references"
    assert alice.cli("GET", f"{path}?{query}", scope=FILES).status_code == 400


def test_a_size_says_nothing_beside_a_length(alice: Tenant):
    answer = ask(alice, "POST", f"/{ROOT_DIR}?Type=file&Name=sized&Size=99", b"hello")
    assert (answer.status_code, answer.get_json(force=True)["data"]["attributes"]["size"]) == (201, "5")


def test_a_time_that_cannot_be_names_its_parameter(alice: Tenant):
    id = uploaded(alice)
    answer = ask(alice, "PATCH", f"/{id}", {"data": {"attributes": {"updated_at": "1990-01-01T00:00:00Z"}}})
    assert (answer.status_code, error_of(answer)["source"]) == (422, {"parameter": "UpdatedAt"})


@pytest.mark.parametrize("item", [{"id": "x"}, {"id": "x", "attributes": None}, {"attributes": {}}, 1])
def test_a_batch_with_an_item_that_is_none_does_nothing(alice: Tenant, item: Any):
    id = uploaded(alice)
    answer = ask(alice, "PATCH", "/", {"data": [{"id": id, "attributes": {"name": "renamed"}}, item]})
    assert answer.status_code == 400
    assert ask(alice, "GET", f"/{id}").get_json(force=True)["data"]["attributes"]["name"] == "a.txt"


def test_a_rule_lets_a_file_out_by_path_as_by_id(alice: Tenant):
    made = ask(alice, "POST", "/?Type=directory&Path=/shared").get_json(force=True)["data"]["id"]
    id = ask(alice, "POST", f"/{made}?Type=file&Name=a.txt", b"hello").get_json(force=True)["data"]["id"]
    path = "/download?Path=/shared/a.txt"
    assert ask(alice, "GET", path, scope=f"{FILES}:GET:{made}").data == b"hello"
    assert ask(alice, "GET", f"/download/{id}", scope=f"{FILES}:GET:{made}").status_code == 200
    assert ask(alice, "GET", path, scope=f"{FILES}:GET:{id}").data == b"hello"
    assert ask(alice, "GET", path, scope=f"{FILES}:GET").data == b"hello"
    assert ask(alice, "POST", "/downloads?Path=/shared/a.txt", scope=f"{FILES}:GET:{made}").status_code == 200


# -- who did it ---------------------------------------------------------------------------------------------------------


def code_of(alice: Tenant, rules: Any) -> str:
    """The code of a link with these rules."""
    link = alice.app("POST", "/permissions", {"data": {"attributes": {"permissions": rules}}}, slug="drive", scope=f"{FILES} {ALBUMS}")
    code: str = json.loads(link.data)["data"]["attributes"]["shortcodes"][""]
    return code


def test_what_a_guest_may_change_stays_in_what_is_shared(alice: Tenant):
    """A rule on a thing itself, or by what refers to it, is none on the place it is moved to."""
    made = ask(alice, "POST", "/?Type=directory&Path=/shared").get_json(force=True)["data"]["id"]
    inner = ask(alice, "POST", f"/{made}?Type=directory&Name=inner").get_json(force=True)["data"]["id"]
    id = ask(alice, "POST", f"/{made}?Type=file&Name=a.txt", b"x").get_json(force=True)["data"]["id"]
    ask(alice, "POST", f"/{id}/relationships/referenced_by", {"data": {"type": ALBUMS, "id": "mine"}})
    for_file = {"files": {"type": FILES, "verbs": ["ALL"], "values": [id]}}
    for_album = {"files": {"type": FILES, "verbs": ["ALL"], "values": [f"{ALBUMS}/mine"], "selector": "referenced_by"}}
    for_folder = {"files": {"type": FILES, "verbs": ["ALL"], "values": [made]}}

    def moved(code: str, what: str, to: str) -> int:
        return alice.ask("PATCH", f"/files/{what}", {"data": {"attributes": {"dir_id": to}}}, token=code).status_code

    for rules in (for_file, for_album):
        code = code_of(alice, rules)
        assert [moved(code, id, to) for to in (ROOT_DIR, inner, "", made)] == [403, 403, 403, 200]
    code = code_of(alice, for_folder)
    assert [moved(code, id, to) for to in (ROOT_DIR, inner, made)] == [403, 200, 200]
    assert (moved(code, made, ROOT_DIR), moved(code, inner, ROOT_DIR)) == (200, 403)
    elsewhere = ask(alice, "POST", "/?Type=directory&Path=/elsewhere").get_json(force=True)["data"]["id"]
    assert moved(code, made, elsewhere) == 403


def test_what_a_guest_with_a_link_throws_away_names_nobody(alice: Tenant):
    made = ask(alice, "POST", "/?Type=directory&Name=open").get_json(force=True)["data"]["id"]
    ids = [ask(alice, "POST", f"/{made}?Type=file&Name={n}", b"x").get_json(force=True)["data"]["id"] for n in range(3)]
    code = code_of(alice, {"files": {"type": FILES, "verbs": ["ALL"], "values": [made]}})
    thrown = {"data": {"attributes": {"move_to_trash": True}}}
    assert alice.ask("DELETE", f"/files/{ids[0]}", token=code).status_code == 200
    assert alice.ask("PATCH", f"/files/{ids[1]}", thrown, token=code).status_code == 200
    ask(alice, "DELETE", f"/{ids[2]}")
    known = [ask(alice, "GET", f"/{id}").get_json(force=True)["data"]["attributes"]["cozyMetadata"]["trashedBy"] for id in ids]
    assert known[:2] == [{"kind": "anonymous-share"}] * 2
    assert (known[2]["kind"], known[2]["domain"]) == ("member", alice.instance.domain)


# -- notes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"# Title\n\nSome *text*.\n", b""])
def test_a_note_is_known_by_its_name_and_kept_as_it_came(alice: Tenant, content: bytes):
    id = uploaded(alice, "Shopping%20list.cozy-note", content, Content_Type="text/plain")
    for _ in range(2):
        attributes = ask(alice, "GET", f"/{id}").get_json(force=True)["data"]["attributes"]
        assert (attributes["mime"], attributes["class"]) == ("text/vnd.cozy.note+markdown", "text")
        assert attributes["metadata"]["title"] == "Shopping list"
        assert ask(alice, "GET", f"/download/{id}").data == content
        assert ask(alice, "PUT", f"/{id}", content, Content_Type="application/octet-stream").status_code == 200


def test_a_note_stays_a_note_in_copies_and_under_other_metadata(alice: Tenant):
    id = uploaded(alice, "Plan.cozy-note", b"# Plan")
    editors = {"title": "Plan", "content": {"type": "doc"}, "schema": {"version": 4}, "version": 7}
    ask(alice, "PATCH", f"/{id}", {"data": {"attributes": {"metadata": editors}}})
    labelled = ask(alice, "POST", f"/{id}/versions", {"data": {"attributes": {"qualification": {"label": "plan"}, "version": 8}}})
    known = {**editors, "version": 8, "qualification": {"label": "plan"}}
    assert labelled.get_json(force=True)["data"]["attributes"]["metadata"] == known
    copy = ask(alice, "POST", f"/{id}/copy").get_json(force=True)["data"]
    attributes = copy["attributes"]
    assert (attributes["name"], attributes["mime"], attributes["metadata"]) == (
        "Plan (copy).cozy-note",
        "text/vnd.cozy.note+markdown",
        known,
    )
    ask(alice, "PUT", f"/{id}", b"# Other")
    assert ask(alice, "GET", f"/{id}").get_json(force=True)["data"]["attributes"]["metadata"] == {"title": "Plan"}
