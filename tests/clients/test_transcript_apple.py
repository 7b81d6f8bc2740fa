"""iOS and macOS (accountsd, dataaccessd): a transcript, for they run on nothing we have.

Written after the requests of Apple's own CalDAVTester scripts and CalendarServer's documentation (RFC 6764 discovery with `Brief: t`, ctag
polls, multigets), and the header lines that Radicale's and Nextcloud's trackers quote. It is no recording.
"""

import uuid

import pytest

from tests.support.client import Client
from tests.support.groupware import NS, ask, inner, new, propfind, resources
from tests.support.serving import Served


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


def test_an_account_is_found_a_calendar_is_made_and_synced(alice: Client):
    found = propfind(alice, "/.well-known/caldav", "<current-user-principal/><principal-URL/><resourcetype/>")
    principal = inner(found, "current-user-principal")
    asked = (
        "<C:calendar-home-set/><C:calendar-user-address-set/><CS:email-address-set/>"
        "<displayname/><C:schedule-inbox-URL/><supported-report-set/>"
    )
    about = propfind(alice, principal, asked, Brief="t", User_Agent="iOS/18.0 accountsd/1.0")
    assert "schedule-inbox-URL" not in about
    assert alice.dav("OPTIONS", principal).status == 200
    home = inner(about, "calendar-home-set")
    calendar = f"{home}{str(uuid.uuid4()).upper()}/"
    made = (
        f'<C:mkcalendar {NS}><set><prop><displayname>Home</displayname><I:calendar-color symbolic-color="red">#FF2968FF</I:calendar-color>'
        '<I:calendar-order>1</I:calendar-order><C:supported-calendar-component-set><C:comp name="VEVENT"/>'
        "</C:supported-calendar-component-set>"
        "<C:calendar-free-busy-set><YES/></C:calendar-free-busy-set></prop></set></C:mkcalendar>"
    )
    assert alice.dav("MKCALENDAR", calendar, made).status == 201
    asked = (
        "<CS:getctag/><sync-token/><displayname/><I:calendar-color/><resourcetype/>"
        "<C:supported-calendar-component-set/><current-user-privilege-set/>"
    )
    listed = propfind(alice, home, asked, "1", Brief="t")
    assert calendar in listed
    alarm = "<C:default-alarm-vevent-date>BEGIN:VALARM\nEND:VALARM</C:default-alarm-vevent-date>"
    ask(alice, "PROPPATCH", calendar, f"<propertyupdate {NS}><set><prop>{alarm}</prop></set></propertyupdate>")
    path, text = new(alice, calendar)
    entries = propfind(alice, calendar, "<getcontenttype/><getetag/>", "1", Brief="t")
    assert list(resources(entries)) == [path]
    wanted = f"<C:calendar-multiget {NS}><prop><getetag/><C:calendar-data/></prop><href>{path}</href></C:calendar-multiget>"
    got = ask(alice, "REPORT", calendar, wanted).body.decode()
    assert text in got.replace("&#13;", "\r")
    assert alice.dav("DELETE", path, If_Match=f'"{resources(got)[path]}"').status == 204
    assert alice.dav("DELETE", calendar).status in (200, 204)


def test_contacts_are_found_and_synced(alice: Client):
    principal = inner(
        propfind(alice, "/.well-known/carddav", "<current-user-principal/><principal-URL/><resourcetype/>"), "current-user-principal"
    )
    about = propfind(alice, principal, "<A:addressbook-home-set/><A:directory-gateway/><displayname/><CS:email-address-set/>", Brief="t")
    asked = (
        "<add-member/><current-user-privilege-set/><displayname/><A:max-image-size/><A:max-resource-size/><CS:me-card/><owner/>"
        "<quota-available-bytes/><quota-used-bytes/><resource-id/><resourcetype/><supported-report-set/><sync-token/><CS:getctag/>"
    )
    assert "<A:addressbook/>" in propfind(alice, inner(about, "addressbook-home-set"), asked, "1", Brief="t").replace("CR:", "A:")
    book = "/sync/dav/me/contacts/"
    path, text = new(alice, book, card=True)
    sync = f"<sync-collection {NS}><sync-token/><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
    assert path in resources(ask(alice, "REPORT", book, sync, Brief="t").body.decode())
    wanted = f"<A:addressbook-multiget {NS}><prop><getetag/><A:address-data/></prop><href>{path}</href></A:addressbook-multiget>"
    assert text in ask(alice, "REPORT", book, wanted, Brief="t").body.decode().replace("&#13;", "\r")
    assert alice.dav("DELETE", path).status == 204
