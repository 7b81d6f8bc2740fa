"""The second factor as browsers and applications meet it: codes by mail, of an app, of paper; browsers that are trusted."""

import base64
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyotp
import pytest

from cozyd.auth.passwords import derive
from cozyd.auth.values import Kdf
from cozyd.stack import Stack
from tests.support.identity import FEW, Browser, Home
from tests.support.serving import PASSPHRASE
from tests.support.stack import Clock
from tests.support.visitor import field

NUMBERS = count()
SETTINGS = "io.cozy.settings"


@pytest.fixture
def home(place: tuple[Stack, Clock]) -> Home:
    """Somebody without a second factor."""
    return Home(place[0], f"person{next(NUMBERS)}")


@pytest.fixture
def mailed(home: Home) -> Home:
    """Somebody who is asked for mailed codes."""
    home.instance.amend(auth_mode=1)
    return home


@pytest.fixture
def app(home: Home, clock: Clock) -> tuple[Home, pyotp.TOTP, list[str]]:
    """Somebody with an authenticator app, the app, and her recovery codes."""
    factors = home.instance.auth.factors
    setup = factors.new_app(home.host)
    totp = pyotp.TOTP(setup.secret)
    codes = factors.turn_on_app(setup.secret, totp.at(clock()))
    clock.passes(minutes=2)
    return home, totp, list(codes)


def first_step(browser: Browser, **more: str) -> dict[str, str]:
    """The right passphrase; what the address of the second step says."""
    answer = browser.enter(**more)
    assert answer.status == 200, answer.body
    parts = urlsplit(answer.json["redirect"])
    assert parts.path == "/auth/twofactor", answer.json
    assert "cozysessid" not in browser.cookies
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def second_step(browser: Browser, token: str, code: str, **more: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in more.items() if name not in ("confirm", "state", "redirect")}
    plain = {name: value for name, value in more.items() if name in ("confirm", "state", "redirect")}
    fields = {"two-factor-token": token, "two-factor-passcode": code} | named | plain
    return browser.post("/auth/twofactor", fields, Accept="application/json")


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


# -- by mail --------------------------------------------------------------------------------------------------------------


def test_the_right_passphrase_alone_lets_nobody_in(mailed: Home):
    browser = mailed.browser()
    token = first_step(browser)["two_factor_token"]
    code = mailed.code()
    refused = second_step(browser, token, wrong(code))
    assert (refused.status, set(refused.json), browser.get("/sync/").status) == (401, {"error"}, 303)
    done = second_step(browser, token, code)
    assert (done.status, done.json["redirect"].partition("?")[0]) == (200, f"http://home.{mailed.host}/")
    assert browser.get("/sync/").status == 200


def test_without_script_the_form_leads_through_both_steps(mailed: Home):
    browser = mailed.browser()
    fields = {"passphrase": PASSPHRASE, "clear": "1", "csrf_token": browser.csrf("/auth/login"), "long-run-session": "1"}
    step = browser.post("/auth/login", fields)
    page = browser.get(urlsplit(step.headers["Location"])._replace(scheme="", netloc="").geturl())
    names = ("two-factor-token", "long-run-session", "redirect")
    done = browser.post("/auth/twofactor", {name: field(page, name) for name in names} | {"two-factor-passcode": mailed.code()})
    assert done.status == 303
    assert any("Max-Age=315360000" in one for one in done.headers.get_all("Set-Cookie", []) if one.startswith("cozysessid"))


@pytest.mark.parametrize("name", ["long-run-session", "long_run_session"])
@pytest.mark.parametrize("where", ["form", "query"])
def test_a_session_is_long_whichever_way_it_is_asked_for(mailed: Home, name: str, where: str):
    browser = mailed.browser()
    token = first_step(browser, long_run_session="1")["two_factor_token"]
    fields = {"two-factor-token": token, "two-factor-passcode": mailed.code()}
    path = "/auth/twofactor"
    if where == "form":
        fields[name] = "true"
    else:
        path += f"?{name}=true"
    done = browser.post(path, fields)
    assert any("Max-Age" in one for one in done.headers.get_all("Set-Cookie", []) if one.startswith("cozysessid"))


def test_second_factor_codes_magic_links_and_email_codes_work_once(mailed: Home):
    """A weakness of the reference."""
    browser = mailed.browser()
    token, code = first_step(browser)["two_factor_token"], mailed.code()
    assert second_step(browser, token, code).status == 200
    assert second_step(mailed.browser(), token, code).status == 401
    once = mailed.instance.auth.once.make("mailed")
    first, second = mailed.browser(), mailed.browser()
    assert first.enter(email_verified_code="x").json["redirect"].startswith(f"http://{mailed.host}/auth/twofactor")
    fields = {"passphrase": derive(PASSPHRASE, Kdf(f"me@{mailed.host}", FEW))}
    for one, is_in in ((first, True), (second, False)):
        sent = fields | {"csrf_token": one.csrf("/auth/login"), "email_verified_code": once}
        assert ("/auth/twofactor" not in one.post("/auth/login", sent, Accept="application/json").json["redirect"]) is is_in


def test_a_code_is_too_old_after_a_quarter_of_an_hour(mailed: Home, clock: Clock):
    token, code = first_step(mailed.browser())["two_factor_token"], mailed.code()
    clock.passes(minutes=15, seconds=1)
    assert second_step(mailed.browser(), token, code).status == 401


def test_a_token_that_was_not_made_here_is_none(mailed: Home, place: tuple[Stack, Clock]):
    token, code = first_step(mailed.browser())["two_factor_token"], mailed.code()
    other = Home(place[0], f"other{next(NUMBERS)}")
    other.instance.amend(auth_mode=1)
    theirs, theirs_code = first_step(other.browser())["two_factor_token"], other.code()
    forged = base64.urlsafe_b64encode(bytes(40)).decode().rstrip("=")
    for given, passcode in (("", code), ("é", code), (token[:-2], code), (token[:-2] + "AA", code), (forged, code), (theirs, theirs_code)):
        assert second_step(mailed.browser(), given, passcode).status == 401
    assert second_step(mailed.browser(), token, code).status == 200


def test_codes_cannot_be_guessed(mailed: Home):
    token, code = first_step(mailed.browser())["two_factor_token"], mailed.code()
    found = [second_step(mailed.browser(), token, wrong(code)).status for _ in range(11)]
    assert found == [401] * 10 + [429]
    refused = second_step(mailed.browser(), token, code)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "900")


def test_the_page_needs_a_token_and_the_step_a_second_factor(home: Home):
    missing = home.browser().get("/auth/twofactor")
    assert (missing.status, missing.json) == (400, "Missing twoFactorToken")
    assert second_step(home.browser(), "x", "000000").status == 401


def test_mails_with_codes_have_a_limit(mailed: Home):
    for _ in range(22):
        mailed.instance.auth.factors.challenge()
    assert len(mailed.mails()) == 20


# -- trusted browsers -----------------------------------------------------------------------------------------------------


def test_a_trusted_browser_is_asked_for_no_code_until_the_passphrase_changes(mailed: Home, clock: Clock):
    browser = mailed.browser()
    token = first_step(browser)["two_factor_token"]
    done = second_step(browser, token, mailed.code(), two_factor_generate_trusted_device_token="1")
    trust = done.json["two_factor_trusted_device_token"]
    assert browser.cookies["cozytrusted"] == trust
    del browser.cookies["cozysessid"]
    assert browser.enter().json["redirect"].startswith(f"http://home.{mailed.host}/?session_code=")
    assert mailed.browser().enter(trusted_device_token=trust).json["redirect"].startswith(f"http://home.{mailed.host}/?session_code=")
    elsewhere = mailed.browser("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36")
    first_step(elsewhere, trusted_device_token=trust)
    first_step(mailed.browser(), trusted_device_token=trust + "x")
    mailed.choose(PASSPHRASE)
    first_step(mailed.browser(), trusted_device_token=trust)


def test_trust_ends_after_half_a_year_and_when_she_says_so(mailed: Home, clock: Clock):
    factors = mailed.instance.auth.factors
    from cozyd.auth import Credentials

    seen = Credentials(agent="curl/8")
    one = factors.trust(seen)
    assert factors.is_trusted(one, seen)
    mine = mailed.owner()
    assert mine.post("/auth/security/trusted/forget", {"csrf_token": mine.csrf("/auth/security/")}).status == 303
    assert not factors.is_trusted(one, seen)
    two = factors.trust(seen)
    clock.passes(days=181)
    assert (factors.is_trusted(two, seen), factors.trusted()) == (False, [])


# -- of an app ------------------------------------------------------------------------------------------------------------


def test_a_code_of_the_app_is_good_once_and_no_mail_leaves(app: tuple[Home, pyotp.TOTP, list[str]], clock: Clock):
    home, totp, _ = app
    home.mails()
    browser = home.browser()
    token = first_step(browser)["two_factor_token"]
    code = totp.at(clock())
    assert second_step(browser, token, code).status == 200
    assert home.mails() == []
    again = first_step(home.browser())["two_factor_token"]
    assert second_step(home.browser(), again, code).status == 401
    clock.passes(seconds=30)
    assert second_step(home.browser(), again, totp.at(clock())).status == 200


def test_a_clock_may_be_half_a_minute_wrong_and_not_more(app: tuple[Home, pyotp.TOTP, list[str]], clock: Clock):
    home, totp, _ = app
    statuses = []
    for steps in (-2, 2, -1, 1):
        token = first_step(home.browser())["two_factor_token"]
        statuses.append(second_step(home.browser(), token, totp.at(int(clock().timestamp()) + 30 * steps)).status)
    assert statuses == [401, 401, 200, 200]


def test_recovery_codes_are_good_once_and_kept_hashed(app: tuple[Home, pyotp.TOTP, list[str]]):
    home, _, codes = app
    assert len(set(codes)) == 10
    from cozyd.auth.factors import APP

    assert not any(code.replace("-", "") in home.instance.docs.get(APP).text.decode() for code in codes)
    one = codes[0].upper().replace("-", " ")
    assert second_step(home.browser(), first_step(home.browser())["two_factor_token"], one).status == 200
    assert second_step(home.browser(), first_step(home.browser())["two_factor_token"], codes[0]).status == 401
    assert home.instance.auth.factors.recovery_left() == 9
    assert "recovery_used" in [one.what for one in home.instance.auth.trail.latest(10)]
    renewed = home.instance.auth.factors.renew_recovery_codes()
    assert second_step(home.browser(), first_step(home.browser())["two_factor_token"], codes[1]).status == 401
    assert second_step(home.browser(), first_step(home.browser())["two_factor_token"], renewed[1]).status == 200


def test_the_app_s_secret_lies_sealed(app: tuple[Home, pyotp.TOTP, list[str]]):
    from cozyd.auth.factors import APP

    home, totp, _ = app
    assert totp.secret not in home.instance.docs.get(APP).text.decode()


def test_an_app_is_set_up_on_the_page_without_script(home: Home, clock: Clock):
    mine = home.owner()
    fields = {"csrf_token": mine.csrf("/auth/security/")}
    page = mine.post("/auth/security/factor/app", fields)
    secret = page.body.decode().partition("data-secret-key>")[2].partition("<")[0]
    assert b"<svg" in page.body
    attempt = field(page, "attempt")
    bad = mine.post("/auth/security/factor/app/on", fields | {"attempt": attempt, "code": "000000"})
    assert (bad.status, home.instance.auth.factors.kind) == (422, "")
    done = mine.post("/auth/security/factor/app/on", fields | {"attempt": attempt, "code": pyotp.TOTP(secret).at(clock())})
    assert (done.status, done.body.count(b'class="secret"'), home.instance.auth.factors.kind) == (200, 10, "app")
    assert (
        mine.post("/auth/security/factor/app/on", fields | {"attempt": attempt, "code": "1"})
        .headers["Location"]
        .endswith("done=slow#factor")
    )
    more = mine.post("/auth/security/factor/recovery", fields)
    assert more.body.count(b'class="secret"') == 10
    assert mine.post("/auth/security/factor/off", fields).status == 303
    assert home.instance.auth.factors.kind == ""
    assert [one.what for one in home.instance.auth.trail.latest(3)] == ["factor_off", "recovery_renewed", "factor_on"]


def test_secrets_are_changed_only_by_who_showed_lately_that_it_is_her(home: Home, clock: Clock):
    mine = home.owner()
    fields = {"csrf_token": mine.csrf("/auth/security/")}
    clock.passes(minutes=11)
    for path in (
        "factor/app",
        "factor/mail",
        "factor/off",
        "factor/recovery",
        "passkeys",
        "passkeys/x/remove",
        "factor/app/on",
        "factor/mail/on",
    ):
        assert mine.post(f"/auth/security/{path}", fields).headers["Location"].endswith("?confirm#confirm")
    assert mine.post("/auth/security/passkeys/options", fields).status == 403
    assert b'id="confirm"' in mine.get("/auth/security/").body
    assert mine.post("/auth/security/confirm", fields | {"passphrase": "wrong", "clear": "1"}).status == 401
    assert mine.post("/auth/security/confirm", fields | {"passphrase": PASSPHRASE, "clear": "1"}).status == 303
    assert b'id="confirm"' not in mine.get("/auth/security/").body
    assert mine.post("/auth/security/factor/app", fields).status == 200


# -- the settings' way ----------------------------------------------------------------------------------------------------


def mode(home: Home, body: Any, scope: str = SETTINGS) -> int:
    status: int = home.browser().send("PUT", "/settings/instance/auth_mode", body, **home.token(scope)).status
    return status


def kind_of(home: Home) -> str:
    return home.instance.auth.factors.kind


def test_codes_by_mail_are_turned_on_in_two_steps_and_off_in_one(home: Home):
    assert mode(home, {"auth_mode": "basic"}) == 204
    assert mode(home, {"auth_mode": "two_factor_mail"}) == 204
    assert kind_of(home) == ""
    code = home.code()
    refused = home.browser().send(
        "PUT",
        "/settings/instance/auth_mode",
        {"auth_mode": "two_factor_mail", "two_factor_activation_code": wrong(code)},
        **home.token(SETTINGS),
    )
    assert (refused.status, refused.body) == (422, b"")
    assert mode(home, {"auth_mode": "two_factor_mail", "two_factor_activation_code": code}) == 204
    assert kind_of(home) == "mail"
    assert mode(home, {"auth_mode": "two_factor_mail"}) == 204
    assert home.mails() == []
    assert mode(home, {"auth_mode": "basic"}) == 204
    assert kind_of(home) == ""


@pytest.mark.parametrize(("body", "status"), [({"auth_mode": "x"}, 400), ({}, 400), ({"auth_mode": None}, 400)])
def test_an_unknown_mode_is_refused(home: Home, body: Any, status: int):
    assert mode(home, body) == status
    assert mode(home, {"auth_mode": "basic"}, "io.cozy.settings:GET") == 403


def test_on_the_page_a_mailed_code_turns_mails_on(home: Home):
    mine = home.owner()
    fields = {"csrf_token": mine.csrf("/auth/security/")}
    assert b"on its way" in mine.post("/auth/security/factor/mail", fields).body
    code = home.code()
    assert mine.post("/auth/security/factor/mail/on", fields | {"code": wrong(code)}).status == 422
    assert mine.post("/auth/security/factor/mail/on", fields | {"code": code}).status == 303
    assert kind_of(home) == "mail"


def test_a_new_passphrase_asks_for_the_code_instead_of_the_old_one(mailed: Home):
    def put(body: Any) -> Any:
        return mailed.browser().send("PUT", "/settings/passphrase", body, **mailed.token(SETTINGS))

    new = {"new_passphrase": derive("another one of hers", Kdf(f"me@{mailed.host}", FEW)), "iterations": FEW}
    assert put(new | {"current_passphrase": "wrong"}).status == 400
    first = put(new | {"current_passphrase": derive(PASSPHRASE, Kdf(f"me@{mailed.host}", FEW))})
    assert (first.status, set(first.json)) == (200, {"two_factor_token"})
    code = mailed.code()
    bad = put(new | {"two_factor_token": first.json["two_factor_token"], "two_factor_passcode": wrong(code)})
    assert (bad.status, bad.json["errors"][0]["detail"]) == (400, "Invalid two-factor parameters")
    assert put(new | {"two_factor_token": first.json["two_factor_token"], "two_factor_passcode": code}).status == 204


# -- applications ---------------------------------------------------------------------------------------------------------


def client_of(home: Home, **more: Any) -> dict[str, str]:
    auth = home.instance.auth
    client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    client = auth.clients.note(client, **more) if more else client
    return {"client_id": client.id, "client_secret": client.stored.doc["client_secret"]}


def test_a_flagship_shows_the_code_beside_the_passphrase(mailed: Home):
    given = client_of(mailed, flagship=True) | {"passphrase": derive(PASSPHRASE, Kdf(f"me@{mailed.host}", FEW))}
    first = mailed.browser().send("POST", "/auth/login/flagship", given)
    assert (first.status, set(first.json)) == (401, {"two_factor_token"})
    code = mailed.code()
    bad = mailed.browser().send("POST", "/auth/login/flagship", given | first.json | {"two_factor_passcode": wrong(code)})
    assert (bad.status, set(bad.json)) == (403, {"error"})
    done = mailed.browser().send("POST", "/auth/login/flagship", given | first.json | {"two_factor_passcode": code})
    assert (done.status, done.json["scope"]) == (200, "*")


def test_a_session_code_asks_for_the_code_too(mailed: Home):
    given = {"passphrase": derive(PASSPHRASE, Kdf(f"me@{mailed.host}", FEW))}
    first = mailed.browser().send("POST", "/auth/session_code", given)
    assert (first.status, first.json["error"]) == (403, "two factor needed")
    token = first.json["two_factor_token"]
    done = mailed.browser().send("POST", "/auth/session_code", given | {"two_factor_token": token, "two_factor_passcode": mailed.code()})
    assert (done.status, set(done.json)) == (201, {"session_code"})


# -- confirmations --------------------------------------------------------------------------------------------------------


def ask_confirmation(browser: Browser, **more: str) -> Any:
    query = urlencode({"state": "s1", "redirect": f"http://drive.{browser.host}/#/x"})
    page = browser.get(f"/auth/confirm?{query}")
    fields = {name: field(page, name) for name in ("csrf_token", "state", "redirect")} | {"passphrase": PASSPHRASE, "clear": "1"} | more
    return browser.post("/auth/confirm", fields, Accept="application/json")


def code_in(address: str) -> str:
    query = parse_qs(urlsplit(address).query)
    assert query["state"] == ["s1"]
    return query["code"][0]


def test_a_confirmation_gives_a_code_that_apps_can_check(home: Home):
    told: list[Any] = []
    stop = home.stack.hub.subscribe(home.instance.prefix, told.extend)
    done = ask_confirmation(home.browser())
    stop()
    code = code_in(done.json["redirect"])
    assert done.json["redirect"].startswith(f"http://drive.{home.host}/?code=")
    assert [(one.verb, one.new.ref.doctype, one.new.ref.id) for one in told if "confirm" in one.new.ref.doctype] == [
        ("CREATED", "io.cozy.auth.confirmations", "s1")
    ]
    assert home.browser().get(f"/auth/confirm/{code}").status == 204
    unknown = home.browser().get("/auth/confirm/unknown")
    assert (unknown.status, set(unknown.json)) == (401, {"error"})


def test_a_confirmation_asks_for_the_second_factor(mailed: Home):
    browser = mailed.browser()
    step = ask_confirmation(browser).json["redirect"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(step).query).items()}
    assert query["confirm"] == "true"
    page = browser.get(f"/auth/twofactor?{urlsplit(step).query}")
    assert b"generate-trusted" not in page.body
    done = second_step(browser, query["two_factor_token"], mailed.code(), confirm="true", state="s1", redirect=query["redirect"])
    assert mailed.browser().get(f"/auth/confirm/{code_in(done.json['redirect'])}").status == 204
    assert "cozysessid" not in browser.cookies


def test_a_confirmation_needs_a_state_the_passphrase_and_an_address_of_hers(home: Home):
    browser = home.browser()
    assert browser.get("/auth/confirm").status == 400
    assert ask_confirmation(browser, passphrase="wrong").status == 401
    assert ask_confirmation(browser, redirect="http://evil.example/").status == 400
    assert ask_confirmation(browser, csrf_token="x").status == 403
