"""The recorded exchanges of a cozy-stack, played against a fresh instance (docs/wire.md lists what is open and why)."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.serving import PASSPHRASE, Served, run

HERE = Path(__file__).parent
DOCTYPES = [
    "contacts",
    "files",
    "permissions",
    "jobs",
    "triggers",
    "settings",
    "apps",
    "konnectors",
    "bills",
    "notifications",
    "intents",
    "sharings",
    "sessions",
    "oauth.clients",
    "doctypes",
    "photos.albums",
    "nothings",
    "remote.requests",
    "accounts",
    "jobs.logs",
    "exports",
]
MISC = {
    f"misc/{name}"
    for name in ("status", "version", "unknown-route", "data-bad-method", "cors-preflight", "cors-simple", "well-known-change-password")
} | {"misc/move-export-anonymous", "misc/intent-from-cli", "misc/remote-unknown", "misc/notification"}
LATER = re.compile(r"misc/sharing-create")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name of a failed step -> what differs."""
    return play(Served(tmp_path_factory.mktemp("wire") / "data").add_alice("--apps", ","))


def play(server: Served) -> dict[str, str]:
    """Play the recordings against a fresh server; name of a failed step -> what differs."""
    with server:
        token = server.token(*(f"io.cozy.{name}" for name in DOCTYPES))
        place = ["--base", f"http://127.0.0.1:{server.port}", "--domain", server.domain]
        done = run([sys.executable, str(HERE / "wire.py"), "check", *place, "--token", token, "--passphrase", PASSPHRASE], timeout=120)
    parts = re.split(r"^FAIL (\S+)", done.stdout, flags=re.MULTILINE)
    assert re.search(r"\d+ passed, \d+ failed", done.stdout), done.stdout + done.stderr
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names() -> list[str]:
    found: list[str] = list(json.loads((HERE / "expected.json").read_text()))
    return [
        name
        for name in found
        if name.startswith(("apps/", "data/", "files/", "auth/", "permissions/", "settings/", "jobs/")) or name in MISC
    ]


@pytest.mark.parametrize("name", [name for name in names() if not LATER.match(name)])
def test_the_step_holds(outcome: dict[str, str], name: str):
    assert name not in outcome, outcome.get(name)


def test_at_least_236_steps_hold(outcome: dict[str, str]):
    total = len(json.loads((HERE / "expected.json").read_text()))
    assert total - len(outcome) >= 236


def test_the_list_of_open_steps_is_true(outcome: dict[str, str]):
    text = (HERE.parent.parent / "docs" / "wire.md").read_text()
    listed = set(re.findall(r"`([a-z]+/[a-z0-9-]+)`", text))
    assert listed == set(outcome)
