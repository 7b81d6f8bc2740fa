"""Every route and every kind of principal: what each is answered is written down in tests/authorization.toml.

Each kind has a tenant of its own, where it sends the same requests in the same order; a route without a row fails.
"""

import base64
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client as WsgiClient

from blueprints import create_app
from blueprints._request import Service
from cozyd.auth import Credentials, passwords
from cozyd.auth.links import Maker, Wanted
from cozyd.instance import Instance
from cozyd.jobs.triggers import NewTrigger
from cozyd.permissions import Principal, parse_scope
from cozyd.realtime import Park
from cozyd.server.wsgi import Front
from cozyd.stack import Stack
from dav import mounts
from tests.support.stack import Clock, open_stack
from workers import TABLE as TABLE_OF_WORKERS

TABLE = Path(__file__).parent.parent / "authorization.toml"
KINDS = ("anonymous", "owner", "app", "client", "stranger", "link", "device", "cli", "foreign")
"""`client` has the rules it needs, `stranger` is one without; `link` reads one document and one folder; `foreign` is of another tenant."""
SCOPE = (
    "io.cozy.contacts io.cozy.files io.cozy.doctypes io.cozy.calendar.* io.cozy.settings io.cozy.sessions io.cozy.oauth.clients "
    "io.cozy.jobs io.cozy.triggers io.cozy.apps io.cozy.konnectors io.cozy.accounts io.cozy.sharings com.bitwarden.ciphers"
)
ROOT = "io.cozy.files.root-dir"
METHODS = ("GET", "HEAD", "PROPFIND", "REPORT", "OPTIONS", "POST", "MKCOL", "LOCK", "COPY", "MOVE", "PATCH", "PUT", "DELETE")
DAV: Mapping[str, tuple[str, ...]] = {
    "/sync/files/<path>": ("GET", "PROPFIND", "OPTIONS", "MKCOL", "LOCK", "COPY", "MOVE", "PUT", "DELETE"),
    "/sync/dav/<path>": ("GET", "PROPFIND", "REPORT", "OPTIONS", "PUT", "DELETE"),
}
PLACES = {
    "<path:name>": "styles/page.css",
    "<worker>": "client",
    "<doctype>": "io.cozy.contacts",
    "<slug>": "drive",
    "<secret>": "unknown",
    "<format>": "tiny",
    "<version>": "unknown",
    "<name>": "own",
    "<type>": "bank",
    "<path:id>": "one",
    "<docid:id>": "one",
    "<any(references, not_synchronizing):kind>": "references",
}
JSONAPI = {"data": {"type": "x", "attributes": {}}}
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:new\r\nFN:New\r\nN:New;;;;\r\nEND:VCARD\r\n"
PHRASE = "what a client derived"
KEPT = passwords.keep(PHRASE)
BODIES: Mapping[str, Any] = {
    "POST /data/<doctype>/_find": {"selector": {}},
    "POST /data/<doctype>/_index": {"index": {"fields": ["n"]}},
    "POST /data/<doctype>/_bulk_get": {"docs": []},
    "POST /data/<doctype>/_bulk_docs": {"docs": []},
    "PUT /data/<doctype>/<docid:id>": {"_id": "one", "_rev": "1-" + "a" * 32},
    "POST /files/_find": {"selector": {}},
    "POST /files/archive": {"data": {"attributes": {"ids": ["$file"]}}},
    "PATCH /files/": {"data": [{"id": "$file", "type": "io.cozy.files", "attributes": {"tags": ["x"]}}]},
    "POST /files/<id>/relationships/not_synchronized_on": {"data": [{"type": "io.cozy.oauth.clients", "id": "x"}]},
    "DELETE /files/<id>/relationships/not_synchronized_on": {"data": [{"type": "io.cozy.oauth.clients", "id": "x"}]},
    "POST /shortcuts": {"data": {"attributes": {"name": "s", "url": "https://example.org", "dir_id": "$folder"}}},
    "POST /settings/passphrase/check": {"passphrase": PHRASE},
    "POST /permissions": {
        "data": {"attributes": {"permissions": {"a": {"type": "io.cozy.contacts", "verbs": ["GET"], "values": ["one"]}}}}
    },
    "POST /jobs/triggers": {"data": {"attributes": {"type": "@daily", "worker": "client"}}},
    "POST /permissions/exists": {"data": [{"type": "io.cozy.contacts", "id": "one"}]},
    "PATCH /permissions/<id>": {
        "data": {"attributes": {"permissions": {"a": {"type": "io.cozy.contacts", "verbs": ["GET"], "values": ["two"]}}}}
    },
}
QUERIES: Mapping[str, str] = {
    "POST /files/<id>": "Type=directory&Name=made",
    "POST /files/": "Type=directory&Path=/made-by-path",
    "GET /files/metadata": "Path=/Shared",
    "GET /files/download": "Path=/Shared/shared.txt",
    "PATCH /files/metadata": "Path=/Shared",
    "POST /files/downloads": "Path=/Shared/shared.txt",
    "DELETE /data/<doctype>/<docid:id>": "rev=1-" + "a" * 32,
    "DELETE /data/<doctype>/_design/<name>": "rev=1-" + "a" * 32,
    "GET /public/avatar": "fallback=404",
    "POST /apps/<slug>": "Source=nowhere",
    "PUT /apps/<slug>": "Source=nowhere",
    "POST /konnectors/<slug>": "Source=nowhere",
    "PUT /konnectors/<slug>": "Source=nowhere",
}
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "1", "Upload-Offset": "0"}
HEADERS: Mapping[str, Mapping[str, str]] = {
    "POST /files/uploads": TUS | {"Upload-Metadata": "filename bmV3,dir_id $folder64"},
    "HEAD /files/uploads/<id>": TUS,
    "PATCH /files/uploads/<id>": TUS | {"Content-Type": "application/offset+octet-stream"},
    "POST /files/uploads/<id>": TUS | {"Content-Type": "application/offset+octet-stream", "X-HTTP-Method-Override": "PATCH"},
    "DELETE /files/uploads/<id>": TUS,
}
FOLDERS = ("/files/<id>", "/files/<id>/relationships/contents", "/files/<id>/size", "/files/<id>/relationships/not_synchronized_on")
DAV_PLACES: Mapping[str, Mapping[str, str]] = {
    "/sync/files/<path>": {"*": "Shared/", "COPY": "Shared/shared.txt", "MOVE": "Shared/shared.txt"},
    "/sync/dav/<path>": {"*": "me/calendar/", "PUT": "me/contacts/new.vcf", "DELETE": "me/contacts/new.vcf"},
}
QUERY = (
    '<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>'
)


class Tenant:
    """One kind of principal at a tenant of its own."""

    def __init__(self, stack: Stack, kind: str) -> None:
        self.kind = kind
        self.instance = stack.create(f"{kind}.localhost")
        stack.modify(self.instance.domain, onboarding_finished=True, passphrase_hash=KEPT)
        self.app = create_app(stack)
        self._client = WsgiClient(Front(stack, self.app.wsgi_app, mounts(), stack.config.limits), use_cookies=False)
        self.ids = _plant(self.instance)
        self._headers = _headers(stack, self)

    def ask(self, route: str) -> int:
        """The status of a route."""
        method, _, rule = route.partition(" ")
        path = self._path(rule, method) + (f"?{QUERIES[route]}" if route in QUERIES else "")
        headers = {"Host": self.instance.domain, "Accept": "application/json"} | self._headers
        headers |= {name: self._filled(value) for name, value in HEADERS.get(route, {}).items()}
        body: dict[str, Any] = {}
        if "uploads" in rule:
            body = {"data": b"x"} if method in ("PATCH", "POST") and "<id>" in rule else {}
        elif method in ("POST", "PUT", "PATCH", "DELETE") and not rule.startswith("/sync/"):
            body = {"json": json.loads(self._filled(json.dumps(BODIES.get(route, JSONAPI))))}
        if method == "REPORT":
            body = {"data": QUERY}
        if route == "PUT /sync/dav/<path>":
            body = {"data": CARD, "content_type": "text/vcard"}
        if method in ("COPY", "MOVE"):
            headers["Destination"] = f"http://{self.instance.domain}/sync/files/Shared/{method}"
        if method == "PROPFIND":
            headers["Depth"] = "0"
        try:
            answer = self._client.open(path, method=method, headers=headers, buffered=True, **body)
        except Park:  # it was let in, and waits
            return 202
        answer.close()
        return int(answer.status_code)

    def _filled(self, text: str) -> str:
        """A text with the ids that it names."""
        text = text.replace("$folder64", base64.b64encode(self.ids["folder"].encode()).decode())
        return text.replace("$folder", self.ids["folder"]).replace("$file", self.ids["file"])

    def _path(self, rule: str, method: str) -> str:
        if rule in DAV:
            return rule.replace("<path>", DAV_PLACES[rule].get(method, DAV_PLACES[rule]["*"]))
        for place, value in PLACES.items():
            rule = rule.replace(place, value)
        kinds = {"/permissions": "link", "/auth": "client", "/jobs/triggers": "trigger", "/jobs/webhooks": "hook", "/jobs": "job"}
        kinds |= {"/accounts": "account", "/files/uploads": "upload"}
        name = next((kind for prefix, kind in kinds.items() if rule.startswith(prefix)), "file")
        if rule in FOLDERS:
            name = "folder"
        return rule.replace("<id>", self.ids[name])


def _plant(instance: Instance) -> dict[str, str]:
    """A document, a folder with a file, a link to both, a client."""
    instance.docs.put("io.cozy.contacts", {"_id": "one", "n": 1})
    instance.docs.index("io.cozy.contacts", ("n",), name="own", ddoc="own")
    for kind in ("apps", "konnectors"):
        instance.docs.put(f"io.cozy.{kind}", {"_id": f"io.cozy.{kind}/drive", "slug": "drive", "state": "ready", "version": "1.0.0"})
    account = instance.docs.put("io.cozy.accounts", {"account_type": "bank"})
    folder = instance.files.mkdir(instance.files.dir(ROOT), "Shared")
    with instance.files.new(size=1) as new:
        new.write(b"x")
        file = instance.files.put(folder, "shared.txt", new.seal())
    rules = {
        "contacts": {"type": "io.cozy.contacts", "verbs": ["GET"], "values": ["one"]},
        "files": {"type": "io.cozy.files", "verbs": ["GET"], "values": [folder.id]},
    }
    maker = Maker(Principal("cli", "", parse_scope(SCOPE)), "")
    link = instance.auth.links.create(maker, Wanted({"permissions": rules}, names=("a",)))
    client = instance.auth.clients.register({"redirect_uris": ["app://x"], "client_name": "N", "software_id": "x"})
    triggers = [instance.jobs.triggers.create(NewTrigger(type, worker="client")).id for type in ("@daily", "@webhook")]
    jobs = {"trigger": triggers[0], "hook": triggers[1], "job": instance.jobs.push("client", {}).id}
    with instance.uploads.begin(folder, "upload.bin", 1, fields={"mime": "text/plain"}) as part:
        upload = part.info.id
    return jobs | {
        "account": account.ref.id,
        "upload": upload,
        "folder": folder.id,
        "file": file.id,
        "link": link.ref.id,
        "client": client.id,
        "code": link.doc["codes"]["a"],
    }


def _headers(stack: Stack, tenant: Tenant) -> dict[str, str]:
    """What the principal shows."""
    auth = tenant.instance.auth
    match tenant.kind:
        case "anonymous":
            return {}
        case "owner":
            return {"Cookie": f"cozysessid={auth.open_session(Credentials(), long_run=True)}"}
        case "device":
            _, password = auth.devices.add("phone", ["contacts", "calendars", "files"], read_only=False)
            return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}
        case "app":
            token = auth.app_token("drive", SCOPE)
        case "cli":
            token = auth.cli_token(SCOPE)
        case "client" | "stranger":
            token = _access(tenant, SCOPE if tenant.kind == "client" else "io.cozy.nothings")
        case "link":
            token = tenant.ids["code"]
        case _:
            token = stack.create("other.localhost").auth.cli_token(SCOPE)
    return {"Authorization": f"Bearer {token}"}


def _access(tenant: Tenant, scope: str) -> str:
    """An OAuth client's token."""
    auth = tenant.instance.auth
    client = auth.clients.get(tenant.ids["client"])
    oauth = auth.oauth("http://x")
    asked = {"client_id": client.id, "state": "s", "redirect_uri": "app://x", "response_type": "code", "scope": scope}
    location = oauth.approve(oauth.asked({name: [value] for name, value in asked.items()}))
    code = re.search(r"[?&]code=(\w+)", location)
    assert code is not None
    form = {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "client_secret": client.stored.doc["client_secret"],
        "code": code[1],
    }
    return str(oauth.token({name: [value] for name, value in form.items()})["access_token"])


def routes(app: Flask) -> list[str]:
    """Every route, what only reads first, what takes most away last."""
    found = [(method, rule) for rule, methods in DAV.items() for method in methods]
    for service in app.blueprints.values():
        assert isinstance(service, Service)
        found += [(method, (service.url_prefix or "") + rule) for rule, methods, _ in service.table for method in methods]
    return [f"{method} {rule}" for method, rule in sorted(found, key=lambda route: (METHODS.index(route[0]), -len(route[1]), route[1]))]


def accesses(app: Flask) -> dict[str, str]:
    """Route -> who may call it, as it declares; DAV's ask for themselves."""
    found = dict.fromkeys((f"{method} {rule}" for rule, methods in DAV.items() for method in methods), "dav")
    for service in app.blueprints.values():
        assert isinstance(service, Service)
        found |= {f"{method} {service.url_prefix or ''}{rule}": access for rule, methods, access in service.table for method in methods}
    return found


def table() -> dict[str, dict[str, int]]:
    """Route -> kind -> status, as it is written down."""
    rows: dict[str, str] = tomllib.loads(TABLE.read_text())["routes"]
    return {route: dict(zip(KINDS, map(int, cells.split()), strict=True)) for route, cells in rows.items()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = open_stack(tmp_path_factory.mktemp("matrix") / "data", Clock(), TABLE_OF_WORKERS)
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def declared(stack: Stack) -> Mapping[str, str]:
    return accesses(create_app(stack))


@pytest.fixture(scope="module")
def answers(stack: Stack) -> dict[str, dict[str, int]]:
    """Route -> kind -> status, as it is."""
    found: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        tenant = Tenant(stack, kind)
        for route in routes(tenant.app):
            found.setdefault(route, {})[kind] = tenant.ask(route)
    return found


def test_every_route_has_its_row_and_every_row_its_route(answers: dict[str, dict[str, int]]):
    assert set(answers) == set(table())


@pytest.mark.parametrize("route", sorted(table()))
def test_each_kind_of_principal_is_answered_as_written_down(answers: dict[str, dict[str, int]], route: str):
    assert answers[route] == table()[route]


def test_nobody_of_another_tenant_or_without_credentials_is_served_more_than_what_is_public(answers: dict[str, dict[str, int]]):
    public = {route for route, row in answers.items() if row["anonymous"] < 300}
    assert {route for route, row in answers.items() if row["foreign"] < 300} <= public


LETS_NOBODY_IN = {
    "GET /apps/<slug>/open": "takes a token for everything, which no scope gives",
    "POST /auth/tokens/konnectors/<slug>": "the same",
    "POST /auth/registerFromWebApp": "takes the settings app",
    "POST /settings/instance/deletion": "the same",
    "POST /apps/<slug>/logs": "takes the app itself, installed",
    "POST /konnectors/<slug>/logs": "takes the konnector itself",
}
"""Routes whose rows are refusals alone; each is opened in a test of its own."""
OPEN_TO_STRANGERS = {"GET /proxy": "it is off here, for everybody", "OPTIONS /sync/files/<path>": "tells what the server can do"}
OPEN_TO_STRANGERS["OPTIONS /sync/dav/<path>"] = OPEN_TO_STRANGERS["OPTIONS /sync/files/<path>"]


def test_no_row_is_refusals_alone(answers: dict[str, dict[str, int]], declared: Mapping[str, str]):
    """Such a row would hold for a route that lets nobody in by mistake."""
    holders = ("owner", "app", "client", "link", "cli")
    guarded = {route: row for route, row in answers.items() if declared[route] not in ("public", "secret")}
    silent = {route for route, row in guarded.items() if all(row[kind] in (401, 403) for kind in holders)}
    assert silent == set(LETS_NOBODY_IN)


def test_who_has_no_rule_is_refused_wherever_rules_are_asked(answers: dict[str, dict[str, int]], declared: Mapping[str, str]):
    """What DAV does not let a token see is not there: 404, and 409 for what would be put into it."""
    asked = {route for route, access in declared.items() if access not in ("public", "secret", "owner", "known", "application")}
    refusals = {"dav": (401, 403, 404, 409)}
    is_open = {route for route in asked if answers[route]["stranger"] not in refusals.get(declared[route], (401, 403))}
    assert is_open == set(OPEN_TO_STRANGERS)


NOBODY_IS_A_WRONG_TOKEN = {"POST /settings/synchronized"}
"""Routes that say of no token what they say of any other than a client's, as the reference does."""


def test_nobody_and_strangers_from_elsewhere_are_refused_wherever_somebody_is_asked_for(
    answers: dict[str, dict[str, int]], declared: Mapping[str, str]
):
    asked = {route for route, access in declared.items() if access not in ("public", "secret", "owner")} - set(OPEN_TO_STRANGERS)
    for route in asked | {"GET /proxy"}:
        assert answers[route]["anonymous"] in ((400,) if route in NOBODY_IS_A_WRONG_TOKEN else (401, 403)), route
        assert answers[route]["foreign"] in (400, 401, 403), route
