"""Apps of registries look after themselves: newer versions, other files, files that are not here."""

import shutil
from collections.abc import Iterator
from pathlib import Path

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


def open_index(alice: Tenant) -> int:
    """She opens the app, logged in."""
    instance = alice.instance
    session = instance.auth.sessions.id_of(instance.auth.open_session(Credentials(), long_run=True))
    host = instance.app_host("near")
    return alice.ask("GET", "/", host=host, cookie=instance.auth.handover.cookie(session, host)).status_code


def version(alice: Tenant) -> str:
    return str(alice.instance.apps.get("webapp", "near").doc["version"])


def test_a_new_instance_has_what_it_was_made_with_and_no_more(alice: Tenant):
    assert [stored.doc["slug"] for stored in alice.instance.apps.list("webapp")] == ["near"]
    assert seen(alice) == 200


def test_a_newer_version_comes_when_the_app_is_opened(alice: Tenant, folder: Path):
    apps.folder(folder / "1.1.0", slug="near", version="1.1.0")
    assert open_index(alice) == 200
    eventually(lambda: version(alice) == "1.1.0")


def test_she_may_want_no_updates(alice: Tenant, folder: Path):
    alice.instance.amend(no_auto_update=True)
    apps.folder(folder / "1.1.0", slug="near", version="1.1.0")
    assert open_index(alice) == 200
    assert alice.stack.apps.runs.get(f"app-looked/{alice.instance.prefix}/io.cozy.apps/near") is None
    assert version(alice) == "1.0.0"


def test_other_files_under_the_same_version_come_too(alice: Tenant, folder: Path):
    apps.folder(folder / "1.0.0", apps.files(slug="near") | {"public/page.html": b"<p>other</p>"})
    (folder / "1.0.0" / "stamp").write_bytes(b"")
    assert open_index(alice) == 200
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
