"""The log-in and the connect page in real Chromium: they work, fit, and can be used by everybody.

Screenshots go to `$COZYD_TEST_SCREENSHOTS`, or a temporary folder that the test names.
"""

import base64
import http.client
import plistlib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.browsing import SIZES, violations
from tests.support.serving import PASSPHRASE, Served


def opened(browser: Browser, **options: Any) -> BrowserContext:
    return browser.new_context(locale="en-GB", **options)


def log_in(page: Page, base: str) -> None:
    page.goto(base + "/sync/")
    page.get_by_label("Passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/sync/*")


def address(served: Served) -> str:
    return f"http://{served.domain}"


def propfind(served: Served, password: str, path: str) -> int:
    """The status a device gets."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    credentials = base64.b64encode(f"me:{password}".encode()).decode()
    connection.request("PROPFIND", path, headers={"Host": served.domain, "Authorization": f"Basic {credentials}", "Depth": "0"})
    status = connection.getresponse().status
    connection.close()
    return status


FITS = "() => document.documentElement.scrollWidth <= window.innerWidth"


def check_page(page: Page) -> None:
    """What holds for every page: it fits, and everybody can use it."""
    assert page.evaluate(FITS), "the page scrolls sideways"
    assert violations(page) == []
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_look_right(browser: Browser, served: Served, folder: Path, size: str, scheme: str):
    context = opened(browser, viewport=SIZES[size], color_scheme=scheme)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address(served) + "/")
    page.screenshot(path=folder / f"login-{size}-{scheme}.png", full_page=True)
    check_page(page)
    log_in(page, address(served))
    page.screenshot(path=folder / f"connect-{size}-{scheme}.png", full_page=True)
    check_page(page)
    page.get_by_label("Name of the device").fill(f"Phone {size} {scheme}")
    page.get_by_role("button", name="Make the password").click()
    page.locator("[data-password]").wait_for()
    for summary in page.locator("summary").all()[1:]:
        summary.click()
    page.screenshot(path=folder / f"opened-{size}-{scheme}.png", full_page=True)
    check_page(page)
    page.get_by_role("link", name="Links to read by").click()
    page.get_by_label("Name").fill(f"Family {size} {scheme}")
    page.get_by_role("group", name="Calendars").get_by_label("Calendar").check()
    page.get_by_role("button", name="Make the link").click()
    page.get_by_text(f"Family {size} {scheme}").first.wait_for()
    page.get_by_label("Address of the other's cloud").fill(f"bob.localhost:{served.port}")
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_text("may read").wait_for()
    page.screenshot(path=folder / f"links-{size}-{scheme}.png", full_page=True)
    check_page(page)
    page.get_by_role("button", name=f"Remove the link Family {size} {scheme}").click()
    page.get_by_role("button", name="Stop sharing").click()
    assert problems == []
    context.close()


def test_a_wrong_passphrase_says_so_and_lets_nobody_in(browser: Browser, served: Served):
    context = opened(browser)
    page = context.new_page()
    page.goto(address(served) + "/")
    page.get_by_label("Passphrase").fill("not mine")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert "incorrect" in page.get_by_role("alert").inner_text()
    page.goto(address(served) + "/sync/")
    assert "/auth/login" in page.url
    context.close()


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_she_makes_and_revokes_a_device_password(browser: Browser, served: Served, script: bool):
    context = opened(browser, java_script_enabled=script)
    page = context.new_page()
    log_in(page, address(served))
    name = f"Phone {script}"
    page.get_by_label("Name of the device").fill(name)
    page.get_by_label("Files", exact=True).uncheck()
    page.get_by_role("button", name="Make the password").click()
    password = page.locator("[data-password]").inner_text()
    assert propfind(served, password, "/sync/dav/me/contacts/") == 207
    assert propfind(served, password, "/sync/files/") == 403
    page.get_by_role("button", name=f"Revoke the password of {name}").click()
    page.get_by_role("status").wait_for()
    assert "revoked" in page.get_by_role("status").inner_text()
    assert page.get_by_text(name, exact=True).count() == 0
    assert propfind(served, password, "/sync/dav/me/contacts/") == 401
    context.close()


def test_the_whole_connect_page_works_by_keyboard(browser: Browser, served: Served):
    context = opened(browser)
    page = context.new_page()
    page.goto(address(served) + "/sync/")
    page.locator("#passphrase:focus").wait_for()
    page.keyboard.type(PASSPHRASE)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Connect your devices").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "name":
            break
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    page.locator("[data-password]").wait_for()
    assert page.get_by_text("Password for By keyboard").is_visible()
    context.close()


def test_the_apple_profile_comes_with_a_password_that_works(browser: Browser, served: Served):
    context = opened(browser)
    page = context.new_page()
    log_in(page, address(served))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the profile").click()
    assert download.value.suggested_filename == "cozyd.mobileconfig"
    profile = plistlib.loads(Path(download.value.path()).read_bytes())
    assert [one["PayloadType"] for one in profile["PayloadContent"]] == ["com.apple.caldav.account", "com.apple.carddav.account"]
    assert propfind(served, profile["PayloadContent"][0]["CalDAVPassword"], "/sync/dav/me/contacts/") == 207
    context.close()


def test_a_new_password_is_copied_with_one_click(browser: Browser, served: Served):
    context = opened(browser, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    log_in(page, f"http://localhost:{served.port}")
    page.get_by_label("Name of the device").fill("To copy")
    page.get_by_role("button", name="Make the password").click()
    page.get_by_role("button", name="Copy: Password for To copy").click()
    page.get_by_text("Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("[data-password]").inner_text()
    context.close()


def test_what_was_typed_is_still_there_after_a_mistake(browser: Browser, served: Served):
    context = opened(browser)
    page = context.new_page()
    log_in(page, address(served))
    page.get_by_label("Name of the device").fill("My tablet")
    for name in ("Contacts", "Calendars and tasks", "Files"):
        page.get_by_label(name, exact=True).uncheck()
    page.get_by_label("Read-only").check()
    page.get_by_role("button", name="Make the password").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_label("Name of the device").input_value() == "My tablet"
    assert page.get_by_label("Name of the device").get_attribute("aria-invalid") == "true"
    assert page.get_by_label("Read-only").is_checked()
    assert not page.get_by_label("Files", exact=True).is_checked()
    context.close()


def test_the_page_speaks_french_to_who_prefers_it(browser: Browser, served: Served):
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(address(served) + "/sync/")
    page.get_by_label("Mot de passe").fill(PASSPHRASE)
    page.get_by_role("button", name="Se connecter").click()
    page.get_by_role("heading", name="Connectez vos appareils").wait_for()
    assert page.locator("html").get_attribute("lang") == "fr"
    context.close()


def test_she_logs_out(browser: Browser, served: Served):
    context = opened(browser)
    page = context.new_page()
    log_in(page, address(served))
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Passphrase").wait_for()
    page.goto(address(served) + "/sync/")
    assert "/auth/login" in page.url
    context.close()
