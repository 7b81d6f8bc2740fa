"""Whoever has few rights gets no more of them by a detour: a job, a trigger, a reference, a registration, a path, a socket."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from cozyd.files import File
from cozyd.files.tree import Reference
from cozyd.permissions import FILES, ROOT_DIR, Principal
from cozyd.realtime.session import Session
from tests.support.inprocess import Place, Tenant

ALBUMS, CONTACTS, THINGS = "io.cozy.photos.albums", "io.cozy.contacts", "io.cozy.test.things"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("narrow") / "data")
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    return place.tenant()


def folder(alice: Tenant, name: str) -> str:
    files = alice.instance.files
    return files.mkdir(files.dir(ROOT_DIR), name).id


def file(alice: Tenant, name: str, *, inside: str = ROOT_DIR, content: bytes = b"secret") -> File:
    files = alice.instance.files
    with files.new(size=len(content)) as new:
        new.write(content)
        return files.put(files.dir(inside), name, new.seal())


def link(alice: Tenant, rules: Mapping[str, Any], *, query: str = "codes=code") -> Any:
    """A share link, as the command line makes it."""
    body = {"data": {"attributes": {"permissions": rules}}}
    answer = alice.cli("POST", f"/permissions?{query}", body, scope=" ".join({rule["type"] for rule in rules.values()}))
    assert answer.status_code == 200, answer.text
    return json.loads(answer.data)["data"]


def guest(alice: Tenant, rules: Mapping[str, Any]) -> str:
    code: str = link(alice, rules)["attributes"]["codes"]["code"]
    return code


def client(alice: Tenant, scope: str) -> str:
    return alice.access(alice.connected("narrow"), scope)


def attributes(**given: Any) -> dict[str, Any]:
    return {"data": {"attributes": given}}


# -- references ---------------------------------------------------------------------------------------------------------


def test_a_guest_of_an_album_puts_nothing_into_it_that_is_not_shared(alice: Tenant):
    album = alice.instance.docs.put(ALBUMS, {"name": "Summer"}).ref.id
    hidden = file(alice, "hidden.jpg")
    rules = {
        "collection": {"type": ALBUMS, "values": [album]},
        "files": {"type": FILES, "values": [f"{ALBUMS}/{album}"], "selector": "referenced_by"},
    }
    code = guest(alice, rules)
    path = f"/data/{ALBUMS}/{album}/relationships/references"
    for id in (hidden.id, ROOT_DIR):
        assert alice.ask("POST", path, {"data": [{"type": FILES, "id": id}]}, token=code).status_code == 403
    assert alice.ask("GET", f"/files/download/{hidden.id}", token=code).status_code == 403
    assert alice.instance.files.references.count("referenced_by", Reference(ALBUMS, album)) == 0


def test_the_right_to_a_document_shows_none_of_the_files_that_it_points_at(alice: Tenant):
    hidden = file(alice, "hidden.txt")
    path = f"/data/{THINGS}/one/relationships/references"
    narrow, reader = client(alice, THINGS), client(alice, f"{THINGS} {FILES}:GET:{hidden.id}")
    assert alice.ask("POST", path, {"data": [{"id": hidden.id}]}, token=narrow).status_code == 403
    assert alice.ask("POST", path, {"data": [{"id": hidden.id}]}, token=reader).status_code == 204
    listed = {token: json.loads(alice.ask("GET", f"{path}?include=files", token=token).data) for token in (narrow, reader)}
    assert [len(one["data"]) for one in listed.values()] == [1, 1], "what points at it is the document's own"
    assert [one["id"] for one in listed[narrow].get("included", [])] == []
    assert [one["id"] for one in listed[reader]["included"]] == [hidden.id]


# -- jobs and triggers --------------------------------------------------------------------------------------------------


def test_a_job_takes_no_file_that_who_pushes_it_may_not_read(alice: Tenant):
    own, other = folder(alice, "own"), folder(alice, "other")
    mine, hidden = file(alice, "mine.txt", inside=own), file(alice, "hidden.txt", inside=other)
    token = client(alice, f"io.cozy.jobs io.cozy.triggers {FILES}:ALL:{own}")

    def packed(id: str, home: str) -> Any:
        return {"files": {"x": id}, "dir_id": home, "filename": "x.zip"}

    def status(worker: str, message: Any) -> list[int]:
        trigger = attributes(type="@in", arguments="1h", worker=worker, message=message)
        pushed = alice.ask("POST", f"/jobs/queue/{worker}", attributes(arguments=message), token=token)
        return [pushed.status_code, alice.ask("POST", "/jobs/triggers", trigger, token=token).status_code]

    assert status("zip", packed(hidden.id, own)) == [403, 403]
    assert status("zip", {"files": {"x": {"id": hidden.id, "page": 1}}, "dir_id": own, "filename": "x.zip"}) == [403, 403]
    assert status("zip", packed(mine.id, other)) == [403, 403]
    assert status("zip", packed(mine.id, own)) == [202, 201]
    assert status("unzip", {"zip": hidden.id, "destination": own}) == [403, 403]
    assert status("unzip", {"zip": mine.id, "destination": other}) == [403, 403]
    assert status("unzip", {"zip": mine.id, "destination": own}) == [202, 201]
    made = attributes(type="@in", arguments="1h", worker="zip", message=packed(mine.id, own))
    id = json.loads(alice.ask("POST", "/jobs/triggers", made, token=token).data)["data"]["id"]
    changed = alice.ask("PATCH", f"/jobs/triggers/{id}", attributes(message=packed(hidden.id, own)), token=token)
    assert changed.status_code == 403


def test_a_message_to_devices_is_no_way_to_write_mails(alice: Tenant):
    message = {"title": "x", "mail_fallback": {"mode": "from", "to": [{"email": "b@example.org"}], "subject": "x"}}
    found = []
    for scope in ("io.cozy.jobs:POST:push:worker", "io.cozy.jobs:POST:push,sendmail:worker"):
        token = client(alice, scope)
        found.append(alice.ask("POST", "/jobs/queue/push", attributes(arguments=message), token=token).status_code)
        found.append(alice.ask("POST", "/jobs/queue/push", attributes(arguments={"title": "x"}), token=token).status_code)
    assert found == [403, 202, 202, 202]


def test_a_trigger_watches_nothing_that_who_makes_it_may_not_read(alice: Tenant):
    own, other = folder(alice, "own"), folder(alice, "other")
    token = client(alice, f"io.cozy.jobs io.cozy.triggers {THINGS} {FILES}:GET:{own} {CONTACTS}:GET:work:group")

    def status(arguments: str) -> int:
        return alice.ask("POST", "/jobs/triggers", attributes(type="@event", arguments=arguments, worker="log"), token=token).status_code

    allowed = [THINGS, f"{THINGS}:CREATED", f"{THINGS}:UPDATED:!=:name", f"{FILES}:CREATED:{own}", f"{CONTACTS}:UPDATED:work:group"]
    assert [status(one) for one in allowed] == [201] * len(allowed)
    refused = [FILES, f"{FILES}:CREATED:{other}", f"{FILES}:CREATED:{own},{other}", CONTACTS, f"{CONTACTS}:UPDATED:home:group"]
    refused += [f"{CONTACTS}:UPDATED:!=:group", f"{THINGS} io.cozy.bank.accounts"]
    assert [status(one) for one in refused] == [403] * len(refused)


def test_a_job_tells_nothing_of_documents_that_no_app_may_read(alice: Tenant):
    made = attributes(type="@event", arguments="io.cozy.oauth.clients io.cozy.permissions", worker="log")
    assert alice.cli("POST", "/jobs/triggers", made, scope="io.cozy.triggers").status_code == 201
    alice.connected("told")
    code = guest(alice, {"things": {"type": THINGS}})
    events = [b64decode(one.doc["event"]).decode() for one in alice.instance.docs.all("io.cozy.jobs").rows if one.doc.get("event")]
    assert len(events) >= 2
    assert not [one for one in events if "client_secret" in one or code in one]
    assert all(set(json.loads(one)["doc"]) == {"_id", "_rev"} for one in events)


def test_a_konnector_has_no_other_one_run(alice: Tenant):
    message = {"konnector": "bank", "account": "a"}
    made = attributes(type="@in", arguments="1h", worker="konnector", message=message)
    id = json.loads(alice.cli("POST", "/jobs/triggers", made, scope="io.cozy.triggers").data)["data"]["id"]
    token = alice.instance.auth.minted("konn", "bank", THINGS)
    assert alice.ask("PATCH", f"/jobs/triggers/{id}", attributes(message=message | {"account": "b"}), token=token).status_code == 200
    for other in ({"konnector": "tax", "account": "a"}, {}, "text", None):
        assert alice.ask("PATCH", f"/jobs/triggers/{id}", attributes(message=other), token=token).status_code == 403


# -- clients ------------------------------------------------------------------------------------------------------------


def test_a_client_that_is_let_in_does_not_link_itself_to_an_app(alice: Tenant):
    alice.instance.docs.commit([Write(Ref("io.cozy.apps", "io.cozy.apps/drive"), body={"slug": "drive", "state": "ready"})])
    rights = {"type": "app", "source_id": "io.cozy.apps/drive", "permissions": {"files": {"type": FILES}}}
    alice.instance.docs.put("io.cozy.permissions", rights)
    made = alice.connected("narrow")
    token = alice.instance.auth.registration_token(made)

    def update(software: str) -> Any:
        given = {"client_id": made.id, "redirect_uris": ["app://x"], "client_name": "narrow", "software_id": software}
        return alice.ask("PUT", f"/auth/register/{made.id}", given, token=token, Accept="application/json", Content_Type="application/json")

    refused = update("registry://drive")
    assert (refused.status_code, json.loads(refused.data)["error"]) == (400, "unapproved_software_id")
    assert alice.instance.auth.clients.get(made.id).linked_app == ""
    assert update("another.example").status_code == 200
    alice.instance.auth.clients.note(made, pending=True)
    assert update("registry://drive").status_code == 200, "the owner is still to be asked"


# -- links --------------------------------------------------------------------------------------------------------------


def test_a_guest_reads_no_other_guest_s_code(alice: Tenant):
    code = guest(alice, {"things": {"type": THINGS, "verbs": ["GET"]}})
    link(alice, {"things": {"type": THINGS, "verbs": ["GET"]}}, query="codes=forever")
    shown = json.loads(alice.ask("GET", f"/permissions/doctype/{THINGS}/shared-by-link", token=code).data)["data"]
    assert len(shown) == 2
    assert not [one for one in shown if {"codes", "shortcodes"} & one["attributes"].keys()]
    told = json.loads(alice.cli("GET", f"/permissions/doctype/{THINGS}/shared-by-link", scope=THINGS).data)["data"]
    assert all(one["attributes"]["codes"] for one in told)


def test_a_guest_adds_nothing_to_what_an_app_may(alice: Tenant):
    alice.instance.docs.put("io.cozy.permissions", {"type": "app", "source_id": "io.cozy.apps/notes", "permissions": {}})
    code = guest(alice, {"things": {"type": THINGS, "verbs": ["GET"]}})
    more = attributes(permissions={"things": {"type": THINGS, "verbs": ["GET"]}})
    assert alice.ask("PATCH", "/permissions/apps/notes", more, token=code).status_code == 403
    assert alice.ask("PATCH", "/permissions/apps/notes", more, token=client(alice, THINGS)).status_code == 200


# -- what is there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/files/metadata?Path={}", None),
        ("PATCH", "/files/metadata?Path={}", {"data": {"attributes": {"tags": []}}}),
        ("GET", "/files/download?Path={}", None),
        ("POST", "/files/downloads?Path={}", None),
        ("POST", "/files/archive", {"data": {"attributes": {"files": ["{}"]}}}),
        ("POST", "/files/?Type=directory&Path={}/below", None),
        ("POST", "/files/?Type=directory&Recursive=true&Path={}/below", None),
    ],
)
def test_a_path_tells_a_guest_nothing_of_what_is_not_shared(alice: Tenant, method: str, path: str, body: Any):
    shared, _ = folder(alice, "shared"), folder(alice, "divorce")
    code = guest(alice, {"files": {"type": FILES, "values": [shared]}})

    def status(where: str) -> int:
        asked = json.loads(json.dumps(body).replace("{}", where)) if body else None
        return alice.ask(method, path.format(where), asked, token=code).status_code

    assert [status("/divorce"), status("/nothing"), status("/divorce/nothing")] == [403] * 3
    assert status("/shared/nothing") in (201, 404)


def test_nobody_learns_of_the_root_by_making_it(alice: Tenant):
    token = client(alice, THINGS)
    assert alice.ask("POST", "/files/?Type=directory&Recursive=true&Path=/", token=token).status_code == 403


# -- the rest -----------------------------------------------------------------------------------------------------------


class Everything:
    """A door that lets everybody watch everything."""

    def authenticate(self, token: str) -> Principal:
        return Principal("client", token, everything=True)

    def may_watch(self, principal: Principal, doctype: str, id: str | None) -> bool:
        return True


@pytest.mark.parametrize("name", ["devices", "auth.factors", "oauth.grants", "accounts.soft_deleted", "dav.feeds", "triggers.pending"])
def test_no_socket_tells_what_is_the_server_s_own(name: str):
    session = Session(Everything(), datetime.now(UTC))
    session.receive(json.dumps({"method": "AUTH", "payload": "x"}))
    for id in ("", "one"):
        (said,) = session.receive(json.dumps({"method": "SUBSCRIBE", "payload": {"type": f"io.cozy.{name}", "id": id}}))
        assert json.loads(said)["payload"]["code"] == "forbidden"


def test_an_upload_that_replaces_is_judged_by_what_the_file_becomes(alice: Tenant):
    picture = file(alice, "a.jpg")
    token = client(alice, f"{FILES}:PUT:image/jpeg:mime")

    def begin(kind: str) -> int:
        pairs = {"replaces": picture.id, "filetype": kind}
        told = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in pairs.items())
        headers = {"Tus_Resumable": "1.0.0", "Upload_Length": "1", "Upload_Metadata": told}
        return alice.ask("POST", "/files/uploads", token=token, **headers).status_code

    assert [begin("text/html"), begin("image/jpeg")] == [403, 201]


def test_a_sharing_is_shown_to_who_may_read_all_that_one_of_its_rules_is_about(alice: Tenant):
    rule = {"title": "x", "doctype": FILES, "values": ["f1"], "add": "sync"}
    alice.instance.docs.commit([Write(Ref("io.cozy.sharings", "s"), body={"rules": [rule], "members": [{"email": "b@example.org"}]})])
    own = folder(alice, "own")
    for token in (guest(alice, {"files": {"type": FILES}}), client(alice, f"{FILES}:GET:{own}"), client(alice, f"{FILES}:POST")):
        assert alice.ask("GET", "/sharings/s", token=token).status_code == 403
    for scope in (FILES, f"{FILES}:GET:f1"):
        assert alice.ask("GET", "/sharings/s", token=client(alice, scope)).status_code == 200
