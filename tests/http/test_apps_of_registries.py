"""Apps of registries look after themselves: newer versions, other files, files that are not here."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.apps import Order
from cozyd.apps.installer import DIGEST
from cozyd.auth import Credentials
from cozyd.config import Apps
from cozyd.documents.store import Write
from cozyd.errors import CozyError
from tests.support import apps
from tests.support.inprocess import Place, Tenant
from tests.support.serving import eventually

PAGE = "/public/page.html"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return apps.folder(tmp_path / "registry" / "near" / "1.0.0", slug="near").parent


@pytest.fixture
def alice(tmp_path: Path, folder: Path) -> Iterator[Tenant]:
    place = Place(tmp_path / "data", apps=Apps(registries=f"local://{folder.parent}"))
    tenant = place.tenant(apps=("near",))
    yield tenant
    place.stack.close()


def seen(alice: Tenant) -> int:
    return alice.ask("GET", PAGE, host=alice.instance.app_host("near")).status_code


def open_index(alice: Tenant) -> str:
    """The page of the app, when she is logged in."""
    instance = alice.instance
    session = instance.auth.sessions.id_of(instance.auth.open_session(Credentials(), long_run=True))
    host = instance.app_host("near")
    answer = alice.ask("GET", "/", host=host, cookie=instance.auth.handover.cookie(session, host))
    assert answer.status_code == 200
    return answer.text


def version(alice: Tenant) -> str:
    return str(alice.instance.apps.get("webapp", "near").doc["version"])


def test_a_new_instance_has_what_it_was_made_with_and_no_more(alice: Tenant):
    assert [stored.doc["slug"] for stored in alice.instance.apps.list("webapp")] == ["near"]
    assert seen(alice) == 200


def test_a_newer_version_comes_when_the_app_is_opened(alice: Tenant, folder: Path):
    apps.folder(folder / "1.1.0", slug="near", version="1.1.0")
    open_index(alice)
    eventually(lambda: version(alice) == "1.1.0")


def test_she_may_want_no_updates(alice: Tenant, folder: Path):
    alice.instance.amend(no_auto_update=True)
    apps.folder(folder / "1.1.0", slug="near", version="1.1.0")
    open_index(alice)
    assert alice.stack.apps.runs.get(f"app-looked/{alice.instance.prefix}/io.cozy.apps/near") is None
    assert version(alice) == "1.0.0"


def test_other_files_under_the_same_version_come_too(alice: Tenant, folder: Path):
    apps.folder(folder / "1.0.0", apps.files(slug="near") | {"public/page.html": b"<p>other</p>"})
    (folder / "1.0.0" / "stamp").write_bytes(b"")
    open_index(alice)
    eventually(lambda: alice.ask("GET", PAGE, host=alice.instance.app_host("near")).data == b"<p>other</p>")


@pytest.mark.parametrize("lost", ["the files", "what names them"])
def test_files_that_are_not_here_are_fetched_by_themselves(alice: Tenant, lost: str):
    app = alice.instance.apps.get("webapp", "near")
    if lost == "the files":
        digest = str(app.private[DIGEST])
        shutil.rmtree(alice.stack.config.storage.path / "apps" / digest)
        alice.stack.blobs.destroy("apps-bundles")
        alice.stack.apps.bundles._kept.clear()
    else:
        alice.instance.docs.commit([Write(app.ref, body=dict(app.doc), rev=app.rev, private={})])
    assert seen(alice) == 503
    eventually(lambda: seen(alice) == 200)
    assert version(alice) == "1.0.0"


def test_files_that_are_nowhere_are_404(alice: Tenant, folder: Path):
    app = alice.instance.apps.get("webapp", "near")
    alice.instance.docs.commit([Write(app.ref, body=dict(app.doc), rev=app.rev, private={})])
    shutil.rmtree(folder)
    assert seen(alice) == 503
    eventually(lambda: seen(alice) == 404)


def test_what_an_operator_asks_for_twice_is_there_once(alice: Tenant):
    with pytest.raises(CozyError):
        alice.instance.apps.install(Order("webapp", "near", "registry://near/stable"), lambda _: None)
    assert seen(alice) == 200


def test_an_app_that_is_not_installed_leads_to_its_page_in_the_store(alice: Tenant):
    def leads(slug: str) -> tuple[int, str | None]:
        answer = alice.ask("GET", "/deep/path?x=1", host=alice.instance.app_host(slug))
        return answer.status_code, answer.location

    domain = alice.instance.domain
    assert (leads("home"), leads("nowhere")) == ((404, None), (404, None))
    alice.instance.apps.install(Order("webapp", "store", "registry://store/stable"), lambda _: None)
    assert leads("home") == (307, f"http://store.{domain}/#/discover/home")
    assert leads("nowhere") == (404, None)
    assert leads("collect") == leads("onboarding") == (301, f"http://{domain}/")


def test_what_she_has_to_do_is_told_to_the_bar_of_her_apps_alone(alice: Tenant):
    assert "user-action-required" not in open_index(alice)
    alice.instance.amend(tos="1.0.0-20240101", tos_latest="2.0.0-20260101")
    assert '<meta name="user-action-required" data-title="TOS Updated" data-code="tos-updated" data-detail="' in open_index(alice)
    assert "user-action-required" not in alice.ask("GET", "/public", host=alice.instance.app_host("near")).text


@pytest.mark.parametrize(("kind", "there"), [("nested", "near.bob.example.org"), ("flat", "bob-near.example.org")])
def test_public_pages_of_a_cloud_that_moved_lead_to_the_new_one(alice: Tenant, kind: str, there: str):
    alice.instance.amend(moved=True)
    alice.instance.settings.note(moved_to="https://bob.example.org", moved_to_subdomain_type=kind)
    answer = alice.ask("GET", "/public?sharecode=x&y=z", host=alice.instance.app_host("near"), Accept="text/html")
    assert answer.status_code == 410
    assert f'href="https://{there}/public?sharecode=x&amp;y=z"' in answer.text
    assert "https://" not in open_index(alice)


def test_an_intent_is_of_the_client_that_the_manifest_names_by_a_flag(alice: Tenant, folder: Path):
    served = [{"action": "PICK", "type": ["io.cozy.files"], "href": "/"}]
    apps.folder(folder / "1.1.0", slug="near", version="1.1.0", client_url_flag="near.client", intents=served)
    alice.instance.apps.update(Order("webapp", "near", acked=True), lambda _: None)
    alice.instance.amend(feature_flags={"near.client": "https://near.example.org/"})
    wanted = {"data": {"type": "io.cozy.intents", "attributes": {"action": "PICK", "type": "io.cozy.files"}}}
    made = alice.app("POST", "/intents", wanted, slug="near", scope="io.cozy.files").json
    assert made is not None
    assert made["data"]["attributes"]["client"] == "https://near.example.org"
    framed = alice.ask("GET", f"/public?intent={made['data']['id']}", host=alice.instance.app_host("near"))
    policy = framed.headers["Content-Security-Policy"].partition("frame-ancestors ")[2].partition(";")[0]
    assert policy == f"'self' http://{alice.instance.app_host('near')} https://near.example.org"


@pytest.mark.parametrize(
    ("added", "terms", "waits"),
    [
        ({"type": "io.cozy.certified.carbon_copy"}, "", False),
        ({"type": "io.cozy.contacts"}, "", True),
        ({"type": "io.cozy.certified.electronic_safe"}, "2", True),
    ],
)
def test_a_konnector_may_add_what_certifies_files_without_asking(
    alice: Tenant, tmp_path: Path, added: dict[str, str], terms: str, waits: bool
):
    def published(version: str, **changes: Any) -> str:
        text = json.dumps(apps.manifest(type="konnector", version=version, routes=None, **changes)).encode()
        return apps.folder(tmp_path / version, {"manifest.konnector": text, "index.js": b""}).as_uri()

    files = {"type": "io.cozy.files"}
    alice.instance.apps.install(Order("konnector", "shop", published("1.0.0", permissions={"files": files})), lambda _: None)
    changes = {"permissions": {"files": files, "more": added}, "terms": {"url": "https://example.org", "version": terms}}
    alice.instance.apps.update(Order("konnector", "shop", published("2.0.0", **changes)), lambda _: None)
    assert ("available_version" in alice.instance.apps.get("konnector", "shop").doc) is waits
