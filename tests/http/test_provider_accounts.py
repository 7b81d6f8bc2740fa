"""Accounts at providers: her way there and back, tokens at rest, and states that are good once."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.support.canary import Asked, Canary
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.visitor import Visitor


class Provider:
    """Gives tokens for the code `good` and the refresh token `fresh`."""

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form.get("client_secret") != "s3cret" or (form.get("code") != "good" and form.get("refresh_token") != "fresh"):
            reason = "invalid_grant" if form.get("refresh_token") != "busy" else "temporarily_unavailable"
            return 400, {}, json.dumps({"error": reason}).encode()
        tokens = {"access_token": f"access-{form['grant_type']}", "refresh_token": "fresh", "expires_in": 3600, "user": "her"}
        return 200, {"Content-Type": "application/json"}, json.dumps(tokens).encode()


@pytest.fixture(scope="module")
def provider() -> Iterator[Canary]:
    with Canary(Provider()) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Canary) -> Iterator[Served]:
    top = tmp_path_factory.mktemp("accounts")
    types = {
        "bank": {
            "client_id": "cozyd",
            "client_secret": "s3cret",
            "auth_endpoint": f"{provider.base}/auth?x=1",
            "token_endpoint": f"{provider.base}/token",
            "extras": {"access_type": "offline"},
        },
        "banks": {
            "client_id": "cozyd",
            "client_secret": "s3cret",
            "grant_mode": "bi_webview",
            "auth_endpoint": f"{provider.base}/connect",
            "manage_endpoint": f"{provider.base}/manage?x=1",
            "reconnect_endpoint": f"{provider.base}/reconnect",
        },
        "webauth": {"client_id": "cozyd", "grant_mode": "bi_webauth+secret", "auth_endpoint": f"{provider.base}/auth"},
        "shop": {"client_id": "cozyd", "grant_mode": "token", "auth_endpoint": f"{provider.base}/auth"},
        "energy": {"client_id": "cozyd", "grant_mode": "token_redirect_url", "auth_endpoint": f"{provider.base}/auth"},
        "odd": {"client_id": "cozyd", "grant_mode": "made_up", "auth_endpoint": f"{provider.base}/auth"},
        "inside": {
            "client_id": "a",
            "client_secret": "s3cret",
            "auth_endpoint": "https://example.org",
            "token_endpoint": "http://10.0.0.1/",
        },
    }
    (top / "types.json").write_text(json.dumps(types))
    environ = {"COZYD_OUTBOUND_ALLOW": "127.0.0.1", "COZYD_APPS_ACCOUNT_TYPES": str(top / "types.json")}
    with Served(top / "data", environ=environ).add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def owner(server: Served) -> Visitor:
    return Visitor(server).log_in()


@pytest.fixture(scope="module")
def cli(server: Served) -> Client:
    return Client(server, scope=("io.cozy.accounts",))


def started(owner: Visitor, type: str = "bank", **query: str) -> dict[str, str]:
    """What the provider is told."""
    text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    answer = owner.get(f"/accounts/{type}/start?{text}")
    assert answer.status == 303, answer.body
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def test_she_signs_in_and_comes_back_with_an_account(server: Served, owner: Visitor, cli: Client, provider: Canary):
    told = started(owner, scope="a b", state="mine", nonce="n", slug="drive")
    assert (told["client_id"], told["scope"], told["nonce"], told["x"], told["access_type"]) == ("cozyd", "a b", "n", "1", "offline")
    assert told["redirect_uri"] == f"http://{server.domain}/accounts/bank/redirect"
    back = cli.ask("GET", f"/accounts/bank/redirect?code=good&state={told['state']}")
    assert back.status == 303, back.body
    parts = urlsplit(back.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (parts.netloc, query["state"]) == (f"drive.{server.domain}", "mine")
    form = {name: values[0] for name, values in parse_qs(provider.asked[-1].body.decode()).items()}
    assert (form["state"], form["nonce"]) == (told["state"], "n")
    account = cli.api("GET", f"/data/io.cozy.accounts/{query['account']}").json
    assert (account["account_type"], account["oauth_callback_results"]) == ("bank", {"user": "her"})
    assert b"access-authorization_code" not in b"".join(
        path.read_bytes() for path in (server.folder / "documents").rglob("*") if path.is_file()
    )
    again = cli.ask("GET", f"/accounts/bank/redirect?code=good&state={told['state']}")
    assert (again.status, "bad state" in again.body.decode()) == (400, True)
    fresh = cli.api("POST", f"/accounts/bank/{query['account']}/refresh").json["data"]["attributes"]
    assert fresh["oauth"]["access_token"] == "access-refresh_token"
    assert cli.api("POST", f"/accounts/inside/{query['account']}/refresh").status == 400


def test_passwords_of_an_account_are_not_told_with_its_fresh_token(cli: Client):
    fields = {"account_type": "bank", "auth": {"login": "me", "password": "hunter2"}, "oauth": {"refresh_token": "fresh"}}
    account = cli.api("POST", "/data/io.cozy.accounts/", fields).json["id"]
    fresh = cli.api("POST", f"/accounts/bank/{account}/refresh")
    assert (fresh.status, b"hunter2" in fresh.body) == (200, False)
    assert fresh.json["data"]["attributes"]["oauth"]["access_token"] == "access-refresh_token"


@pytest.mark.parametrize("path", ["bank/redirect?code=good", "bank/redirect?code=good&state=made-up", "bank/redirect?code=good&state="])
def test_a_state_that_was_not_made_here_is_refused(cli: Client, path: str):
    assert cli.ask("GET", f"/accounts/{path}").status == 400


def test_a_state_is_for_its_type_alone(owner: Visitor, cli: Client):
    told = started(owner)
    assert cli.ask("GET", f"/accounts/inside/redirect?code=good&state={told['state']}").status == 400
    assert cli.ask("GET", f"/accounts/bank/redirect?code=good&state={told['state']}").status == 400


def test_what_the_provider_refuses_makes_no_account(owner: Visitor, cli: Client):
    before = len(cli.api("GET", "/data/io.cozy.accounts/_all_docs").json.get("rows", []))
    told = started(owner, state="x")
    assert cli.ask("GET", f"/accounts/bank/redirect?code=bad&state={told['state']}").status == 401
    told = started(owner, state="x")
    denied = cli.ask("GET", f"/accounts/bank/redirect?error=access_denied&state={told['state']}")
    assert (denied.status, "error=access_denied" in denied.headers["Location"]) == (303, True)
    assert len(cli.api("GET", "/data/io.cozy.accounts/_all_docs").json.get("rows", [])) == before


BANKS = {"token": "t", "id_connector": "40", "connector_uuids": "u", "source": "s", "id_connection": "9"}


@pytest.mark.parametrize(
    ("type", "wanted"),
    [
        ("banks", {"client_id": "cozyd", "code": "t", "connector_ids": "40", "connector_uuids": "u", "redirect_uri": "@"}),
        ("webauth", {"client_id": "cozyd", "token": "t", "source": "s", "id_connector": "40", "id_connection": "9", "redirect_uri": "@"}),
        ("shop", {"client_id": "cozyd", "response_type": "token", "redirect_uri": "@"}),
        ("energy", {"response_type": "token", "redirect_url": "@"}),
    ],
)
def test_each_kind_of_provider_is_told_what_it_knows(server: Served, owner: Visitor, type: str, wanted: dict[str, str]):
    told = started(owner, type, **BANKS)
    here = f"http://{server.domain}/accounts/{type}/redirect"
    assert told == {name: here if value == "@" else value for name, value in wanted.items()} | {"state": told["state"]}


def test_a_refresh_token_that_the_provider_does_not_take_has_a_name_that_konnectors_know(cli: Client):
    for token, status, code in (("gone", 401, "oauth_refresh_invalid_token"), ("busy", 502, None)):
        account = cli.api("POST", "/data/io.cozy.accounts/", {"account_type": "bank", "oauth": {"refresh_token": token}}).json["id"]
        refused = cli.api("POST", f"/accounts/bank/{account}/refresh")
        assert (refused.status, refused.json["errors"][0].get("code")) == (status, code)


def test_a_page_that_named_no_state_is_told_of_none(owner: Visitor, cli: Client):
    assert set(landed(cli, "shop", access_token="x", state=started(owner, "shop")["state"])) == {"account"}


def test_a_kind_of_provider_that_is_not_known_has_no_page(owner: Visitor):
    assert owner.get("/accounts/odd/start").status == 400


def landed(cli: Client, type: str, **query: str) -> dict[str, str]:
    """What the app is told when she comes back."""
    back = cli.ask("GET", f"/accounts/{type}/redirect?" + "&".join(f"{name}={value}" for name, value in query.items()))
    assert back.status == 303, back.body
    return {name: values[0] for name, values in parse_qs(urlsplit(back.headers["Location"]).query).items()}


def test_a_token_in_the_address_is_taken_with_its_state_alone(owner: Visitor, cli: Client):
    assert cli.ask("GET", "/accounts/shop/redirect?access_token=stolen").status == 400
    told = landed(cli, "shop", access_token="given", state=started(owner, "shop", state="mine")["state"])
    account = cli.api("GET", f"/data/io.cozy.accounts/{told['account']}").json
    assert (account["account_type"], told["state"]) == ("shop", "mine")
    assert "given" not in json.dumps(account)


def test_a_bank_s_connection_is_one_account_whose_konnector_gets_what_it_asks_with(owner: Visitor, cli: Client):
    first = landed(cli, "banks", connection_id="7", code="c", state=started(owner, "banks", state="x")["state"])
    assert (first["connection_id"], first["state"]) == ("7", "x")
    account = cli.api("GET", f"/data/io.cozy.accounts/{first['account']}").json
    assert account["oauth"]["query"] == {"connection_id": ["7"], "code": ["c"]}
    again = landed(cli, "banks", connection_id="7", state=started(owner, "banks")["state"])
    assert again["account"] == first["account"]
    assert cli.api("POST", f"/accounts/banks/{first['account']}/refresh").status == 400


def test_only_the_owner_starts_and_only_what_is_known(owner: Visitor, cli: Client):
    assert cli.ask("GET", "/accounts/bank/start").status == 403
    assert owner.get("/accounts/nothing/start").status == 404
    assert owner.get("/accounts/bank/start?slug=../x").status == 422
    found: Any = cli.api("GET", "/data/io.cozy.account_types/_all_docs")
    assert found.status == 403


@pytest.mark.parametrize("page", ["manage", "reconnect"])
def test_she_manages_a_connection_at_its_provider_and_comes_back(server: Served, owner: Visitor, cli: Client, page: str):
    account = cli.api("POST", "/data/io.cozy.accounts/", {"account_type": "banks"}).json["id"]
    way = f"/accounts/banks/{account}/{page}?code=c&connection_id=7&state=mine&slug=drive"
    assert cli.ask("GET", way).status == 403
    there = urlsplit(owner.get(way).headers["Location"])
    told = {name: values[0] for name, values in parse_qs(there.query).items()}
    assert (there.path, told["client_id"], told["code"], told["connection_id"]) == (f"/{page}", "cozyd", "c", "7")
    back = cli.ask("GET", f"/accounts/banks/redirect?state={told['state']}&connection_id=7&connection_deleted=true")
    assert back.headers["Location"] == f"http://drive.{server.domain}/?connection_deleted=true&connection_id=7&state=mine"
    assert cli.ask("GET", f"/accounts/banks/redirect?state={told['state']}").status == 400
    assert owner.get(f"/accounts/bank/{account}/{page}").status == 404
    assert owner.get(f"/accounts/banks/nobody/{page}").status == 404
    other = cli.api("POST", "/data/io.cozy.accounts/", {"account_type": "bank"}).json["id"]
    assert owner.get(f"/accounts/bank/{other}/{page}").status == 400
