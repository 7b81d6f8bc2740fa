"""`/files` as the desktop application uses it: its name in what it sends, and the folders that it leaves out."""

from collections.abc import Iterator
from typing import Any

import pytest

from cozyd.permissions import FILES
from tests.support.client import Client
from tests.support.files import mkdir, uploaded
from tests.support.oauth import Application, with_token
from tests.support.serving import Served
from tests.support.visitor import Visitor

DESKTOP: dict[str, Any] = {"client_name": "My laptop", "client_kind": "desktop", "software_id": "https://github.com/cozy-labs/cozy-desktop"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("devices") / "data").add_alice() as server:
        yield server


@pytest.fixture(scope="module")
def laptop(served: Served) -> tuple[Application, Client]:
    app = Application(Visitor(served).log_in(), software_version="3.40.0", **DESKTOP)
    return app, with_token(served, app.tokens(FILES)["access_token"])


def test_a_file_says_which_device_sent_it(laptop: tuple[Application, Client]):
    app, client = laptop
    metadata = uploaded(client, "io.cozy.files.root-dir", "from-the-laptop.txt")["attributes"]["cozyMetadata"]
    sender = {"id": app.id, "kind": "desktop", "name": "My laptop"}
    assert metadata["uploadedBy"] == {"slug": "cozy-desktop", "version": "3.40.0", "oauthClient": sender}
    assert (metadata["createdByApp"], metadata["createdByAppVersion"]) == ("cozy-desktop", "3.40.0")
    assert [(one["slug"], one["version"]) for one in metadata["updatedByApps"]] == [("cozy-desktop", "3.40.0")]


def test_a_client_without_an_app_leaves_no_name(served: Served):
    app = Application(Visitor(served).log_in())
    client = with_token(served, app.tokens(FILES)["access_token"])
    metadata = uploaded(client, "io.cozy.files.root-dir", "from-nobody.txt")["attributes"]["cozyMetadata"]
    assert not {"uploadedBy", "createdByApp", "updatedByApps"} & set(metadata)


@pytest.mark.parametrize("path", ["/files/_changes", f"/data/{FILES}/_changes"])
def test_what_a_device_leaves_out_is_deleted_in_its_feed_alone(served: Served, laptop: tuple[Application, Client], path: str):
    app, client = laptop
    owner = Client(served, scope=(FILES,))
    name = path.split("/")[1]
    folder = mkdir(owner, f"left-out-{name}")
    file = uploaded(owner, folder, "inside.txt")["id"]
    device = {"type": "io.cozy.oauth.clients", "id": app.id}
    assert owner.api("POST", f"/files/{folder}/relationships/not_synchronized_on", {"data": [device]}).status == 200

    def deleted(who: Client) -> dict[str, bool]:
        rows = who.api("GET", f"{path}?include_docs=true").json["results"]
        return {row["id"]: bool((row["doc"] or {}).get("_deleted")) for row in rows if row["id"] in (folder, file)}

    assert deleted(owner) == {folder: False, file: False}
    assert deleted(client)[file] is True
