"""Log in at a provider: a real one, made of Authlib's server grants, and every way its answers may be wrong."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from cozyd.config import Config, ConfigError, Storage, load
from cozyd.config import Outbound as OutboundConfig
from cozyd.stack import Stack
from tests.support.identity import Browser, Home
from tests.support.provider import CLIENT, SECRET, Provider
from tests.support.stack import Clock
from workers import TABLE

NUMBERS = count()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, provider: Provider, clock: Clock) -> Iterator[Stack]:
    named = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "name": "Work"}
    config = Config(
        storage=Storage(path=tmp_path_factory.mktemp("oidc") / "data"),
        outbound=OutboundConfig(allow="127.0.0.1"),
        oidc={"default": named, "named": named | {"userinfo_instance_field": "cloud", "userinfo_instance_suffix": ".localhost"}},
        contexts={"closed": {"disable_password_authentication": True}, "default": {}},
    )
    config = replace(config, oidc=dict(config.oidc) | {"closed": named})
    stack = Stack(config, TABLE, now=clock)
    yield stack
    stack.close()


@pytest.fixture
def home(stack: Stack, provider: Provider) -> Home:
    """Somebody whom the provider knows as `alice`."""
    home = Home(stack, f"person{next(NUMBERS)}")
    home.instance.amend(oidc_id="alice")
    provider.redirects = [f"http://{home.host}/oidc/redirect"]
    provider.user, provider.claims, provider.nonces, provider.signs_with = {"sub": "alice"}, {}, True, provider.key
    return home


def at_provider(address: str) -> str:
    """What the provider answers to the browser: the path on the instance."""
    answer = requests.get(address, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    parts = urlsplit(answer.headers["Location"])
    return f"{parts.path}?{parts.query}"


def through(browser: Browser, path: str = "/oidc/start") -> Any:
    return browser.get(at_provider(browser.get(path).headers["Location"]))


def test_the_provider_lets_her_in(home: Home, provider: Provider):
    browser = home.browser()
    assert b"Log in with Work" in browser.get("/auth/login").body
    gone = browser.get(f"/oidc/start?redirect=http://drive.{home.host}/")
    query = {name: values[0] for name, values in parse_qs(urlsplit(gone.headers["Location"]).query).items()}
    assert (gone.status, query["scope"], query["code_challenge_method"], query["response_type"]) == (303, "openid", "S256", "code")
    done = browser.get(at_provider(gone.headers["Location"]))
    assert (done.status, done.headers["Location"].startswith(f"http://drive.{home.host}/")) == (303, True)
    assert browser.get("/sync/").status == 200
    assert provider.asked[-1]["client_secret"] == SECRET
    assert home.instance.auth.trail.latest(1)[0].detail == "provider Work"


def test_an_answer_is_good_once_and_in_the_browser_that_asked(home: Home):
    browser, other = home.browser(), home.browser()
    path = at_provider(browser.get("/oidc/start").headers["Location"])
    other.get("/oidc/start")
    assert other.get(path).status == 400
    again = at_provider(browser.get("/oidc/start").headers["Location"])
    assert browser.get(again).status == 303
    assert home.browser().get(again).status == 400
    for query in ("", "?code=x", "?state=x", "?code=x&state=x", f"?code=x&state=x.{home.host}", "?error=access_denied&state=x"):
        assert home.browser().get(f"/oidc/login{query}").status in (303, 400, 401)
        assert "cozysessid" not in other.cookies


def test_somebody_else_is_not_let_in(home: Home, provider: Provider):
    provider.user = {"sub": "mallory"}
    refused = through(home.browser())
    assert (refused.status, b"somebody else" in refused.body) == (403, True)
    provider.user = {"sub": "alice"}
    home.instance.amend(oidc_id=None)
    assert through(home.browser()).status == 403


def test_a_claim_may_name_the_instance(home: Home, provider: Provider):
    home.instance.amend(oidc_id=None, context="named")
    provider.claims = {"cloud": home.host.partition(".")[0]}
    assert through(home.browser()).status == 303
    for wrong in ({"cloud": "other"}, {"cloud": ""}, {"cloud": [home.host]}, {}):
        provider.claims = wrong
        assert through(home.browser()).status == 403


@pytest.mark.parametrize(
    "claims",
    [{"iss": "http://evil.example"}, {"aud": "another"}, {"aud": []}, {"exp": 1}, {"exp": None}, {"azp": "another"}, {"iat": 32503680000}],
)
def test_an_id_token_that_is_not_for_us_is_refused(home: Home, provider: Provider, claims: dict[str, Any]):
    provider.claims = claims
    assert through(home.browser()).status == 403


def test_another_nonce_or_key_is_refused_and_a_new_published_key_is_learned(home: Home, provider: Provider):
    provider.nonces = False
    assert through(home.browser()).status == 403
    provider.nonces = True
    assert through(home.browser()).status == 303
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "2"})
    assert through(home.browser()).status == 403
    provider.key = provider.signs_with
    assert through(home.browser()).status == 303


def test_the_second_factor_is_asked_for_after_the_provider(home: Home):
    home.instance.amend(auth_mode=1)
    browser = home.browser()
    done = through(browser)
    assert (done.status, "/auth/twofactor?two_factor_token=" in done.headers["Location"]) == (303, True)
    assert "cozysessid" not in browser.cookies


def test_where_passphrases_are_closed_the_provider_is_the_only_way(home: Home):
    home.instance.amend(context="closed")
    gone = home.browser().get("/auth/login")
    assert (gone.status, gone.headers["Location"].startswith(f"http://{home.host}/oidc/start")) == (303, True)
    page = home.browser()
    page.cookies["_csrf"] = "t"
    assert page.post("/auth/login", {"csrf_token": "t", "passphrase": "x"}, Accept="application/json").status == 403


def test_she_logs_out_here_and_is_led_to_the_provider(home: Home, provider: Provider):
    mine = home.owner()
    done = mine.get("/oidc/logout")
    assert done.headers["Location"].startswith(f"{provider.issuer}/logout?client_id={CLIENT}")
    assert mine.get("/sync/").status == 303
    other = home.owner()
    assert other.get("/oidc/logout", Sec_Fetch_Site="cross-site").status == 403
    assert other.get("/sync/").status == 200


def id_token(provider: Provider, key: Any = None, alg: str = "RS256", **claims: Any) -> str:
    now = int(time.time())
    body = {"iss": provider.issuer, "aud": CLIENT, "sub": "alice", "iat": now, "exp": now + 60} | claims
    return jwt.encode({"alg": alg, "kid": provider.key.kid}, body, key or provider.key, algorithms=[alg])


def test_an_application_shows_an_id_token_for_tokens(home: Home, provider: Provider):
    auth = home.instance.auth
    client = auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    given = {"client_id": client.id, "client_secret": client.stored.doc["client_secret"]}

    def post(token: Any, **more: str) -> Any:
        return home.browser().send("POST", "/oidc/access_token", given | {"id_token": token} | more)

    assert post(id_token(provider)).status == 202
    auth.clients.note(client, flagship=True)
    assert post(id_token(provider)).json["scope"] == "*"
    assert post(id_token(provider), client_secret="x").status == 400
    secret = OctKey.import_key(SECRET)
    for wrong in (id_token(provider, sub="mallory"), id_token(provider, secret, "HS256"), id_token(provider, exp=1), "", "x.y.z"):
        assert post(wrong).status == 403
    assert post(7).status == 400


def test_an_application_of_the_provider_shows_the_second_factor_too(home: Home, provider: Provider):
    auth = home.instance.auth
    client = auth.clients.note(auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"}), flagship=True)
    home.instance.amend(auth_mode=1)
    given = {"client_id": client.id, "client_secret": client.stored.doc["client_secret"], "id_token": id_token(provider)}
    asked = home.browser().send("POST", "/oidc/access_token", given)
    assert (asked.status, list(asked.json)) == (401, ["two_factor_token"])
    codes = {"two_factor_token": asked.json["two_factor_token"], "two_factor_passcode": home.code()}
    assert home.browser().send("POST", "/oidc/access_token", given | codes | {"two_factor_passcode": "000000x"}).status == 403
    assert home.browser().send("POST", "/oidc/access_token", given | codes).json["scope"] == "*"


def test_without_a_provider_there_is_no_such_way(tmp_path: Path):
    stack = Stack(Config(storage=Storage(path=tmp_path)), TABLE, now=Clock())
    home = Home(stack, "plain")
    for path in ("/oidc/start", "/oidc/logout"):
        assert home.browser().get(path).status == 404
    assert b"/oidc/" not in home.browser().get("/auth/login").body
    stack.close()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[oidc.x]\nclient_id = "a"', "issuer"),
        ('[oidc.x]\nissuer = "https://a"\nclient_id = "a"\ncolour = "red"', "colour"),
        ('[oidc.x]\nissuer = "https://a"\nclient_id = 7', "client_id"),
        ('[oidc.x]\nissuer = "ftp://a"\nclient_id = "a"', "issuer"),
    ],
)
def test_a_provider_that_is_half_configured_is_an_error_at_the_start(tmp_path: Path, text: str, names: str):
    file = tmp_path / "cozyd.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=names):
        load(file, {}, {})
