"""Real Chromium in tests: opened once for each file, judged by axe-core, with a key of its own for passkeys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import needs

CHROMIUM = "/usr/bin/chromium"
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 800}}
AXE = Path(__file__).parent.parent / "clients" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window."""
    needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def screenshots(folder: Path) -> Path:
    """Where pictures go: `$COZYD_TEST_SCREENSHOTS`, or the folder given."""
    named = os.environ.get("COZYD_TEST_SCREENSHOTS")
    found = Path(named) if named else folder
    found.mkdir(parents=True, exist_ok=True)
    return found


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it is."""
    if not AXE.is_file():
        if os.environ.get("CI"):
            raise RuntimeError("axe-core is not installed: make npm-clients")
        pytest.skip("axe-core is not installed: make npm-clients")
    page.evaluate(AXE.read_text())
    found: Any = page.evaluate("tags => axe.run(document, { runOnly: tags })", TAGS)
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}" for one in found["violations"] for node in one["nodes"]]


def with_authenticator(page: Page) -> Any:
    """Give a page's browser a device that makes passkeys; its session of Chromium's protocol."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return session
