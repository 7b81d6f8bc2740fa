"""Store in real Chromium: what registries have is found, installed, updated with consent and removed; judged by axe-core."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import needs
from tests.support import apps
from tests.support.browsing import chromium, screenshots, violations
from tests.support.serving import PASSPHRASE, Served


def published(registry: Path, version: str, **changes: Any) -> None:
    apps.folder(registry / "near" / version, slug="near", name="Near", version=version, **changes)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("registry")
    about = {"en": {"name": "Near", "short_description": "All that is near"}, "fr": {"name": "Proche"}}
    published(made, "1.0.0", locales=about, terms={"url": "https://example.org/terms", "version": ""})
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, registry: Path) -> Iterator[Served]:
    needs("chromium")
    environ = {"COZYD_APPS_REGISTRIES": f"local://{registry}"}
    with Served(tmp_path_factory.mktemp("store") / "data", environ=environ).add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Page]:
    """The store, opened from Home."""
    context = browser.new_context(locale="en-GB", reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"http://{server.domain}/")
    page.get_by_label("Passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Store").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Apps for your cloud", timeout=15_000)
    yield page
    context.close()


def test_an_app_is_found_installed_updated_and_removed(page: Page, server: Served, registry: Path, tmp_path: Path):
    faults: list[str] = []
    page.on("response", lambda answer: faults.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    assert violations(page) == []
    page.get_by_label("Search for an app").first.fill("is near")
    expect(page.get_by_role("listitem")).to_have_count(1)
    page.get_by_role("link", name="Near").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Near")
    expect(page.get_by_text("See and change your files and folders")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("status")).to_have_text("Done", timeout=15_000)
    page.screenshot(path=screenshots(tmp_path) / "store.png")
    page.get_by_role("link", name="Open").click()
    expect(page).to_have_title("ran")
    published(registry, "1.1.0", permissions={"files": {"type": "io.cozy.files"}, "people": {"type": "io.cozy.contacts", "verbs": ["GET"]}})
    page.goto(f"http://store.{server.domain}/#/discover/near")
    expect(page.get_by_text("Version 1.1.0 is there")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("See your contacts (new)")).to_be_visible()
    page.get_by_role("button", name="Update").click()
    expect(page.get_by_role("status")).to_have_text("Done", timeout=15_000)
    assert "1.1.0" in server.cli("apps", "list", server.domain)
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("dialog")).to_contain_text("Your files and data stay.")
    assert violations(page) == []
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("button", name="Install")).to_be_visible(timeout=15_000)
    assert "near" not in server.cli("apps", "list", server.domain)
    assert [fault for fault in faults if "fonts." not in fault] == []


def test_what_goes_wrong_is_said(page: Page, registry: Path):
    apps.folder(registry / "broken" / "1.0.0", slug="broken", name="Broken", version="1.0.0")
    page.reload()
    page.get_by_role("link", name="Broken").click()
    for path in (registry / "broken" / "1.0.0").iterdir():
        path.rename(path.with_name(f"away-{path.name}"))
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("status")).to_have_text("Application manifest is not reachable", timeout=15_000)
    page.goto(page.url.replace("broken", "nobody"))
    expect(page.get_by_text("This app is not known here.")).to_be_visible()


def test_no_language_lacks_a_sentence(page: Page):
    keys = """import('/words.js').then(({ WORDS }) =>
      Object.values(WORDS).map((words) => [...Object.keys(words), ...Object.keys(words.what)].sort().join()))"""
    known = page.evaluate(keys)
    assert (len(known), len(set(known))) == (4, 1)
