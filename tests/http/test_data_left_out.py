"""`/data/io.cozy.files/_changes` for a device that leaves folders out: what lies below them is deleted to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from blueprints import create_app
from cozyd.instance import Instance
from cozyd.permissions import FILES, ROOT_DIR, Principal, parse_scope
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack

DEVICE, FEED = "desktop-1", f"/data/{FILES}/_changes"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = open_stack(tmp_path / "data", Clock())
    yield made
    made.close()


@pytest.fixture
def alice(stack: Stack) -> Instance:
    made = stack.create("alice.localhost:8080")
    files = made.files
    music = files.mkdir(files.dir(ROOT_DIR), "Music", fields={"not_synchronized_on": [{"type": "io.cozy.oauth.clients", "id": DEVICE}]})
    files.mkdir(music, "Jazz")
    files.mkdir(files.dir(ROOT_DIR), "Musical")
    return made


def feed(stack: Stack, alice: Instance, kind: Any, query: str = "") -> dict[str, Any]:
    """Path or name -> (deleted, document) as a principal of this kind hears it."""
    who = Principal(kind, DEVICE, parse_scope(FILES))
    environ = {"cozyd.instance": alice, "cozyd.principal": who, "cozyd.stack": stack}
    answer = Client(create_app(stack)).get(f"{FEED}?{query}", environ_overrides=environ)
    assert answer.status_code == 200
    names = {stored.ref.id: str(stored.doc.get("path")) for stored in alice.docs.all(FILES).rows}
    return {names[row["id"]]: (row.get("deleted", False), row["doc"]) for row in answer.get_json()["results"]}


def test_what_lies_below_is_deleted_to_that_device_alone(stack: Stack, alice: Instance):
    heard = feed(stack, alice, "client", "include_docs=true")
    deleted, doc = heard["/Music/Jazz"]
    assert deleted
    assert doc.keys() == {"_id", "_rev", "_deleted"}
    assert heard["/Musical"][0] is False
    assert heard["/Musical"][1]["name"] == "Musical"
    assert feed(stack, alice, "app", "include_docs=true")["/Music/Jazz"][1]["name"] == "Jazz"


def test_without_documents_deletions_are_told_too(stack: Stack, alice: Instance):
    heard = feed(stack, alice, "client")
    assert heard["/Music/Jazz"][0] is True
    assert heard["/Musical"] == (False, None)
