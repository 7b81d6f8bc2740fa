"""The pages of settings and of instances that serve nobody, in real Chromium: everybody can use them, in four languages, without script."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.mail import MailServer
from tests.support.serving import PASSPHRASE, Served, eventually
from tests.support.visitor import Visitor

CONFIG = """
[contexts.default]
support_address = "help@example.org"
[contexts.default.features]
"cozy.oauthclients.max" = 0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, MailServer]]:
    """A server with a mailbox, where no device may be connected and one is."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "cozyd.toml").write_text(CONFIG)
    mails = MailServer(folder)
    environ = mails.environ() | {"COZYD_CONFIG": str(folder / "cozyd.toml")}
    with mails, Served(folder / "data", environ=environ).add_alice() as server:
        server.cli("instances", "client-oauth", server.domain, "app://x", "Phone", "soft")
        yield server, mails


def opened(browser: Browser, served: Served, path: str, *, language: str = "en-GB", owner: bool = False) -> Page:
    """A page, as the owner sees it or a stranger."""
    context = browser.new_context(locale=language)
    if owner:
        visitor = Visitor(served).log_in()
        context.add_cookies([{"name": "cozysessid", "value": visitor.cookies["cozysessid"], "url": f"http://{served.domain}"}])
    page = context.new_page()
    page.goto(f"http://{served.domain}{path}")
    return page


TITLES = {"en-GB": "Take your cloud along", "fr": "Emportez votre cloud", "de": "Nehmen Sie Ihre Cloud mit", "es": "Llévese su nube"}


@pytest.mark.parametrize("language", TITLES)
def test_the_way_to_the_mobile_application_is_told_in_her_language(browser: Browser, place: tuple[Served, MailServer], language: str):
    page = opened(browser, place[0], "/settings/install_flagship_app", language=language)
    assert page.get_by_role("heading", level=1).inner_text() == TITLES[language]
    assert page.locator("html").get_attribute("lang") == language[:2]
    page.context.close()


def test_an_old_link_of_an_address_says_so(browser: Browser, place: tuple[Served, MailServer]):
    page = opened(browser, place[0], "/settings/email/confirm?token=old", owner=True)
    assert page.get_by_role("link", name="Open the settings").count() == 1
    page.context.close()


def test_a_blocked_cloud_says_why_and_whom_to_ask(browser: Browser, place: tuple[Served, MailServer]):
    served, _ = place
    served.cli("instances", "block", served.domain, "--reason", "PAYMENT_FAILED")
    page = opened(browser, served, "/")
    served.cli("instances", "unblock", served.domain)
    assert page.get_by_role("link", name="help@example.org").count() == 1
    page.context.close()


def test_she_is_asked_a_last_time_without_script_before_everything_is_deleted(browser: Browser, place: tuple[Served, MailServer]):
    served, mails = place
    domain = f"doomed.localhost:{served.port}"
    served.cli("instances", "add", domain, "--passphrase", PASSPHRASE, "--email", "doomed@example.org")
    token = served.cli("token", domain, "io.cozy.settings", "--app", "settings").strip()
    assert Visitor(served, domain).ask("POST", "/settings/instance/deletion", None, Authorization=f"Bearer {token}").status == 204
    eventually(lambda: any("doomed@example.org" in mail.recipients for mail in mails.mails))
    link = re.search(r"http://\S+/deletion/confirm\?token=[\w-]+", mails.mails[-1].plain)
    assert link is not None
    for script in (True, False):
        context = browser.new_context(locale="en-GB", java_script_enabled=script)
        page = context.new_page()
        page.goto(link[0])
        page.get_by_label("Passphrase").fill(PASSPHRASE)
        page.get_by_role("button", name="Log in", exact=True).click()
        page.get_by_role("heading", name="Delete this cloud?").wait_for()
        if script:
            context.close()
            continue
        page.get_by_role("button", name="Delete everything").click()
        page.get_by_role("heading", name="Your cloud is deleted").wait_for()
        context.close()
    assert domain not in served.cli("instances", "list")
