"""The connect page without script: its forms, Apple profiles, languages; and the bare address in a file manager."""

import base64
import gzip
import json
import plistlib
import re
from html import unescape
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import brotli
import pytest

from blueprints._pages import asset_hash, asset_url
from cozyd.packaged import folder
from tests.support.client import Answer, Client
from tests.support.serving import Served
from tests.support.visitor import Visitor

DAV = "{DAV:}"


@pytest.fixture(scope="module")
def owner(served: Served) -> Visitor:
    return Visitor(served).log_in()


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


def made(owner: Visitor, fields: list[tuple[str, str]]) -> Answer:
    """The page that follows a new password."""
    answer = owner.post("/sync/passwords", [("csrf_token", owner.csrf("/sync/")), *fields])
    assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/sync/")
    return owner.get(answer.headers["Location"].partition("#")[0])


def shown_password(page: Answer) -> str:
    found = re.search(r"data-password>([a-z0-9-]{31})<", page.body.decode())
    assert found is not None
    return found[1]


def propfind(owner: Visitor, path: str, password: str, body: bytes | None = None, **headers: str) -> Answer:
    return owner.ask("PROPFIND", path, body, **{"Authorization": basic(password), "Depth": "0"} | headers)


# -- the page ---------------------------------------------------------------------------------------------------------


def test_a_stranger_is_sent_to_log_in_and_comes_back(served: Served):
    visitor = Visitor(served)
    target = f"http://{served.domain}/sync/?x=1"
    answer = visitor.get("/sync/?x=1")
    assert (answer.status, answer.headers["Location"]) == (303, f"http://{served.domain}/auth/login?redirect={quote(target, safe='')}")
    assert visitor.submit_login(redirect=target).headers["Location"] == f"{target}#="


def test_the_page_says_how_to_connect_each_device(served: Served, owner: Visitor):
    page = unescape(owner.get("/sync/").body.decode())
    for device in ("iPhone, iPad, Mac", "DAVx⁵", "Thunderbird", "GNOME", "Windows", "Finder", "rclone"):
        assert device in page
    for address in (f"{served.base}/sync/dav/", f"{served.base}/sync/files/", f"dav://me@localhost:{served.port}/sync/files/"):
        assert re.search(f"<code[^>]*>{re.escape(address)}</code>", page)
    assert "<svg" in page.split('id="qr-title"')[1]
    assert re.findall("<script[^>]*>", page) == [f'<script type="module" src="{asset_url("scripts/copy.js")}">']


def test_a_name_that_every_program_resolves_is_shown_only_where_the_own_is_for_browsers(served: Served):
    page = Visitor(served, f"localhost:{served.port}").log_in().get("/sync/").body.decode()
    assert f"http://localhost:{served.port}/sync/dav/" in page
    bob = Visitor(served, f"bob.localhost:{served.port}")
    bob.submit_login(clear=True)
    assert f"http://127.0.0.1:{served.port}/sync/dav/" in bob.get("/sync/").body.decode()


def test_french_by_the_browser_s_wish(owner: Visitor):
    french = owner.get("/sync/", Accept_Language="fr-CA,fr;q=0.8").body.decode()
    assert '<html lang="fr"' in french
    assert "Connectez vos appareils" in french
    other = owner.get("/sync/", Accept_Language="tlh").body.decode()
    assert '<html lang="en"' in other


def test_what_the_owner_called_herself_is_text(served: Served):
    served.cli("instances", "add", f"eve.localhost:{served.port}", "--public-name", "<script>alert(1)</script>", "--passphrase", "p")
    eve = Visitor(served, f"eve.localhost:{served.port}")
    assert b"<script>alert" not in eve.get("/auth/login").body


# -- passwords --------------------------------------------------------------------------------------------------------


def test_a_password_reaches_what_was_ticked_until_it_is_revoked(owner: Visitor):
    page = made(owner, [("name", "Tablet <b>"), ("reach", "contacts"), ("reach", "files"), ("read_only", "1")])
    assert "Password for Tablet &lt;b&gt;" in page.body.decode()
    password = shown_password(page)
    assert propfind(owner, "/sync/files/", password).status == 207
    assert propfind(owner, "/sync/dav/me/contacts/", password).status == 207
    assert propfind(owner, "/sync/dav/me/calendar/", password).status in (403, 404)
    assert owner.ask("PUT", "/sync/files/no.txt", b"x", Authorization=basic(password)).status == 403
    listed = re.search(
        r"Tablet &lt;b&gt;</b>.*?Contacts, Files · read-only.*?action=\"(/sync/passwords/[0-9a-f]{32}/revoke)\"",
        page.body.decode(),
        re.DOTALL,
    )
    assert listed is not None
    token = owner.csrf("/sync/")
    for _ in range(2):
        gone = owner.post(listed[1], {"csrf_token": token})
        assert (gone.status, gone.headers["Location"]) == (303, "/sync/?revoked#passwords")
    assert propfind(owner, "/sync/files/", password).status == 401
    after = owner.get("/sync/?revoked").body.decode()
    assert 'role="status"' in after
    assert "Tablet" not in after


def test_a_password_that_was_used_shows_when(owner: Visitor):
    password = shown_password(made(owner, [("name", "Used one"), ("reach", "files")]))
    entry = re.compile(r"<b>Used one</b>.*?Last used: (.*?)</p>", re.DOTALL)
    before = entry.search(owner.get("/sync/").body.decode())
    assert propfind(owner, "/sync/files/", password).status == 207
    after = entry.search(owner.get("/sync/").body.decode())
    assert before is not None
    assert after is not None
    assert before[1] == "never"
    assert re.fullmatch(r'<time datetime="[^"]+:00:00\+00:00">today</time>', after[1])


@pytest.mark.parametrize(
    "fields",
    [
        [("name", ""), ("reach", "files")],
        [("name", "   "), ("reach", "files")],
        [("name", "x")],
        [("name", "x"), ("reach", "everything")],
        [("reach", "files")],
    ],
)
def test_a_password_without_name_or_reach_is_not_made(served: Served, owner: Visitor, fields: list[tuple[str, str]]):
    before = json.loads(served.cli("passwords", "list", served.domain, "--json"))
    answer = owner.post("/sync/passwords", [("csrf_token", owner.csrf("/sync/")), *fields])
    assert answer.status == 422
    assert b'role="alert"' in answer.body
    assert json.loads(served.cli("passwords", "list", served.domain, "--json")) == before


def test_a_very_long_name_is_cut(owner: Visitor):
    page = made(owner, [("name", "é" * 5000), ("reach", "files")])
    assert f"Password for {'é' * 80}<" in page.body.decode()


@pytest.mark.parametrize("path", ["/sync/passwords", f"/sync/passwords/{'0' * 32}/revoke", "/sync/apple", "/sync/logout"])
def test_no_other_site_can_send_a_form(served: Served, owner: Visitor, path: str):
    fields = {"name": "x", "reach": "files"}
    token = owner.csrf("/sync/")
    assert owner.post(path, fields).status == 400
    assert owner.post(path, fields | {"csrf_token": "made up"}).status == 403
    assert owner.post(path, fields | {"csrf_token": token}, Sec_Fetch_Site="cross-site").status == 403
    assert owner.get("/sync/").status == 200
    if path != "/sync/logout":
        stranger = Visitor(served)
        stranger.cookies["_csrf"] = "x"
        assert stranger.post(path, fields | {"csrf_token": "x"}).status == 401


def test_the_shown_password_is_for_its_owner_only(served: Served, owner: Visitor):
    answer = owner.post("/sync/passwords", {"csrf_token": owner.csrf("/sync/"), "name": "Hers", "reach": "files"})
    where = answer.headers["Location"].partition("#")[0]
    bob = Visitor(served, f"bob.localhost:{served.port}")
    bob.submit_login(clear=True)
    assert b"data-password" not in bob.get(where).body
    assert Visitor(served).get(where).status == 303
    assert b"data-password" in owner.get(where).body
    assert b"data-password" not in owner.get("/sync/?new=guess").body


# -- Apple ------------------------------------------------------------------------------------------------------------


def profile(answer: Answer) -> dict[str, dict[str, object]]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-apple-aspen-config")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cozyd.mobileconfig"'
    assert answer.headers["Cache-Control"] == "no-store"
    found = plistlib.loads(answer.body)
    assert (found["PayloadType"], found["PayloadVersion"]) == ("Configuration", 1)
    return {one["PayloadType"]: one for one in found["PayloadContent"]}


def test_the_profile_brings_a_password_that_reaches_contacts_and_calendars(served: Served, owner: Visitor):
    answer = owner.post("/sync/apple", {"csrf_token": owner.csrf("/sync/")})
    accounts = profile(owner.get(answer.headers["Location"]))
    card, cal = accounts["com.apple.carddav.account"], accounts["com.apple.caldav.account"]
    assert (card["CardDAVHostName"], card["CardDAVPort"], card["CardDAVUseSSL"]) == ("localhost", served.port, False)
    assert (cal["CalDAVPrincipalURL"], card["CardDAVPrincipalURL"]) == ("/sync/dav/me/", "/sync/dav/me/")
    assert card["CardDAVPassword"] == cal["CalDAVPassword"]
    password = str(card["CardDAVPassword"])
    assert propfind(owner, str(card["CardDAVPrincipalURL"]), password).status == 207
    assert propfind(owner, "/sync/files/", password).status == 403
    assert b"iPhone, iPad or Mac" in owner.get("/sync/").body


def test_the_profile_without_a_password_asks_on_the_device_and_replaces_itself(owner: Visitor):
    one, other = (owner.get("/sync/apple.mobileconfig") for _ in range(2))
    assert one.body == other.body
    accounts = profile(one)
    assert all("Password" not in "".join(account) for account in accounts.values())
    assert len({account["PayloadUUID"] for account in accounts.values()}) == 2


def test_the_profile_has_only_what_the_password_reaches(owner: Visitor):
    page = made(owner, [("name", "Cards only"), ("reach", "contacts"), ("reach", "files")])
    found = re.search(r'href="(/sync/apple\.mobileconfig\?device=[^"]+)"', page.body.decode())
    assert found is not None
    assert set(profile(owner.get(unescape(found[1])))) == {"com.apple.carddav.account"}
    files_only = made(owner, [("name", "Files only"), ("reach", "files")]).body
    assert b"apple.mobileconfig?device=" not in files_only


def test_a_profile_is_for_the_owner_only(served: Served):
    assert Visitor(served).ask("GET", "/sync/apple.mobileconfig", None, Accept="*/*").status == 401


# -- the bare address ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/sync", "/sync/"])
def test_a_file_manager_learns_that_the_bare_address_speaks_webdav(served: Served, path: str):
    answer = Visitor(served).ask("OPTIONS", path, None, User_Agent="Microsoft-WebDAV-MiniRedir/10.0.19045")
    assert (answer.status, answer.headers["DAV"], answer.headers["MS-Author-Via"]) == (200, "1, 2", "DAV")
    assert "PROPFIND" in answer.headers["Allow"]
    asked = Visitor(served).ask("PROPFIND", path, None, Depth="0", User_Agent="WebDAVFS/3.0.0 (03008000) Darwin/21.6.0 (x86_64)")
    assert (asked.status, asked.headers["WWW-Authenticate"]) == (401, 'Basic realm="cozyd", charset="UTF-8"')


def hrefs(answer: Answer) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"]) == (207, "application/xml; charset=utf-8")
    return [str(one.text) for one in ElementTree.fromstring(answer.body).iterfind(f"{DAV}response/{DAV}href")]


def test_the_bare_address_leads_to_the_files(owner: Visitor, alice: Client):
    assert hrefs(propfind(owner, "/", alice.password)) == ["/"]
    assert hrefs(propfind(owner, "/", alice.password, Depth="1")) == ["/", "/sync/"]
    for path in ("/sync", "/sync/"):
        assert hrefs(propfind(owner, path, alice.password, Depth="1")) == ["/sync/", "/sync/files/"]
    assert propfind(owner, "/sync/files/", alice.password).status == 207


def test_a_device_that_reaches_no_files_sees_no_folder_of_them(served: Served, owner: Visitor):
    password = served.password("--contacts")
    assert hrefs(propfind(owner, "/sync/", password, Depth="1")) == ["/sync/"]


def test_a_calendar_program_finds_the_principal_at_the_bare_address(owner: Visitor, alice: Client):
    body = b'<propfind xmlns="DAV:" xmlns:x="urn:x"><prop><current-user-principal/><resourcetype/><x:nothing/><getetag/></prop></propfind>'
    answer = propfind(owner, "/", alice.password, body)
    tree = ElementTree.fromstring(answer.body)
    assert tree.findtext(f".//{DAV}current-user-principal/{DAV}href") == "/sync/dav/me/"
    stats = {one.findtext(f"{DAV}status"): one.find(f"{DAV}prop") for one in tree.iterfind(f".//{DAV}propstat")}
    missing = stats["HTTP/1.1 404 Not Found"]
    assert missing is not None
    assert [one.tag for one in missing] == ["{urn:x}nothing", "{DAV:}getetag"]
    assert propfind(owner, "/sync/dav/me/", alice.password).status == 207


def test_all_levels_at_once_are_refused(owner: Visitor, alice: Client):
    answer = propfind(owner, "/", alice.password, Depth="infinity")
    assert (answer.status, b"propfind-finite-depth" in answer.body) == (403, True)


@pytest.mark.parametrize(
    "body",
    [b"<a", b"\xff", b'<!DOCTYPE x [<!ENTITY a "b">]><propfind xmlns="DAV:"><prop>&a;</prop></propfind>', b"<a>" * 100_000],
)
def test_evil_xml_is_a_bad_request(owner: Visitor, alice: Client, body: bytes):
    answer = propfind(owner, "/", alice.password, body)
    assert (answer.status, b"Traceback" in answer.body) == (400, False)


def test_xml_of_any_depth_is_answered(owner: Visitor, alice: Client):
    body = b"<a>" * 100_000 + b"</a>" * 100_000
    assert hrefs(propfind(owner, "/", alice.password, body)) == ["/"]


def test_a_password_of_another_tenant_opens_no_folder(served: Served, owner: Visitor):
    password = served.password(domain=f"bob.localhost:{served.port}")
    assert propfind(owner, "/", password).status == 401


# -- assets -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names() -> list[str]:
    top = folder("assets")
    return [str(path.relative_to(top)) for path in sorted(top.rglob("*.*"))]


def test_every_asset_is_kept_for_good_under_its_hashed_name_and_asked_again_under_its_plain_one(served: Served, names: list[str]):
    visitor = Visitor(served)
    kinds = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml", "woff2": "font/woff2"}
    for name in names:
        base, _, extension = name.rpartition(".")
        hashed = visitor.get(f"/assets/{base}.{asset_hash(name)}.{extension}")
        assert (hashed.status, hashed.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        assert hashed.headers["Content-Type"].startswith(kinds[extension].partition(";")[0])
        plain = visitor.get(f"/assets/{name}")
        assert (plain.body, plain.headers["Cache-Control"]) == (hashed.body, "public, no-cache")
        assert visitor.get(f"/assets/{name}", If_None_Match=plain.etag).status == 304
        assert visitor.get(f"/assets/{base}.0123456789.{extension}").status == 404


def test_what_the_pages_load_is_there(served: Served, owner: Visitor):
    texts = [Visitor(served).get("/auth/login").body.decode(), owner.get("/sync/").body.decode()]
    style = next(found for found in re.findall(r'href="([^"]+\.css)"', texts[0]))
    loaded = {found for text in texts for found in re.findall(r'(?:src|href)="(/assets/[^"]+)"', text)}
    loaded |= {"/assets/" + found for found in re.findall(r'url\("\.\./([^"]+)"\)', owner.get(style).body.decode())}
    assert any(".woff2" in one for one in loaded)
    for one in loaded:
        assert owner.get(one).status == 200, one


@pytest.mark.parametrize(("accepted", "coding"), [("br, gzip", "br"), ("gzip", "gzip"), ("identity", ""), ("br;q=0", "")])
def test_assets_are_packed_for_who_takes_them(served: Served, accepted: str, coding: str):
    visitor, plain = Visitor(served), (folder("assets") / "styles" / "page.css").read_bytes()
    answer = visitor.get("/assets/styles/page.css", Accept_Encoding=accepted)
    unpack: Any = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}[coding]
    assert (unpack(answer.body), answer.headers["Content-Encoding"] or "") == (plain, coding)
    assert {"Origin", "Accept-Encoding"} <= set(answer.headers["Vary"].split(", "))
    assert visitor.get("/assets/styles/page.css", Accept_Encoding=accepted, If_None_Match=answer.headers["ETag"]).status == 304
    assert visitor.get("/assets/fonts/inter.woff2", Accept_Encoding=accepted).headers["Content-Encoding"] is None


def test_every_context_has_the_assets(served: Served):
    assert Visitor(served).get("/assets/ext/default/styles/theme.css").body == (folder("assets") / "styles" / "theme.css").read_bytes()
    assert Visitor(served).get("/assets/ext/default/nothing").status == 404


@pytest.mark.parametrize(
    "name",
    [
        "../pages/login.html",
        "%2e%2e/pages/login.html",
        "..%2f..%2fsetup.py",
        "/etc/passwd",
        "",
        "styles",
        "styles/",
        "x.css",
        "\x00",
        "x" * 5000,
    ],
)
def test_nothing_else_lies_among_the_assets(served: Served, name: str):
    answer = Visitor(served).get(f"/assets/{quote(name, safe='/%.')}")
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body


def test_search_engines_are_not_invited(served: Served):
    assert b"Disallow: /" in Visitor(served).get("/robots.txt").body
    assert Visitor(served).get("/favicon.ico").headers["Content-Type"].startswith("image/svg+xml")
