"""Permission sets of apps, of clients linked to one, and links that end with time, in this process."""

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client as WsgiClient

from blueprints import create_app
from cozyd.config import Config, Storage
from cozyd.documents.store import Ref, Write
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts
from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.stack import Clock, open_stack

ROOT = "io.cozy.files.root-dir"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("couchdb", marks=needs_couchdb)])
def stack(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Links, codes and sets are found by tables here, by views there."""
    with empty_server() if request.param == "couchdb" else nullcontext("") as url:
        documents = {"documents": url} if url else {}
        stack = Stack(Config(storage=Storage(path=tmp_path / "data", **documents)), now=clock)
        stack.create("alice.localhost", passphrase="p")
        yield stack
        stack.close()


class Local:
    """Requests to a stack of this process."""

    def __init__(self, stack: Stack) -> None:
        self.auth = stack.instance("alice.localhost").auth
        self.docs = stack.instance("alice.localhost").docs
        self._client = WsgiClient(Front(stack, create_app(stack).wsgi_app, mounts(), stack.config.limits))

    def ask(self, method: str, path: str, token: str, body: Any = None) -> Any:
        headers = {"Host": "alice.localhost", "Authorization": f"Bearer {token}", "Accept": "application/json"}
        return self._client.open(path, method=method, headers=headers, buffered=True, **({"json": body} if body is not None else {}))

    def install(self, slug: str, **rules: Any) -> str:
        """An app with its set; a token as its page has it."""
        doc = {"_id": f"io.cozy.apps/{slug}", "slug": slug}
        self.docs.put("io.cozy.apps", doc)
        body = {"type": "app", "source_id": f"io.cozy.apps/{slug}", "permissions": rules}
        self.docs.put("io.cozy.permissions", body)
        return self.auth.app_token(slug)


def test_an_apps_token_has_the_rules_of_its_document_now(stack: Stack):
    local = Local(stack)
    token = local.install("notes", notes={"type": "io.cozy.notes"})
    assert local.ask("POST", "/data/io.cozy.notes/", token, {}).status_code == 201
    assert local.ask("POST", "/data/io.cozy.contacts/", token, {}).status_code == 403
    other = local.install("people", people={"type": "io.cozy.contacts"})
    given = {"data": {"attributes": {"permissions": {"people": {"type": "io.cozy.contacts", "verbs": ["POST"]}}}}}
    answer = local.ask("PATCH", "/permissions/apps/notes", other, given)
    assert (answer.status_code, list(answer.json["data"]["attributes"]["permissions"])) == (200, ["notes", "people"])
    assert local.ask("POST", "/data/io.cozy.contacts/", token, {}).status_code == 201


def test_what_one_app_gives_another_takes_nothing_away(stack: Stack):
    local = Local(stack)
    local.install("notes", notes={"type": "io.cozy.notes"})
    other = local.install("people", people={"type": "io.cozy.contacts"})
    path = "/permissions/apps/notes"
    same_title = {"data": {"attributes": {"permissions": {"notes": {"type": "io.cozy.contacts", "verbs": ["GET"]}}}}}
    found = local.ask("PATCH", path, other, same_title).json["data"]["attributes"]["permissions"]
    assert found["notes"] == {"type": "io.cozy.notes"}
    assert local.ask("PATCH", path, other, {"data": {"attributes": {"permissions": {"notes": {}}}}}).status_code == 403
    larger = {"data": {"attributes": {"permissions": {"more": {"type": "io.cozy.notes"}}}}}
    assert local.ask("PATCH", path, other, larger).status_code == 403
    assert local.ask("PATCH", "/permissions/apps/unknown", other, same_title).status_code == 404


def test_links_are_found_by_their_codes_their_documents_and_their_types(stack: Stack):
    local = Local(stack)
    token = local.install("drive", files={"type": "io.cozy.files"}, things={"type": "io.cozy.test.things"})
    rules = {
        "things": {"type": "io.cozy.test.things", "verbs": ["GET"], "values": ["one", "two"]},
        "files": {"type": "io.cozy.files", "verbs": ["GET", "PATCH"], "values": ["io.cozy.test.things/one"], "selector": "referenced_by"},
    }
    made = local.ask("POST", "/permissions?codes=a,b", token, {"data": {"attributes": {"permissions": rules}}}).get_json(force=True)["data"]
    all_things = {"data": {"attributes": {"permissions": {"t": {"type": "io.cozy.test.things"}}}}}
    other = local.ask("POST", "/permissions?codes=c", token, all_things).get_json(force=True)["data"]
    for kind in ("codes", "shortcodes"):
        for code in made["attributes"][kind].values():
            own = local.ask("GET", "/permissions/self", code).get_json(force=True)["data"]
            assert (own["id"], own["attributes"]["permissions"]) == (made["id"], rules)
    asked = {"data": [{"type": "io.cozy.test.things", "id": id} for id in ("one", "two", "three")]}
    found = local.ask("POST", "/permissions/exists", token, asked).get_json(force=True)["data"]
    assert [(one["id"], one["verbs"]) for one in found] == [("one", ["GET"]), ("two", ["GET"])]
    listed = local.ask("GET", "/permissions/doctype/io.cozy.test.things/shared-by-link", token).get_json(force=True)
    assert {one["id"] for one in listed["data"]} == {made["id"], other["id"]}
    assert len(local.ask("GET", "/permissions/doctype/io.cozy.files/shared-by-link", token).get_json(force=True)["data"]) == 1
    local.docs.put("io.cozy.test.things", {"_id": "one"})
    assert local.ask("DELETE", f"/permissions/{made['id']}", token).status_code == 204
    assert local.ask("GET", "/data/io.cozy.test.things/one", made["attributes"]["codes"]["a"]).status_code == 403
    assert local.ask("GET", "/data/io.cozy.test.things/one", other["attributes"]["codes"]["c"]).status_code == 200


def test_who_may_not_is_not_told_what_is_there(stack: Stack):
    local = Local(stack)
    local.docs.put("io.cozy.accounts", {"_id": "mine", "account_type": "bank"})
    local.docs.put("io.cozy.konnectors", {"_id": "io.cozy.konnectors/bank", "slug": "bank", "state": "ready"})
    token = local.auth.cli_token("io.cozy.test.nothings")
    for id in ("mine", "not-there"):
        assert local.ask("POST", f"/accounts/bank/{id}/refresh", token).status_code == 403
    for slug in ("bank", "not-there"):
        assert local.ask("POST", f"/konnectors/{slug}/trigger", token).status_code == 403


def test_a_link_ends_with_the_app_that_made_it(stack: Stack):
    local = Local(stack)
    token = local.install("notes", notes={"type": "io.cozy.notes"})
    rules = {"data": {"attributes": {"permissions": {"notes": {"type": "io.cozy.notes"}}}}}
    code = local.ask("POST", "/permissions?codes=a", token, rules).json["data"]["attributes"]["codes"]["a"]
    assert local.ask("POST", "/data/io.cozy.notes/", code, {}).status_code == 201
    stored = local.docs.get(Ref("io.cozy.apps", "io.cozy.apps/notes"))
    local.docs.delete(stored.ref, stored.rev)
    assert local.ask("POST", "/data/io.cozy.notes/", code, {}).json == {"error": "code=400, message=Expired token"}


def test_a_client_linked_to_an_app_has_what_that_has_and_shares_in_its_name(stack: Stack):
    local = Local(stack)
    local.install("notes", notes={"type": "io.cozy.notes"})
    given = {"redirect_uris": ["cozynotes://x"], "client_name": "Notes", "software_id": "registry://notes"}
    made = local.auth.clients.register(given)
    oauth = local.auth.oauth("http://alice.localhost")
    asked = {"client_id": made.id, "state": "s", "redirect_uri": "cozynotes://x", "response_type": "code", "scope": "io.cozy.files"}
    location = oauth.approve(oauth.asked({name: [value] for name, value in asked.items()}))
    code = re.search("code=([0-9a-f]+)", location)
    assert code is not None
    form = {"grant_type": "authorization_code", "client_id": made.id, "client_secret": made.stored.doc["client_secret"], "code": code[1]}
    tokens = oauth.token({name: [value] for name, value in form.items()})
    assert tokens["scope"] == "@io.cozy.apps/notes"
    assert local.ask("POST", "/data/io.cozy.notes/", tokens["access_token"], {}).status_code == 201
    assert local.ask("GET", "/data/io.cozy.files/_all_docs", tokens["access_token"]).status_code == 403
    rules = {"data": {"attributes": {"permissions": {"notes": {"type": "io.cozy.notes"}}}}}
    link = local.ask("POST", "/permissions?codes=a", tokens["access_token"], rules).json["data"]["attributes"]
    assert link["source_id"] == "io.cozy.apps/notes"


def test_a_link_to_an_album_shows_its_files_and_nothing_else(stack: Stack):
    local = Local(stack)
    files = stack.instance("alice.localhost").files
    home = files.mkdir(files.dir("io.cozy.files.root-dir"), "Album files")
    ids = {}
    for name in ("in.jpg", "out.jpg"):
        with files.new(size=1) as new:
            new.write(name.encode())
            ids[name] = files.put(home, name, new.seal()).id
    album = local.docs.put("io.cozy.photos.albums", {"name": "Summer"}).ref.id
    other = local.docs.put("io.cozy.photos.albums", {"name": "Winter"}).ref.id
    refer(local, ids["in.jpg"], album)
    refer(local, ids["out.jpg"], other)
    wanted = {
        "collection": {"type": "io.cozy.photos.albums", "verbs": ["GET"], "values": [album]},
        "files": {"type": "io.cozy.files", "verbs": ["GET"], "values": [f"io.cozy.photos.albums/{album}"], "selector": "referenced_by"},
    }
    token = local.auth.cli_token("io.cozy.files io.cozy.photos.albums")
    body = {"data": {"attributes": {"permissions": wanted}}}
    code = local.ask("POST", "/permissions?codes=a", token, body).json["data"]["attributes"]["codes"]["a"]
    assert local.ask("GET", f"/data/io.cozy.photos.albums/{album}", code).status_code == 200
    assert local.ask("GET", f"/data/io.cozy.photos.albums/{other}", code).status_code == 403
    assert local.ask("GET", f"/files/download/{ids['in.jpg']}", code).data == b"in.jpg"
    for path in (f"/files/{ids['out.jpg']}", f"/files/{home.id}", "/files/io.cozy.files.root-dir", "/data/io.cozy.files/_all_docs"):
        assert local.ask("GET", path, code).status_code == 403, path


def refer(local: Local, file: str, album: str) -> None:
    """Put a file into an album."""
    stored = local.docs.get(Ref("io.cozy.files", file))
    reference = {"type": "io.cozy.photos.albums", "id": album}
    local.docs.commit([Write(stored.ref, patch={"referenced_by": [reference]}, rev=stored.rev)])


def test_a_link_ends_when_its_time_is_over(stack: Stack, clock: Clock):
    local = Local(stack)
    rules = {"data": {"attributes": {"permissions": {"notes": {"type": "io.cozy.notes", "verbs": ["POST"]}}}}}
    token = local.auth.cli_token("io.cozy.notes")
    code = local.ask("POST", "/permissions?codes=a&ttl=1h", token, rules).json["data"]["attributes"]["codes"]["a"]
    clock.passes(minutes=59)
    assert local.ask("POST", "/data/io.cozy.notes/", code, {}).status_code == 201
    clock.passes(minutes=2)
    assert local.ask("POST", "/data/io.cozy.notes/", code, {}).status_code == 400


def test_an_invitation_reads_the_settings_and_nothing_else(tmp_path: Path, clock: Clock):
    stack = open_stack(tmp_path / "invited", clock)
    instance = stack.create("alice.localhost")
    found = instance.auth.register_principal(b64decode(instance.doc["register_token"]).hex())
    assert found.kind == "register"
    found.check("GET", "io.cozy.settings", {"_id": "io.cozy.settings.instance"})
    assert not found.may("PUT", "io.cozy.settings")
    stack.close()
