"""`/auth`, `/`, `/.well-known`: log in and out, forms of other sites, redirects, and who may call which route."""

import base64
import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol
from werkzeug.test import Client as WsgiClient

from blueprints import create_app
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts
from tests.support.client import Client
from tests.support.serving import PASSPHRASE, Served
from tests.support.stack import Clock, open_stack
from tests.support.visitor import Visitor, field

CLOSED_LIST = ["io.cozy.sessions", "io.cozy.devices", "io.cozy.permissions", "io.cozy.oauth.clients"]


@pytest.fixture
def visitor(served: Served) -> Visitor:
    return Visitor(served)


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, scope=("io.cozy.contacts", "io.cozy.settings", "io.cozy.files"))


def here(served: Served, path: str) -> str:
    return f"http://{served.domain}{path}"


def home(served: Served) -> str:
    return f"http://home.{served.domain}/"


def without_code(address: str) -> str:
    """An address without the code that carries a session to the host of an app."""
    return re.sub(r"[?]session_code=app-[\w-]{32}", "", address)


# -- log in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clear", [False, True], ids=["derived", "in clear"])
def test_she_logs_in_and_lands_at_home(served: Served, visitor: Visitor, clear: bool):
    answer = visitor.submit_login(clear=clear)
    assert (answer.status, without_code(answer.headers["Location"])) == (303, home(served))
    assert visitor.get("/").headers["Location"] == home(served)
    assert visitor.get("/sync/").status == 200
    assert without_code(visitor.get("/auth/login").headers["Location"]) == home(served)
    served.cli("apps", "remove", served.domain, "home")
    assert visitor.get("/").headers["Location"] == here(served, "/sync/")
    served.cli("apps", "install", served.domain, "home")


def test_a_client_gets_json_when_it_asks_for_exactly_that(served: Served, visitor: Visitor):
    answer = visitor.submit_login(Accept="application/json")
    assert (answer.status, without_code(answer.json["redirect"])) == (200, home(served))
    wrong = Visitor(served).submit_login("not mine", Accept="application/json")
    assert (wrong.status, wrong.json) == (401, {"error": "The credentials you entered are incorrect, please try again."})
    french = Visitor(served).ask("GET", "/auth/login", None, Accept_Language="fr-FR,fr;q=0.9,en;q=0.5")
    assert "Mot de passe" in french.body.decode()


@pytest.mark.parametrize("passphrase", ["not mine", " " + PASSPHRASE, PASSPHRASE.upper(), "é" * 1000])
def test_a_wrong_passphrase_opens_nothing(fresh_visitor: Visitor, passphrase: str):
    for clear in (False, True):
        answer = fresh_visitor.submit_login(passphrase, clear=clear)
        assert (answer.status, "cozysessid" in fresh_visitor.cookies) == (401, False)
        assert b'role="alert"' in answer.body
        assert passphrase.encode() not in answer.body


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose attempts may be used up."""
    with Served(tmp_path_factory.mktemp("own") / "data").add_instances() as server:
        yield server


@pytest.fixture
def fresh_visitor(own: Served) -> Iterator[Visitor]:
    """A visitor whose address has all its attempts."""
    visitor = Visitor(own)
    yield visitor
    Visitor(own).submit_login()


def test_the_form_tells_clients_how_to_derive(visitor: Visitor):
    page = visitor.get("/auth/login").body.decode()
    assert 'id="login-form"' in page
    assert 'data-iterations="650000"' in page
    assert 'data-salt="me@alice.localhost"' in page
    for route in ("/bitwarden/api/accounts/prelogin", "/bitwarden/identity/accounts/prelogin"):
        found = visitor.post(route, {}).json
        assert (found["Kdf"], found["KdfIterations"], found["Salt"]) == (0, 650_000, "me@alice.localhost")
    assert visitor.get("/public/prelogin").json["KdfIterations"] == 650_000


def test_the_session_cookie_is_for_this_host_and_not_for_scripts(visitor: Visitor):
    answer = visitor.submit_login()
    (cookie,) = [line for line in answer.headers.get_all("Set-Cookie") or () if line.startswith("cozysessid=")]
    flags = {part.strip() for part in cookie.split(";")[1:]}
    assert flags == {"HttpOnly", "Path=/", "SameSite=Lax"}


def test_a_long_session_is_kept_when_the_browser_is_closed(visitor: Visitor):
    answer = visitor.submit_login(long_run_session="1")
    assert re.search(r"cozysessid=.*Max-Age=31536\d{4}", "\n".join(answer.headers.get_all("Set-Cookie") or ()))


def test_pages_may_load_nothing_from_elsewhere_and_are_not_kept(visitor: Visitor):
    for path in ("/auth/login", "/nothing/here"):
        headers = visitor.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert (headers["Cache-Control"], headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == (
            "no-store",
            "no-referrer",
            "nosniff",
        )


def test_an_instance_without_a_passphrase_says_so(own: Served):
    own.cli("instances", "add", f"carl.localhost:{own.port}")
    visitor = Visitor(own, f"carl.localhost:{own.port}")
    for path in ("/", "/auth/login"):
        assert b"no passphrase yet" in visitor.get(path).body
    assert visitor.get("/public/prelogin").status == 412
    token = "x" * 32
    visitor.cookies["_csrf"] = token
    assert visitor.post("/auth/login", {"passphrase": "", "csrf_token": token}).status == 401


def test_too_many_attempts_are_refused_before_anything_is_derived(tmp_path_factory: pytest.TempPathFactory):
    with Served(tmp_path_factory.mktemp("limit") / "data").add_instances() as served:
        visitor = Visitor(served)
        wrong = {"passphrase": "not mine", "csrf_token": visitor.csrf("/auth/login")}
        for _ in range(10):
            assert visitor.post("/auth/login", wrong).status == 401
        for clear in (False, True):
            refused = visitor.submit_login(clear=clear)
            assert (refused.status, refused.headers["Retry-After"], "cozysessid" in visitor.cookies) == (429, "300", False)
        assert visitor.submit_login(Accept="application/json").json["error"].startswith("Too many attempts")
        bob = Visitor(served, f"bob.localhost:{served.port}")
        assert b"Too many" not in bob.post("/auth/login", {"passphrase": "x", "csrf_token": bob.csrf("/auth/login")}).body


def test_behind_a_tls_proxy_addresses_and_cookies_are_of_https(tmp_path_factory: pytest.TempPathFactory):
    environ = {"COZYD_SERVER_SCHEME": "https", "COZYD_SERVER_TRUSTED_PROXY": "127.0.0.1"}
    with Served(tmp_path_factory.mktemp("tls") / "data", environ=environ).add_alice() as served:
        visitor = Visitor(served)
        by_proxy = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.1"}
        assert visitor.get("/", **by_proxy).headers["Location"] == f"https://{served.domain}/auth/login"
        page = visitor.get("/auth/login", **by_proxy)
        for path in ("/auth/login", "/status", "/data/io.cozy.contacts/x", "/files/x", "/sync/dav/", "/nothing", "/public/avatar"):
            headers = visitor.get(path, **by_proxy).headers
            assert headers.get_all("Strict-Transport-Security") == ["max-age=31536000; includeSubDomains"], path
            assert headers.get_all("X-Content-Type-Options") == ["nosniff"], path
        fields = {"passphrase": PASSPHRASE, "clear": "1", "csrf_token": field(page, "csrf_token")}
        answer = visitor.post("/auth/login", fields, **by_proxy)
        assert without_code(answer.headers["Location"]) == f"https://home.{served.domain}/"
        cookies = answer.headers.get_all("Set-Cookie") or []
        assert all("; Secure" in cookie for cookie in cookies)
        assert f"https://localhost:{served.port}/sync/dav/" in visitor.get("/sync/", **by_proxy).body.decode()


def test_an_address_that_is_not_the_proxy_cannot_say_who_it_is(tmp_path_factory: pytest.TempPathFactory):
    with Served(tmp_path_factory.mktemp("plain") / "data").add_alice() as served:
        visitor = Visitor(served)
        wrong = {"passphrase": "not mine", "csrf_token": visitor.csrf("/auth/login")}
        found = [visitor.post("/auth/login", wrong, X_Forwarded_For=f"192.0.2.{number}").status for number in range(11)]
        assert found == [401] * 10 + [429]
        assert visitor.get("/", X_Forwarded_Proto="https").headers["Location"].startswith("http://")


# -- forms of other sites ---------------------------------------------------------------------------------------------


def test_a_form_without_its_token_is_refused(visitor: Visitor):
    for path in ("/auth/login", "/sync/logout"):
        assert visitor.post(path, {"passphrase": "x"}).status == 400
        assert visitor.post(path, {"passphrase": "x", "csrf_token": "made up"}).status == 403
        assert Visitor(visitor.served).post(path, {"csrf_token": ""}).status == 400


def test_a_form_sent_by_another_site_is_refused_even_with_a_planted_cookie(served: Served):
    for site in ("cross-site", "same-site"):
        visitor = Visitor(served)
        visitor.cookies["_csrf"] = "planted"
        fields = {"passphrase": "x", "csrf_token": "planted"}
        assert visitor.post("/auth/login", fields, Sec_Fetch_Site=site).status == 403
    assert visitor.post("/auth/login", fields, Sec_Fetch_Site="same-origin").status == 401


def test_the_token_s_cookie_is_strict_and_only_for_its_forms(visitor: Visitor):
    cookie = visitor.get("/auth/login").headers["Set-Cookie"]
    assert {part.strip() for part in cookie.split(";")[1:]} >= {"HttpOnly", "Path=/auth", "SameSite=Strict", "Max-Age=3600"}


# -- redirects --------------------------------------------------------------------------------------------------------

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "/auth/login",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "http:evil.example",
    "http:/evil.example",
    "http:///evil.example",
    "http://evil.example",
    " http://evil.example",
    "ht\ttp://evil.example",
    "http://{host}@evil.example/",
    "http://me:pw@{host}/",
    "http://{host}\\@evil.example/",
    "http://evil.example\\.{host}/",
    "http://evil.example%2f.{host}/",
    "http://evil.example/.{host}",
    "http://evil.example?.{host}",
    "http://evil.example#.{host}",
    "http://{host}.evil.example/",
    "http://{host}:80/",
    "http://a.b.{host}/",
    "http://.{host}/",
    "http://-.{host}/",
    "http://bob.localhost:{port}/",
    "http://alicex.localhost:{port}/",
    "http://[::1",
    "http://℀.{host}/",
    "http://evil.example\uff0f.{host}/",
    "http://",
    "x" * 5000,
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_nobody_is_sent_elsewhere_after_logging_in(visitor: Visitor, owner: Visitor, target: str):
    wanted = target.format(host=visitor.host, port=visitor.served.port)
    for who in (visitor, owner):
        answer = who.get(f"/auth/login?redirect={quote(wanted, safe='')}")
        assert (answer.status, answer.headers["Location"]) == (400, None)
    token = visitor.csrf("/auth/login")
    refused = visitor.post("/auth/login", {"passphrase": "x", "csrf_token": token, "redirect": wanted}, Accept="application/json")
    assert (refused.status, "cozysessid" in visitor.cookies) == (400, False)


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served).log_in()


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("", "http://home.{host}/"),
        ("http://{host}/sync/?a=1#frag", "http://{host}/sync/?a=1#="),
        ("http://localhost:{port}/x", "http://localhost:{port}/x#="),
        ("http://drive.{host}/#/folder/1", "http://drive.{host}/#/folder/1"),
        ("http://alice-drive.localhost:{port}/x#/y", "http://alice-drive.localhost:{port}/x#/y"),
        ("http://drive.{host}/a\r\nSet-Cookie: x=y", "http://drive.{host}/aSet-Cookie:%20x=y"),
    ],
)
def test_she_is_sent_to_her_own_pages_and_apps(owner: Visitor, target: str, sent: str):
    names = {"host": owner.host, "port": owner.served.port}
    answer = owner.get(f"/auth/login?redirect={quote(target.format(**names), safe='')}")
    bare, codes = re.subn(r"[?]session_code=app-[\w-]{32}", "", answer.headers["Location"])
    assert (answer.status, bare, answer.headers["Set-Cookie"]) == (303, sent.format(**names), None)
    assert codes == ("drive" in sent or "home" in sent), "only the host of an app is told a code"


def test_another_person_s_host_is_not_one_of_her_apps(own: Served):
    own.cli("instances", "add", f"drive.alice.localhost:{own.port}")
    own.cli("instances", "add", f"alice-x.localhost:{own.port}")
    for host in (f"drive.alice.localhost:{own.port}", f"alice-x.localhost:{own.port}"):
        assert Visitor(own).get(f"/auth/login?redirect=http://{host}/").status == 400


# -- log out ----------------------------------------------------------------------------------------------------------


def test_she_logs_out_from_the_page(served: Served, visitor: Visitor):
    visitor.log_in()
    kept = dict(visitor.cookies)
    answer = visitor.post("/sync/logout", {"csrf_token": visitor.csrf("/sync/")})
    assert (answer.status, answer.headers["Location"], "cozysessid" in visitor.cookies) == (303, here(served, "/auth/login"), False)
    visitor.cookies = kept
    assert visitor.get("/sync/").status == 303


PREFLIGHTS = [
    ("/auth/login", "DELETE"),
    ("/auth/login/others", "DELETE"),
    ("/auth/registerFromWebApp", "POST"),
    ("/auth/share-by-link/password", "POST"),
]


@pytest.mark.parametrize(("path", "method"), PREFLIGHTS)
def test_a_browser_may_ask_beforehand_whether_an_app_may_call(visitor: Visitor, path: str, method: str):
    origin = f"http://home.{visitor.host}"
    asked = {"Origin": origin, "Access_Control_Request_Method": method, "Access_Control_Request_Headers": "authorization"}
    answer = visitor.ask("OPTIONS", path, None, **asked)
    told = [answer.headers[f"Access-Control-Allow-{name}"] for name in ("Origin", "Methods", "Headers", "Credentials")]
    assert (answer.status, told) == (204, [origin, method, "authorization", "true"])
    assert answer.headers["Access-Control-Max-Age"] == "43200"


@pytest.mark.parametrize("path", ["/auth/authorize", "/auth/access_token", "/auth/register", "/auth/passphrase_reset", "/auth/security/"])
def test_no_other_route_of_auth_answers_another_origin(visitor: Visitor, path: str):
    asked = {"Origin": f"http://home.{visitor.host}", "Access_Control_Request_Method": "POST"}
    for method in ("OPTIONS", "GET"):
        answer = visitor.ask(method, path, None, **asked)
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert visitor.ask("OPTIONS", path, None, **asked).status == 404


def test_an_app_logs_her_out_with_its_token_and_her_cookie(served: Served, visitor: Visitor):
    visitor.log_in()
    origin = {"Origin": f"http://drive.{served.domain}"}
    assert visitor.ask("DELETE", "/auth/login", None, **origin).status == 401
    script = served.token("io.cozy.files")
    assert visitor.ask("DELETE", "/auth/login", None, Authorization=f"Bearer {script}", **origin).status == 401
    assert visitor.get("/sync/").status == 200
    app = served.token("io.cozy.files", "--app", "drive")
    done = visitor.ask("DELETE", "/auth/login", None, Authorization=f"Bearer {app}", **origin)
    assert (done.status, done.headers["Access-Control-Allow-Origin"]) == (204, origin["Origin"])
    assert done.headers["Access-Control-Allow-Credentials"] == "true"
    assert visitor.get("/sync/").status == 303


# -- what credentials do not open ---------------------------------------------------------------------------------------


def test_the_session_cookie_alone_opens_no_data(owner: Visitor):
    for path in ("/data/io.cozy.contacts/_all_docs", "/files/io.cozy.files.root-dir", "/sync/files/", "/sync/dav/me/contacts/"):
        assert owner.get(path).status == 401


@pytest.mark.parametrize("path", ["/data/io.cozy.contacts/_all_docs", "/files/io.cozy.files.root-dir", "/data/_all_doctypes", "/sync/"])
def test_a_device_password_opens_no_json(alice: Client, path: str):
    basic = base64.b64encode(f"me:{alice.password}".encode()).decode()
    for shown in (f"Basic {basic}", f"Bearer {alice.password}"):
        answer = alice.ask("GET", path, None, Authorization=shown, Accept="application/json")
        assert answer.status in (400, 401), answer.body
    assert alice.ask("GET", f"{path}?bearer_token={alice.password}", None, Accept="application/json").status in (400, 401)


@pytest.mark.parametrize("doctype", CLOSED_LIST)
def test_credentials_are_no_documents_to_anybody(served: Served, alice: Client, doctype: str):
    token = served.token(doctype)
    for path in ("_all_docs", "_changes", "x", ""):
        answer = alice.ask("GET", f"/data/{doctype}/{path}", None, Authorization=f"Bearer {token}", Accept="application/json")
        assert answer.status == 403
    assert alice.ask("PUT", f"/data/{doctype}/x", b"{}", Authorization=f"Bearer {token}", Content_Type="application/json").status == 403


def test_a_revoked_password_ends_on_a_connection_that_is_open(fresh: Served):
    device = json.loads(fresh.cli("passwords", "add", fresh.domain, "phone", "--files", "--json"))
    basic = base64.b64encode(f"me:{device['password']}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=10)

    def status() -> int:
        connection.request("PROPFIND", "/sync/files/", headers={"Host": fresh.domain, "Authorization": f"Basic {basic}", "Depth": "0"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert status() == 207
    port = connection.sock.getsockname()[1]
    fresh.cli("passwords", "remove", fresh.domain, device["id"])
    assert status() == 401
    assert connection.sock.getsockname()[1] == port
    connection.close()


def test_a_device_password_opens_no_socket(alice: Client):
    with connect(f"ws://localhost:{alice.served.port}/realtime/", subprotocols=[Subprotocol("io.cozy.websocket")]) as socket:
        socket.send(json.dumps({"method": "AUTH", "payload": alice.password}))
        assert json.loads(socket.recv(timeout=5))["payload"]["status"] == "401 Unauthorized"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_the_operator_s_routes_are_not_on_the_network(alice: Client):
    for path in ("/instances", f"/instances/{alice.domain}", f"/instances/{alice.domain}/passwords"):
        assert alice.api("GET", path).status == 404
    assert (alice.served.folder / "admin.sock").stat().st_mode & 0o777 == 0o600


# -- every route ------------------------------------------------------------------------------------------------------

PUBLIC = {
    "GET /assets/<path:name>",
    "GET /assets/ext/<context>/<path:name>",
    "GET /favicon.ico",
    "GET /robots.txt",
    "GET /auth/login",
    "GET /auth/passphrase_reset",
    "POST /auth/hint",
    "POST /auth/onboarding/resend",
    "POST /bitwarden/api/accounts/prelogin",
    "POST /bitwarden/identity/accounts/prelogin",
    "GET /public/avatar",
    "GET /public/prelogin",
    "GET /settings/install_flagship_app",
    "GET /status",
    "GET /status/",
    "GET /version",
    "GET /version/",
    "GET /connection_check",
    "GET /errors/<version>/config/<id>/config.json",
    "GET /data/",
    "GET /.well-known/oauth-authorization-server",
    "DELETE /auth/register/<id>",  # of a client that is not there
}
"""What answers anybody with a 2xx."""
SIGNING = "PUT /settings/instance/sign_tos"
MYSELF = "POST /contacts/myself"
"""Names the owner's own contact; it is made when it is not there."""
ANY_TOKEN = {
    "GET /permissions/self",
    "GET /settings/instance",
    "GET /settings/capabilities",
    "GET /settings/context",
    "GET /settings/flags",
    SIGNING,
    "GET /notifications/key",
}
"""What answers any token with a 2xx."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = open_stack(tmp_path_factory.mktemp("routes") / "data", Clock())
    stack.create("alice.localhost", passphrase="p")
    yield stack
    stack.close()


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Method and rule of every route; OPTIONS names methods only, HEAD is a GET without its body."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule


def filled(rule: str) -> str:
    """A path of a rule that leads to something that is there."""
    path = rule.replace("<doctype>", "io.cozy.files" if rule.startswith("/files") else "io.cozy.contacts")
    path = path.replace("<path:name>", "styles/page.css").replace("<name>", "contacts-by-email")
    return re.sub(r"<[^>]*id>", "io.cozy.files.root-dir", path)


def two_hundreds(stack: Stack, headers: dict[str, str]) -> set[str]:
    """The routes that answer 2xx to these headers."""
    app = create_app(stack)
    client = WsgiClient(Front(stack, app.wsgi_app, mounts(), stack.config.limits))
    found = set()
    for method, rule in routes(app):
        body: dict[str, Any] = {} if method == "GET" else {"data": b"{}", "content_type": "application/json"}
        answer = client.open(
            filled(rule), method=method, headers={"Host": "alice.localhost", "Accept": "application/json"} | headers, **body
        )
        if answer.status_code < 300:
            found.add(f"{method} {rule}")
        answer.close()
    return found


def test_nothing_but_the_named_routes_answers_without_credentials(stack: Stack):
    assert two_hundreds(stack, {}) == PUBLIC


def test_a_token_without_a_rule_opens_nothing_more(stack: Stack):
    token = stack.instance("alice.localhost").auth.cli_token("io.cozy.nothings")
    assert two_hundreds(stack, {"Authorization": f"Bearer {token}"}) == PUBLIC | ANY_TOKEN


def test_a_token_that_only_reads_changes_nothing(stack: Stack):
    token = stack.instance("alice.localhost").auth.cli_token("io.cozy.contacts:GET io.cozy.files:GET")
    reads = two_hundreds(stack, {"Authorization": f"Bearer {token}"}) - PUBLIC
    asking = {
        f"POST /data/<doctype>/{name}"
        for name in ("_find", "_index", "_all_docs", "_changes", "_bulk_get", "_revs_diff", "_ensure_full_commit")
    }
    checkpoint = "PUT /data/<doctype>/_local/<docid:id>"  # a reader's own, never replicated
    assert {route for route in reads if not route.startswith("GET ")} <= asking | {checkpoint, SIGNING, MYSELF}
    assert "GET /files/<id>" in reads


def test_every_dav_method_asks_who_is_there(stack: Stack):
    client = WsgiClient(Front(stack, create_app(stack).wsgi_app, mounts(), stack.config.limits))
    for method in ("GET", "HEAD", "PROPFIND", "PUT", "DELETE", "MKCOL", "MOVE", "COPY", "LOCK", "PROPPATCH", "REPORT", "POST", "OPTIONS"):
        for path in ("/sync/files/", "/sync/files/x", "/sync/dav/", "/sync/dav/me/contacts/", "/sync/dav/me/contacts/x.vcf"):
            answer = client.open(path, method=method, headers={"Host": "alice.localhost"})
            assert answer.status_code == 401 or method == "OPTIONS", (method, path, answer.status)
            if answer.status_code == 401:
                assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            answer.close()


# -- well-known -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["caldav", "carddav"])
@pytest.mark.parametrize("method", ["GET", "PROPFIND", "OPTIONS"])
def test_dav_clients_are_led_to_the_mount(visitor: Visitor, name: str, method: str):
    answer = visitor.ask(method, f"/.well-known/{name}")
    assert (answer.status, answer.headers["Location"]) == (301, "/sync/dav/")


def test_password_managers_find_where_the_passphrase_is_changed(served: Served, visitor: Visitor):
    answer = visitor.get("/.well-known/change-password")
    assert (answer.status, answer.headers["Location"]) == (302, f"http://settings.{served.domain}/#/profile/password")
