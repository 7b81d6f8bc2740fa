"""The passphrase over HTTP: chosen with an invitation, changed, renewed by mail, and what of the vault goes with it."""

from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

from cozyd.auth.clients import Client
from cozyd.auth.passphrase import BITWARDEN
from cozyd.auth.passwords import derive
from cozyd.auth.values import Kdf
from cozyd.stack import Stack
from tests.support.identity import FEW, Browser, Home, private_key_of
from tests.support.serving import PASSPHRASE
from tests.support.visitor import field

OTHER = "a cloud of orange teapots"
NUMBERS = count()


@pytest.fixture
def fay(stack: Stack) -> Home:
    """Somebody with a passphrase."""
    return Home(stack, f"fay{next(NUMBERS)}")


@pytest.fixture
def guest(stack: Stack) -> Home:
    """Somebody who was invited."""
    return Home(stack, f"guest{next(NUMBERS)}", passphrase=None)


def kept(home: Home) -> Mapping[str, Any]:
    """The vault's settings."""
    return home.instance.docs.get(BITWARDEN).doc


def log_in(home: Home, passphrase: str) -> int:
    status: int = home.browser().enter(passphrase).status
    return status


def by(home: Home, passphrase: str, iterations: int = FEW) -> str:
    """What a client of hers sends."""
    return derive(passphrase, Kdf(f"me@{home.host}", iterations))


# -- chosen ---------------------------------------------------------------------------------------------------------------


def test_an_invited_person_chooses_her_passphrase_without_script_and_is_in(guest: Home):
    visitor, token = guest.browser(), guest.invitation
    assert visitor.get(f"/?registerToken={token}").headers["Location"].endswith(f"/auth/passphrase?registerToken={token}")
    page = visitor.get(f"/auth/passphrase?registerToken={token}")
    fields = {name: field(page, name) for name in ("register_token", "iterations")} | {"passphrase": OTHER, "key": "", "hint": "tea"}
    done = visitor.post("/settings/passphrase", fields)
    assert (done.status, done.headers["Location"]) == (303, f"http://home.{visitor.host}/")
    assert "Max-Age=315360000" in next(one for one in done.headers.get_all("Set-Cookie", []) if one.startswith("cozysessid"))
    assert visitor.get("/sync/").status == 200
    assert visitor.get(f"/auth/passphrase?registerToken={token}").status == 303
    assert log_in(guest, OTHER) == 200
    refused = guest.browser().send("POST", "/settings/passphrase", fields)
    assert (refused.status, refused.json["errors"][0]["detail"]) == (400, "Invalid register token")


def test_the_server_makes_vault_keys_that_bitwarden_clients_open(guest: Home):
    done = guest.browser().send("POST", "/settings/passphrase", {"register_token": guest.invitation, "passphrase": OTHER, "iterations": 0})
    assert (done.status, set(done.json)) == (200, {"redirect"})
    assert kept(guest)["passphrase_kdf_iterations"] == 650_000
    assert private_key_of(kept(guest), OTHER, guest.host)


def test_what_a_client_made_is_kept_as_it_is(guest: Home):
    keys = {"key": "0.a|b", "public_key": "p", "private_key": "2.a|b|c"}
    body = {"register_token": guest.invitation, "passphrase": by(guest, OTHER), "iterations": FEW} | keys
    assert guest.browser().send("POST", "/settings/passphrase", body).status == 200
    assert {name: kept(guest)[name] for name in keys} == keys
    assert log_in(guest, OTHER) == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"register_token": "00" * 16}, 400),
        ({"register_token": ""}, 400),
        ({"register_token": 7}, 400),
        ({"iterations": 49_999, "key": "k"}, 422),
        ({"iterations": 5_000_001, "key": "k"}, 422),
        ({"iterations": "many"}, 400),
        ({"passphrase": ""}, 400),
        ({"passphrase": "short"}, 422),
        ({"passphrase": "password123"}, 422),
        ({"passphrase": ["x"]}, 400),
    ],
)
def test_a_bad_first_passphrase_is_refused_and_the_invitation_stays_good(guest: Home, change: dict[str, Any], status: int):
    visitor = guest.browser()
    answer = visitor.send(
        "POST", "/settings/passphrase", {"register_token": guest.invitation, "passphrase": OTHER, "iterations": 0} | change
    )
    assert answer.status == status, answer.body
    assert b"new-pass-form" in visitor.get(f"/auth/passphrase?registerToken={guest.invitation}").body
    assert "cozysessid" not in visitor.cookies


def test_a_weak_passphrase_brings_the_form_again_with_a_sentence(guest: Home):
    fields = {"register_token": guest.invitation, "passphrase": "password", "iterations": "650000", "key": ""}
    page = guest.browser().post("/settings/passphrase", fields)
    assert page.status == 422
    assert b"guessed too soon" in page.body
    assert field(page, "register_token") == guest.invitation


def test_the_invitation_is_mailed_again_and_the_page_never_says_whether(guest: Home, fay: Home):
    pages = {guest.browser().post("/auth/onboarding/resend", {}).body}
    assert guest.link() == f"/auth/passphrase?registerToken={guest.invitation}"
    pages |= {guest.browser().post("/auth/onboarding/resend", {}).body for _ in range(3)}
    assert len(guest.mails()) == 1
    pages.add(fay.browser().post("/auth/onboarding/resend", {}).body)
    assert (len(pages), fay.mails()) == (1, [])


def test_a_flagship_chooses_and_gets_its_tokens_or_a_code(guest: Home, stack: Stack):
    def register(home: Home, **more: bool) -> tuple[dict[str, str], Client]:
        auth = home.instance.auth
        client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
        client = auth.clients.note(client, **more) if more else client
        return {"client_id": client.id, "client_secret": client.stored.doc["client_secret"]}, client

    secret, _ = register(guest, flagship=True)
    body = {"register_token": guest.invitation, "passphrase": OTHER, "iterations": 0}
    wrong = guest.browser().send("POST", "/settings/passphrase/flagship", body | secret | {"client_secret": "x"})
    assert (wrong.status, wrong.json) == (400, {"error": "invalid client_secret"})
    done = guest.browser().send("POST", "/settings/passphrase/flagship", body | secret)
    assert (done.status, done.json["scope"]) == (200, "*")
    other = Home(stack, f"guest{next(NUMBERS)}", passphrase=None)
    secret, client = register(other)
    done = other.browser().send("POST", "/settings/passphrase/flagship", body | secret | {"register_token": other.invitation})
    assert (done.status, set(done.json)) == (202, {"session_code"})
    assert other.instance.auth.clients.get(client.id).stored.doc["created_at_onboarding"] is True


# -- changed --------------------------------------------------------------------------------------------------------------


def put(home: Home, body: Any, browser: Browser | None = None, *, scope: str = "io.cozy.settings", app: str = "") -> Any:
    headers = home.token(scope, app) | {"Accept": "application/vnd.api+json"}
    return (browser or home.browser()).send("PUT", "/settings/passphrase", body, **headers)


def test_a_change_ends_sessions_and_app_tokens_and_keeps_clients(fay: Home):
    mine, other = fay.owner(), fay.owner()
    auth = fay.instance.auth
    client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    grant = auth.grants.start(client.id, "io.cozy.files")
    app = auth.app_token("drive", "io.cozy.files")
    fay.mails()
    change = {"current_passphrase": by(fay, PASSPHRASE), "new_passphrase": by(fay, OTHER), "iterations": FEW, "key": "0.k|k"}
    answer = put(fay, change, mine)
    assert (answer.status, "cozysessid" in str(answer.headers["Set-Cookie"])) == (204, True)
    assert (mine.get("/sync/").status, other.get("/sync/").status) == (200, 303)
    assert len(auth.sessions.all()) == 1
    assert fay.browser().get("/permissions/self", Authorization=f"Bearer {app}").status == 400
    assert auth.grants.get(grant.id).client_id == client.id
    assert (log_in(fay, PASSPHRASE), log_in(fay, OTHER)) == (401, 200)
    assert kept(fay)["key"] == "0.k|k"
    assert "was changed" in fay.mail()


def test_a_change_in_clear_takes_the_vault_along(fay: Home):
    assert put(fay, {"new_passphrase": PASSPHRASE, "force": True}).status == 204
    before = dict(kept(fay))
    private = private_key_of(before, PASSPHRASE, fay.host)
    assert put(fay, {"current_passphrase": PASSPHRASE, "new_passphrase": OTHER}).status == 204
    assert private_key_of(kept(fay), OTHER, fay.host).private_numbers() == private.private_numbers()
    assert kept(fay)["security_stamp"] != before["security_stamp"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"current_passphrase": "wrong", "new_passphrase": OTHER}, 400, "Invalid passphrase"),
        ({"current_passphrase": PASSPHRASE, "new_passphrase": "password"}, 422, None),
        ({"current_passphrase": PASSPHRASE, "new_passphrase": OTHER, "iterations": 10}, 422, None),
        ({"current_passphrase": PASSPHRASE, "new_passphrase": OTHER, "iterations": "many"}, 400, None),
        ({"current_passphrase": PASSPHRASE, "new_passphrase": ""}, 400, "Missing new passphrase"),
        ({"current_passphrase": 7, "new_passphrase": OTHER}, 400, None),
        ({"two_factor_token": "x", "two_factor_passcode": "000000", "new_passphrase": OTHER}, 400, "Invalid two-factor parameters"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(fay: Home, body: Any, status: int, detail: str | None):
    mine = fay.owner()
    answer = put(fay, body, mine)
    assert answer.status == status, answer.body
    assert detail is None or answer.json["errors"][0]["detail"] == detail
    assert mine.get("/sync/").status == 200


def test_only_the_operator_s_token_changes_by_force_where_there_is_a_passphrase(fay: Home):
    body = {"new_passphrase": by(fay, OTHER), "iterations": FEW, "force": True}
    assert put(fay, body, app="settings").status == 400
    assert put(fay, body).status == 204
    assert log_in(fay, OTHER) == 200


def test_a_token_that_only_reads_settings_changes_no_passphrase(fay: Home):
    assert put(fay, {"current_passphrase": PASSPHRASE, "new_passphrase": OTHER}, scope="io.cozy.settings:GET").status == 403


def test_a_check_says_yes_or_no(fay: Home):
    found = [
        fay.browser().send("POST", "/settings/passphrase/check", {"passphrase": given}, **fay.token("io.cozy.settings")).status
        for given in (by(fay, PASSPHRASE), PASSPHRASE, None, "")
    ]
    assert found == [204, 403, 403, 403]


def test_guessing_by_the_check_or_the_change_is_slowed_down(fay: Home):
    for _ in range(5):
        fay.browser().send("POST", "/settings/passphrase/check", {"passphrase": "guess"}, **fay.token("io.cozy.settings"))
        put(fay, {"current_passphrase": by(fay, "guess"), "new_passphrase": OTHER})
    assert put(fay, {"current_passphrase": by(fay, PASSPHRASE), "new_passphrase": OTHER}).status == 429


# -- lost -----------------------------------------------------------------------------------------------------------------


def ask_reset(visitor: Browser) -> Any:
    return visitor.post("/auth/passphrase_reset", {"csrf_token": visitor.csrf("/auth/passphrase_reset"), "from": "", "redirect": ""})


def renewed(visitor: Browser, link: str, passphrase: str) -> Any:
    page = visitor.get(link)
    assert page.status == 200, page.body
    names = ("csrf_token", "passphrase_reset_token", "from", "iterations")
    return visitor.post(
        "/auth/passphrase_renew", {name: field(page, name) for name in names} | {"passphrase": passphrase, "key": "", "hint": ""}
    )


def test_who_lost_her_passphrase_takes_another_by_mail_once(fay: Home):
    docs, mine, visitor = fay.instance.docs, fay.owner(), fay.browser()
    docs.put("com.bitwarden.ciphers", {"_id": "lost", "type": 1})
    docs.put("com.bitwarden.ciphers", {"_id": "shared", "type": 1, "shared_with_cozy": True})
    fay.mails()
    assert ask_reset(visitor).status == 200
    link = fay.link()
    weak = renewed(visitor, link, "password")
    assert (weak.status, b"guessed" in weak.body) == (422, True)
    assert renewed(visitor, link, OTHER).headers["Location"] == f"http://{fay.host}/auth/login"
    assert mine.get("/sync/").status == 303
    assert log_in(fay, OTHER) == 200
    assert [one.ref.id for one in docs.all("com.bitwarden.ciphers").rows] == ["shared"]
    assert visitor.get(link).status == 400
    page = {"csrf_token": visitor.csrf("/auth/passphrase_reset"), "passphrase": OTHER}
    used = visitor.post("/auth/passphrase_renew", page | {"passphrase_reset_token": link.partition("token=")[2]}, Accept="application/json")
    assert (used.status, used.json) == (401, {"error": "Invalid reset token"})
    bad = visitor.post("/auth/passphrase_renew", page | {"passphrase_reset_token": "xyz"}, Accept="application/json")
    assert (bad.status, bad.json) == (401, {"error": "Invalid reset token"})


def test_another_token_than_the_one_that_was_mailed_is_told_apart_from_none(fay: Home):
    visitor = fay.browser()
    page = {"csrf_token": visitor.csrf("/auth/passphrase_reset"), "passphrase": OTHER, "passphrase_reset_token": "00" * 32}
    answers = [visitor.post("/auth/passphrase_renew", page, Accept="application/json")]
    ask_reset(visitor)
    answers.append(visitor.post("/auth/passphrase_renew", page, Accept="application/json"))
    assert [(one.status, one.json["error"]) for one in answers] == [(401, "Invalid reset token"), (400, "invalid_token")]


def test_who_asks_for_a_new_passphrase_is_logged_out_here(fay: Home):
    mine, other = fay.owner(), fay.owner()
    ask_reset(mine)
    assert (mine.get("/sync/").status, other.get("/sync/").status) == (303, 200)


def test_asking_for_a_mail_tells_nothing(stack: Stack, fay: Home, guest: Home):
    """The answer is the same with an address, without one, while one link is good, and before there is a passphrase."""
    silent = Home(stack, f"silent{next(NUMBERS)}", email=False)
    answers = [ask_reset(home.browser()) for home in (fay, fay, guest, silent)]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert [len(home.mails()) for home in (fay, guest, silent)] == [1, 0, 0]


def test_a_hint_is_mailed_and_is_never_the_passphrase(fay: Home, stack: Stack):
    script, visitor = fay.token("io.cozy.settings"), fay.browser()
    assert visitor.get("/settings/hint", **script).status == 404
    assert visitor.send("PUT", "/settings/hint", {"hint": PASSPHRASE}, **script).status == 422
    assert visitor.send("PUT", "/settings/hint", {"hint": "a stapled animal"}, **script).status == 204
    assert visitor.get("/settings/hint", **script).status == 204
    without = Home(stack, f"without{next(NUMBERS)}")
    pages = {home.browser().post("/auth/hint", {}).body for home in (fay, without)}
    assert (len(pages), without.mails()) == (1, [])
    assert "a stapled animal" in fay.mail()
    assert visitor.send("PUT", "/settings/hint", {"hint": ""}, **script).status == 204
    assert visitor.get("/settings/hint", **script).status == 404


def test_the_parameters_of_the_derivation_are_told(fay: Home):
    shown = fay.browser().get("/settings/passphrase", **fay.token("io.cozy.settings")).json["data"]
    assert shown["attributes"] == {"salt": f"me@{fay.host}", "kdf": 0, "iterations": FEW}


@pytest.mark.parametrize("link", ["/auth/passphrase_renew", "/auth/passphrase_renew?token=zz", f"/auth/passphrase_renew?token={'00' * 32}"])
def test_a_link_that_is_none_says_so(fay: Home, link: str):
    answer = fay.browser().get(link)
    assert (answer.status, b"Ask for another one" in answer.body) == (400, True)


def test_the_passphrase_is_changed_on_the_page(fay: Home):
    mine, other = fay.owner(), fay.owner()
    fields = {"csrf_token": mine.csrf("/auth/security/"), "clear": "1", "current_passphrase": PASSPHRASE, "passphrase": OTHER, "key": ""}
    wrong = mine.post("/auth/security/passphrase", fields | {"current_passphrase": "wrong"})
    assert (wrong.status, b"incorrect" in wrong.body) == (401, True)
    weak = mine.post("/auth/security/passphrase", fields | {"passphrase": "password"})
    assert (weak.status, b"guessed" in weak.body) == (422, True)
    done = mine.post("/auth/security/passphrase", fields)
    assert done.headers["Location"].endswith("?done=passphrase")
    assert (mine.get("/sync/").status, other.get("/sync/").status) == (200, 303)
    assert log_in(fay, OTHER) == 200
