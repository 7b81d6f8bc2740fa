"""`/data/io.cozy.accounts`: passwords are sealed whichever way they come, and shown to whom they are for."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cozyd.accounts import ACCOUNTS, AccountSecrets
from tests.support.client import Client
from tests.support.data import with_rules
from tests.support.serving import Served

T = f"/data/{ACCOUNTS}"
PASSWORD, ANSWER = "s3cr3t of the bank", "the first pet"
AUTH = {"login": "marie", "password": PASSWORD, "answer": ANSWER, "zip": "75005"}


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=(ACCOUNTS,))


@pytest.fixture(scope="module")
def app(alice: Client) -> Client:
    """The same person's web app."""
    other = with_rules(alice, ACCOUNTS)
    other.token = alice.served.cli("token", alice.domain, ACCOUNTS, "--app", "home").strip().splitlines()[-1]
    return other


def in_clear(text: bytes) -> bool:
    return PASSWORD.encode() in text or ANSWER.encode() in text


def test_an_account_is_named_described_and_sealed(alice: Client, app: Client):
    answer = app.api("POST", f"{T}/", {"account_type": "bank", "auth": AUTH, "data": {"auth": {"session": "s3cr3t of the bank"}}})
    assert answer.status == 201
    assert not in_clear(answer.body)
    data = answer.json["data"]
    assert (data["name"], data["auth"]["login"], data["auth"]["zip"]) == ("marie", "marie", "75005")
    assert {"credentials_encrypted", "answer_encrypted"} <= data["auth"].keys()
    assert data["data"]["auth"].keys() == {"session_encrypted"}
    assert (data["cozyMetadata"]["metadataVersion"], data["cozyMetadata"]["createdByApp"]) == (1, "home")
    assert not in_clear(app.api("GET", f"{T}/{answer.json['id']}").body)
    assert not in_clear(alice.api("GET", f"{T}/{answer.json['id']}?include=credentials").body), "no web app"
    opened = app.api("GET", f"{T}/{answer.json['id']}?include=credentials").json
    assert opened["auth"] == AUTH
    assert opened["data"]["auth"] == {"session": "s3cr3t of the bank"}
    changed = app.api("PUT", f"{T}/{opened['_id']}", opened | {"auth": AUTH | {"login": "pierre"}})
    assert not in_clear(changed.body)
    assert changed.json["data"]["name"] == "marie", "only a new one is named"
    assert changed.json["data"]["cozyMetadata"] == data["cozyMetadata"]
    opened = app.api("GET", f"{T}/{opened['_id']}?include=credentials").json
    assert opened["auth"] == AUTH | {"login": "pierre"}


def test_no_way_in_leaves_a_password_in_clear(served: Served, alice: Client):
    docs = [{"_id": "bulk", "auth": AUTH}]
    grafted = [{"_id": "grafted", "_rev": "1-" + "a" * 32, "auth": AUTH}]
    with alice.watch(ACCOUNTS) as watch:
        assert alice.api("PUT", f"{T}/put", {"auth": AUTH}).status == 200
        assert alice.api("POST", f"{T}/_bulk_docs", {"docs": docs}).status == 201
        assert alice.api("POST", f"{T}/_bulk_docs", {"docs": grafted, "new_edits": False}).json == []
        told = [json.dumps(watch.next()).encode() for _ in range(3)]
    shown = [alice.api("GET", f"{T}/{id}") for id in ("put", "bulk", "grafted")]
    shown.append(alice.api("GET", f"{T}/_changes?include_docs=true"))
    assert not any(in_clear(text) for text in [*told, *(answer.body for answer in shown)])
    assert all("credentials_encrypted" in answer.json["auth"] for answer in shown[:3])
    assert shown[2].json["_rev"] == "1-" + "a" * 32
    files = [path for path in Path(served.folder).rglob("*") if path.is_file() and ".sqlite" in path.name]
    assert files
    assert not any(in_clear(path.read_bytes()) for path in files)


def test_the_same_account_has_the_same_revision(alice: Client):
    one, other = (alice.api("PUT", f"{T}/same{number}", {"auth": AUTH, "cozyMetadata": {}}).json["rev"] for number in range(2))
    assert one == other


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
NAMES = st.sampled_from(["login", "password", "secret", "code", "session", "x", "secret_encrypted", "credentials_encrypted"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(auth=st.dictionaries(NAMES, VALUES), nested=st.booleans())
def test_what_is_sealed_opens_again(auth: dict[str, Any], nested: bool):
    secrets = AccountSecrets("an instance's secret")
    doc: dict[str, Any] = {"data": {"auth": auth}} if nested else {"auth": auth, "other": 1}
    sealed = secrets.seal(doc)
    assert secrets.seal(sealed) == sealed
    opened = secrets.open(sealed)
    found, wanted = (one["data"]["auth"] if nested else one["auth"] for one in (opened, doc))
    clear = {name: value for name, value in wanted.items() if not name.endswith("_encrypted")}
    assert all(found[name] == value for name, value in clear.items())
    assert AccountSecrets("another").open(sealed) == sealed


@pytest.mark.parametrize("auth", [None, 5, "x", [], [1]])
def test_odd_accounts_are_left_alone(auth: Any):
    secrets = AccountSecrets("an instance's secret")
    for doc in ({"auth": auth}, {"data": auth}, {"data": {"auth": auth}}):
        assert secrets.open(secrets.seal(doc)) == doc
