"""DAVx5 on Android: a transcript, for it runs on Android alone.

Read in bitfireAT/davx5-ose at 2534c16 (`DavResourceFinder.checkBaseURL`, `ServiceRefresher`, `ServiceDetectionUtils`,
`BaseWebDavCollection`, `CardDavCollection`, `CalDavCollection`) and bitfireAT/dav4jvm at a29748c (`DavCollection.reportChanges`,
`DavAddressBook.multiget`, `DavCalendar.calendarQuery`): properties, depths and conditions are theirs.
"""

import pytest

from tests.support.client import Client
from tests.support.groupware import NS, ask, inner, new, propfind, resources, token
from tests.support.serving import Served

SYNC = (
    f"<sync-collection {NS}><sync-token>{{}}</sync-token><sync-level>1</sync-level><prop><getetag/><resourcetype/></prop></sync-collection>"
)
CAPABILITIES = "<supported-report-set/><sync-token/><CS:getctag/><C:max-resource-size/><A:max-resource-size/><A:supported-address-data/>"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


def test_contacts_are_found_and_synced_with_their_tokens(alice: Client):
    asked = "<resourcetype/><displayname/><current-user-principal/><A:addressbook-home-set/><A:addressbook-description/>"
    principal = inner(propfind(alice, "/.well-known/carddav", asked), "current-user-principal")
    assert "addressbook" in alice.dav("OPTIONS", principal).headers["DAV"]
    home = propfind(alice, principal, "<displayname/><group-membership/><resourcetype/><A:addressbook-home-set/>")
    push = '<P:transports xmlns:P="https://bitfire.at/webdav-push"/><P:topic xmlns:P="https://bitfire.at/webdav-push"/>'
    asked = f"<current-user-privilege-set/><displayname/><owner/><resourcetype/>{push}<A:addressbook-description/>"
    book = "/sync/dav/me/contacts/"
    assert f"<D:href>{book}</D:href>" in propfind(alice, inner(home, "addressbook-home-set"), asked, "1")
    state = propfind(alice, book, CAPABILITIES)
    assert "<D:sync-collection/>" in state
    first = ask(alice, "REPORT", book, SYNC.format("")).body.decode()
    path, text = new(alice, book, card=True)
    then = ask(alice, "REPORT", book, SYNC.format(token(first))).body.decode()
    assert list(resources(then)) == [path]
    data = '<A:address-data content-type="text/vcard"/>'
    wanted = f"<A:addressbook-multiget {NS}><prop><getcontenttype/><getetag/>{data}</prop><href>{path}</href></A:addressbook-multiget>"
    got = ask(alice, "REPORT", book, wanted).body.decode()
    assert text in got.replace("&#13;", "\r")
    tag = resources(got)[path]
    changed = text.replace("FN:", "FN:Changed ")
    put = alice.dav("PUT", path, changed, If_Match=f'"{tag}"', Content_Type="text/vcard;charset=utf-8")
    assert put.status == 204
    assert alice.dav("PUT", path, text, If_Match=f'"{tag}"', Content_Type="text/vcard;charset=utf-8").status == 412
    assert alice.dav("DELETE", path, If_Match=put.etag).status == 204
    gone = ask(alice, "REPORT", book, SYNC.format(token(then))).body.decode()
    assert f"{path}</D:href><D:status>HTTP/1.1 404" in gone
    stale = alice.dav("REPORT", book, SYNC.format("http://example.org/old"), Depth="0", Content_Type="application/xml; charset=utf-8")
    assert (stale.status, b"<D:valid-sync-token/>" in stale.body) == (403, True)


def test_calendars_are_found_and_asked_by_time(alice: Client):
    asked = (
        "<resourcetype/><displayname/><current-user-principal/><current-user-privilege-set/><C:calendar-home-set/>"
        "<C:supported-calendar-component-set/><I:calendar-color/><C:calendar-description/><C:calendar-timezone/>"
    )
    principal = inner(propfind(alice, "/.well-known/caldav", asked), "current-user-principal")
    assert "<D:href>" in propfind(alice, principal, "<C:calendar-user-address-set/>")
    asked = (
        "<displayname/><group-membership/><resourcetype/><C:calendar-home-set/><CS:calendar-proxy-read-for/><CS:calendar-proxy-write-for/>"
    )
    home = inner(propfind(alice, principal, asked), "calendar-home-set")
    asked = (
        "<current-user-privilege-set/><displayname/><owner/><resourcetype/><I:calendar-color/><C:calendar-description/>"
        "<C:calendar-timezone/><C:calendar-timezone-id/><C:supported-calendar-component-set/><CS:source/>"
    )
    calendar = "/sync/dav/me/calendar/"
    assert f"<D:href>{calendar}</D:href>" in propfind(alice, home, asked, "1")
    assert "<D:sync-collection/>" in propfind(alice, calendar, CAPABILITIES)
    path, text = new(alice, calendar)
    range_ = '<C:time-range start="20251201T000000Z"/>'
    filter_ = f'<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{range_}</C:comp-filter></C:comp-filter>'
    query = f"<C:calendar-query {NS}><prop><getetag/></prop><C:filter>{filter_}</C:filter></C:calendar-query>"
    assert path in resources(ask(alice, "REPORT", calendar, query, "1").body.decode())
    asked = "<getcontenttype/><getetag/><CS:schedule-tag/><C:calendar-data/>"
    wanted = f"<C:calendar-multiget {NS}><prop>{asked}</prop><href>{path}</href></C:calendar-multiget>"
    assert text in ask(alice, "REPORT", calendar, wanted).body.decode().replace("&#13;", "\r")
    assert alice.dav("DELETE", path).status == 204
