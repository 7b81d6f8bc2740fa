"""Where apps come from, beside real counterparts: git's own HTTP server, Mercurial's, a registry of npm, archives of the web."""

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import needs
from tests.http.test_apps import STREAM, events
from tests.support import apps
from tests.support.canary import Asked, Canary
from tests.support.client import Client
from tests.support.serving import Served, eventually, free_port


class Npm:
    """A registry of npm with one package, plain and in a scope."""

    def __init__(self) -> None:
        self.tarballs = {
            version: apps.archive(prefix="package/", name=f"Npm {version}", version=version)
            for version in ("1.0.0", "1.2.0", "2.0.0", "2.1.0-beta.1")
        }
        self.lies = False

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        base, path = f"http://{asked.headers['host']}", asked.path.lower().replace("%2f", "/")
        if path in ("/tiny", "/@us/tiny"):
            versions = {version: self._described(version, f"{base}/t/{version}.tgz") for version in self.tarballs}
            tags = {"latest": "2.0.0", "beta": "2.1.0-beta.1", "old": "1.0.0"}
            return 200, {"Content-Type": "application/json"}, json.dumps({"dist-tags": tags, "versions": versions}).encode()
        version = path.removeprefix("/t/").removesuffix(".tgz")
        return (200, {}, self.tarballs[version]) if version in self.tarballs else (404, {}, b"{}")

    def _described(self, version: str, tarball: str) -> dict[str, Any]:
        digest = hashlib.sha512(b"other" if self.lies else self.tarballs[version]).digest()
        return {"version": version, "dist": {"tarball": tarball, "integrity": f"sha512-{base64.b64encode(digest).decode()}"}}


@pytest.fixture(scope="module")
def npm() -> Iterator[tuple[Canary, Npm]]:
    reply = Npm()
    with Canary(reply) as canary:
        yield canary, reply


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, npm: tuple[Canary, Npm]) -> Iterator[Served]:
    environ = {"COZYD_OUTBOUND_ALLOW": "127.0.0.1", "COZYD_APPS_NPM": npm[0].base}
    with Served(tmp_path_factory.mktemp("sources") / "data", environ=environ).add_alice() as running:
        yield running


@pytest.fixture(scope="module")
def cli(server: Served) -> Client:
    return Client(server, scope=("io.cozy.apps",))


def told(client: Client, slug: str, source: str) -> tuple[str, Any]:
    """The last thing that an install says; the app is removed again."""
    name, data = events(client.api("POST", f"/apps/{slug}?Source={quote(source, safe='')}", **STREAM))[-1]
    if name == "state":
        client.api("DELETE", f"/apps/{slug}")
        return name, data["data"]["attributes"]
    assert client.api("GET", f"/apps/{slug}").status == 404
    return name, data


def commits(folder: Path, run: Any) -> str:
    """Three versions of an app, called One, Two and Three, as a tag, the usual branch and the branch `build`; the first one's id."""
    repository = apps.folder(folder, name="One")
    first: str = run("first")
    apps.folder(repository, name="Two")
    run("second")
    apps.folder(repository, name="Three")
    run("third")
    return first


# -- git ------------------------------------------------------------------------------------------------------------------


class GitServer(BaseHTTPRequestHandler):
    """`git http-backend`, as a web server runs it (RFC 3875)."""

    top = Path()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        environ = os.environ | {
            "GIT_PROJECT_ROOT": str(self.top),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = subprocess.run(["git", "http-backend"], env=environ, input=body, capture_output=True, check=False).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(fields.pop("Status", "200").split(" ")[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[str]:
    needs("git")
    handler = type("Handler", (GitServer,), {"top": tmp_path})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{web.server_address[1]}"
        web.shutdown()


def test_git_over_http_gives_a_branch_a_tag_or_a_commit(cli: Client, git_server: str, tmp_path: Path):
    repository = tmp_path / "app.git"

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()

    def commit(name: str) -> str:
        if name == "first":
            git("init", "-b", "main")
        if name == "third":
            git("checkout", "-b", "build")
        git("add", "-A")
        git("commit", "-m", name)
        if name == "first":
            git("tag", "-a", "v1", "-m", "v1")
        return git("rev-parse", "HEAD")

    first = commits(repository, commit)
    for name, called in {"": "Two", "main": "Two", "build": "Three", "v1": "One", first: "One"}.items():
        shown = told(cli, "tiny", f"git+http://{git_server}/app.git/.git{'#' + name if name else ''}")[1]
        assert (name, shown["name"], len(shown["version"])) == (name, called, len("1.0.0-") + 40)
    for wrong in ("app.git/.git#nothing", f"app.git/.git#{'0' * 40}", "nowhere.git"):
        assert told(cli, "tiny", f"git+http://{git_server}/{wrong}")[0] == "error"


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- Mercurial ------------------------------------------------------------------------------------------------------------


def hg_commits(repository: Path) -> str:
    def hg(*arguments: str) -> str:
        return subprocess.run(["hg", *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()

    def commit(name: str) -> str:
        if name == "first":
            hg("init")
        if name == "third":
            hg("branch", "build")
        hg("commit", "--addremove", "-u", "x", "-m", name)
        if name == "first":
            hg("tag", "-u", "x", "v1")
        return hg("log", "-r", "0", "--template", "{node}")

    return commits(repository, commit)


def test_mercurial_gives_a_branch_a_tag_or_a_node(cli: Client, tmp_path: Path):
    needs("hg")
    first = hg_commits(tmp_path / "app")
    port = free_port()
    serving = subprocess.Popen(["hg", "serve", "-R", tmp_path / "app", "-a", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: is_open(port))
        for name, called in {"": "Two", "build": "Three", first: "One"}.items():
            shown = told(cli, "tiny", f"hg+http://127.0.0.1:{port}/{'#' + name if name else ''}")[1]
            assert (name, shown["name"], len(shown["version"])) == (name, called, len("1.0.0-") + 40)
    finally:
        serving.terminate()
        serving.wait()
    assert told(cli, "tiny", f"hg+{(tmp_path / 'app').as_uri()}#v1")[1]["name"] == "One"
    assert told(cli, "tiny", f"hg+{(tmp_path / 'app').as_uri()}#nothing")[0] == "error"


def test_mercurial_is_not_led_inwards(cli: Client):
    needs("hg")
    with Canary() as inside:

        def inwards(asked: Asked) -> tuple[int, dict[str, str], bytes]:
            return 302, {"Location": f"http://localhost:{inside.port}{asked.path}"}, b""

        with Canary(inwards) as web:
            assert told(cli, "tiny", f"hg+{web.base}/app") == ("error", "Application manifest is not reachable")
            assert web.asked
    assert inside.asked == []


def test_without_the_program_mercurial_says_so(tmp_path: Path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(shutil.which("python3") or "/usr/bin/python3")
    with Served(tmp_path / "data", environ={"PATH": str(programs)}).add_alice() as server:
        answer = Client(server, scope=("io.cozy.apps",)).api("POST", "/apps/tiny?Source=hg%2Bhttps%3A%2F%2Fexample.org%2Fapp")
    assert (answer.status, answer.json["errors"][0]["detail"][:38]) == (422, "Mercurial sources need the program hg,")


# -- npm ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("npm:tiny", "2.0.0"),
        ("npm://tiny", "2.0.0"),
        ("npm:@us/tiny@1.0.0", "1.0.0"),
        ("npm:tiny@^1.0.0", "1.2.0"),
        ("npm:tiny@beta", "2.1.0-beta.1"),
        ("npm:tiny@stable", "2.0.0"),
        ("npm:tiny@old", "1.0.0"),
    ],
)
def test_a_package_of_npm_comes_by_version_range_or_tag(cli: Client, source: str, version: str):
    shown = told(cli, "tiny", source)[1]
    assert (shown["version"], shown["name"], shown["source"]) == (version, f"Npm {version}", source)


@pytest.mark.parametrize("source", ["npm:tiny@9.9.9", "npm:tiny@nothing", "npm:nobody", "npm:../tiny", "npm:tiny@1 || 2", "npm:"])
def test_what_npm_does_not_have_is_refused(cli: Client, source: str):
    assert told(cli, "tiny", source)[0] == "error"


def test_a_package_of_npm_whose_bytes_are_others_is_refused(cli: Client, npm: tuple[Canary, Npm]):
    npm[1].lies = True
    try:
        assert told(cli, "tiny", "npm:tiny") == ("error", "Application checksum does not match")
    finally:
        npm[1].lies = False
