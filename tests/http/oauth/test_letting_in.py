"""Who is let in on the page, and who is not: too many devices, applications that are given up, apps that clients are linked to."""

from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from cozyd.auth.clients import Client
from cozyd.config import Apps, Config, Storage
from cozyd.stack import Stack
from tests.support import apps
from tests.support.identity import Browser, Home
from tests.support.oauth import challenge_of
from tests.support.stack import Clock
from tests.support.visitor import field
from workers import TABLE

REDIRECT, VERIFIER = "https://client.example/cb", "v" * 43
NUMBERS = count()
CONTEXTS: dict[str, Any] = {
    "default": {"default_apps": []},
    "few": {"features": {"cozy.oauthclients.max": 1}},
    "old": {"deprecated_apps": [{"software_id": "old", "name": "New one", "store_urls": {"F-Droid": "https://shop.example/new"}}]},
    "open": {"skip_certification": True},
    "managed": {"manager_url": "https://manager.example", "authorized_hosts_for_confirm_auth": ["other.example:8443", 7, "a b"]},
    "home": {"default_redirection": "drive/#/folder"},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("letting-in")
    apps.folder(folder / "registry" / "notes" / "1.0.0", slug="notes", version="1.0.0")
    config = Config(storage=Storage(path=folder / "data"), apps=Apps(registries=f"local://{folder / 'registry'}"), contexts=CONTEXTS)
    stack = Stack(config, TABLE, now=Clock())
    yield stack
    stack.close()


@pytest.fixture
def home(stack: Stack) -> Home:
    return Home(stack, f"owner{next(NUMBERS)}")


def client(home: Home, **metadata: Any) -> Client:
    given = {"redirect_uris": [REDIRECT], "client_name": "Notes", "software_id": "example.org", "client_kind": "mobile"}
    return home.instance.auth.clients.register(given | metadata)


def asking(client: Client, scope: str = "io.cozy.notes") -> str:
    """The path of the page."""
    asked = {"client_id": client.id, "redirect_uri": REDIRECT, "response_type": "code", "scope": scope, "state": "s"}
    return f"/auth/authorize?{urlencode(asked | {'code_challenge': challenge_of(VERIFIER), 'code_challenge_method': 'S256'})}"


def agree(browser: Browser, client: Client, scope: str = "io.cozy.notes") -> Any:
    """What the page's form is answered with."""
    path = asking(client, scope)
    page = browser.get(path)
    assert b'action="/auth/authorize"' in page.body, page.body
    fields = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
    return browser.post("/auth/authorize", fields | {"csrf_token": field(page, "csrf_token")})


def tokens(home: Home, client: Client, agreed: Any) -> Any:
    code = parse_qs(urlsplit(agreed.headers["Location"]).query)["code"][0]
    fields = {"grant_type": "authorization_code", "client_id": client.id, "client_secret": client.stored.doc["client_secret"]}
    return home.browser().post("/auth/access_token", fields | {"code": code, "code_verifier": VERIFIER}).json


# -- how many -------------------------------------------------------------------------------------------------------------


def test_a_device_more_than_are_included_is_not_let_in_and_those_that_are_in_stay(home: Home):
    home.instance.amend(context="few")
    owner, first, second = home.owner(), client(home), client(home)
    assert agree(owner, first).status == 302, "one that nobody let in does not count"
    for page in (owner.get(asking(second)), owner.get(asking(second))):
        assert b"Too many devices" in page.body
        assert b"action=" not in page.body
    assert agree(owner, first).status == 302, "one that is in may ask again"
    flagship = home.instance.auth.clients.note(client(home), flagship=True)
    assert agree(owner, flagship).status == 302
    assert agree(owner, client(home, client_kind="")).status == 302, "what is no device does not count"


def test_the_form_of_a_page_that_was_opened_before_lets_none_more_in_either(home: Home):
    home.instance.amend(context="few")
    owner, second = home.owner(), client(home, client_name="Second")
    page = owner.get(asking(second))
    assert agree(owner, client(home)).status == 302
    fields = {name: values[0] for name, values in parse_qs(urlsplit(asking(second)).query).items()}
    assert b"Too many devices" in owner.post("/auth/authorize", fields | {"csrf_token": field(page, "csrf_token")}).body


def test_of_an_app_of_ours_that_is_one_too_many_she_is_told(home: Home):
    home.instance.amend(context="few")
    owner = home.owner()
    assert agree(owner, client(home)).status == 302
    ours = home.instance.auth.clients.note(client(home, client_name="One too many"), flagship=True)
    assert agree(owner, ours).status == 302, "an app of ours is let in all the same"
    told = [stored.doc for stored in home.instance.docs.all("io.cozy.notifications").rows if "source_id" in stored.doc]
    assert [doc["source_id"] for doc in told] == ["cozy/stack/settings/oauth-clients/"]
    assert "One too many" in told[0]["message"]


# -- given up, trusted, made with the cloud -------------------------------------------------------------------------------


def test_an_application_that_was_given_up_is_told_from_its_successor(home: Home):
    home.instance.amend(context="old")
    page = home.owner().get(asking(client(home, software_id="old")))
    assert b"https://shop.example/new" in page.body
    assert b"New one" in page.body
    assert b'action="/auth/authorize"' in home.owner().get(asking(client(home, client_name="Other"))).body


def test_everything_takes_a_certificate_unless_the_operator_trusts_every_client(home: Home):
    asked = client(home)
    assert b"/flagship" in home.owner().get(asking(asked, "*")).body
    home.instance.amend(context="open")
    agreed = agree(home.owner(), asked, "*")
    assert tokens(home, asked, agreed)["scope"] == "*"


def test_an_application_that_helped_to_make_the_cloud_is_let_in_once_without_asking(home: Home):
    helper = home.instance.auth.clients.note(client(home), created_at_onboarding=True)
    let_in = home.owner().get(asking(helper))
    assert (let_in.status, "code=" in let_in.headers["Location"]) == (302, True)
    assert b'action="/auth/authorize"' in home.owner().get(asking(helper)).body
    assert home.browser().get(asking(helper)).headers["Location"].startswith(f"http://{home.host}/auth/login?")


# -- linked to an app -----------------------------------------------------------------------------------------------------


def register(home: Home, software: str) -> Any:
    given = {"redirect_uris": [REDIRECT, "app://notes"], "client_name": "Notes", "software_id": software}
    return home.browser().send("POST", "/auth/register", given)


def test_a_client_is_linked_to_an_app_that_its_consent_installs(home: Home):
    assert register(home, "registry://nothing").json["error"] == "unapproved_software_id"
    made = register(home, "registry://notes")
    assert made.status == 201
    linked, owner = home.instance.auth.clients.get(made.json["client_id"]), home.owner()
    page = owner.get(asking(linked, "io.cozy.contacts"))
    assert b"contacts" not in page.body.lower().replace(b"io.cozy.contacts", b""), "the asked scope is ignored"
    agreed = agree(owner, linked, "io.cozy.contacts")
    query = parse_qs(urlsplit(agreed.headers["Location"]).query)
    assert query["fallback"] == [home.instance.app_url("notes")]
    assert home.instance.apps.get("webapp", "notes").doc["state"] == "ready"
    assert tokens(home, linked, agreed)["scope"] == "@io.cozy.apps/notes"


def test_what_cannot_be_installed_grants_nothing(home: Home, stack: Stack):
    linked = home.instance.auth.clients.get(register(home, "registry://notes").json["client_id"])
    gone = home.instance.auth.clients.note(linked, software_id="registry://gone")
    assert home.owner().get(asking(gone)).status == 400
    assert home.instance.auth.clients.get(gone.id).stored.doc["pending"] is True


# -- and out again --------------------------------------------------------------------------------------------------------


def test_the_owner_sees_what_applications_may_do_and_removes_one(home: Home):
    owner, notes = home.owner(), client(home, client_name="Note book")
    client(home, client_name="Waiting")
    token = tokens(home, notes, agree(owner, notes, "io.cozy.notes io.cozy.contacts:GET"))["access_token"]
    page = owner.get("/auth/security/")
    assert b"Note book" in page.body
    assert b"See: your contacts" in page.body
    assert b"Waiting" not in page.body, "nobody let it in"
    asked = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    assert home.browser().get("/settings/capabilities", **asked).status == 200
    path = f"/auth/security/clients/{notes.id}/remove"
    assert home.browser().post(path, {"csrf_token": "x"}).status in (303, 401)
    assert owner.post(path, {"csrf_token": "x"}).status == 403
    for _ in range(2):
        done = owner.post(path, {"csrf_token": field(page, "csrf_token")})
        assert (done.status, done.headers["Location"].endswith("?done=client#clients")) == (303, True)
    assert home.browser().get("/settings/capabilities", **asked).status == 400
    assert home.instance.auth.trail.latest(1)[0].what == "client_removed"
    assert b"You have let no application in" in owner.get("/auth/security/").body


# -- the way there --------------------------------------------------------------------------------------------------------


def test_a_log_in_for_an_application_is_a_session_for_that_errand(home: Home):
    browser = home.browser()
    done = browser.enter(redirect=f"http://{home.host}{asking(client(home))}", long_run_session="1")
    assert done.status == 200, done.body
    (session,) = home.instance.auth.sessions.all()
    assert (session.doc["short_run"], session.doc["long_run"]) == (True, False)
    assert (
        b'action="/auth/authorize"'
        in browser.get(urlsplit(done.json["redirect"])._replace(scheme="", netloc="", fragment="").geturl()).body
    )
    assert home.browser().enter(redirect=f"http://{home.host}/auth/security/").status == 200
    assert sorted(one.doc["short_run"] for one in home.instance.auth.sessions.all()) == [False, True]


def test_a_confirmation_may_go_to_the_managing_service_and_to_listed_hosts_alone(home: Home):
    home.instance.amend(context="managed")

    def confirm(redirect: str) -> Any:
        browser = home.browser()
        page = browser.get(f"/auth/confirm?state=x&redirect={quote(redirect, safe='')}")
        assert "https://manager.example" in page.headers["Content-Security-Policy"]
        assert "a b" not in page.headers["Content-Security-Policy"]
        fields = {"passphrase": "x", "clear": "1", "state": "x", "redirect": redirect, "csrf_token": field(page, "csrf_token")}
        return browser.post("/auth/confirm", fields, Accept="application/json")

    for fine in ("https://manager.example/back?a=1", "https://other.example:8443/"):
        assert confirm(fine).status == 401, "the address is fine, the passphrase is not"
    for wrong in (
        "http://manager.example/",
        "https://manager.example.evil/",
        "https://manager.example@evil.example/",
        "https://other.example/",
    ):
        assert confirm(wrong).status == 400


def test_she_begins_where_her_settings_her_context_or_her_home_say(home: Home):
    home.instance.amend(context="home")
    assert home.owner().get("/").headers["Location"] == f"http://{home.host}/sync/"
    for slug in ("home", "drive"):
        home.instance.docs.put("io.cozy.permissions", {"type": "app", "source_id": f"io.cozy.apps/{slug}", "permissions": {}})
        home.instance.docs.put("io.cozy.apps", {"_id": f"io.cozy.apps/{slug}", "slug": slug, "state": "ready"})
        found = home.owner().get("/").headers["Location"]
        assert found.startswith(f"http://{slug}.{home.host}/")
    assert "#/folder" in found
    home.instance.settings.note(default_redirection="home/#/mine")
    assert home.owner().get("/").headers["Location"].endswith("#/mine")
