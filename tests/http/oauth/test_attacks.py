"""What an attacker tries on OAuth: redirects, downgrades, replays, forged and foreign tokens, forged forms (RFC 9700, section 4)."""

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.client import Answer
from tests.support.oauth import NOTES, REDIRECT, Application, challenge_of, with_token
from tests.support.visitor import Visitor, field

THINGS = f"/data/{NOTES}/"


@pytest.fixture(scope="module")
def public(owner: Visitor) -> Application:
    return Application(owner, public=True, client_name="Phone")


@pytest.fixture(scope="module")
def mallory(owner: Visitor) -> Application:
    """A client of the same owner, with bad intentions."""
    return Application(owner, client_name="Mallory", redirect_uris=["https://evil.example/cb"])


def status(app: Application, token: str) -> int:
    """201 when the token is good."""
    return with_token(app.served, token).api("POST", THINGS, {"a": 1}).status


def refused(answer: Answer, sentence: str) -> bool:
    return (answer.status, answer.json) == (400, {"error": sentence})


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/cb",
        "https://client.example/",
        "https://client.example/cb/",
        "https://client.example/cb/../evil",
        "https://client.example/cb?more=1",
        "https://client.example/cb#x",
        "https://client.example/CB",
        "https://CLIENT.example/cb",
        "https://client.example:443/cb",
        "https://client.example.evil.example/cb",
        "https://client.example@evil.example/cb",
        "https://user@client.example/cb",
        "http://client.example/cb",
        "//client.example/cb",
        "javascript:alert(1)",
        "https://client.example/cb%00",
        "https://client.example/cb ",
        "https://client.example\\@evil.example/cb",
    ],
)
def test_no_code_is_sent_to_an_address_that_differs_by_a_letter(app: Application, uri: str):
    answer = app.page(redirect_uri=uri)
    assert (answer.status, answer.headers["Location"]) == (400, None)


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": ""},
        {"state": ""},
        {"client_id": ""},
        {"client_id": "0" * 32},
        {"client_id": "_design/x"},
        {"response_type": ""},
        {"response_type": "token"},
        {"response_type": "code token"},
        {"response_type": "none"},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ""},
        {"code_challenge": ""},
        {"code_challenge": "short"},
        {"code_challenge": "x" * 200},
        {"scope": ""},
        {"scope": "login"},
        {"scope": "@io.cozy.apps/drive"},
        {"scope": "io.cozy.*"},
        {"scope": "io.cozy.files:FLY"},
        {"scope": "io.cozy.files:GET::name"},
    ],
)
def test_a_request_that_is_wrong_is_told_to_the_owner_and_never_redirected(app: Application, change: dict[str, str]):
    answer = app.owner.get(f"/auth/authorize?{urlencode({name: value for name, value in (app.request() | change).items() if value})}")
    assert (answer.status, answer.headers["Location"]) == (400, None)
    assert b"csrf_token" not in answer.body


@pytest.mark.parametrize("name", ["redirect_uri", "client_id", "state", "scope", "response_type", "code_challenge"])
def test_a_parameter_that_comes_twice_is_refused(app: Application, name: str):
    answer = app.owner.get(f"/auth/authorize?{urlencode([*app.request().items(), (name, 'https://evil.example/cb')])}")
    assert answer.status == 400


def test_a_public_client_without_a_challenge_gets_no_page(public: Application):
    assert public.page(pkce=False).status == 400


@pytest.mark.parametrize(
    ("change", "headers", "expected"),
    [
        ({"csrf_token": ""}, {}, 400),
        ({"csrf_token": "guessed"}, {}, 403),
        ({}, {"Sec_Fetch_Site": "cross-site"}, 403),
        ({}, {"Sec_Fetch_Site": "same-site"}, 403),
    ],
)
def test_no_other_site_agrees_for_the_owner(app: Application, change: dict[str, str], headers: dict[str, str], expected: int):
    token = field(app.page(), "csrf_token")
    answer = app.owner.post("/auth/authorize", app.request() | {"csrf_token": token} | change, **headers)
    assert (answer.status, answer.headers["Location"]) == (expected, None)


def test_no_browser_without_a_session_agrees(app: Application):
    stranger = Visitor(app.served)
    token = stranger.csrf("/auth/login")
    answer = stranger.post("/auth/authorize", app.request() | {"csrf_token": token})
    assert (answer.status, answer.headers["Location"]) == (401, None)


def test_a_form_that_was_changed_is_checked_like_a_request(app: Application):
    token = field(app.page(), "csrf_token")
    for change in ({"redirect_uri": "https://evil.example/cb"}, {"scope": "*"}, {"code_challenge_method": "plain"}, {"state": ""}):
        answer = app.owner.post("/auth/authorize", app.request() | {"csrf_token": token} | change)
        assert (answer.status, answer.headers["Location"]) == (400, None)


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://x/y",
        "https://evil.example#",
        "https://a@evil.example/",
        "https:///nohost",
        "https://exa mple/",
        "https://x\\y/",
        "https://x/\r\nSet-Cookie: a=b",
        "http://{domain}/auth/login",
        "http://localhost:{port}/x",
        "https://é.example/",
        "cb",
        "",
        "x" * 5000,
    ],
)
def test_no_client_registers_an_address_that_harms(app: Application, uri: str):
    given = uri.replace("{domain}", app.served.domain).replace("{port}", str(app.served.port))
    answer = app.post_json("/auth/register", {"redirect_uris": [given], "client_name": "N", "software_id": "x"})
    assert (answer.status, answer.json["error"]) == (400, "invalid_redirect_uri")


# -- codes ------------------------------------------------------------------------------------------------------------


def test_a_code_of_one_client_is_exchanged_by_no_other(app: Application, mallory: Application):
    code = app.code()
    assert refused(mallory.exchange(code, code_verifier=app.verifier), "invalid code")
    assert app.exchange(code).status == 200


@pytest.mark.parametrize("verifier", ["", "wrong", "x" * 42, "x" * 129, "é" * 50])
def test_a_code_needs_the_verifier_of_its_challenge(app: Application, verifier: str):
    code = app.code()
    assert refused(app.exchange(code, code_verifier=verifier), "invalid code_verifier")
    assert refused(app.exchange(code, code_verifier=challenge_of(app.verifier)), "invalid code_verifier")
    assert app.exchange(code).status == 200


def test_a_challenge_is_not_dropped_on_the_way(app: Application):
    code = app.code(pkce=False)
    assert refused(app.exchange(code), "invalid code_verifier")


def test_a_code_is_exchanged_for_the_address_it_was_sent_to(app: Application):
    assert refused(app.exchange(app.code(), redirect_uri="https://evil.example/cb"), "invalid redirect_uri")
    assert app.exchange(app.code(), redirect_uri=REDIRECT).status == 200


@pytest.mark.parametrize("kind", ["app", "public"])
def test_second_use_of_a_code_revokes_what_the_first_got(kind: str, request: pytest.FixtureRequest):
    app: Application = request.getfixturevalue(kind)
    code = app.code()
    tokens = app.exchange(code).json
    assert status(app, tokens["access_token"]) == 201
    assert refused(app.exchange(code), "invalid code")
    assert status(app, tokens["access_token"]) == 400
    assert refused(app.refresh(tokens["refresh_token"]), "invalid refresh token")


def test_a_stranger_revokes_nothing_with_a_code_that_leaked(app: Application, mallory: Application):
    code = app.code()
    tokens = app.exchange(code).json
    assert refused(mallory.exchange(code, code_verifier=app.verifier), "invalid code")
    assert status(app, tokens["access_token"]) == 201


def test_a_client_with_a_secret_may_ask_twice_without_a_challenge(app: Application):
    code = app.code(pkce=False)
    tokens = app.exchange(code, code_verifier="").json
    assert refused(app.exchange(code, code_verifier=""), "invalid code")
    assert status(app, tokens["access_token"]) == 201


# -- who the client is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 5000])
def test_a_client_with_a_secret_shows_it(app: Application, secret: str):
    assert app.exchange(app.code(), client_secret=secret).status == 400


def test_a_secret_in_the_header_is_no_secret(app: Application):
    basic = base64.b64encode(f"{app.id}:{app.secret}".encode()).decode()
    fields = {"grant_type": "authorization_code", "code": app.code(), "client_id": app.id, "code_verifier": app.verifier}
    answer = Visitor(app.served).post("/auth/access_token", fields, Authorization=f"Basic {basic}")
    assert refused(answer, "the client_secret parameter is mandatory")


def test_a_public_client_has_no_secret_to_guess(public: Application):
    assert refused(public.exchange(public.code(), client_secret="x"), "invalid client_secret")


def test_tokens_are_given_to_forms_only(app: Application):
    path = f"/auth/access_token?{urlencode({'grant_type': 'refresh_token', 'client_id': app.id, 'client_secret': app.secret})}"
    assert Visitor(app.served).get(path).status == 404
    assert Visitor(app.served).post(path, {}).json == {"error": "the grant_type parameter is mandatory"}
    body = json.dumps({"grant_type": "refresh_token", "client_id": app.id}).encode()
    assert Visitor(app.served).ask("POST", "/auth/access_token", body, Content_Type="application/json").status == 400


# -- refresh tokens -----------------------------------------------------------------------------------------------------


def test_a_replayed_refresh_token_revokes_the_family(public: Application):
    first = public.tokens()
    second = public.refresh(first["refresh_token"]).json
    assert status(public, second["access_token"]) == 201
    assert refused(public.refresh(first["refresh_token"]), "invalid refresh token")
    assert status(public, second["access_token"]) == 400
    assert refused(public.refresh(second["refresh_token"]), "invalid refresh token")


def test_a_refresh_token_is_its_clients_own(app: Application, mallory: Application, public: Application):
    token = app.tokens()["refresh_token"]
    assert refused(mallory.refresh(token), "invalid refresh token")
    assert refused(public.refresh(token), "invalid refresh token")
    assert app.refresh(token).status == 200


def test_each_kind_of_token_opens_its_own_door_only(app: Application):
    tokens = app.tokens()
    assert refused(app.refresh(tokens["access_token"]), "invalid refresh token")
    assert refused(app.refresh(app.registration_token), "invalid refresh token")
    assert status(app, tokens["refresh_token"]) == 400
    assert status(app, app.registration_token) == 400
    mine = {"Authorization": f"Bearer {tokens['refresh_token']}", "Accept": "*/*"}
    assert app.owner.get(f"/auth/register/{app.id}", **mine).status == 401


def test_nobody_revokes_anothers_token(app: Application, mallory: Application):
    token = app.tokens()["access_token"]
    fields = {"client_id": mallory.id, "client_secret": mallory.secret, "token": token}
    assert Visitor(app.served).post("/auth/revoke", fields).status == 400
    assert Visitor(app.served).post("/auth/revoke", fields | {"client_secret": "x"}).status == 400
    assert status(app, token) == 201


# -- forged tokens ------------------------------------------------------------------------------------------------------


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, payload, signature = token.split(".")
    return _read(head), _read(payload), signature


def _read(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def forged(head: dict[str, Any], payload: dict[str, Any], key: bytes | None) -> str:
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, payload))
    digest = hmac.digest(key, text.encode(), "sha512") if key is not None else b""
    return text + "." + base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "RS256", "ES256", "HS256", "dir", None])
def test_a_token_that_names_another_algorithm_is_refused(app: Application, algorithm: str | None):
    head, payload, signature = parts(app.tokens()["access_token"])
    for key in (None, b"", app.secret.encode(), hashlib.sha256(app.secret.encode()).digest()):
        assert status(app, forged(head | {"alg": algorithm}, payload, key)) == 400
    unsigned = forged(head | {"alg": algorithm}, payload, None).rsplit(".", 1)[0]
    assert status(app, f"{unsigned}.{signature}") == 400
    assert status(app, f"{unsigned}.") == 400


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "io.cozy.files"},
        {"scope": "*"},
        {"aud": ["cli"]},
        {"aud": ["app"]},
        {"aud": ["access", "cli"]},
        {"aud": []},
        {"sub": "settings"},
        {"iat": 99999999999},
        {"iat": "soon"},
        {"grant": ""},
        {"iss": "bob.localhost"},
    ],
)
def test_a_token_that_was_changed_is_refused(app: Application, change: dict[str, Any]):
    head, payload, signature = parts(app.tokens(f"{NOTES}:POST")["access_token"])
    text = forged(head, payload | change, None).rsplit(".", 1)[0]
    assert status(app, f"{text}.{signature}") == 400


def test_keys_that_come_with_the_token_are_not_used(app: Application):
    head, payload, _ = parts(app.tokens()["access_token"])
    own = b"k" * 64
    jwk = {"kty": "oct", "k": base64.urlsafe_b64encode(own).decode().rstrip("=")}
    for more in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"kid": "../../dev/null"}, {"x5u": "https://evil.example/"}):
        assert status(app, forged(head | more, payload, own)) == 400


def test_a_token_of_one_tenant_is_nobody_at_the_other(app: Application):
    tokens = app.tokens("io.cozy.files io.cozy.test.notes")
    there = with_token(app.served, tokens["access_token"], host=f"bob.localhost:{app.served.port}")
    assert there.api("POST", THINGS, {}).status == 400
    assert there.api("GET", "/files/io.cozy.files.root-dir").status == 400
    bob = Visitor(app.served, f"bob.localhost:{app.served.port}")
    fields = {"grant_type": "refresh_token", "client_id": app.id, "client_secret": app.secret, "refresh_token": tokens["refresh_token"]}
    assert refused(bob.post("/auth/access_token", fields), "the client must be registered")
    assert bob.get(f"/auth/register/{app.id}", Authorization=f"Bearer {app.registration_token}", Accept="*/*").status == 404
    answer = bob.get(f"/auth/authorize?{urlencode(app.request())}")
    assert answer.status == 400


def test_every_answer_of_the_page_says_from_whom_it_is(app: Application):
    assert f"iss=http%3A%2F%2F{app.served.domain.replace(':', '%3A')}" in app.agree().headers["Location"]
    assert "iss=http" in app.page().body.decode()
