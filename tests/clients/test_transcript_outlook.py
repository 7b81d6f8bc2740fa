"""Outlook with CalDav Synchronizer: a transcript, for it runs in Outlook alone.

Read in aluxnimm/outlookcaldavsynchronizer at 554ecb9: `WebDavDataAccess.cs`, `CalDavDataAccess.cs`, `CardDavDataAccess.cs`.
"""

import re

import pytest

from tests.support.client import Client
from tests.support.groupware import NS, ask, inner, new, propfind, resources, token
from tests.support.serving import Served

CALENDAR, BOOK = "/sync/dav/me/calendar/", "/sync/dav/me/contacts/"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


def test_resources_are_found_from_the_well_known_address(alice: Client):
    about = propfind(alice, "/.well-known/caldav", "<current-user-principal/><principal-URL/><resourcetype/>")
    principal = inner(about, "current-user-principal")
    home = inner(propfind(alice, principal, "<C:calendar-home-set/>"), "calendar-home-set")
    asked = "<resourcetype/><displayname/><I:calendar-color/><C:supported-calendar-component-set/><I:calendar-order/>"
    listed = propfind(alice, home, asked, "1")
    assert CALENDAR in listed
    assert "calendar-access" in alice.dav("OPTIONS", CALENDAR).headers["DAV"]
    assert "<D:privilege><D:write/></D:privilege>" in propfind(alice, CALENDAR, "<current-user-privilege-set/>")
    assert "<C:calendar/>" in propfind(alice, CALENDAR, "<resourcetype/>")
    propfind(alice, CALENDAR, "<owner/>")
    assert "<D:sync-collection/>" in propfind(alice, CALENDAR, "<supported-report-set/>")


def test_events_of_a_time_are_synced_both_ways(alice: Client):
    path, text = new(alice, CALENDAR)
    range_ = '<C:time-range start="20260301T000000Z" end="20260401T000000Z"/>'
    filter_ = f'<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{range_}</C:comp-filter></C:comp-filter></C:filter>'
    query = f"<C:calendar-query {NS}><prop><getetag/></prop>{filter_}</C:calendar-query>"
    listed = ask(alice, "REPORT", CALENDAR, query, "1").body.decode()
    assert path in resources(listed)
    wanted = f"<C:calendar-multiget {NS}><prop><getetag/><displayname/><C:calendar-data/></prop><href>{path}</href></C:calendar-multiget>"
    assert text in ask(alice, "REPORT", CALENDAR, wanted, "1").body.decode().replace("&#13;", "\r")
    changed = alice.dav(
        "PUT", path, text.replace("SUMMARY:", "SUMMARY:Changed "), If_Match=f'"{resources(listed)[path]}"', Content_Type="text/calendar"
    )
    assert changed.status == 204
    assert f"&quot;{changed.etag.strip(chr(34))}&quot;" in propfind(alice, path, "<getetag/>")
    assert alice.dav("DELETE", path, If_Match=changed.etag).status == 204
    assert alice.dav("DELETE", path, If_Match=changed.etag).status in (404, 412)


def test_cards_are_synced_by_listing_and_by_token(alice: Client):
    sync = "<sync-collection {ns}><sync-token>{token}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
    first = ask(alice, "REPORT", BOOK, sync.format(ns=NS, token="").replace("<sync-token></sync-token>", "<sync-token/>")).body.decode()
    path, text = new(alice, BOOK, card=True)
    assert path in resources(propfind(alice, BOOK, "<getetag/><getcontenttype/>", "1"))
    then = ask(alice, "REPORT", BOOK, sync.format(ns=NS, token=token(first))).body.decode()
    assert list(resources(then)) == [path]
    asked = "<getetag/><getcontenttype/><A:address-data/>"
    wanted = f"<A:addressbook-multiget {NS}><prop>{asked}</prop><href>{path}</href></A:addressbook-multiget>"
    got = ask(alice, "REPORT", BOOK, wanted).body.decode()
    assert text in got.replace("&#13;", "\r")
    assert re.search(r"<D:getcontenttype>text/vcard", got)
    assert alice.dav("DELETE", path).status == 204


def test_a_calendar_is_made_by_an_extended_mkcol_and_named_afterwards(alice: Client):
    made = "/sync/dav/me/outlook-made/"
    body = f"<mkcol {NS}><set><prop><resourcetype><collection/><C:calendar/></resourcetype></prop></set></mkcol>"
    assert alice.dav("MKCOL", made, body, Content_Type="application/xml").status == 201
    ask(alice, "PROPPATCH", made, f"<propertyupdate {NS}><set><prop><displayname>Team</displayname></prop></set></propertyupdate>")
    ask(
        alice,
        "PROPPATCH",
        made,
        f"<propertyupdate {NS}><set><prop><I:calendar-color>#11aa22ff</I:calendar-color></prop></set></propertyupdate>",
    )
    assert "Team" in propfind(alice, made, "<displayname/>")
    assert alice.dav("DELETE", made).status in (200, 204)
