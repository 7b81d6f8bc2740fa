"""What the reference gets wrong of apps and of what goes out for them, one test each, in this process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.apps import Order
from cozyd.auth import Credentials
from cozyd.config import Apps, Outbound
from cozyd.errors import CozyError
from tests.support import apps
from tests.support.canary import Asked, Canary
from tests.support.inprocess import Place, Tenant

SLUG = "tiny"
HELD = {"key": "of the operator"}


class Far:
    """A server of registries and services; it may be away."""

    def __init__(self) -> None:
        self.is_away = False

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if self.is_away:
            return 500, {}, b""
        known = {"/registry": {"data": [], "meta": {"count": 0}}}
        path = asked.path.partition("?")[0]
        if path == "/page":
            return 200, {"Content-Type": "text/html"}, b"<script>"
        if path == "/post":
            return 200, {"Content-Type": "application/json", "Set-Cookie": "a=b"}, asked.body
        if path.startswith("/wiki"):
            return 200, {"Content-Type": "application/json"}, json.dumps({"key": asked.headers.get("x-key")}).encode()
        return (200, {}, json.dumps(known[path]).encode()) if path in known else (404, {}, b"{}")


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Canary, Far]]:
    reply = Far()
    with Canary(reply) as canary:
        yield canary, reply


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, far: tuple[Canary, Far]) -> Iterator[Place]:
    top = tmp_path_factory.mktemp("weaknesses")
    (top / "requests" / "org.wiki").mkdir(parents=True)
    (top / "requests" / "org.wiki" / "request").write_text(f"GET {far[0].base}/wiki/{{{{page}}}}\nX-Key: {{{{secret_key}}}}\n")
    for name, text in {
        "org.page": f"GET {far[0].base}/page\n",
        "org.post": f'POST {far[0].base}/post\nContent-Type: application/json\n\n{{"q": "{{{{json q}}}}", "h": "{{{{html h}}}}"}}',
    }.items():
        (top / "requests" / name).mkdir()
        (top / "requests" / name / "request").write_text(text)
    configured = Apps(registries=far[0].base, requests=top / "requests", proxy="127.0.0.1 http://127.0.0.1 nowhere.invalid")
    place = Place(top / "data", apps=configured, outbound=Outbound(allow="127.0.0.1"))
    place.stack.drivers.common.put("io.cozy.remote.secrets", {"_id": "org.wiki"} | HELD)
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place, tmp_path: Path) -> Tenant:
    """With an app that serves an intent, and has a folder without an index."""
    tenant = place.tenant(apps=())
    routes = {"/": {"folder": "/", "index": "index.html", "public": True}, "/empty": {"folder": "/data", "index": "", "public": True}}
    intents = [{"action": "PICK", "type": ["io.cozy.files"], "href": "/"}]
    source = apps.folder(tmp_path / SLUG, routes=routes, intents=intents)
    tenant.instance.apps.install(Order("webapp", SLUG, source.as_uri()), lambda _: None)
    return tenant


def asked_by_app(alice: Tenant, method: str, path: str, body: Any = None) -> Any:
    return alice.app(method, path, body, slug=SLUG, scope="org.wiki io.cozy.proxy io.cozy.apps")


def test_secrets_of_a_request_are_the_operator_s_whatever_the_caller_sends(alice: Tenant, far: tuple[Canary, Far]):
    answer = asked_by_app(alice, "GET", "/remote/org.wiki?page=x&secret_key=mine")
    assert (answer.status_code, json.loads(answer.data)) == (200, HELD)
    noted = alice.instance.docs.all("io.cozy.remote.requests").rows
    assert HELD["key"] not in json.dumps([dict(row.doc) for row in noted])


def test_variables_of_a_path_are_escaped_once(alice: Tenant, far: tuple[Canary, Far]):
    assert asked_by_app(alice, "GET", "/remote/org.wiki?page=a%2Fb%20c").status_code == 200
    assert far[0].asked[-1].path == "/wiki/a%2Fb%20c"


def test_a_body_is_filled_as_its_place_asks_and_the_other_verb_is_refused(alice: Tenant, far: tuple[Canary, Far]):
    scope = "org.post org.page"
    answer = alice.app("POST", "/remote/org.post", {"q": 'a"b\n', "h": "<b>"}, slug=SLUG, scope=scope)
    assert (answer.status_code, json.loads(answer.data)) == (200, {"q": 'a"b\n', "h": "&lt;b&gt;"})
    assert "Set-Cookie" not in answer.headers
    for method, path in (("GET", "/remote/org.post"), ("POST", "/remote/org.page")):
        assert alice.app(method, path, {} if method == "POST" else None, slug=SLUG, scope=scope).status_code == 405
    bodies: tuple[Any, ...] = ([], {"q": 1}, {"q": "x"})
    for wrong in bodies:
        assert alice.app("POST", "/remote/org.post", wrong, slug=SLUG, scope=scope).status_code == 400


def test_a_page_of_another_server_is_not_passed_on(alice: Tenant, far: tuple[Canary, Far]):
    assert alice.app("GET", "/remote/org.page", slug=SLUG, scope="org.page").status_code == 502


def test_who_asks_other_servers_too_often_waits(alice: Tenant, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("blueprints.remote.A_MINUTE", 2)
    told = [asked_by_app(alice, "GET", "/remote/org.wiki?page=x").status_code for _ in range(4)]
    assert told == [200, 200, 429, 429]
    assert alice.app("GET", "/remote/org.wiki?page=x", slug="other", scope="org.wiki").status_code == 200


def test_an_intent_is_answered_while_the_registries_are_away(alice: Tenant, far: tuple[Canary, Far]):
    far[1].is_away = True
    try:
        for type, served in (("io.cozy.files", True), ("io.cozy.unknown", False)):
            wanted = {"data": {"type": "io.cozy.intents", "attributes": {"action": "PICK", "type": type}}}
            answer = asked_by_app(alice, "POST", "/intents", wanted)
            assert answer.status_code == 200, answer.text
            shown = json.loads(answer.data)["data"]["attributes"]
            assert (shown["services"] is not None, shown["availableApps"]) == (served, None)
    finally:
        far[1].is_away = False


def test_a_folder_without_an_index_is_not_found(alice: Tenant):
    for path in ("/empty", "/empty/", "/data/"):
        answer = alice.ask("GET", path, host=alice.instance.app_host(SLUG), Accept="text/html")
        assert (answer.status_code, str(alice.stack.config.storage.path) in answer.text) == (404, False)


def test_the_etag_of_a_file_is_of_its_content(alice: Tenant):
    host = alice.instance.app_host(SLUG)
    tags = [alice.ask("GET", path, host=host).headers["ETag"] for path in ("/plain.css", "/icon.svg", "/plain.css")]
    assert (tags[0] != tags[1], tags[0] == tags[2], "d41d8cd9" in "".join(tags)) == (True, True, False)


def test_what_goes_wrong_outside_is_told_without_addresses_and_places(alice: Tenant, far: tuple[Canary, Far]):
    """A name that does not resolve, a port that nobody listens on, a folder that is not there."""
    told = [asked_by_app(alice, "GET", "/proxy?url=https://nowhere.invalid/").text]
    for source in ("http://127.0.0.1:1/app.tgz", "file:///nowhere/at/all", "git+http://127.0.0.1:1/x", "https://nowhere.invalid/a.tgz"):
        with pytest.raises(CozyError) as refused:
            alice.instance.apps.install(Order("webapp", "other", source), lambda _: None)
        assert refused.value.status != 500
        told.append(refused.value.detail)
    for text in told:
        assert not any(
            part in text for part in ("Errno", "refused", "/nowhere", str(alice.stack.config.storage.path), "Traceback", "dial")
        ), text


def test_pages_with_a_token_are_kept_by_nobody_and_send_no_referrer_abroad(alice: Tenant):
    instance = alice.instance
    session = instance.auth.sessions.id_of(instance.auth.open_session(Credentials(), long_run=True))
    host = instance.app_host(SLUG)
    page = alice.ask("GET", "/", host=host, cookie=instance.auth.handover.cookie(session, host))
    assert "data-token" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert ("no-store" in page.headers["Cache-Control"], "object-src 'none'" in policy, "form-action" in policy) == (True, True, True)
    assert page.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
