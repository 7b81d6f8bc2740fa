"""In which form `/auth` answers: pages where a person has to read it, JSON where a script of the reference waits for it."""

from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from cozyd.auth.clients import Client
from cozyd.auth.passwords import derive
from cozyd.auth.values import Kdf
from cozyd.stack import Stack
from tests.support.identity import FEW, Home
from tests.support.serving import PASSPHRASE

NUMBERS = count()
REDIRECT = "https://client.example/cb"
JSON, ANY = "application/json", "*/*"


@pytest.fixture
def home(stack: Stack) -> Home:
    return Home(stack, f"person{next(NUMBERS)}")


def client(home: Home, **more: Any) -> Client:
    return home.instance.auth.clients.register({"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"} | more)


def derived(home: Home) -> str:
    return derive(PASSPHRASE, Kdf(f"me@{home.host}", FEW))


def kind(answer: Any) -> tuple[int, str]:
    """Status and media type."""
    return answer.status, str(answer.headers["Content-Type"] or "").partition(";")[0]


# -- pages, whatever is accepted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [JSON, ANY, "application/vnd.api+json", "text/html"])
@pytest.mark.parametrize(
    "path",
    [
        "/auth/authorize",
        "/auth/authorize?state=s&client_id=unknown&redirect_uri=x&response_type=code",
        "/auth/confirm",
        "/auth/magic_link?code=unknown",
        "/auth/passphrase_renew?token=zz",
    ],
)
def test_what_is_wrong_with_a_link_is_told_on_a_page(home: Home, path: str, accept: str):
    assert kind(home.browser().get(path, Accept=accept)) == (400, "text/html")


def test_who_agrees_without_a_session_is_told_so_on_a_page(home: Home):
    visitor = home.browser()
    fields = {"client_id": client(home).id, "redirect_uri": REDIRECT, "response_type": "code", "scope": "io.cozy.files", "state": "s"}
    token = {"csrf_token": visitor.csrf("/auth/login")}
    assert kind(visitor.post("/auth/authorize", fields | token, Accept=JSON)) == (401, "text/html")
    assert kind(visitor.post("/auth/authorize", token, Accept=JSON)) == (400, "text/html")
    assert kind(visitor.post("/auth/authorize", fields, Accept=JSON)) == (400, JSON)


def test_a_malformed_scope_is_told_to_who_is_logged_in(home: Home):
    asked = {"client_id": client(home).id, "redirect_uri": REDIRECT, "response_type": "code", "scope": "BAD", "state": "s"}
    path = f"/auth/authorize?{urlencode(asked)}"
    assert kind(home.owner().get(path)) == (400, "text/html")
    away = home.browser().get(path)
    assert (away.status, urlsplit(away.headers["Location"]).path) == (303, "/auth/login")
    assert home.browser().get(path.replace("scope=BAD", "scope=")).status == 400


# -- JSON for the reference's scripts ---------------------------------------------------------------------------------------


def test_a_confirmation_is_refused_in_json_but_for_a_browser_without_script(home: Home):
    visitor = home.browser()
    fields = {"state": "s", "passphrase": "wrong", "csrf_token": visitor.csrf("/auth/confirm?state=s")}
    assert kind(visitor.post("/auth/confirm", fields, Accept=ANY)) == (401, JSON)
    assert kind(visitor.post("/auth/confirm", fields)) == (401, "text/html")
    home.instance.amend(auth_mode=1)
    step = visitor.post("/auth/confirm", fields | {"passphrase": derived(home)}, Accept=ANY)
    assert (step.status, urlsplit(step.json["redirect"]).path) == (200, "/auth/twofactor")
    assert visitor.post("/auth/confirm", fields | {"passphrase": derived(home)}).status == 303


def test_a_link_with_the_passphrase_logs_in_with_an_answer_in_json(home: Home):
    home.instance.amend(magic_link=True, auth_mode=1)
    code, visitor = home.instance.auth.once.make("magic"), home.browser()
    fields = {"magic_code": code, "csrf_token": visitor.csrf("/auth/login")}
    assert kind(visitor.post("/auth/magic_link/twofactor", fields | {"passphrase": "wrong"}, Accept=ANY)) == (401, JSON)
    done = visitor.post("/auth/magic_link/twofactor", fields | {"passphrase": derived(home)}, Accept=ANY)
    assert (done.status, set(done.json), "cozysessid" in visitor.cookies) == (200, {"redirect"}, True)
    assert kind(visitor.post("/auth/magic_link/twofactor", fields | {"passphrase": derived(home)}, Accept=ANY)) == (401, JSON)


def test_who_is_logged_in_already_goes_on_by_a_link_and_leaves_it_good(home: Home):
    home.instance.amend(magic_link=True)
    code, mine = home.instance.auth.once.make("magic"), home.owner()
    assert mine.get(f"/auth/magic_link?code={code}").status == 303
    assert home.browser().get(f"/auth/magic_link?code={code}").headers["Set-Cookie"].startswith("cozysessid=")


def test_a_code_where_none_is_asked_for_is_refused_in_json(home: Home):
    assert kind(home.browser().post("/auth/twofactor", {}, Accept=ANY)) == (401, JSON)
    assert kind(home.browser().post("/auth/twofactor", {})) == (401, "text/html")


def test_the_page_of_the_second_step_looks_at_where_it_leads(home: Home):
    page = f"/auth/twofactor?{urlencode({'two_factor_token': 'x', 'redirect': 'https://evil.example/'})}"
    assert home.browser().get(page).status == 400
    assert home.browser().get("/auth/twofactor?two_factor_token=x").status == 200


# -- session codes, flagship ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{oops", b"[]", b'{"passphrase": 7}'])
def test_who_shows_no_passphrase_gets_no_session_code(home: Home, body: bytes):
    answer = home.browser().ask("POST", "/auth/session_code", body, Content_Type=JSON, Accept=JSON)
    assert (answer.status, answer.json) == (401, {"error": "Not authorized"})


def test_a_wrong_code_is_answered_with_another_token_and_mail(home: Home):
    home.instance.amend(auth_mode=1)
    shown = {"passphrase": derived(home)}
    first = home.browser().send("POST", "/auth/session_code", shown)
    home.mails()
    given = shown | {"two_factor_token": first.json["two_factor_token"], "two_factor_passcode": "000000"}
    again = home.browser().send("POST", "/auth/session_code", given)
    assert (first.status, again.status, again.json["error"]) == (403, 403, "two factor needed")
    assert again.json["two_factor_token"] != first.json["two_factor_token"]
    good = shown | {"two_factor_token": again.json["two_factor_token"], "two_factor_passcode": home.code()}
    assert home.browser().send("POST", "/auth/session_code", good).status == 201


def test_an_unknown_link_is_told_before_the_client_is_looked_at(home: Home):
    answer = home.browser().send("POST", "/auth/magic_link/flagship", {"magic_code": "x", "client_id": "unknown"})
    assert (answer.status, answer.json) == (401, {"error": "invalid magic code"})
    code = home.instance.auth.once.make("magic")
    answer = home.browser().send("POST", "/auth/magic_link/flagship", {"magic_code": code, "client_id": "unknown", "client_secret": "x"})
    assert (answer.status, answer.json) == (400, {"error": "the client must be registered"})
    assert home.instance.auth.once.look("magic", code) is not None


@pytest.mark.parametrize("path", ["/auth/clients/unknown/attestation", "/auth/clients/unknown/flagship"])
def test_nothing_attests_an_unknown_client(home: Home, path: str):
    answer = home.browser().post(path, {"code": "1", "token": "x"}, Accept=JSON)
    assert (answer.status, answer.json) == (404, {"error": "Client not found"})


# -- invitations, new passphrases -----------------------------------------------------------------------------------------------


def test_another_invitation_is_none(stack: Stack):
    guest = Home(stack, f"guest{next(NUMBERS)}", passphrase=None)
    page = guest.browser().get("/?registerToken=00")
    assert (page.status, b"no passphrase yet" in page.body) == (200, True)
    answer = guest.browser().get("/settings/instance?registerToken=00", Accept=ANY)
    assert (answer.status, answer.body) == (401, b"No token in request")


@pytest.mark.parametrize("path", ["/settings/passphrase", "/settings/passphrase/flagship"])
def test_a_first_passphrase_is_refused_in_json_api(stack: Stack, path: str):
    guest = Home(stack, f"guest{next(NUMBERS)}", passphrase=None)
    registered = client(guest)
    body = {"client_id": registered.id, "client_secret": registered.stored.doc["client_secret"], "passphrase": "x"}
    wrong = guest.browser().send("POST", path, body | {"register_token": "00"})
    assert (kind(wrong), wrong.json["errors"][0]["detail"]) == ((400, "application/vnd.api+json"), "Invalid register token")
    low = guest.browser().send("POST", path, body | {"register_token": guest.invitation, "iterations": 10})
    error = low.json["errors"][0]
    assert (low.status, error["title"], error["source"]) == (422, "Invalid Parameter", {"parameter": "KdfIterations"})


def test_a_wrong_activation_code_is_a_status_and_nothing_else(home: Home):
    mode = {"auth_mode": "two_factor_mail", "two_factor_activation_code": "000000"}
    answer = home.browser().send("PUT", "/settings/instance/auth_mode", mode, **home.token("io.cozy.settings"))
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (422, None, b"")


# -- targets ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redirect", "said"),
    [
        ("unknown/x", "bad url: could not parse"),
        ("/relative", "bad url: could not parse"),
        ("//evil.example", "bad url: could not parse"),
        ("ftp://evil.example", "bad url: bad scheme"),
        ("javascript:alert(1)", "bad url: bad scheme"),
        ("https://evil.example", "bad url: should be subdomain"),
    ],
)
def test_a_target_that_is_not_hers_is_told_by_what_is_wrong_with_it(home: Home, redirect: str, said: str):
    answer = home.browser().get(f"/auth/login?{urlencode({'redirect': redirect})}", Accept=JSON)
    assert (answer.status, answer.json) == (400, {"error": said})


def test_the_way_back_keeps_every_letter_of_the_request(home: Home):
    registered = client(home, redirect_uris=["https://c.example/cb?a=1&b=2+3%2B4"])
    asked = {
        "client_id": registered.id,
        "redirect_uri": "https://c.example/cb?a=1&b=2+3%2B4",
        "response_type": "code",
        "scope": "io.cozy.contacts io.cozy.files",
        "state": "s 1+2&x=%é#",
    }
    away = home.browser().get(f"/auth/authorize?{urlencode(asked)}").headers["Location"]
    (back,) = parse_qs(urlsplit(away).query)["redirect"]
    assert {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()} == asked
