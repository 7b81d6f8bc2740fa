"""Home in real Chromium: where log-in leads, what it shows and hears, in four languages, judged by axe-core."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.conftest import needs
from tests.support import apps
from tests.support.browsing import SIZES, chromium, screenshots, violations
from tests.support.client import Client
from tests.support.serving import PASSPHRASE, Served

HELLO = {"en": "Hello, wire", "fr": "Bonjour, wire", "de": "Hallo, wire", "es": "Hola, wire"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    needs("chromium")
    with Served(tmp_path_factory.mktemp("home") / "data").add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def context(browser: Browser, faults: list[str]) -> Iterator[BrowserContext]:
    opened = browser.new_context(locale="en-GB", reduced_motion="reduce")  # else colours are on their way when they are judged
    opened.on("response", lambda answer: faults.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    opened.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    opened.on("weberror", lambda error: faults.append(str(error.error)))
    yield opened
    opened.close()


def logged_in(context: BrowserContext, server: Served, hello: str) -> Page:
    """A tab in which she logged in at the bare domain."""
    page = context.new_page()
    page.goto(f"http://{server.domain}/")
    page.locator("input[type=password]").fill(PASSPHRASE)
    page.locator("button[type=submit]").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(hello, timeout=15_000)
    return page


def test_logging_in_leads_to_it_and_it_shows_what_happens(context: BrowserContext, server: Served, faults: list[str], tmp_path: Path):
    page = logged_in(context, server, HELLO["en"])
    assert page.url == f"http://home.{server.domain}/"
    expect(page.get_by_role("link", name="Store")).to_be_visible()
    expect(page.get_by_text("0 bytes used")).to_be_visible()
    server.cli("apps", "install", server.domain, "tiny", str(apps.folder(tmp_path / "tiny")))
    expect(page.get_by_role("link", name="Tiny")).to_be_visible(timeout=10_000)
    page.reload()
    tile = page.get_by_role("link", name="Tiny")
    expect(tile).to_be_visible()
    for size in SIZES.values():
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == []
    page.screenshot(path=screenshots(tmp_path) / "home.png")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to your apps")).to_be_focused()
    tile.click()
    expect(page).to_have_title("ran")
    page.go_back()
    server.cli("apps", "remove", server.domain, "tiny")
    expect(page.get_by_role("link", name="Tiny")).to_have_count(0, timeout=10_000)
    page.get_by_role("link", name="Connect a device").click()
    expect(page).to_have_url(f"http://{server.domain}/sync/")
    page.goto(f"http://{server.domain}/")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Passphrase")).to_be_visible(timeout=15_000)
    page.goto(f"http://home.{server.domain}/")
    expect(page.get_by_label("Passphrase")).to_be_visible()
    assert [fault for fault in faults if "fonts." not in fault] == []  # axe reads style sheets of other hosts without asking for it


def test_it_says_when_the_server_is_away(context: BrowserContext, server: Served):
    page = logged_in(context, server, HELLO["en"])
    away = f"http://{server.domain}/apps/**"
    page.route(away, lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("The server cannot be reached.")
    page.unroute(away)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("status")).to_be_hidden()


@pytest.mark.parametrize("language", [language for language in HELLO if language != "en"])
def test_it_speaks_her_language(context: BrowserContext, server: Served, language: str):
    server.cli("instances", "modify", server.domain, "--locale", language)
    page = logged_in(context, server, HELLO[language])
    known = page.evaluate("import('/words.js').then(({ WORDS }) => Object.values(WORDS).map((words) => Object.keys(words).sort().join()))")
    assert (len(known), len(set(known))) == (4, 1)
    assert page.evaluate("document.documentElement.lang") == language
    assert violations(page) == []
    server.cli("instances", "modify", server.domain, "--locale", "en")


def test_a_share_link_with_a_password_asks_for_it_before_its_page_is_drawn(context: BrowserContext, server: Served, tmp_path: Path):
    content = {"public/index.html": b"<!doctype html><title>shared</title><p>{{.Token}}</p>"}
    server.cli("apps", "install", server.domain, "album", str(apps.folder(tmp_path / "album", apps.files(slug="album") | content)))
    cli = Client(server, scope=("io.cozy.files", "io.cozy.permissions"))
    wanted = {"permissions": {"all": {"type": "io.cozy.files", "verbs": ["GET"]}}, "password": "open sesame"}
    made = cli.api("POST", "/permissions?codes=x", {"data": {"type": "io.cozy.permissions", "attributes": wanted}}).json["data"]
    page = context.new_page()
    answer = page.goto(f"http://album.{server.domain}/public?sharecode={made['attributes']['shortcodes']['x']}")
    assert answer is not None
    assert (answer.status, page.title()) == (401, "A password, please")
    assert violations(page) == []
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_have_text("Incorrect password")
    page.get_by_label("Password").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page).to_have_title("shared")
    root = f"http://{server.domain}/files/io.cozy.files.root-dir"
    ask = (
        "([url, code]) => fetch(url, {credentials: 'include', headers: {Authorization: 'Bearer ' + code}}).then((answer) => answer.status)"
    )
    assert page.evaluate(ask, [root, made["attributes"]["shortcodes"]["x"]]) == 200
    server.cli("apps", "remove", server.domain, "album")
