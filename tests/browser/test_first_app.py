"""docs/first-app.md, followed to its end: made, tested, built, served from its folder, changed, installed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from cozyd.packaged import folder
from tests.browser.test_apps import CHROMIUM, HERE
from tests.conftest import needs
from tests.support.client import Client
from tests.support.command import Command
from tests.support.serving import PASSPHRASE, Served


def npm(folder: Path, *arguments: str) -> str:
    """A script of the app's package.json."""
    done = subprocess.run(["npm", "run", "--silent", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_leads_to_an_app_that_works(tmp_path: Path):
    needs("chromium")
    if shutil.which("npm") is None or not (HERE / "node_modules" / ".bin" / "esbuild").exists():
        pytest.skip("esbuild and cozy-client are not installed: `make test` does it where node and npm are")
    made = Command(tmp_path / "data")("apps", "create", "hello", str(tmp_path / "hello"))
    assert "npm install" in made.out, made.err
    app = tmp_path / "hello"
    (app / "node_modules").symlink_to(HERE / "node_modules")  # what `npm install` gets, of the same versions
    assert "# fail 0" in npm(app, "test")
    npm(app, "build")
    server = Served(tmp_path / "data").add_alice()
    server.options = ["--appdir", f"hello:{app / 'build'}"]
    with server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(locale="en-GB")
        page.goto(f"http://hello.{server.domain}/")
        page.get_by_label("Passphrase").fill(PASSPHRASE)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("status")).to_have_text("0 lines", timeout=30_000)
        page.get_by_label("A line to keep").fill("  buy milk ")
        page.get_by_role("button", name="Keep").click()
        expect(page.get_by_role("listitem")).to_have_text(["buy milk"], timeout=10_000)
        expect(page.get_by_role("status")).to_have_text("1 line")
        source = app / "build" / "index.html"
        source.write_text(source.read_text().replace("A line to keep", "Another line"))
        expect(page.get_by_label("Another line")).to_be_visible(timeout=15_000)
        expect(page.get_by_role("listitem")).to_have_text(["buy milk"], timeout=10_000)
        early = Command(tmp_path / "data")("apps", "install", server.domain, "hello", str(app / "build"))
        assert (early.status, "without --appdir" in early.err) == (1, True), early.err
        browser.close()
    server.options = []
    with server:
        installed = Command(tmp_path / "data")("apps", "install", server.domain, "hello", str(app / "build"))
        assert installed.status == 0, installed.err
        page_of_it = Client(server).ask("GET", "/", Host=f"hello.{server.domain}")
        assert (page_of_it.status, "/auth/login" in page_of_it.headers["Location"]) == (302, True)
        assert Command(tmp_path / "data")("apps", "install", server.domain, "hello", str(app / "build")).status == 1


def test_a_new_app_asks_npm_for_all_that_its_build_needs():
    """What cozy-client leaves to whom uses it is not installed by npm on its own; the versions are those that are tested here."""
    if not (HERE / "node_modules" / "cozy-client").exists():
        pytest.skip("cozy-client is not installed: `make test` does it where node and npm are")
    asked = json.loads((folder("starter") / "package.json").read_text())["dependencies"]
    left = json.loads((HERE / "node_modules" / "cozy-client" / "package.json").read_text())["peerDependencies"]
    tested = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert {name for name in left if not name.startswith("react-native")} <= set(asked)
    assert {name: tested[name] for name in asked} == asked


@pytest.mark.parametrize("name", ["Not a slug", "../x", "a.b"])
def test_a_name_that_cannot_be_one_makes_nothing(tmp_path: Path, name: str):
    done = Command(tmp_path / "data")("apps", "create", name, str(tmp_path / "made"))
    assert (done.status, (tmp_path / "made").exists()) == (1, False)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").write_text("x")
    done = Command(tmp_path / "data")("apps", "create", "hello", str(tmp_path))
    assert (done.status, [path.name for path in tmp_path.iterdir() if path.name != "data"]) == (1, ["mine"])
