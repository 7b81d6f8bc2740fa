"""What guards the account: constant work, limits that cannot shut the owner out, headers of every page, mails that tell her."""

import hashlib
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher

from blueprints import REFUSALS_LOGGED, create_app
from blueprints._request import Service
from cozyd.auth import Credentials
from cozyd.stack import Stack
from tests.support.identity import Browser, Home
from tests.support.oauth import REDIRECT, challenge_of
from tests.support.serving import PASSPHRASE
from tests.support.visitor import field

NUMBERS = count()
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"


@pytest.fixture
def home(stack: Stack) -> Home:
    return Home(stack, f"person{next(NUMBERS)}")


# -- constant work --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is hashed, as it happens: each argon2id hash, each PBKDF2 derivation."""
    found: list[str] = []

    def counted(kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            found.append(kind)
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(PasswordHasher, "verify", counted("argon2id", PasswordHasher.verify))
    monkeypatch.setattr(PasswordHasher, "hash", counted("argon2id", PasswordHasher.hash))
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted("pbkdf2", hashlib.pbkdf2_hmac))
    return found


def test_a_log_in_costs_one_hash_whether_it_is_right_wrong_or_of_nobody(home: Home, stack: Stack, hashes: list[str]):
    """Who waits for the answer learns nothing from how long it took."""
    nobody = Home(stack, f"nobody{next(NUMBERS)}", passphrase=None)
    nobody.instance.amend(onboarding_finished=True)
    mailed = Home(stack, f"mailed{next(NUMBERS)}")
    mailed.instance.amend(auth_mode=1)
    costs = []
    for one, passphrase in ((home, PASSPHRASE), (home, "wrong"), (nobody, "wrong"), (mailed, PASSPHRASE), (mailed, "wrong")):
        browser = one.browser()
        fields = {"passphrase": "x" * 44 if passphrase == "wrong" else "", "csrf_token": browser.csrf("/auth/login")}
        if passphrase != "wrong":
            del hashes[:]
            browser.enter(passphrase)
            costs.append([kind for kind in hashes if kind == "argon2id"])
            continue
        del hashes[:]
        browser.post("/auth/login", fields, Accept="application/json")
        costs.append(list(hashes))
    assert costs == [["argon2id"]] * 5


def test_a_wrong_code_costs_no_more_than_a_right_one(home: Home, hashes: list[str]):
    home.instance.amend(auth_mode=1)
    token = home.instance.auth.factors.challenge()
    code = home.code()
    for given in ("000000", code):
        del hashes[:]
        home.browser().post("/auth/twofactor", {"two-factor-token": token, "two-factor-passcode": given}, Accept="application/json")
        assert hashes == []


def test_what_is_over_the_limit_is_not_hashed(home: Home, hashes: list[str]):
    browser = home.browser()
    token = browser.csrf("/auth/login")
    fields = {"passphrase": "wrong", "clear": "1", "csrf_token": token}
    for _ in range(10):
        home.instance.auth.attempts.count(_seen())
    del hashes[:]
    refused = browser.post("/auth/login", fields, Accept="application/json")
    assert (refused.status, refused.headers["Retry-After"], hashes) == (429, "300", [])


def _seen() -> Credentials:
    return Credentials(address="127.0.0.1")


# -- storms ---------------------------------------------------------------------------------------------------------------


def test_a_storm_of_wrong_log_ins_does_not_shut_a_known_browser_out(home: Home):
    """Not even from the same address, as behind one router."""
    owner = home.browser()
    assert owner.enter().status == 200
    assert owner.cookies["cozyknown"]
    del owner.cookies["cozysessid"]
    stranger = home.browser()
    token = stranger.csrf("/auth/login")
    found = [stranger.post("/auth/login", {"passphrase": "x", "csrf_token": token}, Accept="application/json").status for _ in range(12)]
    assert found == [401] * 10 + [429] * 2
    assert owner.enter().status == 200
    del owner.cookies["cozysessid"]
    thief = home.browser()
    thief.cookies["cozyknown"] = owner.cookies["cozyknown"][:-4] + "AAAA"
    assert thief.enter().status == 429


def test_a_known_browser_has_ten_attempts_too(home: Home):
    owner = home.browser()
    owner.enter()
    del owner.cookies["cozysessid"]
    token = owner.csrf("/auth/login")
    found = [owner.post("/auth/login", {"passphrase": "x", "csrf_token": token}, Accept="application/json").status for _ in range(11)]
    assert found == [401] * 10 + [429]


def test_a_new_passphrase_makes_every_browser_a_stranger(home: Home):
    attempts = home.instance.auth.attempts
    value = attempts.new_browser()
    assert attempts.knows(value)
    home.choose("another one of hers")
    assert not attempts.knows(value)


def test_few_passphrases_are_hashed_at_once_and_the_rest_are_told_to_come_again(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    """So that a storm at many accounts leaves the other threads, and half of the processors, to everybody else."""
    many = [Home(stack, f"many{next(NUMBERS)}") for _ in range(12)]
    inside, most, lock = [0], [0], threading.Lock()
    real, go = PasswordHasher.verify, threading.Event()

    def verify(*arguments: Any) -> Any:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        go.wait(10)
        try:
            return real(*arguments)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    gate = stack.drivers.gate
    statuses: list[int] = []

    def attempt(home: Home) -> None:
        browser = home.browser()
        fields = {"passphrase": "x", "csrf_token": browser.csrf("/auth/login")}
        answer = browser.post("/auth/login", fields, Accept="application/json")
        with lock:
            statuses.append(answer.status)
            if len(statuses) == 12 - gate.room:
                go.set()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(attempt, many))
    assert most[0] <= gate.at_once
    assert sorted(statuses) == [401] * gate.room + [429] * (12 - gate.room)


# -- forms of other sites -------------------------------------------------------------------------------------------------


def forms() -> list[str]:
    """Every form of a page: what browsers send for a person, with her cookies."""
    from blueprints import SERVICES, _services

    found = []
    for name in SERVICES:
        for service in _services(name):
            assert isinstance(service, Service)
            if service.errors == "page":
                found += [(service.url_prefix or "") + rule for rule, methods, _ in service.table if "POST" in methods]
    return sorted(path for path in found if not path.startswith(("/bitwarden/", "/errors/")))  # those ask for no cookie, and change nothing


@pytest.mark.parametrize("path", forms())
def test_a_form_of_another_origin_changes_nothing(home: Home, path: str):
    mine = home.owner()
    fields = {"csrf_token": mine.csrf("/auth/security/"), "passphrase": PASSPHRASE, "clear": "1", "redirect": "", "state": "s"}
    filled = path.replace("<id>", "x")
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": f"http://drive.{home.host}"}):
        answer = mine.post(filled, fields, **headers)
        assert answer.status == 403, (path, headers, answer.status)


def shown_to_her() -> list[str]:
    """What her cookie alone opens."""
    from blueprints import SERVICES, _services

    tables = [(service, row) for name in SERVICES for service in _services(name) for row in service.table]
    return sorted(
        (service.url_prefix or "") + rule for service, (rule, methods, access) in tables if access == "owner" and "GET" in methods
    )


@pytest.mark.parametrize("path", shown_to_her())
def test_no_app_reads_the_pages_that_her_cookie_opens(home: Home, path: str):
    """Hosts of apps are the same site, so the cookie travels with what their scripts ask: devices, secret links, reports of other apps."""
    mine, others = home.owner(), {"Origin": f"http://drive.{home.host}", "Sec_Fetch_Site": "same-site"}
    answer = mine.get(_filled(path), **others)
    assert answer.status in (200, 400, 404), answer.status
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert answer.headers["Access-Control-Allow-Credentials"] is None


# -- pages ----------------------------------------------------------------------------------------------------------------

STRICT = ("default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'")


def test_a_refused_request_is_logged_with_who_asked_and_not_without_end(home: Home, caplog: pytest.LogCaptureFixture):
    asked = home.token("io.cozy.test.nothings")
    with caplog.at_level(logging.INFO, "cozyd.http"):
        for _ in range(REFUSALS_LOGGED + 20):
            assert home.browser().get("/data/io.cozy.contacts/_all_docs?x=secret", **asked).status == 403
        assert home.browser().get("/data/io.cozy.contacts/_all_docs").status == 401
    lines = [record.getMessage() for record in caplog.records if record.name == "cozyd.http"]
    assert lines == ["refused: GET /data/io.cozy.contacts for cli -"] * REFUSALS_LOGGED


def test_every_page_has_its_headers(home: Home, stack: Stack):
    app = create_app(stack)
    walked = set()
    guest = Home(stack, f"guest{next(NUMBERS)}", passphrase=None)
    for who, browser in (("owner", home.owner()), ("stranger", home.browser()), ("guest", guest.browser())):
        for rule in app.url_map.iter_rules():
            if "GET" not in (rule.methods or ()):
                continue
            path = rule.rule.replace("<path:name>", "x")
            query = urlencode({"registerToken": guest.invitation, "state": "s", "two_factor_token": "x", "token": "00"})
            answer = browser.get(_filled(path) + "?" + query)
            if not str(answer.headers["Content-Type"]).startswith("text/html") or answer.status in (301, 302, 303, 307, 308):
                continue
            walked.add(rule.rule)
            policy = answer.headers["Content-Security-Policy"] or ""
            assert all(part in policy for part in STRICT), (who, rule.rule, policy)
            assert "unsafe" not in policy
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cache-Control"] == "no-store"
            assert b"<script>" not in answer.body
            assert b" onclick" not in answer.body
            assert b"style=" not in answer.body
    assert walked >= {
        "/auth/login",
        "/auth/security/",
        "/auth/passphrase",
        "/auth/passphrase_reset",
        "/auth/twofactor",
        "/auth/confirm",
        "/sync/",
    }


def _filled(rule: str) -> str:
    return re.sub(r"<[^>]*>", "x", rule)


def test_secrets_of_the_page_are_in_no_address(home: Home):
    """Codes of mails come in addresses, so pages send no referrer, are kept by nobody, and the code is good once."""
    page = home.browser().get(f"/auth/passphrase_renew?token={home.instance.auth.once.make('reset').encode().hex()}")
    assert (page.status, page.headers["Referrer-Policy"], page.headers["Cache-Control"]) == (200, "no-referrer", "no-store")


# -- mails ----------------------------------------------------------------------------------------------------------------


def test_she_is_told_of_a_log_in_from_a_new_browser_and_of_no_other(home: Home):
    assert home.browser().enter().status == 200
    assert home.mails() == []
    new = home.browser(CHROME)
    new.enter()
    mail = home.mail()
    assert "Chrome, Windows" in mail
    assert f"http://{home.host}/auth/security" in mail
    del new.cookies["cozysessid"]
    new.enter()
    home.browser(CHROME).enter()
    assert home.mails() == []


def let_in(home: Home, browser: Browser, **metadata: Any) -> tuple[str, Any]:
    client = home.instance.auth.clients.register({"redirect_uris": [REDIRECT], "client_name": "Notes", "software_id": "x"} | metadata)
    asked = {"client_id": client.id, "redirect_uri": REDIRECT, "response_type": "code", "scope": "io.cozy.notes", "state": "s"}
    page = browser.get(f"/auth/authorize?{urlencode(asked)}")
    return client.id, browser.post("/auth/authorize", asked | {"csrf_token": field(page, "csrf_token")})


def test_she_is_told_of_a_new_application_once(home: Home):
    mine = home.owner()
    home.mails()
    _, answer = let_in(home, mine)
    assert answer.status == 302
    assert "Notes" in home.mail()
    assert [one.what for one in home.instance.auth.trail.latest(1)] == ["client_added"]


def test_a_client_gets_everything_only_by_the_code_of_a_mail(home: Home):
    mine, auth = home.owner(), home.instance.auth
    client = auth.clients.register({"redirect_uris": [REDIRECT], "client_name": "Flagship", "software_id": "x"})
    asked = {"client_id": client.id, "redirect_uri": REDIRECT, "response_type": "code", "scope": "*", "state": "s"}
    asked |= {"code_challenge": challenge_of("v" * 43), "code_challenge_method": "S256"}
    path = f"/auth/authorize?{urlencode(asked)}"
    assert home.browser().get(path).status == 303
    home.mails()
    page = mine.get(path)
    code = home.code()
    fields = {"token": field(page, "token"), "back": field(page, "back")}
    wrong = mine.post(f"/auth/clients/{client.id}/flagship", fields | {"code": "1" + code})
    assert (wrong.status, field(wrong, "token"), home.mails()) == (401, fields["token"], [])
    assert mine.post("/auth/authorize", asked | {"csrf_token": mine.csrf("/auth/security/")}).status == 400
    done = mine.post(f"/auth/clients/{client.id}/flagship", fields | {"code": code})
    assert (done.status, done.headers["Location"].startswith(f"http://{home.host}/auth/authorize?")) == (303, True)
    consent = mine.get(path)
    assert b"Everything" in consent.body
    assert mine.post("/auth/authorize", asked | {"csrf_token": field(consent, "csrf_token")}).status == 302
    again = mine.post(f"/auth/clients/{client.id}/flagship", {"token": fields["token"], "code": code}, Accept="application/json")
    assert (again.status, set(again.json)) == (401, {"error"})


def test_an_application_certifies_itself_with_the_code(home: Home):
    auth = home.instance.auth
    client = auth.clients.register({"redirect_uris": [REDIRECT], "client_name": "Flagship", "software_id": "x"})
    token = auth.ask_certificate(client)
    code = home.code()
    other = auth.clients.register({"redirect_uris": [REDIRECT], "client_name": "Other", "software_id": "x"})
    assert home.browser().post(f"/auth/clients/{other.id}/flagship", {"token": token, "code": code}).status == 401
    assert home.browser().post(f"/auth/clients/{client.id}/flagship", {"token": token, "code": code}).status == 204
    assert auth.clients.get(client.id).stored.doc["flagship"] is True
    assert home.browser().post("/auth/clients/unknown/flagship", {"token": token, "code": code}).status == 404
