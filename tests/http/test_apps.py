"""`/apps` and `/konnectors`: who may install what, how it is told, and what stays when it fails."""

import hashlib
import http.client
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from copy import copy
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.support import apps
from tests.support.canary import Asked, Canary
from tests.support.client import Answer, Client
from tests.support.command import Command
from tests.support.serving import Served, eventually

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("apps")
    environ = {"COZYD_OUTBOUND_ALLOW": "127.0.0.1", "COZYD_APPS_NPM": "http://127.0.0.1:9"}
    with Served(folder / "data", environ=environ).add_instances() as running:
        yield running


@pytest.fixture(scope="module")
def cli(server: Served) -> Client:
    return Client(server, scope=("io.cozy.apps", "io.cozy.konnectors", "io.cozy.permissions", "io.cozy.files", "io.cozy.contacts"))


@pytest.fixture
def slug(request: pytest.FixtureRequest) -> str:
    return "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return apps.folder(tmp_path / "app")


def events(answer: Answer) -> list[tuple[str, Any]]:
    return events_of(answer.body)


def events_of(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in body.decode().replace(": still working\r\n", "").split("\r\n\r\n"):
        if block:
            name, data = block.split("\r\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def install(client: Client, slug: str, source: str, **headers: str) -> Answer:
    return client.api("POST", f"/apps/{slug}?Source={quote(unquote(source), safe='')}", **headers)


@contextmanager
def stream(client: Client, slug: str, source: str) -> Iterator[http.client.HTTPConnection]:
    """A request for an install whose answer is still to be read."""
    connection = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=60)
    headers = {"Host": client.host, "Authorization": f"Bearer {client.token}"} | STREAM
    connection.request("POST", f"/apps/{slug}?Source={quote(source, safe='')}", headers=headers)
    with closing(connection):
        yield connection


def ready(client: Client, slug: str, source: str) -> dict[str, Any]:
    """Install, and wait until it is."""
    told = events(install(client, slug, source, **STREAM))
    assert told[-1][0] == "state", told
    found: dict[str, Any] = told[-1][1]["data"]
    return found


def test_an_install_tells_each_state_as_it_comes(cli: Client, slug: str, app: Path):
    with cli.watch("io.cozy.apps") as watch:
        answer = install(cli, slug, app.as_uri(), **STREAM)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        told = events(answer)
        assert [(name, told["data"]["attributes"]["state"]) for name, told in told] == [("state", "installing"), ("state", "ready")]
        heard = [watch.next() for _ in range(3)]
    assert {one["payload"]["id"] for one in heard} == {f"io.cozy.apps/{slug}"}
    shown = cli.api("GET", f"/apps/{slug}").json["data"]
    assert shown == told[-1][1]["data"]
    assert shown["attributes"]["own_key"] == {"kept": True}
    assert shown["links"] == {
        "self": f"/apps/{slug}",
        "icon": f"/apps/{slug}/icon/{shown['attributes']['version']}",
        "related": f"http://{slug}.{cli.domain}/",
    }


@pytest.mark.parametrize(
    ("method", "source", "why"),
    [
        ("POST", "ftp://example.org/x", "Invalid or not supported source scheme"),
        ("POST", "file:///nowhere/at/all", "Application manifest is not reachable"),
        ("PUT", "", "Application is not installed"),
    ],
)
def test_what_goes_wrong_is_an_event_of_the_stream(cli: Client, slug: str, method: str, source: str, why: str):
    answer = cli.api(method, f"/apps/{slug}?Source={quote(source, safe='')}", **STREAM)
    assert (answer.status, events(answer)) == (200, [("error", why)])


def test_what_is_on_its_way_has_the_manifest_s_version_and_no_times(cli: Client, slug: str, app: Path):
    (_, first), (_, last) = events(install(cli, slug, app.as_uri(), **STREAM))
    began, done = first["data"], last["data"]
    assert (began["meta"], began["attributes"]["version"], began["links"]["icon"]) == ({}, "1.0.0", f"/apps/{slug}/icon/1.0.0")
    assert {began["attributes"][name] for name in ("created_at", "updated_at")} == {"0001-01-01T00:00:00Z"}
    assert done["attributes"]["version"].startswith("1.0.0-")
    (_, again), _ = events(cli.api("PUT", f"/apps/{slug}", **STREAM))
    assert (again["data"]["attributes"]["state"], again["data"]["meta"]) == ("upgrading", done["meta"])
    assert again["data"]["attributes"]["created_at"] == done["attributes"]["created_at"]


def test_without_an_event_stream_the_answer_comes_when_the_manifest_is_read(cli: Client, slug: str, app: Path):
    answer = install(cli, slug, app.as_uri())
    assert (answer.status, answer.json["data"]["id"], answer.json["data"]["attributes"]["state"]) == (
        202,
        f"io.cozy.apps/{slug}",
        "installing",
    )
    eventually(lambda: cli.api("GET", f"/apps/{slug}").status == 200)
    assert install(cli, slug, app.as_uri()).status == 409
    removed = cli.api("DELETE", f"/apps/{slug}")
    assert (removed.status, removed.json["data"]["attributes"]["slug"]) == (200, slug)
    assert cli.api("GET", f"/apps/{slug}").status == 404
    assert cli.api("DELETE", f"/apps/{slug}").status == 404
    assert cli.api("PUT", f"/apps/{slug}").status == 404


def test_only_the_store_and_the_operator_install_and_the_store_from_registries_only(server: Served, cli: Client, slug: str, app: Path):
    def app_token(name: str) -> Client:
        client = copy(cli)
        client.token = server.cli("token", server.domain, "--app", name, "io.cozy.apps", "io.cozy.konnectors").split()[-1]
        return client

    store, other = app_token("store"), app_token("drive")
    for source in (app.as_uri(), "http://127.0.0.1/x.tgz", "git+https://example.org/x", "npm:x", "hg+https://example.org/x"):
        assert install(store, slug, source).status == 403
        assert install(other, slug, source).status == 403
    assert install(other, slug, f"registry://{slug}").status == 403
    assert install(store, slug, f"registry://{slug}").status == 404
    assert store.api("PUT", f"/apps/{slug}").status == 403
    assert other.api("DELETE", f"/apps/{slug}").status == 403


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("foo://bar", 422),
        ("git+ssh://git@example.org/x", 422),
        ("file://example.org/x", 422),
        ("file:///nowhere/at/all", 404),
        ("http://127.0.0.1:1/x.tgz", 502),
        ("http://10.0.0.1/x.tgz", 403),
        ("http://[::1]/x.tgz", 403),
        ("git+http://10.0.0.1/x", 403),
        ("git+http://user@127.0.0.1/x", 400),
        ("registry://nobody", 404),
        ("registry://nobody/nochannel", 422),
        ("npm:../../x", 422),
        ("npm:left-pad", 502),
    ],
)
def test_a_source_that_leads_nowhere_leaves_nothing(cli: Client, slug: str, source: str, status: int):
    answer = install(cli, slug, source)
    assert answer.status == status, answer.body
    assert cli.api("GET", f"/apps/{slug}").status == 404
    assert events(install(cli, slug, source, **STREAM))[-1][0] == "error" if status != 422 or "nochannel" in source else True


@pytest.mark.parametrize("slug", ["UPPER", "a.b", "a_b", "..", "a" * 64])
def test_a_slug_that_cannot_be_one_is_refused(cli: Client, slug: str, app: Path):
    assert install(cli, slug, app.as_uri()).status == 422


def test_a_failed_update_leaves_the_old_version(cli: Client, slug: str, app: Path):
    before = ready(cli, slug, app.as_uri())
    (app / "evil").symlink_to("/etc/passwd")
    told = events(cli.api("PUT", f"/apps/{slug}", **STREAM))
    assert [name for name, _ in told][-1] == "error"
    assert "link" in told[-1][1]
    assert cli.api("GET", f"/apps/{slug}").json["data"] == before
    assert cli.ask("GET", "/public/page.html", Host=f"{slug}.{cli.domain}").body == b"<p>page</p>"


def test_new_permissions_wait_for_consent_and_what_the_user_gave_stays(cli: Client, slug: str, tmp_path: Path):
    source = apps.folder(tmp_path / "app").as_uri()
    ready(cli, slug, source)
    given = {"extra": {"type": "io.cozy.contacts", "verbs": ["GET"]}}
    patched = cli.api("PATCH", f"/permissions/apps/{slug}", {"data": {"attributes": {"permissions": given}}})
    assert patched.status == 200, patched.body
    apps.folder(tmp_path / "app", version="2.0.0", permissions={"files": {"type": "io.cozy.files"}, "more": {"type": "io.cozy.contacts"}})
    waiting = cli.api("PUT", f"/apps/{slug}").json["data"]["attributes"]
    assert waiting["version"].startswith("1.0.0-")
    assert waiting["available_version"].startswith("2.0.0-")
    told = events(cli.api("PUT", f"/apps/{slug}?PermissionsAcked=true", **STREAM))
    after = told[-1][1]["data"]["attributes"]
    assert (after["version"][:6], "available_version" in after) == ("2.0.0-", False)
    rules = cli.api("POST", "/data/io.cozy.permissions/_find", {"selector": {"source_id": f"io.cozy.apps/{slug}"}})
    assert rules.status == 403
    again = cli.api("PATCH", f"/permissions/apps/{slug}", {"data": {"attributes": {"permissions": given}}})
    assert set(again.json["data"]["attributes"]["permissions"]) == {"files", "more", "extra"}


def test_new_terms_wait_for_consent(cli: Client, slug: str, tmp_path: Path):
    source = apps.folder(tmp_path / "app", terms={"url": "https://x", "version": "1"}).as_uri()
    ready(cli, slug, source)
    apps.folder(tmp_path / "app", version="1.1.0", terms={"url": "https://x", "version": "2"})
    shown = cli.api("PUT", f"/apps/{slug}").json["data"]["attributes"]
    assert (shown["terms"]["version"], "available_version" in shown) == ("1", True)


def test_a_tarball_is_installed_from_the_network_and_compared_with_its_hash(cli: Client, slug: str):
    packed = apps.archive(prefix="tiny-1.0.0/")
    with Canary(lambda asked: (200, {"Content-Type": "application/octet-stream"}, packed)) as web:
        wrong = install(cli, slug, f"{web.base}/a.tgz%23{'0' * 64}")
        assert (wrong.status, wrong.json["errors"][0]["detail"]) == (502, "Application checksum does not match")
        assert cli.api("GET", f"/apps/{slug}").status == 404
        shown = ready(cli, slug, f"{web.base}/a.tgz%23{hashlib.sha256(packed).hexdigest()}")["attributes"]
    assert (shown["version"], shown["checksum"]) == ("1.0.0", hashlib.sha256(packed).hexdigest())
    assert cli.ask("GET", "/public/page.html", Host=f"{slug}.{cli.domain}").status == 200
    got = cli.api("GET", f"/apps/{slug}/download")
    with tarfile.open(fileobj=io.BytesIO(got.body)) as tar:
        assert set(tar.getnames()) == set(apps.files())
    assert cli.api("GET", f"/apps/{slug}/download/9.9.9").status == 412


@pytest.mark.parametrize(
    "reply",
    [
        (404, {}, b""),
        (500, {}, b""),
        (200, {}, b"nonsense"),
        (302, {"Location": "http://10.0.0.1/"}, b""),
        (200, {"Content-Length": "999999999"}, b""),
    ],
)
def test_a_server_that_misbehaves_installs_nothing(cli: Client, slug: str, reply: Any):
    with Canary(lambda asked: reply) as web:
        answer = install(cli, slug, f"{web.base}/a.tgz")
    assert answer.status in (400, 403, 404, 413, 502)
    assert cli.api("GET", f"/apps/{slug}").status == 404


def test_fifty_installs_at_once_hold_no_thread(server: Served, cli: Client):
    """Each is told `200` before any has what it fetches; how long `/status` takes meanwhile is in benchmarks/apps.py."""
    release = threading.Event()
    packed = apps.archive()

    def slowly(_: Asked) -> tuple[int, dict[str, str], bytes]:
        release.wait(30)
        return 200, {}, packed

    with Canary(slowly) as web, ExitStack() as opened:
        streams = [opened.enter_context(stream(cli, f"many-{number}", f"{web.base}/a.tgz")) for number in range(50)]
        answers = [one.getresponse() for one in streams]
        assert {answer.status for answer in answers} == {200}
        assert cli.ask("GET", "/status").status == 200
        assert cli.api("GET", "/apps/").json["meta"]["count"] < 50
        release.set()
        told = [answer.read() for answer in answers]
    assert all(b": still working\r\n" in one for one in told)
    assert [events_of(one)[-1][1]["data"]["attributes"]["state"] for one in told] == ["ready"] * 50
    for number in range(50):
        assert cli.api("DELETE", f"/apps/many-{number}").status == 200


def test_one_slug_is_installed_once_however_many_ask(cli: Client, slug: str, app: Path):
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(install(cli, slug, app.as_uri(), **STREAM))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(events(answer)[-1][0] for answer in answers) == ["error"] * 7 + ["state"]


def test_an_app_comes_from_a_branch_a_tag_or_a_commit_of_git(cli: Client, slug: str, tmp_path: Path):
    repository = apps.folder(tmp_path / "repo", name="One")

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-b", "main")
    git("add", "-A")
    git("commit", "-m", "one")
    git("tag", "-a", "v1", "-m", "v1")
    first = git("rev-parse", "HEAD")
    apps.folder(repository, name="Two")
    git("commit", "-am", "two")
    git("checkout", "-b", "build")
    apps.folder(repository, name="Three")
    git("commit", "-am", "three")
    for number, (name, called) in enumerate({"": "Two", "build": "Three", "v1": "One", first: "One"}.items()):
        shown = ready(cli, f"{slug}-{number}", f"git+{repository.as_uri()}{'%23' + name if name else ''}")["attributes"]
        assert (shown["name"], shown["version"]) == (called, f"1.0.0-{shown['version'][6:]}")
        assert len(shown["version"]) == len("1.0.0-") + 40
    assert install(cli, slug, f"git+{repository.as_uri()}%23nothing").status == 404
    (repository / "link").symlink_to("/etc/passwd")
    git("add", "-A")
    git("commit", "-m", "four")
    assert "no plain file" in events(install(cli, slug, f"git+{repository.as_uri()}%23build", **STREAM))[-1][1]
    assert cli.api("GET", f"/apps/{slug}").status == 404


def test_konnectors_are_listed_apart(cli: Client, slug: str, tmp_path: Path):
    text = json.dumps({"name": "K", "type": "konnector", "language": "node", "version": "1.0.0", "icon": "icon.svg"}).encode()
    source = apps.folder(tmp_path / "konnector", {"manifest.konnector": text, "index.js": b"", "icon.svg": b"<svg/>"}).as_uri()
    told = events(cli.api("POST", f"/konnectors/{slug}?Source={source}&Parameters=%7B%22a%22%3A1%7D", **STREAM))
    shown = told[-1][1]["data"]
    assert (shown["type"], shown["attributes"]["parameters"]) == ("io.cozy.konnectors", {"a": 1})
    assert shown["links"] == {
        "self": f"/konnectors/{slug}",
        "icon": f"/konnectors/{slug}/icon/{shown['attributes']['version']}",
        "permissions": f"/permissions/konnectors/{slug}",
    }
    assert install(cli, slug, source).status == 400
    assert cli.ask("GET", "/", Host=f"{slug}.{cli.domain}").status == 404
    assert [one["id"] for one in cli.api("GET", "/konnectors/").json["data"]] == [f"io.cozy.konnectors/{slug}"]


def test_lists_are_asked_for_with_a_slash_at_the_end(cli: Client):
    assert [cli.api("GET", path).status for path in ("/apps/", "/konnectors/", "/apps", "/konnectors")] == [200, 200, 404, 404]


def test_lists_come_in_pages(cli: Client, slug: str, app: Path):
    for letter in "abc":
        ready(cli, f"page-{letter}", app.as_uri())
    assert all(cli.api("GET", f"/apps/?limit={limit}").json["meta"]["count"] >= 2 for limit in ("x", "-1", "0", "9999999999"))
    first = cli.api("GET", "/apps/?limit=1&start_key=io.cozy.apps/page-a").json
    assert ([one["id"] for one in first["data"]], first["meta"]) == (["io.cozy.apps/page-a"], {"count": 1})
    assert first["links"]["next"].endswith("/apps/?limit=1&start_key=io.cozy.apps%2Fpage-b")


def test_an_icon_is_for_who_may_read_the_app(server: Served, cli: Client, slug: str, app: Path):
    ready(cli, slug, app.as_uri())
    shown = cli.api("GET", f"/apps/{slug}/icon")
    assert (shown.status, shown.body, shown.headers["Content-Type"]) == (200, apps.files()["icon.svg"], "image/svg+xml")
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert cli.ask("GET", f"/apps/{slug}/icon").status == 401
    assert "immutable" in cli.api("GET", f"/apps/{slug}/icon/1.0.0").headers["Cache-Control"]
    assert cli.api("GET", f"/apps/{slug}/icon", If_None_Match=shown.etag).status == 304
    assert cli.api("GET", "/apps/nothing/icon").status == 404
    stranger = copy(cli)
    stranger.token = server.token("io.cozy.contacts")
    assert stranger.api("GET", f"/apps/{slug}").status == 403
    assert stranger.api("GET", "/apps/nothing").status == 403
    assert stranger.api("GET", f"/apps/{slug}/icon").status == 401


def test_the_command_installs_updates_and_removes(server: Served, slug: str, app: Path):
    cozyd = Command(server.folder)
    assert f"{slug} installed 1.0.0-" in cozyd("apps", "install", server.domain, slug, str(app)).out
    assert slug in cozyd("apps", "list", server.domain).out
    assert "is at 1.0.0-" in cozyd("apps", "update", server.domain, slug).out
    assert "is removed" in cozyd("apps", "remove", server.domain, slug).out
    assert slug not in cozyd("apps", "list", server.domain, "--json").out
    refused = cozyd("apps", "remove", server.domain, slug)
    assert (refused.status, refused.err) == (1, "Error: Application is not installed\n")
