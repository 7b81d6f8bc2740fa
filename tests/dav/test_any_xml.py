"""Any XML that is made of DAV's own words is answered or refused by name: no request of a strange program is a fault of the server."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cozyd.stack import Stack
from dav import radicale, webdav
from tests.support.stack import Clock, open_stack

DOMAIN = "alice.localhost:1"
SPACES = ["DAV:", "urn:ietf:params:xml:ns:caldav", "urn:ietf:params:xml:ns:carddav", "http://calendarserver.org/ns/", "urn:x", ""]
NAMES = (
    "propfind prop propname allprop include propertyupdate set remove lockinfo lockscope locktype exclusive shared write owner href "
    "sync-collection sync-token sync-level limit nresults calendar-query calendar-multiget addressbook-query addressbook-multiget filter "
    "comp-filter prop-filter param-filter text-match time-range is-not-defined calendar-data address-data comp expand limit-recurrence-set "
    "limit-freebusy-set free-busy-query timezone timezone-id mkcalendar mkcol resourcetype collection calendar addressbook displayname "
    "supported-calendar-component-set getetag getctag expand-property property principal-property-search property-search match "
    "principal-search-property-set calendar-description calendar-timezone getlastmodified executable push-register"
).split()
ROOTS = (
    "propfind propertyupdate lockinfo sync-collection calendar-query calendar-multiget addressbook-query addressbook-multiget "
    "free-busy-query mkcalendar mkcol expand-property principal-property-search"
).split()
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "1",
        "-1",
        "999999999999999999999",
        "VCALENDAR",
        "VEVENT",
        "VCARD",
        "FN",
        "20260101T000000Z",
        "2026",
        "é",
        "/sync/dav/me/calendar/a.ics",
    ]
)
ATTRIBUTES = st.sampled_from(
    ["name", "start", "end", "test", "match-type", "collation", "negate-condition", "version", "content-type", "novalue"]
)
METHODS = st.sampled_from(
    ["PROPFIND", "PROPPATCH", "REPORT", "MKCALENDAR", "MKCOL", "LOCK", "POST", "PUT", "DELETE", "COPY", "MOVE", "UNLOCK"]
)
PATHS = st.sampled_from(
    ["", "/", "/me", "/me/", "/me/calendar", "/me/calendar/", "/me/contacts/", "/me/calendar/a.ics", "/me/new/", "/a.txt", "/f", "/f/new"]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["DEPTH", "IF", "IF_MATCH", "IF_NONE_MATCH", "DESTINATION", "OVERWRITE", "TIMEOUT", "LOCK_TOKEN", "PREFER", "RANGE", "BRIEF"]
    ),
    st.sampled_from(
        [
            "0",
            "1",
            "infinity",
            "*",
            '"x"',
            "(<urn:x>)",
            "<urn:x>",
            "T",
            "F",
            "Second-1",
            "/sync/files/b",
            "/sync/dav/me/calendar/b.ics",
            "é",
            "",
        ]
    ),
    max_size=3,
)


def space_of(name: str) -> str:
    """Where a name is at home, for most of those that have one."""
    if (
        name.startswith(("calendar-", "comp", "expand", "limit-", "free-busy", "time", "mkcalendar", "supported-cal"))
        and name != "expand-property"
    ):
        return SPACES[1]
    return SPACES[2] if name.startswith("address") else SPACES[0]


@st.composite
def elements(draw: Any, names: Any = None, depth: int = 0) -> ElementTree.Element:
    name = draw(st.sampled_from(NAMES if names is None else names))
    space = draw(st.sampled_from([*[space_of(name)] * 12, *SPACES]))
    made = ElementTree.Element(f"{{{space}}}{name}" if space else name, draw(st.dictionaries(ATTRIBUTES, TEXTS, max_size=2)))
    made.text = draw(TEXTS)
    if depth < 5:
        made.extend(draw(st.lists(elements(depth=depth + 1), max_size=3)))
    return made


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    folder: Path = tmp_path_factory.mktemp("any-xml")
    stack = open_stack(folder / "data", Clock())
    instance = stack.create(DOMAIN)
    _, password = instance.auth.devices.add("fuzzer", ("contacts", "calendars", "files"), read_only=False)
    yield stack, "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
    stack.close()


def ask(alice: tuple[Stack, str], mount: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    found: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": mount,
        "PATH_INFO": path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": DOMAIN,
        "HTTP_AUTHORIZATION": alice[1],
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/xml",
        "wsgi.input": io.BytesIO(body),
        "cozyd.stack": alice[0],
        "cozyd.instance": alice[0].locate(DOMAIN),
    } | {f"HTTP_{name}": value for name, value in headers.items()}
    serve = radicale.mount if mount == "/sync/dav" else webdav.mount
    text = b"".join(serve(environ, lambda status, *_: found.append(status)))
    return int(found[0][:3]), text


def check(alice: tuple[Stack, str], method: str, path: str, tree: ElementTree.Element, headers: dict[str, str]) -> None:
    body = ElementTree.tostring(tree)
    for mount in ("/sync/dav", "/sync/files"):
        status, text = ask(alice, mount, method, path, body, headers)
        assert status < 500 or status in (502, 507), (mount, method, path, headers, body, text)
        if status == 207:
            ElementTree.fromstring(text)


slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=120, deadline=None, suppress_health_check=slow)
@given(METHODS, PATHS, elements(ROOTS), HEADERS)
def test_a_request_of_any_xml_is_answered_or_refused(
    alice: Any, method: str, path: str, tree: ElementTree.Element, headers: dict[str, str]
):
    check(alice, method, path, tree, headers)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, deadline=None, suppress_health_check=slow)
@given(METHODS, PATHS, elements(ROOTS), HEADERS)
def test_ten_thousand_requests_of_any_xml(alice: Any, method: str, path: str, tree: ElementTree.Element, headers: dict[str, str]):
    check(alice, method, path, tree, headers)
