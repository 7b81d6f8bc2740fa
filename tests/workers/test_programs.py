"""Konnectors and services: programs of Node in a process of their own, with what they are told, how they fail, and how they are stopped."""

import json
import shutil
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.pictures import pdf
from tests.support.programs import SCOPE, ended, install, on_localhost, push
from tests.support.serving import Served, eventually
from workers.program import Line, line_of, run_program

LIBRARY = Path(__file__).parent.parent / "clients" / "konnector" / "node_modules" / "cozy-konnector-libs"

if shutil.which("node") is None:
    pytest.skip("node is not installed: run scripts/install-debian.sh", allow_module_level=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with on_localhost(tmp_path_factory.mktemp("programs"), "--email", "alice@example.org") as running:
        yield running


@pytest.fixture(scope="module")
def alice(server: Served) -> Client:
    return Client(server, domain=f"localhost:{server.port}", scope=SCOPE)


TELLS = """
const fs = require('fs')
const out = {env: process.env, cwd: process.cwd(), files: fs.readdirSync('.'), args: process.argv.slice(2)}
const payload = process.env.COZY_PAYLOAD || ''
out.payload = payload.startsWith('@') ? fs.readFileSync(payload.slice(1), 'utf8').length : payload
const headers = {Authorization: 'Bearer ' + process.env.COZY_CREDENTIALS}
fetch(process.env.COZY_URL + 'data/io.cozy.files/io.cozy.files.root-dir', {headers})
  .then(answer => { out.status = answer.status; fs.writeFileSync(process.env.COZY_TEST_OUT || '%OUT%', JSON.stringify(out)) })
"""


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return found


def test_a_konnector_is_told_all_it_needs_and_nothing_of_the_server(alice: Client, server: Served, tmp_path: Path):
    install(alice, tmp_path / "app", "konnector", "teller", TELLS.replace("%OUT%", str(tmp_path / "out.json")), parameters={"x": 1})
    account = alice.api("POST", "/data/io.cozy.accounts/", {"account_type": "teller", "auth": {"login": "me"}}).json["id"]
    message = {"konnector": "teller", "account": account, "more": "kept"}
    job = push(alice, "konnector", message, manual=True)
    assert ended(alice, job)["state"] == "done"
    env = told(tmp_path)["env"]
    assert json.loads(env["COZY_FIELDS"]) == message
    assert json.loads(env["COZY_PARAMETERS"]) == {"x": 1}
    assert (env["COZY_URL"], env["COZY_LOCALE"], env["COZY_LANGUAGE"]) == (f"http://localhost:{server.port}/", "en", "node")
    assert env["COZY_JOB_ID"] == f"konnector/0/{job}"
    assert env["COZY_JOB_MANUAL_EXECUTION"] == "true"
    assert 290 <= int(env["COZY_TIME_LIMIT"]) <= 305
    assert told(tmp_path)["status"] == 200
    assert not [name for name in env if name.startswith("COZYD_")]
    assert not Path(told(tmp_path)["cwd"]).exists()


def test_a_service_has_its_fields_and_the_document_of_its_event(alice: Client, tmp_path: Path):
    services = {"tell": {"type": "node", "file": "index.js"}}
    install(alice, tmp_path / "app", "webapp", "served", TELLS.replace("%OUT%", str(tmp_path / "out.json")), services=services)
    job = push(alice, "service", {"slug": "served", "name": "tell", "fields": {"a": 1}})
    assert ended(alice, job)["state"] == "done"
    env = told(tmp_path)["env"]
    assert json.loads(env["COZY_FIELDS"]) == {"a": 1}
    assert "COZY_COUCH_DOC" not in env
    assert told(tmp_path)["status"] == 200
    (tmp_path / "out.json").unlink()
    trigger = {"type": "@event", "worker": "service", "arguments": "io.cozy.bills:CREATED", "message": {"slug": "served", "name": "tell"}}
    made = alice.api("POST", "/jobs/triggers", {"data": {"attributes": trigger}})
    assert made.status == 201, made.body
    alice.api("POST", "/data/io.cozy.bills/", {"vendor": "Power"})
    eventually((tmp_path / "out.json").exists, within=60)
    eventually(lambda: bool((tmp_path / "out.json").read_text()))
    env = told(tmp_path)["env"]
    assert json.loads(env["COZY_COUCH_DOC"])["vendor"] == "Power"
    assert env["COZY_TRIGGER_ID"] == made.json["data"]["id"]


def test_a_webhook_s_body_comes_along_and_a_long_one_in_a_file(alice: Client, tmp_path: Path):
    install(alice, tmp_path / "app", "konnector", "hooked", TELLS.replace("%OUT%", str(tmp_path / "out.json")))
    trigger = {"type": "@webhook", "worker": "konnector", "message": {"konnector": "hooked"}}
    made = alice.api("POST", "/jobs/triggers", {"data": {"attributes": trigger}}).json["data"]
    long = json.dumps({"x": "y" * 120_000}).encode()
    for body, payload in ((b'{"a": 1}', '{"a": 1}'), (long, len(long)), (b"a\0b", 3)):
        assert alice.ask("POST", f"/jobs/webhooks/{made['id']}", body).status == 204
        eventually((tmp_path / "out.json").exists, within=60)
        eventually(lambda: bool((tmp_path / "out.json").read_text()))
        assert (told(tmp_path)["payload"], told(tmp_path)["env"]["COZY_TRIGGER_ID"]) == (payload, made["id"])
        (tmp_path / "out.json").unlink()


@pytest.mark.parametrize(
    ("message", "state"),
    [
        ({"message": {"slug": "nested", "name": "run"}}, "done"),
        ({"slug": "nested", "name": "other", "service_file": "index.js"}, "done"),
        ({"slug": "nested", "name": "run", "service_file": "../../etc/passwd"}, "done"),
        ({"slug": "nested", "name": "other", "service_file": "../../etc/passwd"}, "errored"),
        ({"slug": "nested", "service_file": "page.js"}, "errored"),
        ({"slug": "nested", "name": "nobody"}, "errored"),
        ({"slug": "nobody", "name": "run"}, "errored"),
        ("text", "errored"),
        (None, "errored"),
    ],
)
def test_a_service_is_named_in_every_way_that_clients_have(alice: Client, tmp_path: Path, message: Any, state: str):
    if alice.api("GET", "/apps/nested").status == 404:
        install(alice, tmp_path / "app", "webapp", "nested", "", services={"run": {"type": "node", "file": "index.js"}})
    found = ended(alice, push(alice, "service", message))
    assert (found["state"], bool(found.get("error"))) == (state, state == "errored")


LINES = """
const say = line => console.log(JSON.stringify(line))
console.log('not a line of the protocol')
say({type: 'info', message: 'begun'})
say({type: '%TYPE%', message: '%MESSAGE%'})
console.error('a word on stderr')
process.exitCode = %CODE%
"""


def script(type: str, message: str, code: int) -> str:
    return LINES.replace("%TYPE%", type).replace("%MESSAGE%", message).replace("%CODE%", str(code))


@pytest.mark.parametrize(
    ("type", "message", "code", "error"),
    [
        ("warn", "only a warning", 0, None),
        ("error", "VENDOR_DOWN", 0, "VENDOR_DOWN"),
        ("critical", "LOGIN_FAILED", 0, "LOGIN_FAILED"),
        ("info", "nothing", 3, "The program ended with status 3: a word on stderr"),
    ],
)
def test_a_konnector_fails_by_what_it_says(alice: Client, tmp_path: Path, type: str, message: str, code: int, error: str | None):
    slug = f"says{type}{code}"
    install(alice, tmp_path / "app", "konnector", slug, script(type, message, code))
    found = ended(alice, push(alice, "konnector", {"konnector": slug}))
    assert (found["state"], found.get("error")) == (("errored", error) if error else ("done", None))


def test_a_service_that_only_says_so_has_not_failed(alice: Client, tmp_path: Path):
    services = {"say": {"type": "node", "file": "index.js"}}
    install(alice, tmp_path / "app", "webapp", "saying", script("error", "no harm", 0), services=services)
    assert ended(alice, push(alice, "service", {"slug": "saying", "name": "say"}))["state"] == "done"


def test_lines_of_a_konnector_are_told_to_who_watches(alice: Client, tmp_path: Path):
    install(alice, tmp_path / "app", "konnector", "watched", script("error", "told", 0))
    with alice.watch("io.cozy.jobs.events") as watch:
        push(alice, "konnector", {"konnector": "watched"})
        first, second = watch.next(timeout=60), watch.next(timeout=60)
    assert [event["payload"]["doc"]["message"] for event in (first, second)] == ["begun", "told"]
    assert first["event"] == "CREATED"


def test_what_must_be_mended_by_her_is_tried_once_and_not_by_itself_again(alice: Client, tmp_path: Path):
    install(alice, tmp_path / "app", "konnector", "refused", script("error", "LOGIN_FAILED.NEEDS_SECRET", 0))
    trigger = {"type": "@cron", "worker": "konnector", "arguments": "0 0 0 1 1 *", "message": {"konnector": "refused"}}
    id = alice.api("POST", "/jobs/triggers", {"data": {"attributes": trigger}}).json["data"]["id"]
    job = alice.api("POST", f"/jobs/triggers/{id}/launch").json["data"]["id"]
    found = ended(alice, job)
    assert (found["state"], found["error"]) == ("errored", "LOGIN_FAILED.NEEDS_SECRET")
    assert len(alice.api("GET", f"/jobs/triggers/{id}/jobs").json["data"]) == 1
    again = alice.api("POST", f"/jobs/triggers/{id}/launch").json["data"]["id"]
    assert ended(alice, again)["state"] == "errored"


@pytest.mark.parametrize("message", [{"konnector": "nowhere"}, {"konnector": "../etc"}, {}, {"konnector": "stays", "account": "gone"}])
def test_what_is_gone_takes_its_trigger_along(alice: Client, tmp_path: Path, message: dict[str, Any]):
    if "account" in message:
        install(alice, tmp_path / "app", "konnector", "stays", "")
    trigger = {"type": "@cron", "worker": "konnector", "arguments": "0 0 0 1 1 *", "message": message}
    id = alice.api("POST", "/jobs/triggers", {"data": {"attributes": trigger}}).json["data"]["id"]
    job = alice.api("POST", f"/jobs/triggers/{id}/launch").json["data"]["id"]
    assert ended(alice, job)["state"] == "errored"
    eventually(lambda: alice.api("GET", f"/jobs/triggers/{id}").status == 404)


def test_a_program_that_does_not_end_is_killed_with_all_it_began(alice: Client, tmp_path: Path):
    hanging = f"""
    const child = require('child_process').spawn('sleep', ['1000'], {{stdio: 'ignore'}})
    require('fs').writeFileSync({json.dumps(str(tmp_path / "pids"))}, process.pid + ' ' + child.pid)
    process.on('SIGTERM', () => {{}})
    setInterval(() => {{}}, 1000)
    """
    install(alice, tmp_path / "app", "konnector", "hanging", hanging)
    job = push(alice, "konnector", {"konnector": "hanging"}, options={"timeout": 4, "max_exec_count": 1})
    found = ended(alice, job, within=40)
    assert (found["state"], found["error"]) == ("errored", "context deadline exceeded")
    for pid in (tmp_path / "pids").read_text().split():
        eventually(lambda of=pid: not Path(f"/proc/{of}/exe").exists())  # type: ignore[misc]


def test_a_program_may_say_and_write_much_without_harm(alice: Client, tmp_path: Path):
    much = """
    for (let i = 0; i < 2000; i++) console.log('x'.repeat(1000))
    console.log('y'.repeat(300000))
    console.error('z'.repeat(1000000))
    console.log(JSON.stringify({type: 'error', message: 'm'.repeat(9000)}))
    """
    install(alice, tmp_path / "app", "konnector", "talkative", much)
    job = push(alice, "konnector", {"konnector": "talkative"}, options={"max_exec_count": 1})
    assert ended(alice, job)["error"] == "m" * 4000


def test_a_program_dies_with_a_server_that_is_killed(tmp_path: Path):
    server = on_localhost(tmp_path)
    with server:
        client = Client(server, domain=f"localhost:{server.port}", scope=SCOPE)
        pid = tmp_path / "pid"
        stays = f"require('fs').writeFileSync({json.dumps(str(pid))}, '' + process.pid); setInterval(() => {{}}, 1000)"
        install(client, tmp_path / "app", "konnector", "staying", stays)
        push(client, "konnector", {"konnector": "staying"})
        eventually(lambda: pid.exists() and bool(pid.read_text()), within=60)
        number = pid.read_text()
        server.kill()
        eventually(lambda: not Path(f"/proc/{number}/exe").exists())


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b'{"type":"info","message":"x"}', Line("info", "x")),
        (b'{"type":"warn","message":{"a":1}}', Line("warning", '{"a": 1}')),
        (b'{"type":"error","message":"x","no_retry":true}', Line("error", "x", True)),
        (b'{"type":"shout","message":"x"}', None),
        (b'{"type":"error"}', Line("error", "")),
        (b'{"type":"error","message":"\\ud800x"}', Line("error", "?x")),
        (b'{"type":["error"],"message":"x"}', None),
        (b'{"type":{},"message":"x"}', None),
        (b"[1]", None),
        (b"{", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_lines_of_the_protocol(raw: bytes, line: Line | None):
    assert line_of(raw) == line


def test_a_last_line_without_an_end_is_one(tmp_path: Path):
    said: list[Line] = []
    script = """import sys; sys.stdout.write('{"type":"info","message":"a"}\\n{"type":"critical","message":"LOGIN_FAILED"}')"""
    outcome = run_program([sys.executable, "-c", script], tmp_path, {}, 30, said.append)
    assert (outcome.status, said) == (0, [Line("info", "a"), Line("critical", "LOGIN_FAILED")])


def test_one_that_never_stops_talking_is_stopped_all_the_same(tmp_path: Path):
    """The listener is slower than the program, so that there is always something to be read."""
    script = """import os\nwhile True: os.write(1, b'{"type":"info","message":"on"}\\n' * 100)"""
    said: list[Line] = []

    def listen(line: Line) -> None:
        said.append(line)
        sum(range(1000))
        assert len(said) < 1_000_000, "it goes on"

    assert run_program([sys.executable, "-c", script], tmp_path, {}, 0.5, listen).timed_out
    assert said


# -- with the library that konnectors are made with --------------------------------------------------------------------------


class Vendor(BaseHTTPRequestHandler):
    """A web site that has bills for who logs in."""

    def do_GET(self) -> None:
        if self.path == "/bills":
            rows = "".join(f'<li><a href="/bill-{n}.pdf">2026-0{n}-01</a> <b>{n * 10},50</b></li>' for n in (1, 2))
            self._answer(f"<ul>{rows}</ul>".encode(), "text/html")
        else:
            self._answer(pdf(f"Bill {self.path}"), "application/pdf")

    def do_POST(self) -> None:
        given = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(b"{}", "application/json", 200 if "secret" in given else 401)

    def _answer(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


KONNECTOR = """
const { BaseKonnector, requestFactory, saveFiles, errors } = require(%LIBRARY%)
const request = requestFactory({cheerio: true, json: false, jar: true})
const plain = requestFactory({cheerio: false, json: false, jar: true, resolveWithFullResponse: true, simple: false})
const vendor = '%VENDOR%'
module.exports = new BaseKonnector(async function (fields) {
  const entered = await plain({url: vendor + '/login', method: 'POST', body: 'password=' + fields.password})
  if (entered.statusCode === 401) throw new Error(errors.LOGIN_FAILED)
  const $ = await request(vendor + '/bills')
  const found = $('li').toArray().map(one => ({
    fileurl: vendor + $(one).find('a').attr('href'),
    filename: $(one).find('a').text() + '.pdf',
    vendor: 'Vendor', amount: parseFloat($(one).find('b').text().replace(',', '.')), date: new Date($(one).find('a').text())
  }))
  await this.saveFiles(found, fields, {contentType: 'application/pdf', fileIdAttributes: ['filename']})
})
"""


@pytest.fixture
def vendor() -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
    thread = Thread(target=site.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{site.server_port}"
    site.shutdown()
    site.server_close()
    thread.join()


@pytest.mark.skipif(not LIBRARY.is_dir(), reason="cozy-konnector-libs is not installed: run make npm-clients")
def test_a_real_konnector_logs_in_and_saves_what_it_finds(alice: Client, tmp_path: Path, vendor: str):
    code = KONNECTOR.replace("%LIBRARY%", json.dumps(str(LIBRARY))).replace("%VENDOR%", vendor)
    rights = {name: {"type": f"io.cozy.{name}"} for name in ("files", "accounts", "bills", "identities", "permissions", "jobs")}
    install(alice, tmp_path / "app", "konnector", "vendor", code, permissions=rights)
    body = {"account_type": "vendor", "auth": {"login": "me", "password": "secret"}}
    account = alice.api("POST", "/data/io.cozy.accounts/", body).json["id"]
    message = {"konnector": "vendor", "account": account, "folder_to_save": "gone"}
    trigger = {"type": "@cron", "worker": "konnector", "arguments": "0 0 0 1 1 *", "message": message}
    id = alice.api("POST", "/jobs/triggers", {"data": {"attributes": trigger}}).json["data"]["id"]
    found = ended(alice, alice.api("POST", f"/jobs/triggers/{id}/launch").json["data"]["id"], within=100)
    assert (found["state"], found.get("error")) == ("done", None)
    folder = alice.api("GET", "/files/metadata?Path=/Administrative/vendor/me")
    assert folder.status == 200, folder.body
    data = folder.json["data"]
    assert data["attributes"]["referenced_by"] == [{"type": "io.cozy.konnectors", "id": "io.cozy.konnectors/vendor"}]
    assert {one["attributes"]["name"] for one in folder.json["included"]} == {"2026-01-01.pdf", "2026-02-01.pdf"}
    trigger_now = alice.api("GET", f"/jobs/triggers/{id}").json["data"]["attributes"]
    assert trigger_now["message"]["folder_to_save"] == data["id"]
    assert trigger_now["current_state"]["status"] == "done"


@pytest.mark.skipif(not LIBRARY.is_dir(), reason="cozy-konnector-libs is not installed: run make npm-clients")
def test_a_real_konnector_that_is_not_let_in_says_so(alice: Client, tmp_path: Path, vendor: str):
    code = KONNECTOR.replace("%LIBRARY%", json.dumps(str(LIBRARY))).replace("%VENDOR%", vendor)
    rights = {name: {"type": f"io.cozy.{name}"} for name in ("files", "accounts", "jobs")}
    install(alice, tmp_path / "app", "konnector", "shut", code, permissions=rights)
    body = {"account_type": "shut", "auth": {"login": "me", "password": "wrong"}}
    account = alice.api("POST", "/data/io.cozy.accounts/", body).json["id"]
    found = ended(alice, push(alice, "konnector", {"konnector": "shut", "account": account}), within=100)
    assert (found["state"], found["error"]) == ("errored", "LOGIN_FAILED")
