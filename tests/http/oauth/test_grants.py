"""OAuth: the owner's consent, tokens, refresh, revocation, as clients use them."""

import html
import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.client import Answer
from tests.support.oauth import NOTES, REDIRECT, Application, with_token
from tests.support.serving import Served
from tests.support.visitor import Visitor, field

THINGS = f"/data/{NOTES}/"


def opens(app: Application, token: str, path: str = THINGS) -> int:
    """The status that a token gets where a token with its rules gets 200."""
    return with_token(app.served, token).api("POST", path, {"a": 1}).status


# -- consent ----------------------------------------------------------------------------------------------------------


def text_of(page: Answer) -> str:
    return html.unescape(page.body.decode())


def test_who_is_not_logged_in_logs_in_first_and_comes_back(served: Served, app: Application):
    visitor = Visitor(served)
    stranger = Application.__new__(Application)
    stranger.__dict__.update(vars(app) | {"owner": visitor})
    answer = stranger.page()
    assert answer.status == 303
    target = parse_qs(urlsplit(answer.headers["Location"]).query)["redirect"][0]
    assert urlsplit(target).path == "/auth/authorize"
    assert parse_qs(urlsplit(target).query)["client_id"] == [app.id]
    done = visitor.submit_login(redirect=target)
    assert done.headers["Location"].startswith(target)


def test_the_page_says_in_words_what_each_rule_allows(app: Application):
    page = text_of(app.page("io.cozy.contacts io.cozy.files:GET:some-dir io.cozy.bank.* io.cozy.test.notes:POST,PATCH"))
    for sentence in (
        "See, add, change, delete: your contacts",
        "See: your files and folders, only some of them",
        "See, add, change, delete: all documents of the types io.cozy.bank.*",
        "Add, change: documents of the type io.cozy.test.notes",
        "client.example",
    ):
        assert sentence in page


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("fr", "Voir : vos contacts"), ("de-DE", "Ansehen: Ihre Kontakte"), ("es", "Ver: sus contactos"), ("fi", "See: your contacts")],
)
def test_the_page_speaks_the_readers_language(app: Application, language: str, sentence: str):
    path = f"/auth/authorize?client_id={app.id}&redirect_uri={REDIRECT}&response_type=code&scope=io.cozy.contacts:GET&state=s"
    page = app.owner.get(path, Accept_Language=language)
    assert sentence in text_of(page)
    assert f'lang="{language[:2] if language != "fi" else "en"}"' in text_of(page)


def test_the_page_can_be_in_no_frame_is_kept_nowhere_and_leads_only_to_the_client(app: Application):
    headers = app.page().headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://client.example;" in policy
    assert (headers["Cache-Control"], headers["X-Frame-Options"], headers["Referrer-Policy"]) == ("no-store", "DENY", "no-referrer")


def test_a_name_with_markup_is_text(owner: Visitor):
    page = Application(owner, client_name='<script>alert("x")</script>').page().body
    assert b"<script>alert" not in page
    assert b"&lt;script&gt;" in page


def test_agreeing_leads_back_with_code_state_and_issuer(app: Application):
    agreed = app.agree()
    location = agreed.headers["Location"]
    query = parse_qs(urlsplit(location).query)
    assert agreed.status == 302
    assert location.startswith(REDIRECT + "?")
    assert location.endswith("#")
    assert query["code"] == query["access_code"]
    assert (query["state"], query["iss"]) == (["s1"], [f"http://{app.served.domain}"])


def test_refusing_leads_back_with_an_error_state_and_issuer(app: Application):
    link = re.search(r'<a class="btn" href="([^"]+)"', app.page().body.decode())
    assert link is not None
    query = parse_qs(urlsplit(html.unescape(link[1])).query)
    assert (query["error"], query["state"], query["iss"]) == (["access_denied"], ["s1"], [f"http://{app.served.domain}"])


def test_an_application_of_the_phone_gets_its_answer_as_json(owner: Visitor):
    app = Application(owner, redirect_uris=["cozynotes://auth?from=phone"])
    page = app.page(redirect_uri="cozynotes://auth?from=phone")
    assert "form-action 'self' cozynotes:;" in page.headers["Content-Security-Policy"]
    fields = app.request(redirect_uri="cozynotes://auth?from=phone") | {"csrf_token": field(page, "csrf_token")}
    answer = owner.post("/auth/authorize", fields, Accept="application/json")
    assert answer.json["deeplink"].startswith("cozynotes://auth?from=phone&access_code=")


def test_the_name_of_the_operating_system_is_noted(owner: Visitor):
    app = Application(owner)
    page = app.page()
    owner.post("/auth/authorize", app.request() | {"csrf_token": field(page, "csrf_token")}, User_Agent="Mozilla/5.0 (Linux; Android 15)")
    shown = owner.get(f"/auth/register/{app.id}", Authorization=f"Bearer {app.registration_token}", Accept="application/json").json
    assert shown["client_os"] == "Android"
    assert "pending" not in shown


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_a_code_becomes_tokens_with_the_scope_that_was_agreed_to(app: Application):
    tokens = app.tokens("io.cozy.test.notes:POST")
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "scope"}
    assert (tokens["token_type"], tokens["scope"]) == ("bearer", "io.cozy.test.notes:POST")
    assert opens(app, tokens["access_token"]) == 201
    assert with_token(app.served, tokens["access_token"]).api("GET", f"{THINGS}_all_docs").status == 403
    assert opens(app, tokens["access_token"], "/data/io.cozy.contacts/") == 403


def test_nobody_keeps_an_answer_with_tokens(app: Application):
    answer = app.exchange(app.code())
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"grant_type": ""}, "the grant_type parameter is mandatory"),
        ({"client_id": ""}, "the client_id parameter is mandatory"),
        ({"client_secret": ""}, "the client_secret parameter is mandatory"),
        ({"client_id": "nobody"}, "the client must be registered"),
        ({"client_secret": "wrong"}, "invalid client_secret"),
        ({"code": ""}, "the code parameter is mandatory"),
        ({"code": "nope"}, "invalid code"),
        ({"code": "_design/x"}, "invalid code"),
        ({"grant_type": "password"}, "invalid grant type"),
        ({"grant_type": "client_credentials"}, "invalid grant type"),
        ({"grant_type": "refresh_token"}, "invalid refresh token"),
        ({"grant_type": "refresh_token", "refresh_token": "nope"}, "invalid refresh token"),
    ],
)
def test_each_mistake_has_the_sentence_that_clients_know(app: Application, fields: dict[str, str], sentence: str):
    answer = app.ask_token(**{"grant_type": "authorization_code", "code": "x"} | fields)
    assert (answer.status, answer.json) == (400, {"error": sentence})


def test_an_expired_bearer_beside_the_form_is_ignored(app: Application):
    fields = {"grant_type": "authorization_code", "client_id": app.id, "client_secret": app.secret, "code": app.code()}
    answer = Visitor(app.served).post("/auth/access_token", fields | {"code_verifier": app.verifier}, Authorization="Bearer old")
    assert answer.status == 200


def test_a_confidential_client_keeps_its_refresh_token(app: Application):
    refresh = app.tokens()["refresh_token"]
    for _ in range(3):
        answer = app.refresh(refresh)
        assert answer.status == 200
        assert "refresh_token" not in answer.json
        assert opens(app, answer.json["access_token"]) == 201


def test_a_public_client_gets_a_new_refresh_token_each_time(owner: Visitor):
    app = Application(owner, public=True)
    assert "client_secret" not in app.registration
    first = app.tokens()
    second = app.refresh(first["refresh_token"]).json
    third = app.refresh(second["refresh_token"]).json
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert opens(app, third["access_token"]) == 201


def test_a_widened_scope_on_refresh_is_ignored(app: Application):
    answer = app.refresh(app.tokens("io.cozy.test.notes:GET")["refresh_token"], scope="io.cozy.files")
    assert answer.json["scope"] == "io.cozy.test.notes:GET"


def test_a_removed_client_is_shut_out_at_once(owner: Visitor):
    app = Application(owner)
    tokens = app.tokens()
    assert opens(app, tokens["access_token"]) == 201
    assert owner.ask("DELETE", f"/auth/register/{app.id}", None, Authorization=f"Bearer {app.registration_token}").status == 204
    refused = with_token(app.served, tokens["access_token"]).api("GET", f"{THINGS}_all_docs")
    assert (refused.status, refused.json) == (400, {"error": "code=400, message=Invalid JWT token"})
    assert app.refresh(tokens["refresh_token"]).json == {"error": "the client must be registered"}


def test_a_bare_address_of_an_application_keeps_its_slashes(owner: Visitor):
    app = Application(owner, redirect_uris=["cozynotes://"])
    page = app.page(redirect_uri="cozynotes://")
    fields = app.request(redirect_uri="cozynotes://") | {"csrf_token": field(page, "csrf_token")}
    assert owner.post("/auth/authorize", fields).headers["Location"].startswith("cozynotes://?access_code=")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_revoked_token_takes_the_whole_grant_with_it(app: Application, kind: str):
    tokens, others = app.tokens(), app.tokens()
    fields = {"client_id": app.id, "client_secret": app.secret, "token": tokens[kind]}
    assert Visitor(app.served).post("/auth/revoke", fields).status == 200
    assert Visitor(app.served).post("/auth/revoke", fields).status == 200
    assert opens(app, tokens["access_token"]) == 400
    assert app.refresh(tokens["refresh_token"]).status == 400
    assert opens(app, others["access_token"]) == 201


def test_a_code_is_good_once_however_many_ask_at_once(owner: Visitor):
    app = Application(owner, public=True)
    code, statuses = app.code(), []
    threads = [threading.Thread(target=lambda: statuses.append(app.exchange(code).status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) <= 1
    assert set(statuses) <= {200, 400}


# -- metadata ---------------------------------------------------------------------------------------------------------


def test_the_metadata_names_every_endpoint(served: Served):
    found = Visitor(served).get("/.well-known/oauth-authorization-server", Origin="https://client.example")
    issuer = f"http://{served.domain}"
    assert found.headers["Access-Control-Allow-Origin"] == "https://client.example"
    assert found.json["issuer"] == issuer
    assert found.json["authorization_response_iss_parameter_supported"] is True
    assert found.json["code_challenge_methods_supported"] == ["S256"]
    for name, path in (("authorization", "authorize"), ("token", "access_token"), ("registration", "register"), ("revocation", "revoke")):
        assert found.json[f"{name}_endpoint"] == f"{issuer}/auth/{path}"


def test_a_dav_client_may_come_with_an_access_token(app: Application):
    token = app.tokens("io.cozy.files:GET")["access_token"]
    reader = with_token(app.served, token)
    assert reader.ask("PROPFIND", "/sync/files/", Authorization=f"Bearer {token}", Depth="0").status == 207
    assert reader.ask("MKCOL", "/sync/files/forbidden", Authorization=f"Bearer {token}").status == 403
    assert reader.ask("PROPFIND", "/sync/dav/me/", Authorization=f"Bearer {token}", Depth="1").status in (207, 403)
