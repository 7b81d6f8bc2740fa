"""What contexts allow of apps, what an install tells, and what applications are given to draw an app themselves; in this process."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.apps import Order
from cozyd.apps.manifest import Kind
from cozyd.auth import Credentials
from cozyd.config import Apps, Server
from cozyd.documents.store import Change, Write
from cozyd.errors import Conflict, NotFound
from cozyd.jobs.triggers import NewTrigger
from cozyd.realtime import Park
from tests.support import apps
from tests.support.inprocess import Place, Tenant

SCOPE = "io.cozy.apps io.cozy.apps.logs"
FILES = {"files": {"type": "io.cozy.files"}}
MORE = FILES | {"contacts": {"type": "io.cozy.contacts"}}
CONTEXTS = {
    "open": {"allow_install_via_a_permission": True},
    "trusting": {"permissions_skip_verification": True},
    "own": {"additional_platform_apps": ["tiny"]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    top = tmp_path_factory.mktemp("rules")
    apps.folder(top / "registry" / "near" / "1.0.0", slug="near", version="1.0.0")
    (top / "well-known").mkdir()
    (top / "well-known" / "security.txt").write_text("Contact: mailto:ops@example.org\n")
    (top / "well-known" / "assetlinks.json").write_text("[]")
    (top / "secret.txt").write_text("secret")
    place = Place(
        top / "data", contexts=CONTEXTS, server=Server(well_known=top / "well-known"), apps=Apps(registries=f"local://{top / 'registry'}")
    )
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    return place.tenant(apps=())


def installed(tenant: Tenant, folder: Path, *, kind: Kind = "webapp", acked: bool = False, **changes: Any) -> dict[str, Any]:
    """Install or update `tiny`; its document."""
    order = Order(kind, "tiny", apps.folder(folder, **changes).as_uri(), acked=acked)
    room = tenant.instance.apps
    work = room.update if any(app.doc["slug"] == "tiny" for app in room.list(kind)) else room.install
    return dict(work(order, lambda _: None).doc)


# -- who may install ------------------------------------------------------------------------------------------------------


def is_let_in(tenant: Tenant, slug: str, source: str, scope: str = "io.cozy.apps") -> bool:
    """Whether an app may have an app installed: then its request waits until the manifest is read."""
    try:
        answer = tenant.app("POST", f"/apps/near?Source={source}", slug=slug, scope=scope)
    except Park:
        return True
    assert answer.status_code in (202, 403, 409), answer.text
    return answer.status_code != 403


def test_other_apps_install_where_the_context_says_so_and_from_registries_alone(place: Place, alice: Tenant):
    trusted = place.tenant(apps=(), context="open")
    assert is_let_in(alice, "store", "registry://near/stable")
    assert not is_let_in(alice, "drive", "registry://near/stable")
    assert is_let_in(trusted, "drive", "registry://near/stable")
    assert not is_let_in(trusted, "drive", "registry://near/stable", scope="io.cozy.files")
    assert not is_let_in(trusted, "drive", "registry://near/stable", scope="io.cozy.apps:POST:io.cozy.apps/near")
    for source in ("file:///etc", "https://example.org/a.tgz", "git+https://example.org/x", "npm:x"):
        assert not is_let_in(trusted, "drive", source)
        assert not is_let_in(trusted, "store", source)


def test_the_store_updates_only_with_the_registry_it_names(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    assert alice.app("PUT", "/apps/tiny", slug="store", scope="io.cozy.apps").status_code == 403
    assert alice.app("PUT", "/apps/tiny?PermissionsAcked=true", slug="drive", scope="io.cozy.apps").status_code == 403


# -- what waits for consent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("context", "waits"), [("default", True), ("trusting", False), ("own", False)])
def test_contexts_say_which_updates_wait_for_consent(place: Place, tmp_path: Path, context: str, waits: bool):
    tenant = place.tenant(apps=(), context=context)
    installed(tenant, tmp_path / "one", version="1.0.0", permissions=FILES)
    now = installed(tenant, tmp_path / "two", version="2.0.0", permissions=MORE)
    assert (now["version"][:5], now.get("available_version", "")[:5]) == (("1.0.0", "2.0.0") if waits else ("2.0.0", ""))


def test_new_terms_wait_whatever_the_context_says_of_permissions(place: Place, tmp_path: Path):
    tenant = place.tenant(apps=(), context="trusting")
    installed(tenant, tmp_path / "one", version="1.0.0", terms={"url": "https://example.org", "version": "1"})
    terms = {"url": "https://example.org", "version": "2"}
    assert installed(tenant, tmp_path / "two", version="2.0.0", terms=terms)["version"][:5] == "1.0.0"
    agreed = installed(tenant, tmp_path / "three", version="2.0.0", terms=terms, acked=True)
    assert (agreed["version"][:5], agreed["terms"]["version"], "available_version" in agreed) == ("2.0.0", "2", False)


# -- what is told ---------------------------------------------------------------------------------------------------------


def test_an_install_and_a_removal_are_told_as_they_happen(alice: Tenant, tmp_path: Path):
    told: list[tuple[str, str, str]] = []

    def hear(changes: Any) -> None:
        for change in changes:
            assert isinstance(change, Change)
            if change.new.ref.doctype == "io.cozy.apps":
                told.append((change.verb, change.new.ref.id, str(change.new.doc.get("state"))))

    stop = alice.stack.hub.subscribe(alice.instance.prefix, hear)
    run = alice.instance.apps.begin(Order("webapp", "tiny", apps.folder(tmp_path / "tiny").as_uri()), "key", update=False)
    while not run.done:
        alice.stack.apps.runs.rest(0.01)
    alice.instance.apps.remove("webapp", "tiny")
    stop()
    states = [(verb, state) for verb, id, state in told if id == "io.cozy.apps/tiny"]
    assert states[0] == ("UPDATED", "installing")
    assert ("CREATED", "ready") in states
    assert states[-1][0] == "DELETED"


def test_lines_of_an_app_are_in_the_servers_log_under_its_own_name(alice: Tenant, caplog: pytest.LogCaptureFixture):
    lines = [{"timestamp": "2026-01-01T00:00:00Z", "level": level, "msg": f"about {level}"} for level in ("warning", "error")]
    with caplog.at_level(logging.DEBUG, "cozyd.apps"):
        assert alice.app("POST", "/apps/other/logs?version=1.0.0", lines, slug="tiny", scope=SCOPE).status_code == 204
    assert [record.getMessage() for record in caplog.records if "about" in record.getMessage()] == [
        "tiny: about warning",
        "tiny: about error",
    ]
    refused = alice.app("POST", "/apps/tiny/logs", [{"level": "loud", "msg": "x"}], slug="tiny", scope=SCOPE)
    assert (refused.status_code, json.loads(refused.data)["errors"][0]["source"]) == (
        422,
        {"pointer": "/data/attributes/level"},
    )
    for body, status in (([], 204), (None, 204), ({}, 400), ([5], 400), ([{"level": "WARN", "msg": "x"}], 204)):
        assert alice.app("POST", "/apps/tiny/logs", json.dumps(body).encode(), slug="tiny", scope=SCOPE).status_code == status, body
    assert alice.app("POST", "/konnectors/tiny/logs", lines, slug="tiny", scope=SCOPE).status_code == 403
    assert alice.cli("POST", "/apps/tiny/logs", lines, scope=SCOPE).status_code == 403
    assert alice.app("POST", "/apps/tiny/logs", lines, slug="tiny", scope="io.cozy.files").status_code == 403
    assert alice.app("POST", "/apps/tiny/logs", lines, slug="tiny", scope=SCOPE).status_code == 204


def test_an_application_that_has_everything_draws_an_app_itself(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    clients = alice.instance.auth.clients
    flagship = clients.note(clients.register({"redirect_uris": ["app://x"], "client_name": "F", "software_id": "f"}), flagship=True)
    everything = alice.instance.auth.minted("access", flagship.id, "*")
    answer = alice.ask("GET", "/apps/tiny/open", token=everything)
    assert answer.status_code == 200, answer.text
    found = json.loads(answer.data)["data"]
    assert (found["type"], found["id"], found["links"]) == ("io.cozy.apps.open", "tiny", {"self": "/apps/tiny/open"})
    wanted = "Cookie Token Domain SubDomain Tracking Locale AppEditor AppName AppNamePrefix AppSlug IconPath Flags Capabilities "
    wanted += "CozyBar CozyFonts CozyClientJS ThemeCSS Favicon DefaultWallpaper Warnings"
    assert set(wanted.split()) <= set(found["attributes"])
    assert (found["attributes"]["Tracking"], found["attributes"]["AppSlug"], found["attributes"]["SubDomain"]) == (
        "false",
        "tiny",
        "nested",
    )
    name, _, cookie = found["attributes"]["Cookie"].partition(";")[0].partition("=")
    asked = alice.ask("GET", "/files/io.cozy.files.root-dir", token=found["attributes"]["Token"], cookie=cookie)
    assert (name, asked.status_code) == ("cozysessid", 200)
    assert alice.app("GET", "/apps/tiny/open", slug="tiny", scope="io.cozy.apps").status_code == 403


def test_an_app_that_an_application_is_linked_to_stays(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    about = {"redirect_uris": ["app://x"], "client_name": "N", "software_id": "registry://tiny"}
    client = alice.instance.auth.clients.register(about)
    refused = alice.cli("DELETE", "/apps/tiny", scope="io.cozy.apps")
    assert (refused.status_code, "linked OAuth client" in refused.text) == (400, True)
    alice.instance.auth.clients.remove(client)
    assert alice.cli("DELETE", "/apps/tiny", scope="io.cozy.apps").status_code == 200


def test_a_konnector_s_document_has_what_its_manifest_has(alice: Tenant, tmp_path: Path):
    files = {"manifest.konnector": json.dumps({"type": "konnector", "version": "1.0.0", "parameters": {"a": 1}}).encode()}
    source = apps.folder(tmp_path / "k", files).as_uri()
    installed = alice.instance.apps.install(Order("konnector", "bare", source, parameters={"b": 2}), lambda _: None).doc
    assert installed["parameters"] == {"b": 2}
    assert not {"terms", "notifications", "routes", "services"} & set(installed)
    assert alice.instance.apps.update(Order("konnector", "bare"), lambda _: None).doc["parameters"] == {"a": 1}, "the manifest's are newer"
    apps.folder(tmp_path / "k", {"manifest.konnector": json.dumps({"type": "konnector", "terms": {"id": 1, "version": "1"}}).encode()})
    updated = alice.instance.apps.update(Order("konnector", "bare", acked=True), lambda _: None).doc
    assert (updated["terms"], updated["parameters"]) == ({"id": 1, "version": "1"}, {"a": 1})
    files = {"manifest.konnector": json.dumps({"type": "konnector"}).encode()}
    plain = alice.instance.apps.install(Order("konnector", "plain", apps.folder(tmp_path / "p", files).as_uri()), lambda _: None)
    assert "parameters" not in plain.doc


def test_routes_services_and_rights_are_as_the_manifest_says(alice: Tenant, tmp_path: Path):
    routes = {"/": {"folder": "build", "index": "index.html"}, "/public": {"folder": "/", "public": True}}
    rights = {
        "all": {"type": "io.cozy.files", "verbs": ["ALL"]},
        "some": {"type": "io.cozy.contacts", "verbs": ["POST", "GET"]},
        "each": {"type": "io.cozy.bills", "verbs": ["DELETE", "PATCH", "PUT", "POST", "GET"]},
    }
    services = {"tidy": {"file": "tidy.js", "trigger_id": "of another"}}
    doc = installed(alice, tmp_path / "tiny", routes=routes, permissions=rights, services=services)
    assert doc["routes"] == {
        "/": {"folder": "build", "index": "index.html", "public": False},
        "/public": {"folder": "/", "index": "", "public": True},
    }
    assert doc["permissions"] == {
        "all": {"type": "io.cozy.files"},
        "some": {"type": "io.cozy.contacts", "verbs": ["GET", "POST"]},
        "each": {"type": "io.cozy.bills", "verbs": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
    }
    assert doc["services"] == {"tidy": {"type": "", "file": "tidy.js", "debounce": "", "trigger": "", "trigger_id": ""}}


def test_an_app_may_be_installed_without_being_ready(alice: Tenant, tmp_path: Path):
    source = apps.folder(tmp_path / "tiny").as_uri()
    assert alice.instance.apps.install(Order("webapp", "tiny", source, deactivated=True), lambda _: None).doc["state"] == "installed"
    assert alice.instance.apps.update(Order("webapp", "tiny"), lambda _: None).doc["state"] == "installed"


def test_nothing_is_told_of_an_app_that_somebody_else_installs_again(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    order = Order("webapp", "tiny", (tmp_path / "tiny").as_uri())
    with pytest.raises(Conflict):
        alice.instance.apps.begin(order, "again", update=False)
    with pytest.raises(NotFound):
        alice.instance.apps.begin(Order("webapp", "other"), "other", update=True)


def test_a_konnector_s_trigger_names_its_account_and_asks_for_a_folder(alice: Tenant, tmp_path: Path):
    for slug, more in (("plain", {}), ("papers", {"folders": []}), ("fields", {"fields": {"advanced_fields": {"folderPath": {}}}})):
        manifest = json.dumps({"type": "konnector", "frequency": "daily"} | more).encode()
        folder = apps.folder(tmp_path / slug, {"manifest.konnector": manifest})
        alice.instance.apps.install(Order("konnector", slug, folder.as_uri()), lambda _: None)
        answer = alice.app("POST", f"/konnectors/{slug}/trigger?AccountID=a", slug="home", scope="io.cozy.triggers")
        made = json.loads(answer.data)["data"]
        wanted = {"account": "a", "konnector": slug} | ({"folder_to_save": "yes"} if more else {})
        assert (made["attributes"]["message"], made["attributes"]["worker"]) == (wanted, "konnector")
        assert made["attributes"]["cozyMetadata"]["createdByApp"] == "home"
        assert [one["slug"] for one in made["attributes"]["cozyMetadata"]["updatedByApps"]] == ["home"]


def test_a_konnector_that_a_client_runs_goes_with_its_accounts_too(alice: Tenant, tmp_path: Path):
    folder = apps.folder(tmp_path / "k", {"manifest.konnector": b'{"type":"konnector"}'})
    alice.instance.apps.install(Order("konnector", "outside", folder.as_uri()), lambda _: None)
    account = alice.instance.docs.put("io.cozy.accounts", {"account_type": "outside"}).ref.id
    alice.instance.jobs.triggers.create(NewTrigger("@client", message={"konnector": "outside", "account": account}))
    assert alice.cli("DELETE", "/konnectors/outside", scope="io.cozy.konnectors").status_code == 202
    assert alice.instance.docs.get_many("io.cozy.accounts", [account])[0] is None


# -- hosts ----------------------------------------------------------------------------------------------------------------


def test_before_her_first_steps_and_for_apps_of_old_the_way_leads_to_the_main_host(place: Place, alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    for slug in ("collect", "onboarding"):
        gone = alice.ask("GET", "/x", host=alice.instance.app_host(slug))
        assert (gone.status_code, gone.headers["Location"]) == (301, alice.instance.url("/"))
    alice.instance.amend(onboarding_finished=False)
    host = alice.instance.app_host("tiny")
    gone = alice.ask("GET", "/", host=host)
    assert (gone.status_code, gone.headers["Location"]) == (302, alice.instance.url("/"))


def test_an_icon_is_kept_for_good_by_whatever_version_its_address_names(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    plain = alice.cli("GET", "/apps/tiny/icon", scope="io.cozy.apps")
    assert (plain.status_code, plain.headers["Cache-Control"]) == (200, "private, no-cache")
    assert alice.cli("GET", "/apps/tiny/icon", scope="io.cozy.apps", If_None_Match=plain.headers["ETag"]).status_code == 304
    named = alice.cli("GET", "/apps/tiny/icon/9.9.9", scope="io.cozy.apps")
    assert (named.data, "immutable" in named.headers["Cache-Control"]) == (plain.data, True)
    cookie = alice.instance.auth.open_session(Credentials(), long_run=True)
    assert alice.ask("GET", "/apps/tiny/icon", cookie=cookie).data == plain.data
    assert alice.ask("GET", "/apps/tiny/icon").status_code == 401


def test_an_app_that_is_not_whole_yet_is_not_served(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    stored = alice.instance.apps.get("webapp", "tiny")
    for state, status in (("installing", 503), ("errored", 503), ("installed", 200)):
        changed = alice.instance.docs.commit([Write(stored.ref, patch={"state": state}, rev=stored.rev)])[0].made
        answer = alice.ask("GET", "/public/page.html", host=alice.instance.app_host("tiny"))
        assert answer.status_code == status
        stored = changed
    assert alice.instance.apps.get("webapp", "tiny").doc["state"] == "ready", "it is from its first use on"


def test_a_route_without_a_folder_answers_nothing_and_a_pass_goes_along_to_the_log_in(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny", routes={"/": {"folder": "/", "index": "index.html"}, "/bare": {"index": "index.html"}})
    host = alice.instance.app_host("tiny")
    assert [alice.ask("GET", path, host=host).status_code for path in ("/bare", "/bare/x", "/x")] == [404, 404, 401]
    there = alice.ask("GET", "/?jwt=abc", host=host).headers["Location"]
    assert there.startswith(f"http://{alice.instance.domain}/auth/login?redirect=")
    assert there.endswith("&jwt=abc")


def test_an_index_is_drawn_by_its_own_name_too(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    pages = [alice.ask("GET", path, host=alice.instance.app_host("tiny")) for path in ("/public", "/public/", "/public/index.html")]
    assert [(page.status_code, page.text, page.headers["Cache-Control"]) for page in pages] == [
        (200, '<p data-token="">public</p>', "private, no-store, must-revalidate")
    ] * 3


def test_hosts_of_apps_let_no_other_origin_read(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny")
    for path in ("/public", "/public/page.html", "/nothing"):
        answer = alice.ask("GET", path, host=alice.instance.app_host("tiny"), Origin=alice.instance.url(""))
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert alice.ask("OPTIONS", "/public", host=alice.instance.app_host("tiny"), Origin="https://x.example").status_code == 405


def test_an_application_that_is_linked_to_an_app_begins_intents_as_that_app(alice: Tenant, tmp_path: Path):
    installed(alice, tmp_path / "tiny", intents=[{"action": "OPEN", "type": ["io.cozy.files"], "href": "/"}])
    clients = alice.instance.auth.clients
    client = clients.note(
        clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "registry://tiny"}), pending=...
    )
    token = alice.instance.auth.minted("access", client.id, "@io.cozy.apps/tiny")
    wanted = {"data": {"attributes": {"action": "open", "type": "io.cozy.files"}}}
    answer = alice.ask("POST", "/intents", wanted, token=token)
    assert answer.status_code == 200, answer.text
    made = json.loads(answer.data)["data"]
    assert (made["attributes"]["client"], made["attributes"]["services"][0]["slug"]) == (alice.instance.app_url("tiny").rstrip("/"), "tiny")
    assert alice.ask("GET", f"/intents/{made['id']}", token=token).status_code == 200


@pytest.mark.parametrize(
    ("href", "address"), [("pick", "/pick?"), ("//evil.example/x", "/x?"), ("/a#/b", "/a?"), ("", "/?"), ("#/b", "/?")]
)
def test_a_service_is_on_the_app_s_own_host_wherever_its_manifest_says(alice: Tenant, tmp_path: Path, href: str, address: str):
    served = [{"action": "PICK", "type": ["image/*"], "href": href}, {"action": "PICK", "type": ["image/png"], "href": "/second"}]
    installed(alice, tmp_path / "tiny", intents=served)
    asked = {"data": {"type": "io.cozy.intents", "attributes": {"action": "pick", "type": "image/png"}}}
    answer = alice.app("POST", "/intents", asked, slug="tiny", scope="io.cozy.files")
    (service,) = json.loads(answer.data)["data"]["attributes"]["services"]
    assert service["href"].startswith(f"http://tiny.{alice.instance.domain}{address}intent=")


def test_the_operator_s_files_are_where_others_look_for_them(alice: Tenant):
    found = alice.ask("GET", "/.well-known/security.txt")
    assert (found.status_code, found.text, found.headers["Content-Type"]) == (
        200,
        "Contact: mailto:ops@example.org\n",
        "text/plain; charset=utf-8",
    )
    assert alice.ask("GET", "/security.txt").text == found.text
    assert alice.ask("GET", "/.well-known/security.txt", If_None_Match=found.headers["ETag"]).status_code == 304
    links = alice.ask("GET", "/.well-known/assetlinks.json")
    assert (links.status_code, links.headers["Content-Type"]) == (200, "application/json")
    for path in ("apple-app-site-association", "../secret.txt", "..%2fsecret.txt", "secret.txt"):
        assert alice.ask("GET", f"/.well-known/{path}").status_code == 404
