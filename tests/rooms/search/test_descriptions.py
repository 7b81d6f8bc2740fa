"""Descriptions of doctypes: a lived-in instance is as described, the pages and models are made from them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cozyd.auth.values import Credentials
from cozyd.config import Config, Documents, Storage
from cozyd.descriptions import described, description
from cozyd.descriptions.models import python_models, typescript_models
from cozyd.descriptions.page import overview, page
from cozyd.errors import Invalid
from cozyd.stack import Stack

ROOT = Path(__file__).parent.parent.parent.parent
PAGES = ROOT / "docs" / "doctypes"


@pytest.mark.parametrize("doctype", described())
def test_the_page_of_a_doctype_is_what_its_description_says(doctype: str):
    assert (PAGES / f"{doctype}.md").read_text() == page(description(doctype)) + "\n"


def test_the_overview_has_every_doctype():
    assert (PAGES / "README.md").read_text() == overview()
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(described())


NAMED = re.compile(r'"((?:io\.cozy|com\.bitwarden)\.[a-z_]+(?:\.[a-z_]+)*)"')
_NOT_STORED = """
apps.logs apps.open auth.confirmations certified.carbon_copy certified.electronic_safe doctypes files.archives files.metadata
files.shortcuts files.sizes files.thumbnails flagship.mobile jobs.events jobs.logs notes.events proxy remote.secrets settings.bitwarden
settings.flags settings.instance settings.notifications settings.passphrase sharings.initial_sync support triggers.state websocket
"""
NOT_STORED = {f"io.cozy.{name}" for name in _NOT_STORED.split()} | {"com.bitwarden.profiles"}
"""What is only told or answered, rights without documents, and ids of single documents."""


def test_every_doctype_that_the_server_names_is_described():
    named: set[str] = set()
    for package in ("cozyd", "blueprints", "dav", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            named |= set(NAMED.findall(path.read_text()))
    assert named - NOT_STORED - set(described()) == set()


def test_models_for_python_are_python(tmp_path: Path):
    module = tmp_path / "models.py"
    module.write_text(python_models() + '\nbill: Bills = {"vendor": "x", "amount": 1.5}\nwrong: Jobs = {"worker": 3}\n')
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(module)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert [line.rpartition("[")[2] for line in done.stdout.splitlines() if "error:" in line] == [
        "typeddict-item]"
    ] * 2 or done.stdout.count("error:") >= 1
    assert "syntax" not in done.stdout
    assert f"{module.name}:1:" not in done.stdout


def test_models_for_typescript_name_every_doctype():
    made = typescript_models()
    for doctype in described():
        assert f'  "{doctype}": ' in made
    assert "email?: Array<{" in made
    assert made.count("{") == made.count("}")


def test_strict_validation_refuses_and_warning_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for mode in ("strict", "warn", "off"):
        stack = Stack.open(Config(storage=Storage(path=tmp_path / mode), documents=Documents(validation=mode)))
        docs = stack.create("alice.localhost").docs
        if mode == "strict":
            with pytest.raises(Invalid, match=r"io\.cozy\.photos\.albums") as refused:
                docs.put("io.cozy.photos.albums", {"name": 3})
            assert refused.value.source == "/name"
        else:
            caplog.clear()
            docs.put("io.cozy.photos.albums", {"name": 3})
            assert ("is not as described: /name" in caplog.text) == (mode == "warn")
        docs.put("io.cozy.photos.albums", {"name": "Summer", "more": [1]})
        stack.close()


def test_what_the_server_writes_of_log_ins_and_links_is_as_described(tmp_path: Path):
    """In strict mode a document of ours that is not as described would be refused."""
    stack = Stack.open(Config(storage=Storage(path=tmp_path), documents=Documents(validation="strict")))
    alice = stack.create("alice.localhost", passphrase="a long passphrase")
    auth, seen = (
        alice.auth,
        Credentials(address="192.0.2.1", agent="Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"),
    )
    auth.sessions.open(seen, long_run=True)
    _, password = auth.devices.add("Phone", ["contacts", "files"], True)
    auth.devices.identify(password)
    auth.trail.note("login_failed", seen)
    auth.factors.trust(seen)
    auth.grants.new_code("client", "io.cozy.files", "https://client.example/", "challenge")
    auth.grants.start("client", "io.cozy.files")
    stack.apps.maintenance.begin("bank", {"flag_short_maintenance": True})
    written = {"io.cozy.sessions", "io.cozy.devices", "io.cozy.auth.events", "io.cozy.auth.trusted", "io.cozy.oauth.grants"}
    assert {doctype for doctype in written if alice.docs.all(doctype).rows} == written
    stack.close()
