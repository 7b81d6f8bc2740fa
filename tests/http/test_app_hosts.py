"""Hosts of apps: pages, files, headers, and how a session comes there."""

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import brotli
import pytest

from tests.support import apps
from tests.support.client import Answer, Client
from tests.support.command import Command
from tests.support.serving import PASSPHRASE, Served


class Browser:
    """A visitor with cookies of each host apart, as browsers keep them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cookies: dict[str, dict[str, str]] = {}

    def get(self, host: str, path: str, **headers: str) -> Answer:
        jar = self.cookies.setdefault(host, {})
        given = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())} if jar else {}
        return self._kept(host, self._client.ask("GET", path, Host=host, **given | headers))

    def _kept(self, host: str, answer: Answer) -> Answer:
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            assert "Domain" not in line, "cookies are of one host alone"
            assert "HttpOnly" in line
            self.cookies[host][name] = value
        return answer

    def follow(self, answer: Answer) -> tuple[str, str]:
        """Host and path with query of a redirect."""
        parts = urlsplit(answer.headers["Location"])
        return parts.netloc, parts.path + (f"?{parts.query}" if parts.query else "")

    def log_in(self, host: str, target: str) -> Answer:
        """By the form, with the passphrase in clear."""
        page = self.get(host, f"/auth/login?redirect={target}")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.body.decode())
        assert token is not None, page.body
        form = f"csrf_token={token[1]}&passphrase={PASSPHRASE}&clear=1&redirect={target}"
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies[host].items())
        headers = {"Cookie": jar, "Content_Type": "application/x-www-form-urlencoded"}
        return self._kept(host, self._client.ask("POST", "/auth/login", form, Host=host, **headers))


@pytest.fixture(scope="module", params=["nested", "flat"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp(request.param)
    served = Served(folder / "data", environ={"COZYD_SERVER_SUBDOMAINS": request.param}).add_instances()
    apps.folder(folder / "tiny")
    with served:
        for slug in ("tiny", "other"):
            Command(served.folder)("apps", "install", served.domain, slug, str(folder / "tiny"))
        yield served


@pytest.fixture(scope="module")
def client(server: Served) -> Client:
    return Client(server)


@pytest.fixture(scope="module")
def is_flat(server: Served) -> bool:
    return server.environ["COZYD_SERVER_SUBDOMAINS"] == "flat"


@pytest.fixture(scope="module")
def hosts(server: Served, is_flat: bool) -> dict[str, str]:
    """Slug -> host."""
    form = "alice-{}.localhost:{}" if is_flat else "{}.alice.localhost:{}"
    return {slug: form.format(slug, server.port) for slug in ("tiny", "other", "nothing")}


@pytest.fixture(scope="module")
def browser(client: Client, server: Served, hosts: dict[str, str]) -> Browser:
    """Logged in, and let in on the host of `tiny`."""
    visitor = Browser(client)
    refused = visitor.get(hosts["tiny"], "/?a=b")
    assert refused.status == 302
    host, path = visitor.follow(refused)
    assert (host, path.partition("?")[0]) == (server.domain, "/auth/login")
    target = parse_qs(path.partition("?")[2])["redirect"][0]
    done = visitor.log_in(host, target.replace("?", "%3F").replace("=", "%3D"))
    assert done.status == 303
    host, path = visitor.follow(done)
    assert host == hosts["tiny"]
    let_in = visitor.get(host, path)
    assert let_in.status == 303
    assert visitor.follow(let_in) == (hosts["tiny"], "/?a=b")
    return visitor


def data_of(answer: Answer) -> Any:
    found = re.search(r'data-cozy="([^"]*)"', answer.body.decode())
    assert found is not None
    return json.loads(html.unescape(found[1]))


def test_the_index_has_what_the_app_needs(browser: Browser, hosts: dict[str, str], server: Served, is_flat: bool):
    page = browser.get(hosts["tiny"], "/")
    assert (page.status, page.headers["Cache-Control"]) == (200, "private, no-store, must-revalidate")
    data = data_of(page)
    assert (data["domain"], data["subdomain"], data["isLoggedIn"], data["locale"]) == (
        server.domain,
        "flat" if is_flat else "nested",
        True,
        "en",
    )
    assert data["app"] == {"editor": "Us", "name": "Tiny", "prefix": "", "slug": "tiny", "icon": "icon.svg"}
    assert {"file_versioning", "flat_subdomains", "can_auth_with_password"} <= set(data["capabilities"])
    for link in re.findall(r'href="//[^/]+(/assets/[^"]+)"', page.body.decode()):
        assert browser.get(server.domain, link).status == 200


def test_a_page_knows_whether_its_owner_may_be_counted(browser: Browser, hosts: dict[str, str], server: Served):
    cli = Client(server, scope=("io.cozy.settings",))
    assert data_of(browser.get(hosts["tiny"], "/"))["tracking"] is False
    shown = cli.api("GET", "/settings/instance").json["data"]
    shown["attributes"]["tracking"] = "true"
    assert cli.api("PUT", "/settings/instance", {"data": shown}).status == 200
    assert data_of(browser.get(hosts["tiny"], "/"))["tracking"] is True


def test_the_token_works_with_the_cookie_of_the_main_host_and_no_other(
    browser: Browser, client: Client, hosts: dict[str, str], server: Served
):
    token = data_of(browser.get(hosts["tiny"], "/"))["token"]
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["sub"], claims["aud"], claims["iss"]) == ("tiny", ["app"], server.domain)
    cookies = browser.cookies
    assert (
        client.ask("GET", "/files/io.cozy.files.root-dir", Cookie=f"cozysessid={cookies[server.domain]['cozysessid']}", **headers).status
        == 200
    )
    assert client.ask("GET", "/files/io.cozy.files.root-dir", **headers).status == 400
    assert (
        client.ask("GET", "/files/io.cozy.files.root-dir", Cookie=f"cozysessid={cookies[hosts['tiny']]['cozysessid']}", **headers).status
        == 400
    )
    assert (
        client.ask("GET", "/data/io.cozy.contacts/", Cookie=f"cozysessid={cookies[server.domain]['cozysessid']}", **headers).status == 403
    )


def test_the_cookie_of_an_app_opens_neither_the_main_host_nor_another_app(
    browser: Browser, client: Client, hosts: dict[str, str], server: Served
):
    own = browser.cookies[hosts["tiny"]]["cozysessid"]
    assert own != browser.cookies[server.domain]["cozysessid"]
    assert client.ask("GET", "/", Host=hosts["other"], Cookie=f"cozysessid={own}").status == 302
    assert client.ask("GET", "/plain.css", Host=hosts["other"], Cookie=f"cozysessid={own}").status == 401
    assert client.ask("GET", "/sync/", Cookie=f"cozysessid={own}", Accept="application/json").status == 401
    main = browser.cookies[server.domain]["cozysessid"]
    assert client.ask("GET", "/plain.css", Host=hosts["tiny"], Cookie=f"cozysessid={main}").status == 401


def test_a_code_is_good_once_and_for_its_host_alone(browser: Browser, client: Client, hosts: dict[str, str], server: Served):
    there = browser.get(server.domain, f"/auth/login?redirect=http%3A%2F%2F{hosts['other']}%2F")
    host, path = browser.follow(there)
    assert host == hosts["other"]
    wrong = client.ask("GET", path, Host=hosts["tiny"])
    assert (wrong.status, wrong.headers["Set-Cookie"]) == (303, None)
    right = client.ask("GET", path, Host=hosts["other"])
    assert (right.status, right.headers["Set-Cookie"] is not None) == (303, True)
    assert client.ask("GET", path, Host=hosts["other"]).headers["Set-Cookie"] is None


def test_a_code_from_an_application_opens_the_main_host_and_the_app(server: Served, client: Client, hosts: dict[str, str]):
    derived = client.ask("POST", "/auth/session_code", json.dumps({"passphrase": "x"}), Content_Type="application/json")
    assert derived.status in (401, 403)
    visitor = Browser(client)
    gone = visitor.get(hosts["tiny"], "/x?session_code=abc&other=1")
    host, path = visitor.follow(gone)
    assert (gone.status, host) == (303, server.domain)
    query = parse_qs(path.partition("?")[2])
    assert (query["session_code"], urlsplit(query["redirect"][0]).query) == (["abc"], "")
    assert visitor.get(host, path).status == 200  # the form: nobody gave this code


def test_files_are_for_who_is_logged_in_public_ones_for_all(browser: Browser, client: Client, hosts: dict[str, str]):
    host = hosts["tiny"]
    assert browser.get(host, "/plain.css").body == apps.files()["plain.css"]
    assert client.ask("GET", "/plain.css", Host=host).status == 401
    assert client.ask("GET", "/public/page.html", Host=host).body == b"<p>page</p>"
    assert client.ask("GET", "/public", Host=host).body == b'<p data-token="">public</p>'
    assert client.ask("GET", "/public?sharecode=abc.", Host=host).body == b'<p data-token="abc">public</p>'
    assert b'data-token=""' not in browser.get(host, "/public").body


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/data",
        "/public/nothing.js",
        "/public/../index.html",
        "/%2e%2e/secret",
        "/public/%2e%2e%2findex.html",
        "/manifest.webapp/x",
        "/..%2f..%2fetc/passwd",
        "/a%00b",
    ],
)
def test_what_is_not_there_is_404(browser: Browser, hosts: dict[str, str], path: str):
    assert browser.get(hosts["tiny"], path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/status",
        "/version",
        "/data/_all_doctypes",
        "/auth/login",
        "/apps/",
        "/settings/instance",
        "/assets/styles/page.css",
        "/sync/dav/",
        "/.well-known/caldav",
        "/realtime/",
    ],
)
def test_no_route_of_the_api_is_on_an_app_host(browser: Browser, hosts: dict[str, str], path: str):
    answer = browser.get(hosts["tiny"], path, Accept="application/json")
    assert (answer.status, answer.body) == (404, b"Asset not found")


def test_no_file_of_an_app_is_on_the_main_host(client: Client, server: Served):
    for path in ("/app.0123456789abcdef.js", "/plain.css", "/public/page.html", "/tiny/index.html"):
        assert client.ask("GET", path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_apps_are_only_read(client: Client, hosts: dict[str, str], method: str):
    answer = client.ask(method, "/", Host=hosts["tiny"], Origin="https://evil.example")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (405, None)


def test_an_app_that_is_not_installed_says_so(client: Client, hosts: dict[str, str], server: Served):
    answer = client.ask("GET", "/", Host=hosts["nothing"], Accept="text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"not installed" in answer.body
    assert client.ask("GET", "/", Host=f"a.b.{server.domain}").status == 404
    assert client.ask("GET", "/", Host=f"tiny.nobody.localhost:{server.port}").status == 404


def test_robots_are_sent_away(client: Client, hosts: dict[str, str]):
    assert b"Disallow: /" in client.ask("GET", "/robots.txt", Host=hosts["tiny"]).body


def test_packed_files_are_sent_to_who_takes_them(browser: Browser, hosts: dict[str, str]):
    host, name = hosts["tiny"], "/app.0123456789abcdef.js"
    plain = browser.get(host, name)
    packed = browser.get(host, name, Accept_Encoding="gzip, deflate, br")
    zipped = browser.get(host, name, Accept_Encoding="gzip")
    assert (packed.headers["Content-Encoding"], brotli.decompress(packed.body)) == ("br", plain.body)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert browser.get(host, name, Accept_Encoding="br;q=0, gzip;q=0").body == plain.body
    assert len({plain.etag, packed.etag, zipped.etag}) == 3
    assert {answer.headers["Vary"] for answer in (plain, packed, zipped)} == {"Accept-Encoding"}
    assert plain.headers["Cache-Control"] == "max-age=31536000, immutable"
    assert "Content-Encoding" not in browser.get(host, "/data/numbers.bin", Accept_Encoding="br").headers


def test_files_have_etags_and_ranges(browser: Browser, hosts: dict[str, str]):
    host = hosts["tiny"]
    whole = browser.get(host, "/data/numbers.bin")
    assert whole.headers["Cache-Control"] == "private, no-cache"
    assert browser.get(host, "/data/numbers.bin", If_None_Match=whole.etag).status == 304
    part = browser.get(host, "/data/numbers.bin", Range="bytes=10-19")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, bytes(range(10, 20)), "bytes 10-19/256")
    assert browser.get(host, "/data/numbers.bin", Range="bytes=-6", If_Range=whole.etag).body == bytes(range(250, 256))
    assert browser.get(host, "/data/numbers.bin", Range="bytes=0-1", If_Range='"other"').status == 200
    for everything in ("bytes=0-", "bytes=0-999", "bytes=-999"):
        found = browser.get(host, "/data/numbers.bin", Range=everything)
        assert (found.status, found.body, found.headers["Content-Range"]) == (206, whole.body, "bytes 0-255/256")
    beyond = browser.get(host, "/data/numbers.bin", Range="bytes=256-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */256")


def test_what_is_asked_for_with_the_hash_of_its_build_never_changes(browser: Browser, hosts: dict[str, str]):
    cached = {
        query: browser.get(hosts["tiny"], f"/plain.css{query}").headers["Cache-Control"] for query in ("?15a78b16df16457a", "?v=1", "")
    }
    assert cached == {"?15a78b16df16457a": "max-age=31536000, immutable", "?v=1": "private, no-cache", "": "private, no-cache"}


def test_an_update_changes_etags(server: Served, browser: Browser, hosts: dict[str, str], tmp_path: Path):
    cozyd = Command(server.folder)
    host = hosts["tiny"]
    before = browser.get(host, "/plain.css").etag
    content = apps.files() | {"plain.css": b"body { margin: 1px }"}
    cozyd("apps", "update", server.domain, "tiny", str(apps.folder(tmp_path / "two", content)))
    after = browser.get(host, "/plain.css", If_None_Match=before)
    assert (after.status, after.body) == (200, b"body { margin: 1px }")
    cozyd("apps", "update", server.domain, "tiny", str(apps.folder(tmp_path / "one")))
    assert browser.get(host, "/plain.css").etag == before


def test_pages_are_isolated(browser: Browser, hosts: dict[str, str], server: Served, is_flat: bool):
    headers = browser.get(hosts["tiny"], "/").headers
    rules = dict(rule.strip().partition(" ")[::2] for rule in headers["Content-Security-Policy"].strip(";").split(";"))
    own = f"http://{server.domain}"
    assert rules["default-src"] == f"'self' {own} ws://{server.domain}"
    assert "'unsafe-inline'" not in rules["script-src"]
    assert (rules["object-src"], rules["frame-ancestors"], rules["base-uri"]) == ("'none'", "'self'", "'self'")
    assert f"http://*.{'localhost:' + str(server.port) if is_flat else server.domain}" in rules["frame-src"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_logging_out_ends_the_app_too(client: Client, hosts: dict[str, str], server: Served):
    visitor = Browser(client)
    host, path = visitor.follow(visitor.log_in(server.domain, f"http%3A%2F%2F{hosts['other']}%2F"))
    visitor.get(host, path)
    page = visitor.get(hosts["other"], "/")
    assert page.status == 200
    token = data_of(page)["token"]
    cookie = f"cozysessid={visitor.cookies[server.domain]['cozysessid']}"
    assert client.ask("DELETE", "/auth/login", Authorization=f"Bearer {token}", Cookie=cookie).status == 204
    assert visitor.get(hosts["other"], "/").status == 302
    assert visitor.get(hosts["other"], "/plain.css").status == 401
