"""Apps in real Chromium: one of ours on the real cozy-client, live in two tabs; and hosts of apps that see nothing of each other."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conftest import needs
from tests.support import apps
from tests.support.client import Client
from tests.support.command import Command
from tests.support.serving import PASSPHRASE, Served

CHROMIUM = "/usr/bin/chromium"
HERE = Path(__file__).parent.parent / "clients" / "cozy_client"
DEFINED = ("--inject:web/process.js", "--define:global=globalThis")


def built(folder: Path) -> Path:
    """The small app, bundled as a developer would."""
    if shutil.which("node") is None or not (HERE / "node_modules" / ".bin" / "esbuild").exists():
        pytest.skip("esbuild and cozy-client are not installed: `make test` does it where node and npm are")
    shutil.copytree(HERE / "web", folder)
    command = [str(HERE / "node_modules" / ".bin" / "esbuild"), "web/app.js", "--bundle", "--minify", "--format=iife", *DEFINED]
    subprocess.run([*command, f"--outfile={folder / 'app.js'}", "--allow-overwrite"], cwd=HERE, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module", params=["nested", "flat"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    needs("chromium")
    top = tmp_path_factory.mktemp(f"browser-{request.param}")
    server = Served(top / "data", environ={"COZYD_SERVER_SUBDOMAINS": request.param}).add_alice()
    app = built(top / "small")
    curious = apps.folder(
        top / "curious", apps.files() | {"index.html": b"<!doctype html><title>curious</title><body data-cozy='{{.CozyData}}'>"}
    )
    with server:
        cozyd = Command(server.folder)
        cozyd("apps", "install", server.domain, "small", str(app))
        cozyd("apps", "install", server.domain, "curious", str(curious))
        yield server


@pytest.fixture(scope="module")
def hosts(server: Served) -> dict[str, str]:
    flat = server.environ["COZYD_SERVER_SUBDOMAINS"] == "flat"
    form = "http://alice-{}.localhost:{}" if flat else "http://{}.alice.localhost:{}"
    return {slug: form.format(slug, server.port) for slug in ("small", "curious")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser, server: Served, hosts: dict[str, str]) -> Iterator[BrowserContext]:
    """She logged in on the way to the small app."""
    opened = browser.new_context(locale="en-GB")
    page = opened.new_page()
    page.goto(hosts["small"] + "/")
    page.get_by_label("Passphrase").fill(PASSPHRASE)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_title("ready", timeout=30_000)
    page.close()
    yield opened
    opened.close()


def small(context: BrowserContext, hosts: dict[str, str]) -> tuple[Page, list[str]]:
    """The small app in a tab, and the calls of it that failed."""
    page = context.new_page()
    failed: list[str] = []
    page.on("response", lambda answer: failed.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(hosts["small"] + "/")
    expect(page).to_have_title("ready", timeout=30_000)
    return page, failed


def test_an_app_on_cozy_client_lists_uploads_renames_trashes_and_sees_what_others_do(
    context: BrowserContext, server: Served, hosts: dict[str, str], tmp_path: Path
):
    one, failed = small(context, hosts)
    two, failed_too = small(context, hosts)
    (tmp_path / "letter.txt").write_text("dear")
    one.get_by_label("Upload").set_input_files(tmp_path / "letter.txt")
    for page in (one, two):
        expect(page.get_by_role("listitem").filter(has_text="letter.txt")).to_be_visible(timeout=10_000)
    two.get_by_role("listitem").filter(has_text="letter.txt").get_by_role("button", name="rename").click()
    for page in (one, two):
        expect(page.get_by_role("listitem").filter(has_text="renamed-letter.txt")).to_be_visible(timeout=10_000)
    device = Client(server)
    assert device.dav("PUT", "/sync/files/from-a-device.txt", b"hello").status == 201
    expect(one.get_by_role("listitem").filter(has_text="from-a-device.txt")).to_be_visible(timeout=10_000)
    one.get_by_role("listitem").filter(has_text="renamed-letter.txt").get_by_role("button", name="trash").click()
    for page in (one, two):
        expect(page.get_by_role("listitem").filter(has_text="renamed-letter.txt")).to_have_count(0, timeout=10_000)
    assert device.dav("PROPFIND", "/sync/files/renamed-letter.txt", Depth="0").status == 404
    assert device.dav("DELETE", "/sync/files/from-a-device.txt").status == 204
    expected = "/files/_find"  # the index is not there at first: cozy-client makes it then
    assert [one for one in [*failed, *failed_too] if expected not in one] == []


def test_airbrake_reports_what_breaks(context: BrowserContext, server: Served, hosts: dict[str, str]):
    page, _ = small(context, hosts)
    page.get_by_role("button", name="Fail").click()
    expect(page.get_by_role("status")).to_contain_text("reported", timeout=10_000)
    notice = json.loads((server.folder / "errors.log").read_text().splitlines()[-1])
    assert (notice["slug"], notice["errors"][0]["message"]) == ("small", "it broke on purpose")


def test_a_page_of_one_app_sees_nothing_of_another(context: BrowserContext, server: Served, hosts: dict[str, str]):
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(hosts["curious"] + "/")
    expect(page).to_have_title("curious", timeout=10_000)
    tried = page.evaluate(
        """async ([other, main]) => {
          const attempt = async (name, act) => { try { return [name, await act()] } catch (error) { return [name, 'refused'] } }
          const text = async url => { const answer = await fetch(url, {credentials: 'include'}); return (await answer.text()).slice(0, 200) }
          const framed = url => new Promise(done => {
            const frame = document.createElement('iframe')
            frame.onload = () => { try { done(frame.contentDocument === null ? 'opaque' : frame.contentDocument.title) } catch (e) { done('opaque') } }
            frame.src = url
            document.body.append(frame)
          })
          return Object.fromEntries(await Promise.all([
            attempt('page', () => text(other + '/')),
            attempt('file', () => text(other + '/app.js')),
            attempt('api without a token', () => text(main + '/files/io.cozy.files.root-dir')),
            attempt('devices', () => text(main + '/sync/')),
            attempt('secret links', () => text(main + '/sync/links')),
            attempt('reports', () => text(main + '/errors/notices')),
            attempt('frame', () => framed(other + '/')),
            attempt('cookie', () => document.cookie),
            attempt('inline', () => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); return window.ran ? 'ran' : 'refused' }),
          ]))
        }""",
        [hosts["small"], f"http://{server.domain}"],
    )
    assert tried["page"] == tried["file"] == tried["inline"] == "refused"
    assert tried["devices"] == tried["secret links"] == tried["reports"] == "refused"
    assert tried["cookie"] == ""
    assert "data-cozy" not in json.dumps(tried)
    assert "root-dir" not in tried["api without a token"]
    assert tried["frame"] in ("opaque", "refused", "")
    refused = [text for text in said if "frame-ancestors" in text]  # of the app, or of the log-in page where the cookie is another site's
    assert any(host in text for text in refused for host in (hosts["small"], server.domain)), said
    page.reload()  # what may be framed is: its own page
    own_frame = """url => new Promise(done => {
      const frame = document.createElement('iframe')
      frame.onload = () => done(frame.contentDocument.title)
      frame.src = url
      document.body.append(frame)
    })"""
    assert page.evaluate(own_frame, hosts["curious"] + "/") == "curious"
    own = json.loads(page.locator("body").get_attribute("data-cozy") or "{}")
    answer = page.evaluate(
        """async ([main, token]) => (await fetch(main + '/data/io.cozy.contacts/_all_docs', {credentials: 'include', headers: {Authorization: 'Bearer ' + token}})).status""",
        [f"http://{server.domain}", own["token"]],
    )
    assert answer == 403
