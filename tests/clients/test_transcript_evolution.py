"""GNOME Evolution's discovery and its work without sync tokens; what its data server does with them runs for real in `test_evolution.py`.

Read in GNOME/evolution-data-server at ccb3cba: `e-webdav-discover.c` (`propfind_uri_sync`), `e-webdav-session.c` (`list_sync`),
`e-cal-backend-caldav.c` (the ctag, the calendar-query for ETags, the search in the server).
"""

import re

import pytest

from tests.support.client import Client
from tests.support.groupware import NS, ask, inner, new, propfind, resources
from tests.support.serving import Served

CALENDAR = "/sync/dav/me/calendar/"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


def test_calendars_and_books_are_discovered(alice: Client):
    asked = (
        "<resourcetype/><current-user-principal/><principal-URL/>"
        "<C:calendar-home-set/><C:calendar-user-address-set/><A:addressbook-home-set/>"
    )
    found = propfind(alice, "/.well-known/caldav", asked)
    about = propfind(alice, inner(found, "current-user-principal"), asked)
    asked = (
        "<resourcetype/><CS:source/><C:supported-calendar-component-set/><displayname/><getetag/><CS:getctag/><getcontenttype/>"
        "<getcontentlength/><creationdate/><getlastmodified/><C:calendar-description/><A:addressbook-description/>"
        "<I:calendar-color/><I:calendar-order/>"
    )
    assert CALENDAR in propfind(alice, inner(about, "calendar-home-set"), asked, "1")
    assert "/sync/dav/me/contacts/" in propfind(alice, inner(about, "addressbook-home-set"), asked, "1")


def test_a_calendar_without_tokens_is_polled_by_its_ctag(alice: Client):
    before = re.search(r"<CS:getctag>(.*?)</CS:getctag>", propfind(alice, CALENDAR, "<CS:getctag/><supported-report-set/>"))
    path, text = new(alice, CALENDAR)
    after = re.search(r"<CS:getctag>(.*?)</CS:getctag>", propfind(alice, CALENDAR, "<CS:getctag/>"))
    assert before is not None
    assert after is not None
    assert before.group(1) != after.group(1)
    filter_ = '<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>'
    query = f"<C:calendar-query {NS}><prop><getetag/></prop>{filter_}</C:calendar-query>"
    tag = resources(ask(alice, "REPORT", CALENDAR, query, "1").body.decode())[path]
    changed = text.replace("SUMMARY:", "SUMMARY:Moved ")
    assert alice.dav("PUT", path, changed, If_Match=f'"{tag}"', Content_Type='text/calendar; charset="utf-8"').status == 204
    assert alice.dav("GET", path).body == changed.encode()
    assert alice.dav("DELETE", path).status == 204


def test_an_event_is_looked_for_by_its_uid_in_the_server(alice: Client):
    path, text = new(alice, CALENDAR)
    uid = text.split("UID:")[1].split("\r\n")[0]
    match = f'<C:prop-filter name="UID"><C:text-match collation="i;octet">{uid}</C:text-match></C:prop-filter>'
    filter_ = f'<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{match}</C:comp-filter></C:comp-filter></C:filter>'
    part = '<C:calendar-data><C:comp name="VCALENDAR"><C:comp name="VEVENT"><C:prop name="UID"/></C:comp></C:comp></C:calendar-data>'
    found = ask(alice, "REPORT", CALENDAR, f"<C:calendar-query {NS}><prop><getetag/>{part}</prop>{filter_}</C:calendar-query>", "1")
    assert list(resources(found.body.decode())) == [path]
    assert f"UID:{uid}" in found.body.decode()
    assert "SUMMARY" not in found.body.decode()
    assert alice.dav("DELETE", path).status == 204
