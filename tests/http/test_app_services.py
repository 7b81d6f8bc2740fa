"""What apps ask beside their documents: registries, intents, shortcuts, other servers, reports of errors."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from cozyd.apps.notices import key_of
from tests.support import apps
from tests.support.canary import Asked, Canary
from tests.support.client import Client
from tests.support.command import Command
from tests.support.serving import Served, eventually

STORE = "store"


def described(slug: str, version: str, packed: bytes, address: str, **changes: Any) -> dict[str, Any]:
    return {
        "slug": slug,
        "type": "webapp",
        "editor": "Far",
        "version": version,
        "manifest": apps.manifest(
            slug=slug, name="Far", version=version, intents=[{"action": "OPEN", "type": ["io.cozy.far"], "href": "/"}]
        ),
        "created_at": "2026-01-01T00:00:00Z",
        "url": address,
        "size": str(len(packed)),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "tar_prefix": "",
    } | changes


class Far:
    """A registry on another server."""

    def __init__(self) -> None:
        self.packed = apps.archive(name="Far", slug="far")
        self.changes: dict[str, Any] = {}
        self.status = 200
        self.image = b"\x89PNG"

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        path = asked.path.partition("?")[0]
        base = f"http://{asked.headers['host']}"
        if self.status != 200:
            return self.status, {}, b'{"message":"away"}'
        version = described("far", "2.0.0", self.packed, f"{base}/far.tar.gz", **self.changes)
        app = {"slug": "far", "type": "webapp", "editor": "Far", "versions": {"stable": ["2.0.0"]}, "latest_version": version}
        shared = {"slug": "near", "type": "webapp", "editor": "Impostor", "versions": {"stable": ["9.0.0"]}}
        known: dict[str, Any] = {
            "/registry": {"data": [app, shared], "meta": {"count": 2}},
            "/registry/far": app,
            "/registry/near": shared,
            "/registry/near/9.0.0": described("near", "9.0.0", self.packed, f"{base}/far.tar.gz"),
            "/registry/far/stable/latest": version,
            "/registry/far/2.0.0": version,
        }
        if path == "/far.tar.gz":
            return 200, {"Content-Type": "application/gzip"}, self.packed
        if path == "/registry/far/icon":
            return 200, {"Content-Type": "image/png"}, self.image
        return (200, {}, json.dumps(known[path]).encode()) if path in known else (404, {}, b"{}")


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Canary, Far]]:
    reply = Far()
    with Canary(reply) as canary:
        yield canary, reply


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, far: tuple[Canary, Far]) -> Iterator[Served]:
    top = tmp_path_factory.mktemp("services")
    for version, name in {"1.0.0": "One", "1.2.0-beta.1": "Beta", "1.1.0": "Two"}.items():
        (top / "registry" / "near").mkdir(parents=True, exist_ok=True)
        (top / "registry" / "near" / f"{version}.tar.gz").write_bytes(apps.archive(slug="near", name=name, version=version))
    apps.folder(top / "registry" / "plain" / "0.1.0", slug="plain", version="0.1.0", editor="Them")
    (top / "registry" / "plain" / "app.json").write_text(
        '{"maintenance_activated": true, "maintenance_options": {"flag_short_maintenance": true}}'
    )
    wiki = top / "requests" / "org.wiki"
    wiki.mkdir(parents=True)
    (wiki / "request").write_text(f"GET {far[0].base}/wiki/{{{{page}}}}?q={{{{q}}}}&k={{{{secret_key}}}}\nX-Lang: {{{{lang}}}}\n")
    environ = {
        "COZYD_OUTBOUND_ALLOW": "127.0.0.1",
        "COZYD_APPS_REGISTRIES": f"local://{top / 'registry'} {far[0].base}",
        "COZYD_APPS_REQUESTS": str(top / "requests"),
        "COZYD_APPS_REMOTE_ASSETS": f"bank={far[0].base}/bank.json gone=http://10.0.0.1/",
        "COZYD_APPS_ALLOWED_ORIGINS": "https://tile.example.org wss://live.example.org",
        "COZYD_APPS_PROXY": "http://127.0.0.1 127.0.0.1 *.example.org",
    }
    with Served(top / "data", environ=environ).add_instances() as running:
        yield running


@pytest.fixture(scope="module")
def cli(server: Served) -> Client:
    scope = ("io.cozy.apps", "io.cozy.files", "io.cozy.contacts", "org.wiki", "io.cozy.remote.requests", "io.cozy.proxy")
    return Client(server, scope=scope)


@pytest.fixture(scope="module")
def store(server: Served, cli: Client) -> Client:
    """As the app `store` has it."""
    found = copy(cli)
    found.token = Command(server.folder)("token", server.domain, "--app", STORE, "io.cozy.apps", "io.cozy.files").last_line
    return found


def test_the_local_registry_lists_apps_with_their_channels(store: Client):
    found = store.api("GET", "/registry?filter[type]=webapp&versionsChannel=dev").json
    by_slug = {app["slug"]: app for app in found["data"]}
    assert list(by_slug) == ["far", "home", "near", "plain", "store"]
    near = by_slug["near"]
    assert near["versions"]["stable"] == ["1.0.0", "1.1.0"]
    assert near["versions"]["beta"] == near["versions"]["dev"] == ["1.0.0", "1.1.0", "1.2.0-beta.1"]
    assert (near["latest_version"]["version"], type(near["latest_version"]["size"]), near["label"]) == ("1.1.0", str, 5)
    assert found["meta"] == {"count": 5}
    assert "beta" not in {app["slug"]: app for app in store.api("GET", "/registry?versionsChannel=stable").json["data"]}["near"]["versions"]


def test_lists_come_in_pages_sorted_as_asked(store: Client):
    first = store.api("GET", "/registry?limit=2&sort=-slug").json
    assert [app["slug"] for app in first["data"]] == ["store", "plain"]
    rest = store.api("GET", f"/registry?limit=3&sort=-slug&cursor={first['meta']['next_cursor']}").json
    assert ([app["slug"] for app in rest["data"]], "next_cursor" in rest["meta"]) == (["near", "home", "far"], False)
    assert [app["slug"] for app in store.api("GET", "/registry?filter%5Bselect%5D=plain").json["data"]][-1:] == ["plain"]
    for wrong in ("cursor=x", "limit=x", "versionsChannel=x"):
        assert store.api("GET", f"/registry?{wrong}").status == 400


def test_the_first_registry_that_knows_a_slug_owns_it(store: Client, cli: Client):
    assert store.api("GET", "/registry/near").json["editor"] == "Us"
    assert store.api("GET", "/registry/near/9.0.0").status == 404
    assert cli.api("POST", "/apps/near?Source=registry%3A%2F%2Fnear%2F9.0.0").status == 404
    assert store.api("GET", "/registry/near/stable/latest").json["version"] == "1.1.0"
    assert store.api("GET", "/registry/near/beta/latest").json["version"] == "1.2.0-beta.1"
    assert store.api("GET", "/registry/near/nothing/latest").status == 400
    missing = store.api("GET", "/registry/nobody", Accept="text/plain")
    assert (missing.status, missing.headers["Content-Type"], missing.body) == (404, "text/plain; charset=utf-8", b"Not Found")
    assert store.api("GET", "/registry?limit=0").json["meta"]["count"] > 1


def test_an_app_is_installed_from_a_registry_by_the_store(store: Client, cli: Client):
    for slug, version in (("near", "1.1.0"), ("plain", "0.1.0"), ("far", "2.0.0")):
        answer = store.api("POST", f"/apps/{slug}?Source=registry%3A%2F%2F{slug}%2Fstable", Accept="text/event-stream")
        assert b'"state":"ready"' in answer.body, answer.body
        shown = cli.api("GET", f"/apps/{slug}").json["data"]["attributes"]
        assert (shown["version"], len(shown["checksum"])) == (version, 64)
    moved = cli.api("PUT", "/apps/near?Source=registry%3A%2F%2Fnear%2Fbeta", Accept="text/event-stream")
    assert b'"version":"1.2.0-beta.1"' in moved.body
    back = cli.api("PUT", "/apps/near?Source=registry%3A%2F%2Fnear%2Fstable", Accept="text/event-stream")
    assert b'"version":"1.1.0"' in back.body
    gone = cli.api("GET", "/apps/near/download")
    assert gone.status == 303
    path = gone.headers["Location"].partition(cli.domain)[2]
    packed = cli.ask("GET", path)
    part = cli.ask("GET", path, Range="bytes=0-9")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, packed.body[:10], f"bytes 0-9/{len(packed.body)}")
    assert hashlib.sha256(packed.body).hexdigest() == store.api("GET", "/registry/near/1.1.0").json["sha256"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"sha256": "0" * 64}, 502),
        ({"size": str(1 << 40)}, 413),
        ({"size": "17"}, 502),
        ({"size": "999999"}, 502),
        ({"url": "http://10.0.0.1/x"}, 403),
        ({"url": "file:///etc/passwd"}, 400),
        ({"url": None}, 502),
        ({"manifest": []}, 502),
        ({"manifest": {"type": "konnector"}}, 400),
        ({"manifest": {"permissions": {"a": {"type": "!"}}}}, 400),
    ],
)
def test_a_registry_that_lies_installs_nothing(server: Served, cli: Client, far: tuple[Canary, Far], changes: dict[str, Any], status: int):
    slug = "far"
    cli.api("DELETE", f"/apps/{slug}")
    far[1].changes = changes
    with Canary(far[1]) as other:  # an address of its own, so that nothing is remembered
        from cozyd.apps.registry import Registries, RemoteRegistry
        from cozyd.apps.registrysource import RegistrySource
        from cozyd.cache import LocalCache
        from cozyd.errors import CozyError
        from cozyd.outbound import Outbound

        outbound = Outbound(["127.0.0.1"])
        source = RegistrySource(Registries([RemoteRegistry(other.base, outbound, LocalCache())]), outbound)
        scratch = server.folder.parent / f"scratch-{hashlib.sha256(repr(changes).encode()).hexdigest()[:8]}"
        scratch.mkdir()
        with pytest.raises(CozyError) as refused:
            source("registry://far", "webapp", slug, scratch).fill(scratch / "files")
        assert refused.value.status == status
        assert not (scratch / "files").exists()
    far[1].changes = {}


def test_a_registry_that_is_away_is_answered_for_from_memory(store: Client, far: tuple[Canary, Far]):
    assert store.api("GET", "/registry/far").status == 200
    far[1].status = 503
    assert store.api("GET", "/registry/far").status == 200
    far[1].status = 200


def test_lists_are_packed_and_pictures_asked_for_once(store: Client, cli: Client, far: tuple[Canary, Far]):
    packed = store.api("GET", "/registry", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body))["data"] == store.api("GET", "/registry").json["data"]
    pictures = [cli.api("GET", "/registry/far/icon").body for _ in range(3)]
    assert pictures == [b"\x89PNG"] * 3
    assert [asked.path for asked in far[0].asked].count("/registry/far/icon") == 1


def test_images_load_by_the_cookie_or_a_right_and_run_nothing(store: Client, cli: Client):
    shown = cli.api("GET", "/registry/near/icon")
    assert (shown.status, shown.headers["Content-Type"], shown.body) == (200, "image/svg+xml", apps.files()["icon.svg"])
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert cli.api("GET", "/registry/far/icon").body == b"\x89PNG"
    assert "immutable" in cli.api("GET", "/registry/near/1.0.0/icon").headers["Cache-Control"]
    assert cli.api("GET", "/registry/near/screenshots/../../x").status == 404
    assert cli.ask("GET", "/registry/near/icon").status == 403
    assert cli.api("GET", "/registry/near").status == 403


def test_maintenance_is_told(store: Client):
    assert [(app["slug"], app["maintenance_options"]) for app in store.api("GET", "/registry/maintenance").json] == [
        ("plain", {"flag_short_maintenance": True})
    ]


# -- intents ------------------------------------------------------------------------------------------------------------


def intend(client: Client, **attributes: Any) -> Any:
    return client.api("POST", "/intents", {"data": {"type": "io.cozy.intents", "attributes": attributes}})


def test_an_intent_names_the_apps_that_serve_it(server: Served, store: Client, cli: Client, tmp_path: Path):
    source = apps.folder(tmp_path / "picker", intents=[{"action": "PICK", "type": ["io.cozy.files", "image/*"], "href": "/#/pick"}])
    Command(server.folder)("apps", "install", server.domain, "picker", str(source))
    Command(server.folder)("apps", "update", server.domain, STORE, str(apps.folder(tmp_path / "store")), "--accept")
    made = intend(store, action="pick", type="image/png", permissions=["GET"])
    assert made.status == 200
    shown = made.json["data"]
    host = f"http://picker.{server.domain}"
    assert shown["attributes"]["services"] == [{"slug": "picker", "href": f"{host}/?intent={shown['id']}#/pick"}]
    assert (shown["attributes"]["client"], shown["attributes"]["availableApps"]) == (f"http://store.{server.domain}", None)
    assert shown["links"]["permissions"].startswith("/permissions/")
    picker = copy(cli)
    picker.token = Command(server.folder)("token", server.domain, "--app", "picker", "io.cozy.files").last_line
    assert picker.api("GET", f"/intents/{shown['id']}").json["data"]["attributes"] == shown["attributes"]
    assert store.api("GET", f"/intents/{shown['id']}").status == 403
    assert picker.api("GET", "/intents/nothing").status == 404
    page = cli.ask("GET", f"/public?intent={shown['id']}", Host=f"picker.{server.domain}")
    assert f"frame-ancestors 'self' http://store.{server.domain};" in page.headers["Content-Security-Policy"]
    for other in (f"/public?intent={shown['id']}", "/public?intent=nothing", "/public"):
        host = "store" if "nothing" not in other and "intent" in other else "picker"
        answer = cli.ask("GET", other, Host=f"{host}.{server.domain}")
        assert "frame-ancestors 'self';" in answer.headers["Content-Security-Policy"]


def test_an_intent_nobody_serves_names_what_could_be_installed(store: Client, cli: Client):
    cli.api("DELETE", "/apps/far")
    shown = intend(store, action="OPEN", type="io.cozy.far").json["data"]["attributes"]
    assert (shown["services"], shown["availableApps"]) == (None, [{"slug": "far", "name": "Far"}])
    for given, missing in (({"type": "io.cozy.files"}, "Action"), ({"action": "OPEN"}, "Type")):
        refused = intend(store, **given)
        assert (refused.status, refused.json["errors"][0]["detail"]) == (422, f"{missing} is missing")
    assert intend(cli, action="OPEN", type="x").status == 403


# -- shortcuts and her own card ---------------------------------------------------------------------------------------------


def shortcut(client: Client, **attributes: Any) -> Any:
    return client.api("POST", "/shortcuts", {"data": {"type": "io.cozy.files.shortcuts", "attributes": attributes}})


def test_a_shortcut_leads_where_it_says(cli: Client):
    made = shortcut(cli, name="There", url="https://example.org/a?b=c#d", metadata={"x": 1})
    assert made.status == 201
    shown = made.json["data"]
    assert (shown["attributes"]["name"], shown["attributes"]["class"], shown["attributes"]["mime"]) == (
        "There.url",
        "shortcut",
        "application/internet-shortcut",
    )
    seen = cli.api("GET", f"/shortcuts/{shown['id']}").json["data"]
    assert (seen["type"], seen["attributes"]["url"], seen["attributes"]["metadata"]["x"]) == (
        "io.cozy.files.shortcuts",
        "https://example.org/a?b=c#d",
        1,
    )
    gone = cli.ask("GET", f"/shortcuts/{shown['id']}", Authorization=f"Bearer {cli.token}", Accept="text/html")
    assert (gone.status, gone.headers["Location"]) == (303, "https://example.org/a?b=c#d")


def test_a_shortcut_to_what_is_shared_is_seen_when_it_is_read(cli: Client):
    made = shortcut(cli, name="New", url="https://example.org/", metadata={"sharing": {"status": "new"}, "kept": 1}).json["data"]
    assert cli.api("GET", f"/files/{made['id']}").json["data"]["attributes"]["metadata"]["sharing"]["status"] == "new"

    def known(path: str) -> Any:
        metadata = cli.api("GET", f"{path}/{made['id']}").json["data"]["attributes"]["metadata"]
        return metadata["sharing"]["status"], metadata["kept"]

    eventually(lambda: known("/shortcuts") == ("seen", 1))
    assert known("/files") == ("seen", 1)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "", "data:text/html,x", "//example.org", "https://a b", "https://x\r\nSet-Cookie: a=b", "file:///etc/passwd"],
)
def test_a_shortcut_leads_nowhere_but_to_the_web(cli: Client, url: str):
    assert shortcut(cli, name="x", url=url).status == 422
    if "\r" in url:
        return
    made = cli.api(
        "POST",
        f"/files/io.cozy.files.root-dir?Type=file&Name={hashlib.sha256(url.encode()).hexdigest()[:9]}.url",
        f"[InternetShortcut]\r\nURL={url}\r\n".encode(),
        Content_Type="application/internet-shortcut",
    )
    assert made.status == 201
    assert cli.ask("GET", f"/shortcuts/{made.json['data']['id']}", Authorization=f"Bearer {cli.token}").status == 400


def test_her_own_card_is_made_again(cli: Client):
    first = cli.api("POST", "/contacts/myself").json["data"]
    assert (first["attributes"]["me"], first["type"]) == (True, "io.cozy.contacts")
    assert cli.api("DELETE", f"/data/io.cozy.contacts/{first['id']}?rev={first['meta']['rev']}").status == 200
    again = cli.api("POST", "/contacts/myself").json["data"]
    assert again["id"] != first["id"]
    assert again["attributes"]["fullname"] == first["attributes"]["fullname"]


def test_her_own_card_stays_hers_whatever_a_phone_does_to_it(cli: Client):
    mine = cli.api("POST", "/contacts/myself").json["data"]
    listed = cli.dav("PROPFIND", "/sync/dav/me/contacts/", Depth="1").body.decode()
    path = next(one for one in re.findall(r"<[^>]*href>([^<]+\.vcf)<", listed) if mine["id"] in one)
    card = cli.dav("GET", path).body.decode()
    assert cli.dav("PUT", path, card.replace("END:VCARD", "NOTE:edited\r\nEND:VCARD"), Content_Type="text/vcard").status in (201, 204)
    changed = cli.api("GET", f"/data/io.cozy.contacts/{mine['id']}").json
    assert (changed["me"], changed["note"]) == (True, "edited")
    assert cli.dav("DELETE", path).status == 403
    assert cli.api("GET", f"/data/io.cozy.contacts/{mine['id']}").json["me"] is True


# -- other servers ----------------------------------------------------------------------------------------------------------


def test_a_request_is_sent_as_it_was_written_down(server: Served, cli: Client, far: tuple[Canary, Far]):
    canary, _ = far
    before, canary.reply = (
        canary.reply,
        lambda asked: (200, {"Content-Type": "application/json", "Set-Cookie": "a=b", "X-Kept": "1"}, b"{}"),
    )
    refused = cli.api("GET", "/remote/org.wiki?page=a%2Fb&q=%26&lang=fr")
    assert (refused.status, refused.json["errors"][0]["source"]) == (400, {"parameter": "secret_key"})
    assert cli.api("GET", "/remote/org.wiki?page=x&q=x&lang=x&secret_key=mine").status == 400
    assert cli.api("POST", "/remote/org.wiki", {}).status in (404, 405)
    assert cli.api("GET", "/remote/io.cozy.contacts").status == 404
    assert cli.api("GET", "/remote/io.cozy.nothings").status == 403
    canary.reply = before


def test_files_that_the_operator_names_are_read_by_apps(cli: Client, far: tuple[Canary, Far]):
    canary, _ = far
    before, canary.reply = canary.reply, lambda asked: (200, {"Content-Type": "application/json", "Set-Cookie": "a=b"}, b'{"bank":1}')
    answer = cli.api("GET", "/remote/assets/bank")
    assert (answer.status, answer.json, answer.headers["Set-Cookie"]) == (200, {"bank": 1}, None)
    assert not {"authorization", "cookie"} & set(canary.asked[-1].headers)
    assert cli.api("GET", "/remote/assets/gone").status == 403
    assert cli.api("GET", "/remote/assets/nothing").status == 404
    assert cli.ask("GET", "/remote/assets/bank").status == 401
    canary.reply = before


def test_pages_of_apps_load_from_where_the_operator_allows(server: Served, cli: Client, tmp_path: Path):
    Command(server.folder)("apps", "install", server.domain, "map", str(apps.folder(tmp_path / "map")))
    policy = cli.ask("GET", "/public", Host=f"map.{server.domain}").headers["Content-Security-Policy"]
    parts = dict(part.partition(" ")[::2] for part in policy.split(";") if part)
    for name in ("script-src", "img-src", "connect-src"):
        assert parts[name].endswith(" https://tile.example.org wss://live.example.org"), parts[name]
    assert (parts["object-src"], parts["frame-ancestors"]) == ("'none'", "'self'")


def test_the_proxy_fetches_what_operator_and_manifest_allow(cli: Client, far: tuple[Canary, Far]):
    canary, _ = far
    before = canary.reply
    canary.reply = lambda asked: (
        200,
        {"Content-Type": "application/json", "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "*", "X-Kept": "1"},
        b"{}",
    )
    seen = len(canary.asked)
    answer = cli.api("GET", f"/proxy?url={canary.base}/x", Cookie="mine=1")
    assert (answer.status, answer.body, answer.headers["X-Kept"], answer.headers["Set-Cookie"]) == (200, b"{}", "1", None)
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert not {"authorization", "cookie"} & set(canary.asked[seen].headers)
    canary.reply = lambda asked: (200, {"Content-Type": "text/html"}, b"<script>")
    assert cli.api("GET", f"/proxy?url={canary.base}/x").status == 415
    canary.reply = lambda asked: (302, {"Location": "http://10.0.0.1/"}, b"")
    assert cli.api("GET", f"/proxy?url={canary.base}/x").status == 403
    canary.reply = before
    for url, status in {
        "http://example.org/": 400,
        "https://other.org/": 403,
        "https://user@127.0.0.1/": 400,
        "file:///etc/passwd": 400,
        "": 400,
    }.items():
        assert cli.api("GET", f"/proxy?url={url}").status == status, url


# -- errors -----------------------------------------------------------------------------------------------------------------


def test_a_notice_is_kept_without_secrets_and_shown_to_the_owner(server: Served, cli: Client):
    notice = {
        "errors": [{"type": "TypeError", "message": "x is undefined", "backtrace": [{"file": "a.js", "line": 1}]}],
        "context": {"url": "https://drive.example.org/x?token=secret#y", "severity": "error"},
        "params": {"password": "hunter2", "deep": {"authToken": "abc", "kept": 1}},
    }
    wrong = cli.ask("POST", "/errors/api/v3/projects/1/notices?key=drive.0000", json.dumps(notice))
    assert (wrong.status, "message" in wrong.json) == (401, True)
    token = Command(server.folder)("token", server.domain, "--app", "drive", "io.cozy.files").last_line
    made = cli.ask(
        "POST", "/errors/api/v3/projects/1/notices", json.dumps(notice), Authorization=f"Bearer {token}", Origin="http://drive.x"
    )
    assert (made.status, set(made.json), made.headers["Access-Control-Allow-Origin"]) == (201, {"id", "url"}, "http://drive.x")
    text = (server.folder / "errors.log").read_text()
    assert "x is undefined" in text
    assert not any(secret in text for secret in ("hunter2", "abc", "token=secret"))
    for body, status in {b"": 400, b"[]": 400, b'{"errors":[]}': 400, b"{" + b" " * 70_000 + b"}": 413}.items():
        refused = cli.ask("POST", "/errors/api/v3/projects/1/notices", body, Authorization=f"Bearer {token}")
        assert refused.status == status
    assert cli.ask("GET", "/errors/notices", Accept="application/json").status == 401
    slowed = [cli.ask("POST", "/errors/api/v3/projects/1/notices", b"{}", Authorization=f"Bearer {token}") for _ in range(70)]
    assert slowed[-1].status == 429
    assert int(slowed[-1].headers["X-RateLimit-Delay"]) > 0
    assert cli.ask("GET", "/errors/2/config/1/config.json").json["settings"] == []


def test_a_key_is_for_one_app(server: Served):
    assert key_of("a", "drive") != key_of("b", "drive") != key_of("a", "other")
