"""OAuth with a clock: codes and grants grow old, clients nobody let in are forgotten; what a reference's token has not."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from cozyd.auth import Credentials, tokens
from cozyd.auth.bearer import secret_of
from cozyd.auth.clients import Client
from cozyd.auth.oauth import Form
from cozyd.auth.tokens import Claims
from cozyd.documents.store import Ref
from cozyd.errors import BadRequest, BadToken, NotFound
from cozyd.instance import Instance
from cozyd.stack import Stack
from tests.support.oauth import challenge_of
from tests.support.stack import Clock

REDIRECT = "https://client.example/cb"
SCOPE = "io.cozy.contacts"


@pytest.fixture
def alice(stack: Stack) -> Instance:
    return stack.create("alice.localhost:8080")


def register(alice: Instance, **metadata: Any) -> Client:
    return alice.auth.clients.register({"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"} | metadata)


def form(**fields: str) -> Form:
    return {name: [value] for name, value in fields.items()}


def code(alice: Instance, client: Client, scope: str = SCOPE, **more: str) -> str:
    oauth = alice.auth.oauth("https://alice.example")
    asked = form(client_id=client.id, redirect_uri=REDIRECT, response_type="code", scope=scope, state="s", **more)
    found = re.search(r"[?&]code=([0-9a-f]+)", oauth.approve(oauth.asked(asked)))
    assert found is not None
    return found[1]


def exchange(alice: Instance, client: Client, text: str, **more: str) -> Any:
    fields = {"client_id": client.id, "client_secret": client.stored.doc.get("client_secret", "")} | more
    return alice.auth.oauth("https://alice.example").token(form(grant_type="authorization_code", code=text, **fields))


def refresh(alice: Instance, client: Client, token: str) -> Any:
    fields = {"client_id": client.id, "client_secret": client.stored.doc.get("client_secret", "")}
    return alice.auth.oauth("https://alice.example").token(form(grant_type="refresh_token", refresh_token=token, **fields))


def opens(alice: Instance, token: str) -> bool:
    try:
        alice.auth.identify(Credentials(bearer=token))
    except BadToken:
        return False
    return True


def test_a_code_is_good_for_five_minutes(alice: Instance, clock: Clock):
    client = register(alice)
    early, late = code(alice, client), code(alice, client)
    clock.passes(minutes=4, seconds=59)
    assert exchange(alice, client, early)["scope"] == SCOPE
    clock.passes(seconds=2)
    with pytest.raises(BadRequest, match="invalid code"):
        exchange(alice, client, late)


def test_codes_nobody_came_for_are_dropped(alice: Instance, clock: Clock):
    client = register(alice)
    old = code(alice, client)
    clock.passes(minutes=6)
    code(alice, client)
    with pytest.raises(NotFound):
        alice.docs.get(Ref("io.cozy.oauth.access_codes", old))


def test_an_access_token_lives_seven_days_and_says_that_it_expired(alice: Instance, clock: Clock):
    client = register(alice)
    made = exchange(alice, client, code(alice, client))
    clock.passes(days=6, hours=23)
    assert opens(alice, made["access_token"])
    clock.passes(hours=2)
    with pytest.raises(BadToken, match="Expired token"):
        alice.auth.identify(Credentials(bearer=made["access_token"]))
    assert opens(alice, refresh(alice, client, made["refresh_token"])["access_token"])


def test_a_refresh_token_of_a_client_with_a_secret_does_not_expire(alice: Instance, clock: Clock):
    client = register(alice)
    made = exchange(alice, client, code(alice, client))
    clock.passes(days=1000)
    assert opens(alice, refresh(alice, client, made["refresh_token"])["access_token"])


def test_a_client_without_a_secret_asks_again_after_a_year(alice: Instance, clock: Clock):
    client = register(alice, token_endpoint_auth_method="none")
    verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    text = code(alice, client, code_challenge=challenge, code_challenge_method="S256")
    made = exchange(alice, client, text, code_verifier=verifier)
    clock.passes(days=364)
    made = refresh(alice, client, made["refresh_token"])
    clock.passes(days=2)
    with pytest.raises(BadRequest, match="invalid refresh token"):
        refresh(alice, client, made["refresh_token"])


def test_a_client_nobody_let_in_within_an_hour_is_forgotten(alice: Instance, clock: Clock):
    late, kept = register(alice), register(alice)
    code(alice, kept)
    clock.passes(minutes=61)
    with pytest.raises(NotFound):
        alice.auth.clients.get(late.id)
    register(alice)
    assert {client.id for client in alice.auth.clients.all()} >= {kept.id}
    assert late.id not in {client.id for client in alice.auth.clients.all()}


def test_a_removed_client_leaves_no_code_and_no_grant(alice: Instance):
    client, other = register(alice), register(alice)
    left = code(alice, client)
    exchange(alice, client, code(alice, client))
    exchange(alice, other, code(alice, other))
    alice.auth.remove_client(client)
    with pytest.raises(NotFound):
        alice.docs.get(Ref("io.cozy.oauth.access_codes", left))
    assert [stored.doc["client_id"] for stored in alice.docs.all("io.cozy.oauth.grants").rows] == [other.id]


def test_tokens_that_a_cozy_stack_made_stay_good(alice: Instance):
    client = register(alice)
    alice.auth.clients.note(client, pending=...)
    key = secret_of(alice.doc, "access")
    assert key is not None
    access = tokens.sign(Claims("access", alice.domain, client.id, alice.now(), SCOPE), key)
    old = tokens.sign(Claims("refresh", alice.domain, client.id, alice.now(), SCOPE), key)
    assert opens(alice, access)
    made = refresh(alice, client, old)
    assert "refresh_token" not in made
    assert opens(alice, made["access_token"])


def test_after_a_change_of_domain_a_refresh_gives_a_new_refresh_token(stack: Stack, alice: Instance):
    client = register(alice)
    alice.auth.clients.note(client, pending=...)
    stack.modify(alice.domain, old_domain="old.localhost:8080")
    key = secret_of(alice.doc, "refresh")
    assert key is not None
    old = tokens.sign(Claims("refresh", "old.localhost:8080", client.id, alice.now(), SCOPE), key)
    assert "refresh_token" in refresh(alice, client, old)


def test_everything_is_for_flagships_with_a_challenge(alice: Instance):
    client = register(alice)
    more = {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"}
    with pytest.raises(BadRequest, match="not certified"):
        code(alice, client, "*", **more)
    client = alice.auth.clients.note(client, flagship=True)
    with pytest.raises(BadRequest, match="challenge"):
        code(alice, client, "*")
    made = exchange(alice, client, code(alice, client, "*", **more), code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert alice.auth.identify(Credentials(bearer=made["access_token"])).everything
    alice.auth.clients.note(client, flagship=...)
    assert not opens(alice, made["access_token"])


def test_a_flagship_gets_everything_for_the_passphrase(alice: Instance):
    client = register(alice)
    secret, oauth = client.stored.doc["client_secret"], alice.auth.oauth("https://alice.example")
    assert oauth.certified(client.id, secret) is None
    alice.auth.clients.note(client, flagship=True)
    made = oauth.certified(client.id, secret)
    assert made is not None
    assert alice.auth.identify(Credentials(bearer=made["access_token"])).everything
    assert opens(alice, refresh(alice, client, made["refresh_token"])["access_token"])


def test_a_session_code_is_good_once(alice: Instance):
    code = alice.auth.new_session_code()
    assert [alice.auth.take_session_code(given) for given in ("", "other", code, code)] == [False, False, True, False]


def test_an_apps_token_needs_the_cookie_of_its_own_session_where_cookies_are_read(alice: Instance):
    mine, other = (alice.auth.open_session(Credentials(), long_run=True) for _ in range(2))
    token = alice.auth.app_token("drive", SCOPE, session_id=alice.auth.sessions.id_of(mine))

    def good(session: str | None) -> bool:
        try:
            return bool(alice.auth.identify(Credentials(bearer=token, session=session)).rules)
        except BadToken:
            return False

    assert [good(session) for session in (mine, other, "", "forged", None)] == [True, False, False, False, True]


def test_a_log_in_only_client_needs_no_consent_and_opens_nothing(alice: Instance):
    given = {"redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x"}
    client = alice.auth.clients.register(given, allow_login_scope=True)
    made = exchange(alice, client, code(alice, client, "login"))
    assert made["scope"] == ""
    assert not opens(alice, made["access_token"])


def test_a_client_cannot_make_itself_more_than_it_is(alice: Instance):
    client = register(alice, flagship=True, allow_login_scope=True, created_at_onboarding=True, certified_from_store=True, client_id="mine")
    assert not {"flagship", "allow_login_scope", "created_at_onboarding", "certified_from_store"} & set(client.stored.doc)
    assert client.id != "mine"
    given = {"client_id": client.id, "redirect_uris": [REDIRECT], "client_name": "N", "software_id": "x", "flagship": True}
    assert "flagship" not in alice.auth.clients.update(client, given).stored.doc


def test_the_metadata_is_valid_by_rfc_8414(alice: Instance):
    AuthorizationServerMetadata(alice.auth.oauth("https://alice.example").metadata()).validate()


# -- what is wrong, in the reference's words and order -------------------------------------------------------------------

GOOD = {"response_type": "code", "redirect_uri": REDIRECT, "scope": SCOPE, "state": "s"}
VERIFIER = "v" * 43


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"state": "", "client_id": ""}, "Error No state parameter"),
        ({"client_id": "", "redirect_uri": ""}, "Error No client_id parameter"),
        ({"redirect_uri": "", "response_type": ""}, "Error No redirect_uri parameter"),
        ({"response_type": "token"}, "Error Invalid response type"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "Error Invalid challenge code method"),
        ({"code_challenge": challenge_of(VERIFIER), "code_challenge_method": ""}, "Error Invalid challenge code method"),
        ({"code_challenge_method": "S256"}, "Error No challenge code"),
        ({"code_challenge": "x", "code_challenge_method": "S256"}, "Error Invalid challenge code"),
        ({"client_id": "nobody", "redirect_uri": "https://x"}, "Error No registered client"),
        ({"redirect_uri": REDIRECT + "/", "scope": ""}, "Error Incorrect redirect_uri"),
        ({"scope": ""}, "Error No scope parameter"),
        ({"scope": "login"}, "Error No scope parameter"),
        ({"scope": "a:NOPE"}, "Error Invalid scope"),
        ({"scope": "*"}, "Error No challenge code"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_request_is_said_in_the_order_of_the_reference(alice: Instance, changed: dict[str, str], said: str):
    asked = {"client_id": register(alice).id} | GOOD | changed
    with pytest.raises(BadRequest) as refused:
        alice.auth.oauth("https://alice.example").asked(form(**asked))
    assert refused.value.detail == said


def test_a_parameter_that_comes_twice_is_refused(alice: Instance):
    asked: Form = {**form(client_id=register(alice).id, **GOOD), "scope": [SCOPE, "io.cozy.files"]}
    with pytest.raises(BadRequest):
        alice.auth.oauth("https://alice.example").asked(asked)


def test_the_redirect_says_code_state_and_issuer_and_a_refusal_why(alice: Instance):
    client, oauth = register(alice, redirect_uris=[f"{REDIRECT}?a=1"]), alice.auth.oauth("https://alice.example")
    asked = oauth.asked(form(client_id=client.id, **GOOD | {"redirect_uri": f"{REDIRECT}?a=1", "scope": f"  {SCOPE}   io.cozy.files "}))
    assert asked.scope == f"{SCOPE} io.cozy.files"
    target = oauth.approve(asked, "Linux")
    query = parse_qs(urlsplit(target).query)
    assert target.endswith("#")
    assert (query["a"], query["state"], query["iss"]) == (["1"], ["s"], ["https://alice.example"])
    assert query["code"] == query["access_code"]
    assert alice.auth.clients.get(client.id).stored.doc["client_os"] == "Linux"
    assert "pending" not in alice.auth.clients.get(client.id).stored.doc
    denied = parse_qs(urlsplit(oauth.denial(asked)).query)
    assert denied == {"a": ["1"], "error": ["access_denied"], "state": ["s"], "iss": ["https://alice.example"]}
    oauth.approve(asked)
    assert alice.auth.clients.get(client.id).stored.doc["client_os"] == "Linux", "who does not say stays as he was"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grant_type": ""}, "the grant_type parameter is mandatory"),
        ({"client_id": ""}, "the client_id parameter is mandatory"),
        ({"client_secret": ""}, "the client_secret parameter is mandatory"),
        ({"client_id": "nobody"}, "the client must be registered"),
        ({"client_secret": "x"}, "invalid client_secret"),
        ({"code": ""}, "the code parameter is mandatory"),
        ({"code": "x"}, "invalid code"),
        ({"code_verifier": "w" * 43}, "invalid code_verifier"),
        ({"code_verifier": ""}, "invalid code_verifier"),
        ({"grant_type": "password"}, "invalid grant type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid refresh token"),
    ],
    ids=str,
)
def test_what_is_wrong_at_the_token_endpoint_is_said_in_the_words_of_the_reference(alice: Instance, changed: dict[str, str], said: str):
    client = register(alice)
    text = code(alice, client, code_challenge=challenge_of(VERIFIER), code_challenge_method="S256")
    fields = {"grant_type": "authorization_code", "client_id": client.id, "client_secret": client.stored.doc["client_secret"], "code": text}
    oauth = alice.auth.oauth("https://alice.example")
    with pytest.raises(BadRequest) as refused:
        oauth.token(form(**fields | {"code_verifier": VERIFIER} | changed))
    assert refused.value.detail == said
    if "code" not in changed and "code_verifier" not in changed:
        assert oauth.token(form(**fields | {"code_verifier": VERIFIER}))["token_type"] == "bearer", "the code was not used up"


def test_a_client_without_a_secret_shows_none_and_a_challenge(alice: Instance):
    client, oauth = register(alice, token_endpoint_auth_method="none"), alice.auth.oauth("https://alice.example")
    with pytest.raises(BadRequest, match="No challenge code"):
        oauth.asked(form(client_id=client.id, **GOOD))
    text = code(alice, client, code_challenge=challenge_of(VERIFIER), code_challenge_method="S256")
    fields = {"grant_type": "authorization_code", "client_id": client.id, "code": text, "code_verifier": VERIFIER}
    with pytest.raises(BadRequest, match="invalid client_secret"):
        oauth.token(form(**fields, client_secret="x"))
    first = oauth.token(form(**fields))
    refresh = {"grant_type": "refresh_token", "client_id": client.id}
    second = oauth.token(form(**refresh, refresh_token=first["refresh_token"]))
    assert second["refresh_token"] != first["refresh_token"]
    with pytest.raises(BadRequest):
        oauth.token(form(**refresh, refresh_token=first["refresh_token"]))
    with pytest.raises(BadRequest):
        oauth.token(form(**refresh, refresh_token=second["refresh_token"])), "a replay ends the family"


def test_revoking_a_token_ends_what_its_code_gave_and_another_s_is_refused(alice: Instance):
    client, other, oauth = register(alice), register(alice), alice.auth.oauth("https://alice.example")
    made = exchange(alice, client, code(alice, client))
    shown = {"client_id": client.id, "client_secret": client.stored.doc["client_secret"]}
    foreign = {"client_id": other.id, "client_secret": other.stored.doc["client_secret"]}
    with pytest.raises(BadRequest):
        oauth.revoke(form(**foreign, token=made["refresh_token"]))
    alice.auth.identify(Credentials(bearer=made["access_token"]))
    oauth.revoke(form(**shown, token="none of ours"))
    oauth.revoke(form(**shown, token=made["refresh_token"]))
    with pytest.raises(BadToken):
        alice.auth.identify(Credentials(bearer=made["access_token"]))


def test_a_refresh_token_is_its_client_s_alone_and_no_other_token_refreshes(alice: Instance):
    client, other = register(alice), register(alice)
    made = exchange(alice, client, code(alice, client))
    for wrong in (made["access_token"], alice.auth.registration_token(client), "x.y.z", ""):
        with pytest.raises(BadRequest, match="invalid refresh token"):
            refresh(alice, client, wrong)
    with pytest.raises(BadRequest, match="invalid refresh token"):
        refresh(alice, other, made["refresh_token"])
    assert refresh(alice, client, made["refresh_token"])["scope"] == SCOPE, "the owner of the token goes on"


def test_a_redirect_uri_at_the_token_endpoint_is_that_of_the_request(alice: Instance):
    client = register(alice)
    text = code(alice, client)
    with pytest.raises(BadRequest, match="invalid redirect_uri"):
        exchange(alice, client, text, redirect_uri=REDIRECT + "/other")
    assert exchange(alice, client, text, redirect_uri=REDIRECT)["scope"] == SCOPE


def test_a_client_shows_its_secret_before_anything_is_asked_for_it(alice: Instance):
    client, oauth = register(alice), alice.auth.oauth("https://alice.example")
    oauth.check_client(client.id, client.stored.doc["client_secret"])
    for id, secret in ((client.id, "x"), (client.id, ""), ("nobody", "x")):
        with pytest.raises(BadRequest):
            oauth.check_client(id, secret)
