"""What apps ask of sharings on each page: those that a cozy brought along when it moved in, and none else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from tests.support.inprocess import Place, Tenant

ALL = "io.cozy.files io.cozy.contacts"
FOLDER = {"title": "Papers", "doctype": "io.cozy.files", "values": ["f1"], "add": "sync", "update": "sync", "remove": "sync"}
GROUP = {"title": "Friends", "doctype": "io.cozy.contacts", "values": ["c1"], "add": "push", "update": "push", "remove": "push"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("sharings") / "data")
    yield place
    place.stack.close()


@pytest.fixture
def alice(place: Place) -> Tenant:
    return place.tenant()


def brought(alice: Tenant, id: str, *rules: dict[str, Any], **fields: Any) -> None:
    credentials = [{"inbound_client_id": "secret", "xor_key": "c2VjcmV0"}]
    body = {"_id": id, "active": True, "description": id, "rules": list(rules), "members": [], "credentials": credentials} | fields
    alice.instance.docs.commit([Write(Ref("io.cozy.sharings", id), body=body)])


def told(alice: Tenant, path: str) -> Any:
    answer = alice.cli("GET", path, scope=ALL)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.data)


def ids(alice: Tenant, path: str) -> list[str]:
    answer = told(alice, path)
    assert answer["meta"]["count"] == len(answer["data"])
    return sorted(one["id"] for one in answer["data"])


def test_where_nothing_is_shared_the_lists_are_empty(alice: Tenant):
    assert ids(alice, "/sharings/doctype/io.cozy.files?shared_docs=false") == []
    assert ids(alice, "/sharings/drives") == []


def test_sharings_are_found_by_what_they_are_about(alice: Tenant):
    brought(alice, "papers", FOLDER)
    brought(alice, "both", FOLDER, GROUP)
    brought(alice, "drive", FOLDER, drive=True)
    brought(alice, "past", FOLDER, drive=True, active=False)
    assert ids(alice, "/sharings/doctype/io.cozy.contacts") == ["both"]
    assert ids(alice, "/sharings/doctype/io.cozy.files") == ["both", "drive", "papers", "past"]
    assert ids(alice, "/sharings/drives") == ["drive"]


def test_no_answer_has_what_opens_the_other_clouds(alice: Tenant):
    brought(alice, "papers", FOLDER)
    for path in ("/sharings/doctype/io.cozy.files", "/sharings/papers"):
        answer = alice.cli("GET", path, scope=ALL)
        assert answer.status_code == 200
        assert "secret" not in answer.text
        assert "c2VjcmV0" not in answer.text


def test_what_is_in_a_sharing_is_named_unless_nobody_wants_to_know(alice: Tenant):
    brought(alice, "papers", FOLDER)
    for id, removed in (("f1", False), ("f2", True)):
        infos = {"papers": {"rule": 0} | ({"removed": True} if removed else {}), "other": {"rule": 0}}
        alice.instance.docs.put("io.cozy.shared", {"_id": f"io.cozy.files/{id}", "infos": infos})
    one = told(alice, "/sharings/papers")["data"]
    assert one["relationships"]["shared_docs"]["data"] == [{"id": "f1", "type": "io.cozy.files"}]
    assert (one["links"]["self"], one["attributes"]["rules"]) == ("/sharings/papers", [FOLDER])
    silent = told(alice, "/sharings/papers?shared_docs=false")["data"]
    assert silent["relationships"]["shared_docs"]["data"] is None


def test_who_may_read_nothing_of_it_sees_no_sharing(alice: Tenant):
    brought(alice, "papers", FOLDER)
    assert alice.cli("GET", "/sharings/papers", scope="io.cozy.contacts").status_code == 403
    assert alice.cli("GET", "/sharings/other", scope="io.cozy.contacts").status_code == 403
    assert alice.cli("GET", "/sharings/other", scope="io.cozy.sharings").status_code == 404
    assert alice.cli("GET", "/sharings/drives", scope="io.cozy.files:GET:one").status_code == 403
