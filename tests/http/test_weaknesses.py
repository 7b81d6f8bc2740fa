"""What the reference gets wrong, one test each: reading and writing without the right, names that climb, answers of 500, headers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import Client as WsgiClient

from blueprints import create_app
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.stack import Clock, open_stack

ROOT, TRASH = "io.cozy.files.root-dir", "io.cozy.files.trash-dir"
THINGS = "io.cozy.weaknesses"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=("io.cozy.files", "io.cozy.settings", THINGS))


def folder(alice: Client, name: str, *, inside: str = ROOT) -> str:
    made = alice.api("POST", f"/files/{inside}?Type=directory&Name={name}")
    assert made.status == 201, made.body
    return str(made.json["data"]["id"])


def file(alice: Client, name: str, *, inside: str) -> str:
    made = alice.api("POST", f"/files/{inside}?Type=file&Name={name}", b"x", Content_Type="text/plain")
    assert made.status == 201, made.body
    return str(made.json["data"]["id"])


def patched(client: Client, id: str, **attributes: Any) -> int:
    return client.api("PATCH", f"/files/{id}", {"data": {"type": "io.cozy.files", "id": id, "attributes": attributes}}).status


# -- without the right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/data/{THINGS}/one?revs=true"),
        ("GET", f"/data/{THINGS}/one?open_revs=all&revs=true"),
        ("DELETE", f"/data/{THINGS}/missing?rev=1-a"),
        ("POST", "/files/?Type=directory&Path=/by-nobody"),
        ("DELETE", "/files/missing"),
        ("PATCH", "/files/missing"),
    ],
)
def test_the_token_is_asked_for_before_anything_else(alice: Client, method: str, path: str):
    alice.api("PUT", f"/data/{THINGS}/one", {"secret": 1})
    answer = alice.ask(method, path, Accept="application/json")
    assert (answer.status, b"secret" in answer.body) == (401, False)
    assert alice.api("GET", "/files/metadata?Path=/by-nobody").status == 404


@pytest.mark.parametrize("scope", ["io", "io.cozy"])
def test_a_short_scope_opens_no_files(alice: Client, scope: str):
    token = alice.served.token(scope, domain=alice.domain)
    for path in (f"/files/{ROOT}", f"/data/io.cozy.files/{ROOT}", "/data/io.cozy.files/_all_docs"):
        assert alice.api("GET", path, Authorization=f"Bearer {token}").status == 403


def test_a_guest_of_one_folder_moves_nothing_out_or_in(alice: Client):
    shared, other = folder(alice, "guest-shared"), folder(alice, "guest-other")
    inner, outer = file(alice, "inner.txt", inside=shared), file(alice, "outer.txt", inside=other)
    guest = {"Authorization": f"Bearer {alice.served.token(f'io.cozy.files:ALL:{shared}', domain=alice.domain)}"}

    def status(id: str, dir_id: str) -> int:
        body = {"data": {"type": "io.cozy.files", "id": id, "attributes": {"dir_id": dir_id}}}
        return alice.api("PATCH", f"/files/{id}", body, **guest).status

    assert [status(inner, ROOT), status(inner, other), status(outer, shared), status(inner, TRASH)] == [403] * 4
    below = alice.api("POST", f"/files/{shared}?Type=directory&Name=below", **guest).json["data"]["id"]
    assert status(inner, below) == 200


def test_a_download_is_judged_alike_by_path_and_by_id(alice: Client):
    shared, other = folder(alice, "judged-shared"), folder(alice, "judged-other")
    ids = [file(alice, "one.txt", inside=shared), file(alice, "two.txt", inside=other)]
    guest = {"Authorization": f"Bearer {alice.served.token(f'io.cozy.files:GET:{shared}', domain=alice.domain)}"}
    paths = ["/judged-shared/one.txt", "/judged-other/two.txt"]
    by_id = [alice.api("GET", f"/files/download/{id}", **guest).status for id in ids]
    by_path = [alice.api("GET", f"/files/download?Path={path}", **guest).status for path in paths]
    assert by_id == by_path == [200, 403]


# -- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/b", "%00", "x" * 300])
def test_a_copy_takes_no_name_that_climbs(alice: Client, name: str):
    made = alice.api("GET", "/files/metadata?Path=/copied.txt")
    id = made.json["data"]["id"] if made.status == 200 else file(alice, "copied.txt", inside=ROOT)
    assert alice.api("POST", f"/files/{id}/copy?Name={name}").status == 422


def test_what_is_patched_into_the_trash_is_in_the_trash(alice: Client):
    id = file(alice, "to-trash.txt", inside=ROOT)
    assert patched(alice, id, dir_id=TRASH) < 500
    shown = alice.api("GET", f"/files/{id}").json["data"]["attributes"]
    assert shown["trashed"] is (shown["dir_id"] == TRASH)


def test_no_answer_names_a_place_on_the_disk(alice: Client):
    for answer in (alice.api("GET", "/files/download/none"), alice.dav("PUT", "/sync/files/none/x", b"x"), alice.api("GET", "/status")):
        assert str(alice.served.folder).encode() not in answer.body


# -- answers of 500 -----------------------------------------------------------------------------------------------------


def test_root_and_trash_stay(alice: Client):
    for id in (ROOT, TRASH):
        assert 400 <= patched(alice, id, name="other") < 500
        assert 400 <= patched(alice, id, dir_id=ROOT) < 500
        assert 400 <= alice.api("DELETE", f"/files/{id}").status < 500
    assert 400 <= alice.api("POST", f"/files/trash/{file(alice, 'untrashed.txt', inside=ROOT)}").status < 500


def test_settings_are_not_replaced_without_their_revision(alice: Client):
    path = "/data/io.cozy.settings/io.cozy.settings.instance"
    assert alice.api("PUT", path, {"tz": "Europe/Paris"}).status in (403, 409)
    assert alice.api("GET", path).json["email"] == "wire@example.org"


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, WsgiClient, list[str]]]:
    """A stack of its own, its application in this process, and the paths of every route, filled in with odd ids."""
    stack = open_stack(tmp_path_factory.mktemp("everywhere") / "data", Clock())
    stack.create("alice.localhost", passphrase="p")
    app = create_app(stack)
    rules = {
        rule.rule.replace("<doctype>", "io.cozy.files" if rule.rule.startswith("/files") else THINGS) for rule in app.url_map.iter_rules()
    }
    ids = [ROOT, "none", "..%2f..", "%00", "x" * 3000, "é"]
    paths = sorted({re.sub(r"<[^>]*>", id, rule) for rule in rules for id in ids})
    yield stack, WsgiClient(Front(stack, app.wsgi_app, mounts(), stack.config.limits)), paths
    stack.close()


BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b'{"data":null}',
    b'{"data":{"attributes":5}}',
    b'{"docs":[5,null,{"_id":5}]}',
    b"\xff",
    b"[" * 20_000,
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE", "ODD"])
def test_no_route_fails_or_hangs_whatever_it_is_asked(everywhere: tuple[Stack, WsgiClient, list[str]], method: str):
    stack, client, paths = everywhere
    token = stack.instance("alice.localhost").auth.cli_token(f"io.cozy.files io.cozy.settings {THINGS}")
    for path in paths:
        for body in BODIES if method in ("POST", "PUT", "PATCH") else BODIES[:1]:
            headers = {"Host": "alice.localhost", "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            answer = client.open(path, method=method, data=body, headers=headers)
            text = answer.get_data()
            assert answer.status_code < 500, (method, path[:80], body[:40], text[:200])
            assert not (method == "HEAD" and text), path
            answer.close()


def test_every_route_says_what_may_be_asked(everywhere: tuple[Stack, WsgiClient, list[str]]):
    _, client, paths = everywhere
    for path in paths:
        if "none" in path and not path.startswith(("/.well-known", "/auth/")):
            answer = client.open(path, method="OPTIONS", headers={"Host": "alice.localhost"})
            assert answer.status_code in (200, 204), path
            answer.close()


# -- headers ------------------------------------------------------------------------------------------------------------


def test_private_answers_stay_out_of_shared_caches(alice: Client):
    alice.dav("PUT", "/sync/files/cached.txt", b"x")
    answers = [
        alice.api("GET", "/data/io.cozy.settings/io.cozy.settings.instance"),
        alice.api("GET", f"/files/{ROOT}"),
        alice.api("GET", "/files/download?Path=/cached.txt"),
        alice.dav("GET", "/sync/files/cached.txt"),
        alice.dav("PROPFIND", "/sync/dav/me/contacts/", Depth="0"),
    ]
    assert [answer.headers["Cache-Control"].split(",")[0] for answer in answers] == ["private"] * len(answers)
    assert json.loads(answers[0].body)["_id"] == "io.cozy.settings.instance"
