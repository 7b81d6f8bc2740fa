"""Around a konnector's run: maintenance, its newest version, the folder it saves into, the operator's secret, a deleted account."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cozyd.errors import JobFailed
from cozyd.jobs.triggers import NewTrigger
from tests.support import apps
from tests.support.client import Client
from tests.support.programs import SCOPE, ended, install, on_localhost, push
from tests.support.serving import Served, eventually
from tests.support.stack import Clock, open_stack
from tests.support.workshop import claimed
from workers import TABLE

if shutil.which("node") is None:
    pytest.skip("node is not installed: run scripts/install-debian.sh", allow_module_level=True)

ROOT = "io.cozy.files.root-dir"
KONNECTORS = "io.cozy.konnectors"


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("konnectors")


@pytest.fixture(scope="module")
def server(top: Path) -> Iterator[Served]:
    """A French instance on a name that Node can resolve, with a registry of its own."""
    (top / "registry").mkdir()
    types = {
        "safe": {"grant_mode": "authorization_code+secret", "client_id": "a", "secret": "of the operator"},
        "open": {"client_id": "a", "secret": "for OAuth alone"},
    }
    (top / "types.json").write_text(json.dumps(types))
    environ = {"COZYD_APPS_REGISTRIES": f"local://{top / 'registry'}", "COZYD_APPS_ACCOUNT_TYPES": str(top / "types.json")}
    with on_localhost(top, "--locale", "fr", **environ) as running:
        yield running


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, domain=f"localhost:{server.port}", scope=SCOPE)


def run(client: Client, slug: str, *, manual: bool = False, **message: Any) -> dict[str, Any]:
    """A konnector's job once it is over."""
    return ended(client, push(client, "konnector", {"konnector": slug, **message}, manual=manual))


# -- what she has to mend first --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        ("LOGIN_FAILED", False),
        ("LOGIN_FAILED.NEEDS_SECRET", False),
        ("USER_ACTION_NEEDED.OAUTH_OUTDATED", False),
        ("USER_ACTION_NEEDED.CGU_FORM", True),
        ("VENDOR_DOWN", True),
    ],
)
def test_a_trigger_waits_until_she_has_mended_what_only_she_can(tmp_path: Path, error: str, runs: bool):
    stack = open_stack(tmp_path / "data", Clock(), TABLE)
    try:
        jobs = stack.create("alice.localhost").jobs
        trigger = jobs.triggers.create(NewTrigger("@daily", worker="konnector", message={"konnector": "bank"}))
        with claimed(jobs, jobs.triggers.launch(trigger.id).id) as first:
            assert first is not None
            jobs.finish(first, JobFailed(error, again=False))
        assert bool(jobs.push("konnector", trigger.message, trigger_id=trigger.id).id) == runs
        assert jobs.push("konnector", trigger.message, trigger_id=trigger.id, manual=True).id
    finally:
        stack.close()


# -- maintenance ----------------------------------------------------------------------------------------------------------


def test_a_konnector_in_maintenance_runs_only_when_she_asks_for_it(alice: Client, server: Served, tmp_path: Path):
    install(alice, tmp_path / "app", "konnector", "shaky", "")
    server.cli("maintenance", "begin", "shaky", "--message", "Back soon")
    assert "shaky" in server.cli("maintenance", "list")
    assert push(alice, "konnector", {"konnector": "shaky"}) == ""
    assert alice.api("GET", "/jobs/queue/konnector").json["data"] == []
    assert run(alice, "shaky", manual=True)["state"] == "done"
    server.cli("maintenance", "begin", "shaky", "--not-by-hand")
    assert push(alice, "konnector", {"konnector": "shaky"}, manual=True) == ""
    server.cli("features", "defaults", '{"harvest.skip-maintenance-for": {"list": ["shaky"]}}')
    assert run(alice, "shaky")["state"] == "done"
    server.cli("features", "defaults", '{"harvest.skip-maintenance-for": null}')
    assert push(alice, "konnector", {"konnector": "shaky"}) == ""
    server.cli("maintenance", "end", "shaky")
    assert run(alice, "shaky")["state"] == "done"
    with pytest.raises(RuntimeError, match="not in maintenance"):
        server.cli("maintenance", "end", "shaky")


def test_what_a_registry_says_of_maintenance_counts_too_and_the_operator_s_word_before_it(alice: Client, server: Served, top: Path):
    put(top, "paused", "1.0.0", "")
    told = top / "registry" / "paused" / "app.json"
    told.write_text('{"maintenance_activated": true, "maintenance_options": {"flag_disallow_manual_exec": true}}')
    assert push(alice, "konnector", {"konnector": "paused"}, manual=True) == ""
    server.cli("maintenance", "begin", "paused", "--short")
    token = server.cli("token", f"localhost:{server.port}", "--app", "store", "io.cozy.apps").split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    first = alice.ask("GET", "/registry/maintenance", **headers).json[0]
    assert (first["slug"], first["type"], first["maintenance_activated"]) == ("paused", "konnector", True)
    options = {"flag_short_maintenance": True, "flag_disallow_manual_exec": False, "flag_infra_maintenance": False}
    assert first["maintenance_options"] == alice.ask("GET", "/registry/paused", **headers).json["maintenance_options"] == options
    server.cli("maintenance", "end", "paused")
    told.unlink()


# -- the newest version ---------------------------------------------------------------------------------------------------


def put(top: Path, slug: str, version: str, script: str, **manifest: Any) -> None:
    """Put a version of a konnector into the registry."""
    rights = {"all": {"type": "io.cozy.files"}}
    given = {"name": slug, "slug": slug, "type": "konnector", "version": version, "editor": "Us", "language": "node", "permissions": rights}
    content = {"manifest.konnector": json.dumps(given | manifest).encode(), "index.js": script.encode()}
    file = top / "registry" / slug / f"{version}.tar.gz"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(apps.archive(content))


def from_registry(client: Client, slug: str, source: str = "") -> None:
    answer = client.api("POST", f"/konnectors/{slug}?Source={quote(source or f'registry://{slug}/stable', safe='')}")
    assert answer.status == 202, answer.body
    eventually(lambda: document(client, slug).get("state") == "ready", within=30)


def document(client: Client, slug: str) -> dict[str, Any]:
    found: dict[str, Any] = client.api("GET", f"/data/{KONNECTORS}/{KONNECTORS}%2F{slug}").json
    return found


SAYS = "console.log(JSON.stringify({type: 'error', message: %r}))"


def test_a_konnector_is_brought_up_to_its_channel_before_it_runs(alice: Client, top: Path):
    put(top, "rising", "1.0.0", SAYS % "old")
    put(top, "rising", "1.2.0-beta.1", SAYS % "beta")
    from_registry(alice, "rising")
    put(top, "rising", "1.1.0", SAYS % "new")
    assert run(alice, "rising")["error"] == "new"
    assert document(alice, "rising")["version"] == "1.1.0"


def test_a_new_version_that_asks_for_more_waits_and_the_old_one_runs(alice: Client, top: Path):
    put(top, "asking", "1.0.0", SAYS % "old")
    from_registry(alice, "asking")
    put(top, "asking", "2.0.0", SAYS % "new", permissions={"all": {"type": "io.cozy.contacts"}})
    assert run(alice, "asking")["error"] == "old"
    assert (document(alice, "asking")["version"], document(alice, "asking")["available_version"]) == ("1.0.0", "2.0.0")


def test_a_new_version_that_is_broken_keeps_nobody_from_running(alice: Client, top: Path):
    put(top, "broken", "1.0.0", SAYS % "old")
    from_registry(alice, "broken")
    put(top, "broken", "1.1.0", SAYS % "new", type="webapp")
    assert run(alice, "broken")["error"] == "old"


# -- its folder -----------------------------------------------------------------------------------------------------------

SAVES = """
const fields = JSON.parse(process.env.COZY_FIELDS), folder = fields.folder_to_save
const headers = {Authorization: 'Bearer ' + process.env.COZY_CREDENTIALS, 'Content-Type': 'text/plain'}
const call = (method, path) => fetch(process.env.COZY_URL + path, {method, headers, body: method === 'POST' ? 'bill' : undefined})
Promise.all([call('POST', `files/${folder}?Type=file&Name=${Date.now()}.txt`), call('GET', 'files/%OTHER%')])
  .then(([own, other]) => console.log(JSON.stringify({type: 'error', message: `${own.status} ${other.status} ${folder}`})))
"""


def account(client: Client, **fields: Any) -> str:
    body = {"account_type": "saver", "auth": {"login": "me", "password": "secret"}} | fields
    return str(client.api("POST", "/data/io.cozy.accounts/", body).json["id"])


def folder_of(client: Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.api("GET", f"/files/metadata?Path={quote(path)}").json["data"]
    return found


def test_a_konnector_saves_into_its_own_folder_whatever_its_manifest_asks_for(alice: Client, tmp_path: Path):
    other = folder_of(alice, "/Photos")["id"]
    rights = {"jobs": {"type": "io.cozy.jobs"}}
    install(alice, tmp_path / "app", "konnector", "saver", SAVES.replace("%OTHER%", other), permissions=rights)
    id = account(alice)
    message = {"konnector": "saver", "account": id, "folder_to_save": "gone"}
    trigger = {"type": "@cron", "worker": "konnector", "arguments": "0 0 0 1 1 *", "message": message}
    made = alice.api("POST", "/jobs/triggers", {"data": {"attributes": trigger}}).json["data"]["id"]
    first = ended(alice, alice.api("POST", f"/jobs/triggers/{made}/launch").json["data"]["id"])["error"].split()
    home = folder_of(alice, "/Administratif/saver/me")
    assert first == ["201", "403", home["id"]]
    assert home["attributes"]["referenced_by"] == [{"type": KONNECTORS, "id": f"{KONNECTORS}/saver"}]
    assert alice.api("GET", f"/data/io.cozy.accounts/{id}").json["defaultFolderPath"] == "/Administratif/saver/me"
    assert alice.api("GET", f"/jobs/triggers/{made}").json["data"]["attributes"]["message"]["folder_to_save"] == home["id"]
    alice.api("PATCH", f"/files/{home['id']}", {"data": {"attributes": {"name": "Factures"}}})
    again = run(alice, "saver", account=id, folder_to_save="gone as well")["error"].split()
    assert again == ["201", "403", home["id"]]  # the only one that is the konnector's, wherever it is

    alice.api("DELETE", f"/files/{home['id']}")
    third = run(alice, "saver", account=account(alice, defaultFolderPath="/Factures/EDF"), folder_to_save=home["id"])["error"].split()
    assert third == ["201", "403", folder_of(alice, "/Factures/EDF")["id"]]


# -- what else it is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slug", "parameters"), [("safe", {"x": 1, "secret": "of the operator"}), ("open", {"x": 1})])
def test_the_operator_s_secret_comes_with_the_parameters(alice: Client, tmp_path: Path, slug: str, parameters: dict[str, Any]):
    tells = "console.log(JSON.stringify({type: 'error', message: process.env.COZY_PARAMETERS}))"
    install(alice, tmp_path / "app", "konnector", slug, tells, parameters={"x": 1})
    assert json.loads(run(alice, slug)["error"]) == parameters


CLEANS = """
const fields = JSON.parse(process.env.COZY_FIELDS)
const headers = {Authorization: 'Bearer ' + process.env.COZY_CREDENTIALS}
const path = `data/io.cozy.accounts/${fields.account}?rev=${fields.account_rev}`
fetch(process.env.COZY_URL + path, {headers}).then(async answer => {
  const login = answer.status === 200 ? (await answer.json()).auth.login : answer.status
  require('fs').writeFileSync('%OUT%', JSON.stringify({...fields, login}))
})
"""


def test_a_deleted_account_is_cleaned_up_by_its_konnector_and_its_copy_goes(alice: Client, server: Served, tmp_path: Path):
    rights = {"accounts": {"type": "io.cozy.accounts"}}
    install(alice, tmp_path / "app", "konnector", "tidy", "", on_delete_account="index.js", permissions=rights)
    (tmp_path / "app" / "index.js").write_text(CLEANS.replace("%OUT%", str(tmp_path / "out.json")))
    alice.api("DELETE", "/konnectors/tidy")
    answer = alice.api("POST", f"/konnectors/tidy?Source={quote('file://' + str(tmp_path / 'app'), safe='')}")
    assert answer.status == 202
    eventually(lambda: document(alice, "tidy").get("state") == "ready", within=30)
    id = account(alice, account_type="tidy")
    rev = alice.api("GET", f"/data/io.cozy.accounts/{id}").json["_rev"]
    assert alice.api("DELETE", f"/data/io.cozy.accounts/{id}?rev={rev}").status == 200
    eventually((tmp_path / "out.json").exists, within=60)
    eventually(lambda: bool((tmp_path / "out.json").read_text()))
    told = json.loads((tmp_path / "out.json").read_text())
    assert {name: told[name] for name in ("account", "konnector", "account_deleted", "login")} == {
        "account": id,
        "konnector": "tidy",
        "account_deleted": True,
        "login": "me",
    }
    eventually(lambda: alice.api("GET", "/jobs/queue/konnector").json["data"] == [], within=30)
    assert copies(server) == []


def copies(server: Served) -> list[str]:
    """Ids of the copies that are kept of deleted accounts; no door leads there."""
    server.stop()
    stack = open_stack(server.folder, Clock())
    docs = stack.instance(f"localhost:{server.port}").docs
    found = [stored.ref.id for stored in docs.all("io.cozy.accounts.soft_deleted").rows]
    stack.close()
    server.start()
    return found
