"""The bar above older apps, which call it `cozy.bar`: who they are, her other apps, the way out; drawn by their own React too."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_apps import HERE
from tests.support import apps
from tests.support.browsing import SIZES, violations
from tests.support.command import Command
from tests.support.serving import PASSPHRASE, Served

INDEX = b"""<!doctype html><html lang="{{.Locale}}"><head><meta charset="utf-8"><title>old</title>
<meta name="viewport" content="width=device-width">{{.ThemeCSS}}{{.CozyBar}}<script src="/old.js" defer></script></head>
<body><div id="root" role="application" data-cozy-token="{{.Token}}" data-cozy-domain="{{.Domain}}" data-cozy-locale="{{.Locale}}"
data-cozy-app-name="{{.AppName}}" data-cozy-icon-path="{{.IconPath}}"></div></body></html>"""
SCRIPT = """import React from 'react'; import ReactDOM from 'react-dom'
const { BarRight, BarCenter } = cozy.bar
cozy.bar.init({ appName: 'Old times', lang: 'en' })
cozy.bar.setBarLeft('<em>left</em>')
class Counter extends React.Component {
  state = { count: 0 }
  render() {
    const add = () => this.setState({ count: this.state.count + 1 })
    return <main><h1>Page</h1><BarRight><button onClick={add}>Count {this.state.count}</button></BarRight>
      {this.state.count < 2 && <BarCenter><span>centre</span></BarCenter>}</main>
  }
}
ReactDOM.render(<Counter />, document.getElementById('root'))
"""
READS_APPS = {"apps": {"type": "io.cozy.apps", "verbs": ["GET"]}}


def built(folder: Path) -> bytes:
    """The script of the app with its React, bundled as its developers would."""
    program = HERE / "node_modules" / ".bin" / "esbuild"
    if shutil.which("node") is None or not program.exists():
        pytest.skip("esbuild and React are not installed: `make test` does it where node and npm are")
    (folder / "old.jsx").write_text(SCRIPT)
    options = [
        "--bundle",
        "--minify",
        "--format=iife",
        '--define:process.env.NODE_ENV="production"',
        f"--alias:react={HERE}/node_modules/react",
    ]
    options += [f"--alias:react-dom={HERE}/node_modules/react-dom", f"--outfile={folder / 'old.js'}"]
    subprocess.run([str(program), str(folder / "old.jsx"), *options], check=True, capture_output=True)
    return (folder / "old.js").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    top = tmp_path_factory.mktemp("bar")
    script = built(top)
    server = Served(top / "data").add_alice()
    with server:
        for slug, rights in (("old", READS_APPS), ("blind", {"files": {"type": "io.cozy.files"}})):
            content = apps.files(slug=slug, name=slug.title(), permissions=rights) | {"index.html": INDEX, "old.js": script}
            Command(server.folder)("apps", "install", server.domain, slug, str(apps.folder(top / slug, content)))
        yield server


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Page]:
    """The older app, whose owner has logged in."""
    context = browser.new_context(locale="en-GB", viewport=SIZES["desktop"])  # type: ignore[arg-type]
    opened = context.new_page()
    opened.goto(f"http://old.{server.domain}/")
    opened.get_by_label("Passphrase").fill(PASSPHRASE)
    opened.get_by_role("button", name="Log in").click()
    expect(opened).to_have_title("old", timeout=30_000)
    yield opened
    context.close()


def wrong_with_the_bar(page: Page) -> list[str]:
    """What axe finds, but for the app's own mark-up: `role=application` is how apps of the platform are written."""
    return [one for one in violations(page) if "<main>" not in one]


def test_an_older_app_has_its_bar_and_draws_in_it(page: Page, folder: Path):
    bar = page.get_by_role("banner")
    expect(bar).to_contain_text("Old times")
    expect(bar.locator("em")).to_have_text("left")
    button = bar.get_by_role("button", name="Count 0")
    button.click()
    expect(bar).to_contain_text("centre")
    bar.get_by_role("button", name="Count 1").click()
    expect(bar.get_by_role("button", name="Count 2")).to_be_visible()
    expect(bar).not_to_contain_text("centre")
    assert wrong_with_the_bar(page) == []
    page.evaluate("cozy.bar.setLocale('fr')")
    expect(bar.get_by_text("Mes applications")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
def test_the_bar_leads_to_her_apps_and_out(page: Page, server: Served, folder: Path, size: str):
    page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
    bar = page.get_by_role("banner")
    bar.get_by_text("My apps").focus()
    page.keyboard.press("Enter")
    expect(bar.get_by_role("link")).to_contain_text(["Home", "Blind", "Old", "Store", "Devices", "Log out"], timeout=10_000)
    assert bar.get_by_role("link", name="Blind").get_attribute("href") == f"http://blind.{server.domain}/"
    assert wrong_with_the_bar(page) == []
    page.screenshot(path=folder / f"bar-{size}.png")
    page.keyboard.press("Escape")
    expect(bar.get_by_role("link", name="Blind")).to_be_hidden()
    bar.get_by_text("My apps").click()
    bar.get_by_role("link", name="Log out").click()
    expect(page.get_by_label("Passphrase")).to_be_visible(timeout=15_000)
    page.goto(f"http://old.{server.domain}/")
    expect(page.get_by_label("Passphrase")).to_be_visible(timeout=15_000)


def test_an_app_that_may_not_know_the_others_shows_the_way_home(page: Page, server: Served):
    page.goto(f"http://blind.{server.domain}/")
    bar = page.get_by_role("banner")
    bar.get_by_text("My apps").click()
    expect(bar.get_by_role("link")).to_contain_text(["Home", "Devices", "Log out"])
