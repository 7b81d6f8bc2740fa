"""Links that log in by mail: once, for a while, and with the passphrase where a second factor is asked for."""

import re
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest

from cozyd.auth.passwords import derive
from cozyd.auth.values import Kdf
from cozyd.stack import Stack
from tests.support.identity import FEW, Browser, Home
from tests.support.serving import PASSPHRASE
from tests.support.visitor import field

NUMBERS = count()


@pytest.fixture
def home(stack: Stack) -> Home:
    """Somebody whose operator lets her log in by mail."""
    home = Home(stack, f"person{next(NUMBERS)}")
    home.instance.amend(magic_link=True)
    return home


def ask(browser: Browser, redirect: str = "") -> Any:
    return browser.post("/auth/magic_link", {"csrf_token": browser.csrf("/auth/login"), "redirect": redirect})


def test_a_link_logs_in_once(home: Home):
    assert b"/auth/magic_link" in home.browser().get("/auth/login").body
    assert ask(home.browser(), f"http://drive.{home.host}/#/x").status == 200
    link, browser = home.link(), home.browser()
    done = browser.get(link)
    assert done.status == 303
    assert re.fullmatch(rf"http://drive\.{home.host}/\?session_code=[\w-]+#/x", done.headers["Location"])
    assert browser.get("/sync/").status == 200
    again = home.browser().get(link)
    assert (again.status, b"Ask for another one" in again.body) == (400, True)
    assert home.browser().get("/auth/magic_link?code=unknown").status == 400
    assert [one.what for one in home.instance.auth.trail.latest(2)] == ["logged_in", "magic_link_sent"]


def test_a_second_factor_asks_for_the_passphrase_and_leaves_the_link_good_meanwhile(home: Home):
    home.instance.amend(auth_mode=1)
    ask(home.browser())
    link, browser = home.link(), home.browser()
    page = browser.get(link)
    assert (page.status, "cozysessid" in browser.cookies) == (200, False)
    fields = {name: field(page, name) for name in ("csrf_token", "magic_code", "redirect")} | {"clear": "1"}
    wrong = browser.post("/auth/magic_link/twofactor", fields | {"passphrase": "wrong"}, Accept="application/json")
    assert (wrong.status, set(wrong.json)) == (401, {"error"})
    done = browser.post("/auth/magic_link/twofactor", fields | {"passphrase": PASSPHRASE}, Accept="application/json")
    assert (done.status, set(done.json)) == (200, {"redirect"})
    used = home.browser()
    again = {"csrf_token": used.csrf("/auth/login"), "magic_code": fields["magic_code"], "passphrase": PASSPHRASE, "clear": "1"}
    assert used.post("/auth/magic_link/twofactor", again, Accept="application/json").status == 401


def test_who_may_not_log_in_by_mail_gets_none(stack: Stack):
    home = Home(stack, f"person{next(NUMBERS)}")
    assert b"/auth/magic_link" not in home.browser().get("/auth/login").body
    assert (ask(home.browser()).status, home.mails()) == (404, [])


def test_asking_tells_nothing_and_has_a_limit(home: Home, stack: Stack):
    silent = Home(stack, f"silent{next(NUMBERS)}", email=False)
    silent.instance.amend(magic_link=True)
    pages = {ask(one.browser()).body for one in (home, silent, *[home] * 7)}
    assert (len(pages), len(home.mails()), silent.mails()) == (1, 5, [])
    assert ask(home.browser(), "http://evil.example/").status == 400
    assert home.browser().post("/auth/magic_link", {"redirect": ""}).status == 400


def test_a_flagship_logs_in_by_the_code_of_a_link(home: Home):
    auth = home.instance.auth
    client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    given = {"client_id": client.id, "client_secret": client.stored.doc["client_secret"]}

    def post(**more: str) -> Any:
        return home.browser().send("POST", "/auth/magic_link/flagship", given | more)

    unknown = post(magic_code="unknown")
    assert (unknown.status, unknown.json) == (401, {"error": "invalid magic code"})
    assert post(magic_code=auth.once.make("magic")).status == 202
    auth.clients.note(client, flagship=True)
    code = auth.once.make("magic")
    assert post(magic_code=code).json["scope"] == "*"
    assert post(magic_code=code).status == 401
    home.instance.amend(auth_mode=1)
    code = auth.once.make("magic")
    second = post(magic_code=code)
    assert (second.status, second.json) == (401, {"error": "passphrase is required as second authentication factor"})
    done = post(magic_code=code, passphrase=derive(PASSPHRASE, Kdf(f"me@{home.host}", FEW)))
    assert done.status == 200, done.body


def test_the_link_leads_where_it_was_asked_for_and_nowhere_else(home: Home):
    code = home.instance.auth.once.make("magic")
    assert home.browser().get(f"/auth/magic_link?{urlencode({'code': code, 'redirect': 'http://evil.example/'})}").status == 400
    assert home.browser().get(f"/auth/magic_link?{urlencode({'magic_code': code})}").status == 303
