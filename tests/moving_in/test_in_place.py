"""The lived-in cozy's CouchDB opened in place: nothing changes by opening, the recorded answers hold, an operator can go back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from cozyd.config import load as load_config
from cozyd.stack import Stack
from tests.moving_in.conftest import CONTEXT, ServedThen, player
from tests.moving_in.kept import KEPT
from tests.moving_in.player import ACCESS, EXPECTED, FIXTURE
from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.serving import Served

pytestmark = needs_couchdb
DOMAIN, PREFIX = ACCESS["domain"], ACCESS["prefix"]
DATABASES = json.loads((FIXTURE / "databases.json").read_text())
BATCH = 100


def place(url: str, database: str, *parts: str) -> str:
    return "/".join([url, quote(database, safe=""), *parts])


def load(url: str) -> None:
    """Put the dump into CouchDB, as its README says."""
    for database, about in DATABASES.items():
        assert requests.put(f"{place(url, database)}?q=1", timeout=20).ok
        lines = (FIXTURE / "databases" / about["file"]).read_text().splitlines()
        for at in range(0, len(lines), BATCH):
            docs = [json.loads(line) for line in lines[at : at + BATCH]]
            assert requests.post(place(url, database, "_bulk_docs"), json={"docs": docs, "new_edits": False}, timeout=60).json() == []
        for local in about.get("local_documents", ()):
            body = {name: value for name, value in local.items() if name != "_rev"}
            assert requests.put(
                place(url, database, "_local", quote(local["_id"].removeprefix("_local/"), safe="")), json=body, timeout=20
            ).ok


def dump(url: str) -> dict[str, dict[str, Any]]:
    """Every leaf of the databases that were loaded."""
    found: dict[str, dict[str, Any]] = {}
    for database in DATABASES:
        feed = requests.get(place(url, database, "_changes"), params={"style": "all_docs"}, timeout=60).json()["results"]
        asked = [{"id": row["id"], "rev": change["rev"]} for row in feed for change in row["changes"]]
        params = {"revs": "true", "attachments": "true"}
        rows = requests.post(place(url, database, "_bulk_get"), json={"docs": asked}, params=params, timeout=60).json()["results"]
        found[database] = {f"{row['docs'][0]['ok']['_id']} {row['docs'][0]['ok']['_rev']}": row["docs"][0]["ok"] for row in rows}
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with empty_server() as address:
        load(address)
        yield address


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, url: str, storage: Path, configuration: dict[str, str]) -> Iterator[Served]:
    environ = (
        configuration | CONTEXT | {"COZYD_STORAGE_DOCUMENTS": url, "COZYD_JOBS_THREADS": "default=0"}
    )  # its daily upkeep writes contacts
    server = ServedThen(tmp_path_factory.mktemp("in-place") / "data", environ=environ)
    server.cli("import-cozy", "--storage", str(storage))
    with server:
        yield server


def test_opening_changes_no_document_of_the_old_server(url: str, tmp_path: Path):
    lines = {name: (FIXTURE / "databases" / about["file"]).read_text().splitlines() for name, about in DATABASES.items()}
    loaded = {name: {f"{doc['_id']} {doc['_rev']}": doc for doc in map(json.loads, found)} for name, found in lines.items()}
    names = set(requests.get(f"{url}/_all_dbs", timeout=20).json())
    stack = Stack.open(load_config(None, {}, {("storage", "path"): tmp_path / "data", ("storage", "documents"): url}))
    try:  # without its scheduler, which would fire what is overdue
        zoe = stack.locate(ACCESS["alias"])
        assert (zoe.domain, zoe.prefix) == (DOMAIN, PREFIX)
        assert [instance.domain for instance in stack.instances()] == [DOMAIN]
    finally:
        stack.close()
    now = dump(url)
    for database, docs in loaded.items():
        assert {key: now[database].get(key) for key in docs} == docs, database
        added = now[database].keys() - docs.keys()
        assert all(key.startswith("_design/") for key in added), (database, added)
    made = set(requests.get(f"{url}/_all_dbs", timeout=20).json()) - names
    assert made <= {f"{PREFIX}/cozyd-private", f"{PREFIX}/cozyd-rows", f"{PREFIX}/cozyd-redo"}


def test_the_recorded_answers_hold(opened: Served):
    who = player(opened)
    outcomes = {recorded["n"]: who.play(recorded) for recorded in EXPECTED["requests"]}
    assert {n: found for n, found in outcomes.items() if found and n not in KEPT} == {}


def test_what_is_written_here_the_old_server_can_read(url: str, opened: Served):
    who = player(opened)
    headers = {"Authorization": f"Bearer {who.token}", "Content-Type": "application/json"}
    body = json.dumps({"account_type": "bank", "auth": {"login": "zoe", "password": "new secret"}}).encode()
    made = json.loads(who.ask("POST", "/data/io.cozy.accounts/", headers, body).body)
    doc = requests.get(place(url, f"{PREFIX}/io-cozy-accounts", made["id"]), timeout=20).json()
    assert doc["auth"]["credentials_encrypted"].startswith("bmFjb")  # `nacl` in base64
    assert "password" not in doc["auth"]
    opened.cli("instances", "set", DOMAIN, "--passphrase", "another passphrase of hers")
    records = requests.get(place(url, "global/instances", "_all_docs"), params={"include_docs": "true"}, timeout=20).json()["rows"]
    record = next(row["doc"] for row in records if row["doc"].get("domain") == DOMAIN)
    assert record["passphrase_hash"].startswith("c2NyeXB0J")  # `scrypt$` in base64
