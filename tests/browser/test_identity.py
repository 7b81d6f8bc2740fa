"""The pages of identity in real Chromium: passkeys, passphrases that never leave the browser, and pages that everybody can use."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browsing import with_authenticator
from tests.support.identity import private_key_of
from tests.support.serving import PASSPHRASE, Served
from tests.support.visitor import Visitor

OTHER = "a cloud of orange teapots"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own: alice, and who is invited."""
    with Served(tmp_path_factory.mktemp("identity") / "data").add_alice() as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(locale="en-GB")
    yield found
    found.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    found = context.new_page()
    found.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    return found


def invite(served: Served, name: str) -> tuple[str, str]:
    """Somebody's address, and the path of her invitation."""
    domain = f"{name}.localhost:{served.port}"
    made = json.loads(served.cli("instances", "add", domain, "--email", f"{name}@example.org", "--json"))
    return f"http://{domain}", f"/auth/passphrase?registerToken={base64.b64decode(made['register_token']).hex()}"


def kept(served: Served, base: str) -> Any:
    """The vault's settings."""
    host = base.removeprefix("http://")
    token = served.token("io.cozy.settings", domain=host)
    asked = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return Visitor(served, host).get("/data/io.cozy.settings/io.cozy.settings.bitwarden", **asked).json


def log_in(page: Page, base: str, passphrase: str = PASSPHRASE) -> None:
    page.goto(f"{base}/auth/login")
    page.get_by_label("Passphrase").fill(passphrase)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url("**//home.*/**")


# -- passphrases ----------------------------------------------------------------------------------------------------------


def test_a_passphrase_is_chosen_and_changed_without_leaving_the_browser(served: Served, page: Page):
    base, path = invite(served, "ann")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.goto(base + path)
    page.get_by_label("New passphrase").fill(OTHER)
    page.get_by_role("button", name="Keep this passphrase").click()
    page.wait_for_url("**//home.*/**")
    private = private_key_of(kept(served, base), OTHER, "ann.localhost")
    page.goto(f"{base}/auth/security/")
    page.get_by_label("Present passphrase").fill(OTHER)
    page.get_by_label("New passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Change the passphrase").click()
    page.get_by_role("status").wait_for()
    assert private_key_of(kept(served, base), PASSPHRASE, "ann.localhost").private_numbers() == private.private_numbers()
    page.context.clear_cookies()
    log_in(page, base)
    assert not any(word in body for body in sent for word in (OTHER.replace(" ", "+"), PASSPHRASE.replace(" ", "+"), OTHER, PASSPHRASE))


def test_a_page_that_was_left_is_found_again_with_its_fragment(served: Served, page: Page):
    target = f"http://drive.{served.domain}/"
    page.goto(f"http://{served.domain}/auth/login?redirect={target}#/folder/1")
    page.get_by_label("Passphrase").fill(PASSPHRASE)
    with page.expect_request(lambda request: request.method == "POST") as posted:
        page.get_by_role("button", name="Log in", exact=True).click()
    assert "%23%2Ffolder%2F1" in (posted.value.post_data or "")


# -- passkeys -------------------------------------------------------------------------------------------------------------


def test_she_makes_a_passkey_logs_in_with_it_and_removes_it(served: Served, page: Page):
    base = f"http://{served.domain}"
    with_authenticator(page)
    log_in(page, base)
    page.goto(f"{base}/auth/security/")
    page.get_by_label("Name of the passkey").fill("My key")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("status")).to_contain_text("kept")
    page.get_by_label("Name of the passkey").first.fill("My old key")
    page.get_by_role("button", name="Rename: My key").click()
    page.get_by_role("button", name="Rename: My old key").wait_for()
    page.context.clear_cookies()
    page.goto(f"{base}/auth/login")
    page.get_by_role("button", name="Log in with a passkey").click()
    page.wait_for_url("**//home.*/**")
    page.goto(f"{base}/auth/security/")
    assert page.get_by_text("passkey My old key").count() > 0
    page.get_by_role("button", name="Remove: My old key").click()
    expect(page.get_by_role("status")).to_contain_text("opens nothing")
    page.context.clear_cookies()
    page.goto(f"{base}/auth/login")
    assert page.get_by_role("button", name="Log in with a passkey").count() == 0


SHOWN = """async () => {
  const form = document.getElementById("passkey-form");
  const body = new URLSearchParams({ csrf_token: form.elements.csrf_token.value });
  const given = await (await fetch("/auth/passkey/options", { method: "POST", body })).json();
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(given.options));
  const shown = await navigator.credentials.get({ publicKey });
  return { attempt: given.attempt, answer: JSON.stringify(shown.toJSON()) };
}"""


def test_what_a_passkey_answered_is_good_once_and_for_its_attempt_alone(served: Served, page: Page):
    base = f"http://{served.domain}"
    with_authenticator(page)
    log_in(page, base)
    page.goto(f"{base}/auth/security/")
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("status").wait_for()
    page.context.clear_cookies()
    page.goto(f"{base}/auth/login")
    one, other = page.evaluate(SHOWN), page.evaluate(SHOWN)
    changed = json.loads(other["answer"])
    changed["response"]["signature"] = changed["response"]["signature"][:-8] + "AAAAAAAA"

    def status(**fields: str) -> int:
        visitor = Visitor(served)
        return visitor.post("/auth/passkey", {"csrf_token": visitor.csrf("/auth/login")} | fields, Accept="application/json").status

    assert status(**one) == 200
    assert status(**one) == 401
    assert status(attempt=other["attempt"], answer=one["answer"]) == 401
    assert status(attempt=page.evaluate(SHOWN)["attempt"], answer=json.dumps(changed)) == 401
    for answer in ("", "{}", "[]", "null", '{"id": 7}', json.dumps(changed | {"id": "AAAA", "rawId": "AAAA"})):
        assert status(attempt=page.evaluate(SHOWN)["attempt"], answer=answer) == 401
    log_in(page, base)
    page.goto(f"{base}/auth/security/")
    page.get_by_role("button", name=re.compile("^Remove: ")).click()
    page.get_by_role("status").wait_for()
    page.context.clear_cookies()


# -- languages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "title"), [("fr-FR", "Bonjour"), ("de-DE", "Guten Tag"), ("es-ES", "Hola"), ("it-IT", "Hello")])
def test_the_pages_speak_the_reader_s_language(browser: Browser, served: Served, language: str, title: str):
    context = browser.new_context(locale=language)
    page = context.new_page()
    page.goto(f"http://{served.domain}/auth/login")
    assert page.locator("h1").inner_text().startswith(title)
    assert page.locator("html").get_attribute("lang") == (language[:2] if language != "it-IT" else "en")
    context.close()
