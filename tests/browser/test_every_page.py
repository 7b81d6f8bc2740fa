"""Every page that the server draws, in real Chromium: axe-core finds nothing, nothing scrolls sideways, in two sizes, light and dark.

A template that none of these pages is made of fails the test. Screenshots go to `$COZYD_TEST_SCREENSHOTS`.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browsing import SIZES, violations, with_authenticator
from tests.support.mail import MailServer
from tests.support.oauth import Application
from tests.support.serving import PASSPHRASE, Served, eventually
from tests.support.visitor import Visitor

TEMPLATES = Path(__file__).parent.parent.parent / "static" / "pages"
PARTS = {"base", "gate", "mark", "new_fields"}
"""What pages are made of, and none by itself."""
CONFIG = """
[contexts.full]
support_address = "help@example.org"
[contexts.full.features]
"cozy.oauthclients.max" = 0
[oidc.work]
issuer = "https://id.example.org"
client_id = "c"
name = "Work"
"""


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with MailServer(tmp_path_factory.mktemp("mails")) as server:
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, mails: MailServer) -> Iterator[Served]:
    """A server of its own: alice, and others whose clouds are full, blocked, by invitation, or about to end."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "cozyd.toml").write_text(CONFIG)
    environ = mails.environ() | {"COZYD_CONFIG": str(folder / "cozyd.toml")}
    with Served(folder / "data", environ=environ).add_alice() as server:
        for name, options in (("full", ["--context", "full"]), ("work", ["--context", "work", "--magic-link"]), ("doomed", [])):
            domain = f"{name}.localhost:{server.port}"
            server.cli("instances", "add", domain, "--passphrase", PASSPHRASE, "--email", f"{name}@example.org", *options)
        yield server


class Tour:
    """Leads a page's browser through every page."""

    def __init__(self, served: Served, mails: MailServer, page: Page) -> None:
        self.served = served
        self.mails = mails
        self.page = page

    def base(self, name: str) -> str:
        return f"http://{name}.localhost:{self.served.port}"

    def log_in(self, name: str) -> None:
        """As the owner, by a session that was opened elsewhere."""
        visitor = Visitor(self.served, f"{name}.localhost:{self.served.port}")
        assert visitor.submit_login(clear=True).status == 303
        cookie: Any = {"name": "cozysessid", "value": visitor.cookies["cozysessid"], "url": self.base(name)}
        self.page.context.add_cookies([cookie])

    def strangers(self) -> Iterator[str]:
        """What nobody needs to be logged in for."""
        guest = f"guest{len(self.mails.mails)}{id(self) % 10**6}"
        made = json.loads(self.served.cli("instances", "add", f"{guest}.localhost:{self.served.port}", "--json"))
        invitation = base64.b64decode(made["register_token"]).hex()
        alice = self.base("alice")
        for name, address in {
            "invited": f"{self.base(guest)}/",
            "choose": f"{self.base(guest)}/auth/passphrase?registerToken={invitation}",
            "login": f"{alice}/auth/login",
            "login-ways": f"{self.base('work')}/auth/login",
            "reset": f"{alice}/auth/passphrase_reset",
            "twofactor": f"{alice}/auth/twofactor?two_factor_token=x",
            "confirm": f"{alice}/auth/confirm?state=x",
            "error": f"{alice}/auth/magic_link?code=x",
            "flagship": f"{alice}/settings/install_flagship_app",
        }.items():
            self.page.goto(address)
            yield name
        self.page.goto(f"{alice}/auth/login")
        self.page.get_by_label("Passphrase").fill("wrong")
        self.page.get_by_role("button", name="Log in", exact=True).click()
        self.page.get_by_role("alert").wait_for()
        yield "login-wrong"
        self.page.goto(f"{alice}/auth/passphrase_reset")
        self.page.get_by_role("button", name=re.compile("link", re.IGNORECASE)).first.click()
        self.page.locator("[role=status]").wait_for()
        yield "sent"
        self.served.cli("instances", "block", f"full.localhost:{self.served.port}", "--reason", "PAYMENT_FAILED")
        self.page.goto(f"{self.base('full')}/")
        self.served.cli("instances", "unblock", f"full.localhost:{self.served.port}")
        yield "blocked"

    def owners(self) -> Iterator[str]:
        """What is for her alone."""
        alice = self.base("alice")
        self.log_in("alice")
        self.page.goto(f"{alice}/sync/")
        yield "connect"
        self.page.goto(f"{alice}/sync/links")
        yield "links"
        self.page.goto(f"{alice}/settings/email/confirm?token=old")
        yield "old-address"
        self.page.goto(f"{alice}/auth/security/")
        yield "security"
        self.page.get_by_role("button", name="Use an authenticator app").click()
        self.page.locator("[data-secret-key]").wait_for()
        yield "authenticator"
        self.page.goto(f"{alice}/auth/security/")
        self.page.get_by_role("button", name="Make a passkey").click()
        self.page.get_by_role("status").wait_for()
        self.page.context.clear_cookies()
        self.page.goto(f"{alice}/auth/login")
        self.page.get_by_role("button", name="Log in with a passkey").wait_for()
        yield "login-passkey"
        self.log_in("alice")
        self.page.goto(f"{alice}/auth/security/")
        self.page.get_by_role("button", name=re.compile("^Remove: ")).first.click()
        self.page.get_by_role("status").wait_for()

    def clients(self) -> Iterator[str]:
        """What applications bring her to."""
        for host, scope, name in (
            ("alice", "io.cozy.files io.cozy.contacts:GET io.cozy.notes", "consent"),
            ("alice", "*", "certificate"),
            ("full", "io.cozy.files", "too-many"),
        ):
            self.log_in(host)
            client = Application(Visitor(self.served, f"{host}.localhost:{self.served.port}"), client_name="A note book with a long name")
            asked = "&".join(f"{key}={value}" for key, value in client.request(scope).items())
            self.page.goto(f"{self.base(host)}/auth/authorize?{asked}")
            yield name

    def end(self) -> Iterator[str]:
        """The end of a cloud."""
        self.log_in("doomed")
        token = self.served.cli("token", f"doomed.localhost:{self.served.port}", "io.cozy.settings", "--app", "settings").strip()
        visitor, seen = Visitor(self.served, f"doomed.localhost:{self.served.port}"), len(self.mails.mails)
        assert visitor.ask("POST", "/settings/instance/deletion", None, Authorization=f"Bearer {token}").status == 204
        eventually(lambda: any("doomed@example.org" in mail.recipients for mail in self.mails.mails[seen:]))
        link = re.search(r"http://\S+/deletion/confirm\?token=[\w-]+", self.mails.mails[-1].plain)
        assert link is not None
        self.page.goto(link[0])
        yield "deletion"
        self.page.goto(f"{link[0]}x")
        yield "deletion-old"


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LOOKS = [(size, scheme) for size in SIZES for scheme in SCHEMES]


def judged(page: Page, folder: Path, name: str) -> list[str]:
    """What is wrong with a page, in each size and scheme; a picture of each."""
    found = []
    for size, scheme in LOOKS:
        page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour is caught halfway
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
        found += [f"{size}, {scheme}: {one}" for one in violations(page)]
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"{size}: the page scrolls sideways")
    return found


@pytest.mark.timeout(300)
def test_axe_finds_nothing_wrong_with_any_page_and_none_is_left_out(browser: Browser, served: Served, mails: MailServer, folder: Path):
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    with_authenticator(page)
    tour, problems, drawn = Tour(served, mails, page), dict[str, list[str]](), set[str]()
    for part in (tour.strangers, tour.owners, tour.clients, tour.end):
        for name in part():
            drawn.add(str(page.locator("html").get_attribute("data-page")))
            problems[name] = judged(page, folder, name)
    context.close()
    assert {name: found for name, found in problems.items() if found} == {}
    assert drawn == {path.stem for path in TEMPLATES.glob("*.html")} - PARTS
