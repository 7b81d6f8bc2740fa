"""Properties of calendars and what refuses them, by the names of their RFCs; versions of cards by Accept."""

import re
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.client import Client
from tests.support.serving import Served

HOME = "/sync/dav/me/"
NS = 'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CR="urn:ietf:params:xml:ns:carddav"'
COMPONENTS = "supported-calendar-component-set"
_numbers = count()


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}", scope=("io.cozy.calendar.calendars",))


@pytest.fixture
def calendar(alice: Client) -> Iterator[str]:
    path = f"{HOME}props{next(_numbers)}/"
    assert alice.dav("MKCALENDAR", path).status == 201
    yield path
    alice.dav("DELETE", path)


def patch(alice: Client, path: str, inner: str) -> str:
    return alice.dav("PROPPATCH", path, f"<propertyupdate {NS}><set><prop>{inner}</prop></set></propertyupdate>").body.decode()


def zones(alice: Client, path: str) -> tuple[str, str]:
    """The zone by name, and the names in its definition."""
    body = f"<propfind {NS}><prop><C:calendar-timezone-id/><C:calendar-timezone/></prop></propfind>"
    text = alice.dav("PROPFIND", path, body, Depth="0").body.decode()
    name = re.findall("<C:calendar-timezone-id>([^<]*)</", text)
    return "".join(name), ",".join(re.findall(r"TZID:([^\r\n&]+)", text))


def test_a_zone_is_set_by_name_or_by_definition_and_read_as_both(alice: Client, calendar: str):
    assert "200 OK" in patch(alice, calendar, "<C:calendar-timezone-id>America/New_York</C:calendar-timezone-id>")
    assert zones(alice, calendar) == ("America/New_York", "America/New_York")
    text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nEND:VTIMEZONE\r\nEND:VCALENDAR\r\n"
    assert "200 OK" in patch(alice, calendar, f"<C:calendar-timezone>{text}</C:calendar-timezone>")
    assert zones(alice, calendar) == ("Europe/Paris", "Europe/Paris")


def test_the_zone_that_an_app_names_has_a_definition_for_phones(alice: Client):
    id = alice.api("POST", "/data/io.cozy.calendar.calendars/", {"name": "Of an app", "timezone": "Asia/Tokyo"}).json["id"]
    assert zones(alice, f"{HOME}{id}/") == ("Asia/Tokyo", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        ("<C:calendar-timezone-id>No/Where</C:calendar-timezone-id>", "C:valid-timezone"),
        ("<C:calendar-timezone>no zone</C:calendar-timezone>", "C:valid-calendar-data"),
        ("<getetag>x</getetag>", "D:cannot-modify-protected-property"),
        (
            '<C:supported-calendar-component-set><C:comp name="VTODO"/></C:supported-calendar-component-set>',
            "D:cannot-modify-protected-property",
        ),
    ],
)
def test_what_is_refused_is_named_and_nothing_else_is_set(alice: Client, calendar: str, inner: str, name: str):
    answer = patch(alice, calendar, f"{inner}<displayname>Never</displayname>")
    assert f"<D:error><{name}/></D:error>" in answer
    assert "424 Failed Dependency" in answer
    assert "Never" not in alice.dav("PROPFIND", calendar, Depth="0").body.decode()
    made = f"<C:mkcalendar {NS}><set><prop>{inner}</prop></set></C:mkcalendar>"
    if name.startswith("C:"):
        refused = alice.dav("MKCALENDAR", f"{HOME}never/", made)
        assert (refused.status, f"<{name}/>" in refused.body.decode()) == (403, True)


@pytest.mark.parametrize(("stored", "asked"), [("3.0", "4.0"), ("4.0", "3.0"), ("3.0", "3.0"), ("4.0", "4.0")])
def test_a_card_is_got_in_the_version_that_is_asked_for(alice: Client, stored: str, asked: str):
    name = f"version{next(_numbers)}"
    raw = f"BEGIN:VCARD\r\nVERSION:{stored}\r\nUID:{name}\r\nFN:x\r\nN:x;;;;\r\nEND:VCARD\r\n"
    alice.dav("PUT", f"{HOME}contacts/{name}.vcf", raw)
    found = alice.dav("GET", f"{HOME}contacts/{name}.vcf", Accept=f"text/vcard; version={asked}").body.decode()
    assert f"VERSION:{asked}\r\n" in found
    assert (found == raw) == (stored == asked)
    assert alice.dav("GET", f"{HOME}contacts/{name}.vcf").body.decode() == raw
