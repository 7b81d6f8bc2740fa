"""Request sequences of programs that cannot run here, written down from their documentation and source: each ends in a whole sync.

- iOS and macOS (accountsd, dataaccessd): RFC 6764 discovery, ctag polls and multigets, as Apple's CalendarServer documents and its
  CalDAVClientLibrary send them.
- DAVx5: bitfireAT/dav4jvm and davx5-ose, `HomeSetRefresher`, `CalendarSyncManager`, `ContactsSyncManager`.
- Thunderbird: comm-central `calendar/providers/caldav` (`CalDavCalendar.sys.mjs`, `CalDavRequestHandlers.sys.mjs`).
- GNOME Evolution: evolution-data-server `e-webdav-session.c`, `e-cal-backend-caldav.c`.
- Outlook CalDav Synchronizer: aluxnimm/outlookcaldavsynchronizer `CalDavDataAccess.cs`, `CardDavDataAccess.cs`.
"""

import re
import uuid

import pytest

from tests.support.client import Answer, Client
from tests.support.serving import Served

NS = (
    'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:A="urn:ietf:params:xml:ns:carddav" '
    'xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"'
)
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:{day}T090000Z\r\nDTEND:{day}T100000Z\r\nSUMMARY:{uid}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{uid}\r\nN:{uid};;;;\r\nEND:VCARD\r\n"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}")


def ask(client: Client, method: str, path: str, body: str, depth: str = "0", **headers: str) -> Answer:
    answer = client.dav(method, path, body, Depth=depth, Content_Type="text/xml; charset=utf-8", **headers)
    if answer.status == 301:
        return ask(client, method, re.sub(r"^https?://[^/]*", "", answer.headers["Location"]), body, depth, **headers)
    assert answer.status == 207, (answer.status, answer.body)
    return answer


def propfind(client: Client, path: str, props: str, depth: str = "0", **headers: str) -> str:
    return ask(client, "PROPFIND", path, f"<propfind {NS}><prop>{props}</prop></propfind>", depth, **headers).body.decode()


def inner(text: str, name: str) -> str:
    found = re.search(rf"<\w+:{name}><D:href>([^<]*)</D:href>", text)
    assert found is not None, text
    return found.group(1)


def resources(text: str) -> dict[str, str]:
    """Address -> ETag of what is listed."""
    return dict(re.findall(r"<D:href>([^<]*\.(?:ics|vcf))</D:href><D:propstat><D:prop>.*?<D:getetag>&quot;(\w+)&quot;", text))


def token(text: str) -> str:
    found = re.findall(r"<D:sync-token>([^<]*)</D:sync-token>", text)
    return str(found[-1])


def new(client: Client, collection: str, *, card: bool = False) -> tuple[str, str]:
    uid = str(uuid.uuid4())
    path = f"{collection}{uid}.{'vcf' if card else 'ics'}"
    text = CARD.format(uid=uid) if card else EVENT.format(uid=uid, day="20260310")
    assert client.dav("PUT", path, text, If_None_Match="*", Content_Type="text/vcard" if card else "text/calendar").status == 201
    return path, text


def test_ios_and_macos(alice: Client):
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


def test_davx5(alice: Client):
    principal = inner(propfind(alice, "/.well-known/carddav", "<current-user-principal/>"), "current-user-principal")
    about = propfind(alice, principal, "<A:addressbook-home-set/><C:calendar-home-set/><displayname/><group-membership/>")
    asked = (
        "<resourcetype/><displayname/><owner/><current-user-privilege-set/><A:addressbook-description/><A:supported-address-data/>"
        "<C:calendar-description/><I:calendar-color/><C:calendar-timezone/><C:supported-calendar-component-set/><CS:source/>"
    )
    listed = propfind(alice, inner(about, "addressbook-home-set"), asked, "1")
    book = "/sync/dav/me/contacts/"
    assert f"<D:href>{book}</D:href>" in listed
    state = propfind(alice, book, "<supported-report-set/><A:supported-address-data/><CS:getctag/><sync-token/><A:max-resource-size/>")
    assert "<D:sync-collection/>" in state
    sync = f"<sync-collection {NS}><sync-token>{{}}</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>"
    first = ask(alice, "REPORT", book, sync.format("")).body.decode()
    path, text = new(alice, book, card=True)
    then = ask(alice, "REPORT", book, sync.format(token(first))).body.decode()
    assert list(resources(then)) == [path]
    data = '<A:address-data content-type="text/vcard" version="3.0"/>'
    got = ask(
        alice,
        "REPORT",
        book,
        f"<A:addressbook-multiget {NS}><prop><getcontenttype/><getetag/>{data}</prop><href>{path}</href></A:addressbook-multiget>",
    )
    assert text in got.body.decode().replace("&#13;", "\r")
    assert alice.dav("DELETE", path).status == 204
    gone = ask(alice, "REPORT", book, sync.format(token(then))).body.decode()
    assert f"{path}</D:href><D:status>HTTP/1.1 404" in gone


def test_thunderbird(alice: Client):
    calendar = "/sync/dav/me/calendar/"
    asked = (
        "<resourcetype/><owner/><current-user-principal/><current-user-privilege-set/>"
        "<supported-report-set/><C:supported-calendar-component-set/><CS:getctag/>"
    )
    about = propfind(alice, calendar, asked)
    assert "<C:calendar/>" in about
    assert "calendar-access" in alice.dav("OPTIONS", calendar).headers["DAV"]
    empty = f"<sync-collection {NS}><sync-token/><sync-level>1</sync-level><prop><getcontenttype/><getetag/></prop></sync-collection>"
    first = ask(alice, "REPORT", calendar, empty, "1").body.decode()
    path, text = new(alice, calendar)
    assert alice.dav("GET", path).body == text.encode()
    later = empty.replace("<sync-token/>", f"<sync-token>{token(first)}</sync-token>")
    assert list(resources(ask(alice, "REPORT", calendar, later, "1").body.decode())) == [path]
    bad = alice.dav("REPORT", calendar, empty.replace("<sync-token/>", "<sync-token>old</sync-token>"), Depth="1")
    assert (bad.status, b"valid-sync-token" in bad.body) == (403, True)
    assert alice.dav("DELETE", path).status == 204


def test_gnome_evolution(alice: Client):
    about = propfind(alice, "/sync/dav/me/", "<C:calendar-home-set/><A:addressbook-home-set/><C:calendar-user-address-set/><displayname/>")
    asked = (
        "<resourcetype/><displayname/><CS:getctag/><C:calendar-description/>"
        "<C:supported-calendar-component-set/><I:calendar-color/><getetag/>"
    )
    calendar = "/sync/dav/me/calendar/"
    assert calendar in propfind(alice, inner(about, "calendar-home-set"), asked, "1")
    before = re.search(r"<CS:getctag>(.*?)</CS:getctag>", propfind(alice, calendar, "<CS:getctag/>"))
    path, text = new(alice, calendar)
    after = re.search(r"<CS:getctag>(.*?)</CS:getctag>", propfind(alice, calendar, "<CS:getctag/>"))
    assert before is not None
    assert after is not None
    assert before.group(1) != after.group(1)
    filter_ = '<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>'
    listed = ask(
        alice, "REPORT", calendar, f"<C:calendar-query {NS}><prop><getetag/></prop>{filter_}</C:calendar-query>", "1"
    ).body.decode()
    tag = resources(listed)[path]
    changed = text.replace("SUMMARY:", "SUMMARY:Moved ")
    assert alice.dav("PUT", path, changed, If_Match=f'"{tag}"', Content_Type='text/calendar; charset="utf-8"').status == 204
    assert alice.dav("GET", path).body == changed.encode()
    assert alice.dav("DELETE", path).status == 204


def test_outlook_caldav_synchronizer(alice: Client):
    calendar = "/sync/dav/me/calendar/"
    assert "<D:privilege><D:write/></D:privilege>" in propfind(alice, calendar, "<current-user-privilege-set/>")
    assert '<C:comp name="VEVENT"/>' in propfind(alice, calendar, "<C:supported-calendar-component-set/>")
    path, text = new(alice, calendar)
    range_ = '<C:time-range start="20260301T000000Z" end="20260401T000000Z"/>'
    filter_ = f'<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{range_}</C:comp-filter></C:comp-filter></C:filter>'
    listed = ask(
        alice, "REPORT", calendar, f"<C:calendar-query {NS}><prop><getetag/></prop>{filter_}</C:calendar-query>", "1"
    ).body.decode()
    assert path in resources(listed)
    wanted = f"<C:calendar-multiget {NS}><prop><getetag/><displayname/><C:calendar-data/></prop><href>{path}</href></C:calendar-multiget>"
    assert text in ask(alice, "REPORT", calendar, wanted, "1").body.decode().replace("&#13;", "\r")
    assert alice.dav("DELETE", path, If_Match=f'"{resources(listed)[path]}"').status == 204
