"""Log in by a token of the service that manages instances: `?jwt=`, good once and for a short time."""

import base64
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from cozyd.config import Config, ConfigError, Storage, load
from cozyd.stack import Stack
from tests.support.identity import Home
from tests.support.stack import Clock
from workers import TABLE

KEY = b"k" * 64
NUMBERS = count()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("vouched")
    (folder / "secret").write_text(base64.b64encode(KEY).decode() + "\n")
    (folder / "cozyd.toml").write_text(f'[oidc.default]\njwt_secret_file = "{folder / "secret"}"\n')
    config = load(folder / "cozyd.toml", {"COZYD_STORAGE_PATH": str(folder / "data")}, {})
    stack = Stack(config, TABLE, now=Clock())
    yield stack
    stack.close()


@pytest.fixture
def home(stack: Stack) -> Home:
    return Home(stack, f"managed{next(NUMBERS)}")


def token(home: Home, key: bytes = KEY, alg: str = "HS256", **claims: Any) -> str:
    now = int(home.instance.now().timestamp())
    given = {"name": home.host, "iat": now, "exp": now + 60} | claims
    given = {name: value for name, value in given.items() if value is not None}
    return jwt.encode({"alg": alg}, given, OctKey.import_key(key), algorithms=[alg])


def test_a_token_logs_her_in_once_and_leads_on(home: Home):
    made, browser = token(home), home.browser()
    first = browser.get(f"/?jwt={made}")
    assert (first.status, first.headers["Location"]) == (303, f"http://{home.host}/auth/login?jwt={made}")
    done = browser.get(f"/auth/login?jwt={made}&redirect={quote(f'http://{home.host}/auth/security/', safe='')}")
    assert (done.status, done.headers["Location"]) == (303, f"http://{home.host}/auth/security/#=")
    assert browser.get("/sync/").status == 200
    assert home.instance.auth.trail.latest(1)[0].detail == "managing service"
    other = home.browser()
    refused = other.get(f"/auth/login?jwt={made}")
    assert (refused.status, b'id="login-form"' in refused.body, "cozysessid" in other.cookies) == (403, True, False)


@pytest.mark.parametrize(
    "claims",
    [
        {"name": "other.localhost"},
        {"name": None},
        {"name": 7},
        {"iat": None},
        {"iat": 1},
        {"iat": 32503680000},
        {"iat": True},
        {"exp": 1},
        {"exp": "x"},
    ],
    ids=str,
)
def test_a_token_of_another_cloud_or_time_opens_nothing(home: Home, claims: dict[str, Any]):
    browser = home.browser()
    assert browser.get(f"/auth/login?jwt={token(home, **claims)}").status == 403
    assert "cozysessid" not in browser.cookies


def test_a_forged_token_opens_nothing(home: Home):
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=") + "." + token(home).split(".")[1] + "."
    for wrong in (token(home, b"x" * 64), token(home)[:-3] + "AAA", unsigned, "x", "x.y.z", "%00", "a" * 9000):
        assert home.browser().get(f"/auth/login?jwt={wrong}").status == 403
    assert home.browser().get(f"/auth/login?jwt={token(home, alg='HS512', exp=None)}").status == 303


def test_a_second_factor_is_asked_for_after_it(home: Home):
    home.instance.amend(auth_mode=1)
    browser = home.browser()
    done = browser.get(f"/auth/login?jwt={token(home)}")
    assert (done.status, "/auth/twofactor?two_factor_token=" in done.headers["Location"]) == (303, True)
    assert "cozysessid" not in browser.cookies


def test_who_guesses_tokens_is_slowed_down(home: Home):
    statuses = [home.browser().get("/auth/login?jwt=x").status for _ in range(31)]
    assert statuses == [403] * 30 + [429]


def test_without_a_secret_no_token_opens_anything(tmp_path: Path):
    stack = Stack(Config(storage=Storage(path=tmp_path)), TABLE, now=Clock())
    home = Home(stack, "plain")
    assert home.browser().get(f"/auth/login?jwt={token(home)}").status == 403
    assert home.instance.delegated is None
    stack.close()


def test_a_secret_that_is_not_there_is_an_error_at_the_start(tmp_path: Path):
    (tmp_path / "cozyd.toml").write_text('[oidc.default]\njwt_secret_file = "/nothing"\n')
    with pytest.raises(ConfigError, match="jwt_secret_file"):
        load(tmp_path / "cozyd.toml", {}, {})
