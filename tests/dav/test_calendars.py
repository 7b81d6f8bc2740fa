"""CalDAV and CardDAV as clients ask: discovery, collections, conditions, queries, sync (RFC 4791, 6352, 6578, 5689, 3744, 7953)."""

import re
from collections.abc import Iterator
from itertools import count
from xml.etree import ElementTree

import pytest

from tests.support.client import Answer, Client
from tests.support.serving import Served

HOME = "/sync/dav/me/"
NS = (
    'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CR="urn:ietf:params:xml:ns:carddav" '
    'xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"'
)
_numbers = count()


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(served, host=f"localhost:{served.port}", scope=("io.cozy.calendar.calendars", "io.cozy.calendar.events"))


@pytest.fixture
def calendar(alice: Client) -> Iterator[str]:
    path = f"{HOME}cal{next(_numbers)}/"
    assert alice.dav("MKCALENDAR", path).status == 201
    yield path
    alice.dav("DELETE", path)


@pytest.fixture
def book(alice: Client) -> Iterator[str]:
    path = f"{HOME}book{next(_numbers)}/"
    body = f"<mkcol {NS}><set><prop><resourcetype><collection/><CR:addressbook/></resourcetype></prop></set></mkcol>"
    assert alice.dav("MKCOL", path, body).status == 201
    yield path
    alice.dav("DELETE", path)


def event(uid: str, *lines: str, kind: str = "VEVENT") -> str:
    inner = "\r\n".join(lines)
    return (
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:{kind}\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n{inner}\r\n"
        f"END:{kind}\r\nEND:VCALENDAR\r\n"
    )


def card(uid: str, *lines: str) -> str:
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\n" + "".join(f"{line}\r\n" for line in lines) + "END:VCARD\r\n"


def put(alice: Client, path: str, text: str) -> Answer:
    answer = alice.dav("PUT", path, text)
    assert answer.status in (201, 204), answer.body
    return answer


def propfind(alice: Client, path: str, props: str, depth: str = "0", **headers: str) -> Answer:
    return alice.dav("PROPFIND", path, f"<propfind {NS}><prop>{props}</prop></propfind>", Depth=depth, **headers)


def report(alice: Client, path: str, name: str, inner: str, **headers: str) -> Answer:
    return alice.dav("REPORT", path, f"<{name} {NS}>{inner}</{name}>", Depth="1", **headers)


def hrefs(answer: Answer) -> list[str]:
    assert answer.status == 207, answer.body
    return sorted(href.rpartition("/")[2].rpartition(".")[0] for href in re.findall(r"<D:href>([^<]*)</D:href>", answer.body.decode()))


def query(alice: Client, path: str, inner: str, more: str = "") -> list[str]:
    filter_ = f'<C:filter><C:comp-filter name="VCALENDAR">{inner}</C:comp-filter></C:filter>{more}'
    return hrefs(report(alice, path, "C:calendar-query", f"<prop><getetag/></prop>{filter_}"))


def search(alice: Client, path: str, inner: str, test: str = "anyof") -> list[str]:
    return hrefs(report(alice, path, "CR:addressbook-query", f'<prop><getetag/></prop><CR:filter test="{test}">{inner}</CR:filter>'))


def data(answer: Answer) -> str:
    found = re.findall(r"<(?:C:calendar|CR:address)-data>(.*?)</", answer.body.decode(), re.DOTALL)
    return "".join(found).replace("&#13;", "\r").replace("&lt;", "<").replace("&amp;", "&")


def precondition(answer: Answer, name: str) -> bool:
    return answer.status in (403, 507) and re.search(rf"<(D|C|CR):{name}/>", answer.body.decode()) is not None


# -- discovery ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["/", "/.well-known/caldav", "/.well-known/carddav", "/principals/", "/sync/", "/sync/dav/"])
def test_the_principal_is_found_from(alice: Client, start: str):
    answer = propfind(alice, start, "<current-user-principal/>")
    if answer.status == 301:
        assert answer.headers["Location"].endswith("/sync/dav/")
        answer = propfind(alice, "/sync/dav/", "<current-user-principal/>")
    assert "<D:current-user-principal><D:href>/sync/dav/me/</D:href>" in answer.body.decode()


def test_the_principal_leads_to_its_homes_and_a_device_sees_only_what_it_may(alice: Client, served: Served):
    asked = "<C:calendar-home-set/><CR:addressbook-home-set/><C:calendar-user-address-set/><displayname/><principal-URL/>"
    text = propfind(alice, HOME, asked).body.decode()
    assert "<C:calendar-home-set><D:href>/sync/dav/me/</D:href></C:calendar-home-set>" in text
    assert "mailto:wire@example.org" in text
    narrow = Client(served, host=f"localhost:{served.port}")
    narrow.password = served.password("--contacts", name="only contacts")
    text = propfind(narrow, HOME, asked).body.decode()
    assert "<C:calendar-home-set/>" in text.split("404 Not Found")[0].split("200 OK")[1]
    assert propfind(narrow, f"{HOME}calendar/", "<displayname/>").status == 404
    assert "/sync/dav/me/calendar/" not in propfind(narrow, HOME, "<displayname/>", "1").body.decode()


def test_a_listing_of_everything_is_refused_and_a_bearer_token_is_a_key(alice: Client, served: Served):
    assert precondition(propfind(alice, HOME, "<displayname/>", "infinity"), "propfind-finite-depth")
    token = served.token("io.cozy.contacts")
    answer = alice.ask("PROPFIND", f"{HOME}contacts/", Authorization=f"Bearer {token}", Depth="0")
    assert answer.status == 207
    assert alice.ask("PROPFIND", f"{HOME}calendar/", Authorization=f"Bearer {token}", Depth="0").status == 404


def test_options_announce_what_is_served(alice: Client):
    answer = alice.dav("OPTIONS", HOME)
    assert {"calendar-access", "addressbook", "extended-mkcol"} <= {one.strip() for one in answer.headers["DAV"].split(",")}
    assert "2" not in [one.strip() for one in answer.headers["DAV"].split(",")]
    assert {"COPY", "MKCALENDAR", "REPORT"} <= {one.strip() for one in answer.headers["Allow"].split(",")}
    wrong = alice.dav("LOCK", f"{HOME}calendar/x.ics")
    assert (wrong.status, "PUT" in wrong.headers["Allow"]) == (405, True)


# -- collections --------------------------------------------------------------------------------------------------------


def test_a_calendar_has_the_properties_it_was_made_with(alice: Client):
    path = f"{HOME}made{next(_numbers)}/"
    body = (
        f"<C:mkcalendar {NS}><set><prop><displayname>Work &amp; play</displayname><I:calendar-color>#FF00AAFF</I:calendar-color>"
        "<I:calendar-order>3</I:calendar-order><C:calendar-description>All of it</C:calendar-description>"
        '<C:supported-calendar-component-set><C:comp name="VTODO"/></C:supported-calendar-component-set>'
        '<x:odd xmlns:x="urn:odd" a="1">kept <x:b/></x:odd></prop></set></C:mkcalendar>'
    )
    assert alice.dav("MKCALENDAR", path, body).status == 201
    asked = (
        "<displayname/><I:calendar-color/><I:calendar-order/><C:calendar-description/><C:supported-calendar-component-set/>"
        '<x:odd xmlns:x="urn:odd"/><resourcetype/><C:nothing/>'
    )
    text = propfind(alice, path, asked).body.decode()
    assert "<D:displayname>Work &amp; play</D:displayname><ICAL:calendar-color>#FF00AA</ICAL:calendar-color>" in text
    assert '<C:supported-calendar-component-set><C:comp name="VTODO"/></C:supported-calendar-component-set>' in text
    assert re.search(r'<(\w+):odd xmlns:\1="urn:odd" a="1">kept <\1:b ?/></\1:odd>', text)
    assert text.endswith("<C:nothing/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response></D:multistatus>")
    refused = alice.dav("PUT", f"{path}e.ics", event("e", "DTSTART:20260101T000000Z"))
    assert precondition(refused, "supported-calendar-component")
    assert precondition(alice.dav("MKCALENDAR", path), "resource-must-be-null")
    assert alice.dav("MKCOL", path).status == 405
    assert alice.dav("DELETE", path, If_Match='"other"').status == 412
    assert alice.dav("DELETE", path).status in (200, 204)
    assert propfind(alice, path, "<displayname/>").status == 404
    assert precondition(alice.dav("DELETE", f"{HOME}calendar/"), "need-privileges")


def test_what_cannot_be_made_says_why(alice: Client):
    assert alice.dav("MKCALENDAR", f"{HOME}a/b/").status == 409
    assert precondition(alice.dav("MKCALENDAR", f"{HOME}calendar/b/"), "calendar-collection-location-ok")
    assert precondition(alice.dav("MKCOL", f"{HOME}plain/"), "valid-resourcetype")
    body = f'<C:mkcalendar {NS}><set><prop><C:supported-calendar-component-set><C:comp name="VPOLL"/></C:supported-calendar-component-set>'
    answer = alice.dav("MKCALENDAR", f"{HOME}polls/", f"{body}<displayname>P</displayname></prop></set></C:mkcalendar>")
    assert (answer.status, b"424 Failed Dependency" in answer.body) == (403, True)
    assert propfind(alice, f"{HOME}polls/", "<displayname/>").status == 404


def test_properties_change_all_together_or_not_at_all(alice: Client, calendar: str):
    def change(inner: str, **headers: str) -> Answer:
        return alice.dav("PROPPATCH", calendar, f"<propertyupdate {NS}>{inner}</propertyupdate>", **headers)

    token = propfind(alice, calendar, "<sync-token/>").body
    answer = change("<set><prop><displayname>New</displayname><getetag>x</getetag></prop></set>")
    assert b"<D:getetag/></D:prop><D:status>HTTP/1.1 403" in answer.body
    assert b"cannot-modify-protected-property" in answer.body
    assert b"424 Failed Dependency" in answer.body
    assert b">New<" not in propfind(alice, calendar, "<displayname/>").body
    assert change("<set><prop><displayname>New</displayname></prop></set>", Prefer="return=minimal").status == 200
    assert b">New<" in propfind(alice, calendar, "<displayname/>").body
    assert b"200 OK" in change('<remove><prop><displayname/><z:never xmlns:z="urn:z"/></prop></remove>').body
    assert b">New<" not in propfind(alice, calendar, "<displayname/>").body
    assert precondition(alice.dav("PROPPATCH", f"{calendar}x.ics", f"<propertyupdate {NS}/>"), "cannot-modify-protected-property")
    assert propfind(alice, calendar, "<sync-token/>").body == token


def test_what_an_app_writes_and_xml_cannot_spoils_no_listing(alice: Client):
    made = alice.api("POST", "/data/io.cozy.calendar.calendars/", {"name": "Odd\u0001 name\uffff", "color": "#12\u000b3456"})
    event = {
        "label": "A\u0002 b",
        "start": "2026-03-10",
        "end": "2026-03-11",
        "relationships": {"calendar": {"data": {"_id": made.json["id"]}}},
    }
    assert alice.api("POST", "/data/io.cozy.calendar.events/", event).status == 201
    ElementTree.fromstring(alice.dav("PROPFIND", "/sync/dav/me/", Depth="1").body)
    place = f"/sync/dav/me/{made.json['id']}/"
    query = (
        '<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/></prop>'
        '<C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>'
    )
    assert len(list(ElementTree.fromstring(alice.dav("REPORT", place, query, Depth="1").body))) == 1
    assert alice.dav("DELETE", place).status in (200, 204)


def test_names_of_properties_are_listed_without_values(alice: Client, calendar: str):
    answer = alice.dav("PROPFIND", calendar, f"<propfind {NS}><propname/></propfind>", Depth="0")
    assert b"<D:resourcetype/>" in answer.body
    assert b"<C:supported-calendar-component-set/>" in answer.body


# -- resources ----------------------------------------------------------------------------------------------------------


def test_conditions_hold_on_every_method(alice: Client, calendar: str):
    path, text = f"{calendar}one.ics", event("one", "DTSTART:20260101T000000Z", "SUMMARY:One")
    assert alice.dav("PUT", path, text, If_Match='"none"').status == 412
    made = alice.dav("PUT", path, text, If_None_Match="*")
    assert (made.status, alice.dav("PUT", path, text, If_None_Match="*").status) == (201, 412)
    assert alice.dav("GET", path, If_None_Match=made.etag).status == 304
    changed = alice.dav("PUT", path, text.replace("One", "Two"), If_Match=made.etag)
    assert (changed.status, alice.dav("PUT", path, text, If_Match=made.etag).status) == (204, 412)
    assert alice.dav("DELETE", path, If_Match=made.etag).status == 412
    head = alice.dav("HEAD", path)
    assert (head.status, head.etag, head.body, int(head.headers["Content-Length"])) == (200, changed.etag, b"", len(text))
    assert alice.dav("DELETE", path, If_Match=changed.etag).status == 204
    assert alice.dav("GET", path).status == 404


def test_what_a_calendar_does_not_take_names_the_precondition(alice: Client, calendar: str, book: str):
    good = event("good", "DTSTART:20260101T000000Z")
    put(alice, f"{calendar}good.ics", good)
    cases = [
        (f"{calendar}x.ics", "nonsense", "valid-calendar-data"),
        (f"{calendar}x.ics", good.replace("BEGIN:VEVENT", "METHOD:REQUEST\r\nBEGIN:VEVENT"), "valid-calendar-object-resource"),
        (f"{calendar}x.ics", good.replace("UID:good", "UID:"), "valid-calendar-object-resource"),
        (f"{calendar}x.ics", event("x", "SUMMARY:no start"), "valid-calendar-data"),
        (f"{calendar}x.ics", good, "no-uid-conflict"),
        (f"{calendar}good.ics", good.replace("UID:good", "UID:other"), "no-uid-conflict"),
        (f"{calendar}x.ics", good.replace("UID:good", f"UID:good\r\nX-BIG:{'x' * (1 << 20)}"), "max-resource-size"),
        (f"{book}x.vcf", "BEGIN:VCARD\r\nEND:VCALENDAR\r\n", "valid-address-data"),
    ]
    for path, text, name in cases:
        answer = alice.dav("PUT", path, text)
        assert precondition(answer, name), (name, answer.status, answer.body)
    assert alice.dav("PUT", f"{calendar}x.ics", card("c", "FN:C"), Content_Type="text/vcard").status == 415
    assert alice.dav("PUT", f"{calendar}x.ics", good, Content_Range="bytes 0-1/9").status == 400
    assert alice.dav("GET", f"{calendar}good.ics").body == good.encode()


def test_resources_are_moved_and_copied_between_collections(alice: Client, calendar: str):
    other = f"{HOME}other{next(_numbers)}/"
    assert alice.dav("MKCALENDAR", other).status == 201
    text = event("m", "DTSTART:20260101T000000Z", "SUMMARY:Mine")
    put(alice, f"{calendar}m.ics", text)
    base = f"http://localhost:{alice.served.port}"
    before = sync(alice, calendar)[0]
    assert precondition(alice.dav("COPY", f"{calendar}m.ics", Destination=f"{base}{calendar}twin.ics"), "no-uid-conflict")
    copied = alice.dav("COPY", f"{calendar}m.ics", Destination=f"{base}{other}c.ics")
    assert (copied.status, alice.dav("GET", f"{other}c.ics").body) == (201, text.encode())
    assert precondition(alice.dav("MOVE", f"{calendar}m.ics", Destination=f"{other}m.ics"), "no-uid-conflict")
    assert alice.dav("MOVE", f"{calendar}m.ics", Destination=f"{other}c.ics", Overwrite="F").status == 412
    assert alice.dav("MOVE", f"{calendar}m.ics", Destination=f"{other}c.ics").status == 204
    assert alice.dav("GET", f"{calendar}m.ics").status == 404
    assert sync(alice, calendar, before)[1:] == ([], ["m"])
    assert alice.dav("MOVE", f"{other}c.ics", Destination=f"{other}new%20name.ics").status == 201
    assert alice.dav("GET", f"{other}new%20name.ics").body == text.encode()
    assert alice.dav("MOVE", f"{other}new%20name.ics", Destination="http://elsewhere.example/x.ics").status == 502
    assert alice.dav("MOVE", f"{other}new%20name.ics", Destination=f"{HOME}absent/x.ics").status == 409
    assert alice.dav("MOVE", f"{other}new%20name.ics").status == 400
    assert alice.dav("DELETE", other).status in (200, 204)


def test_a_file_of_many_objects_is_added_at_once_and_twice_is_once(alice: Client, calendar: str, book: str):
    many = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:PUBLISH\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        + "".join(f"BEGIN:VEVENT\r\nUID:{n}\r\nDTSTART;TZID=Europe/Paris:2026010{n}T100000\r\nEND:VEVENT\r\n" for n in (1, 2, 3))
        + "BEGIN:VEVENT\r\nDTSTART:20260105T000000Z\r\nSUMMARY:no uid\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nUID:bad\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    for _ in range(2):
        answer = alice.dav("POST", calendar, many, Content_Type="text/calendar")
        assert answer.body.count(b"201 Created") == 4
        assert answer.body.count(b"needs a DTSTART") == 1
        assert len(sync(alice, calendar)[1]) == 4
    whole = alice.dav("GET", calendar)
    assert (whole.body.count(b"BEGIN:VEVENT"), whole.body.count(b"BEGIN:VTIMEZONE"), b"METHOD" in whole.body) == (4, 1, False)
    one = alice.dav("POST", book, card("p", "FN:P"), Content_Type="text/vcard")
    assert (one.status, alice.dav("GET", one.headers["Location"]).body) == (201, card("p", "FN:P").encode())


# -- queries ------------------------------------------------------------------------------------------------------------


def comp(inner: str = "", name: str = "VEVENT") -> str:
    return f'<C:comp-filter name="{name}">{inner}</C:comp-filter>'


def prop(name: str, inner: str = "") -> str:
    return comp(f'<C:prop-filter name="{name}">{inner}</C:prop-filter>')


def time(start: str, end: str) -> str:
    return f'<C:time-range start="{start}" end="{end}"/>'


def test_every_kind_of_calendar_filter(alice: Client, calendar: str):
    put(
        alice,
        f"{calendar}a.ics",
        event("a", "DTSTART:20260105T100000Z", "DTEND:20260105T110000Z", "SUMMARY:Élan vital", "LOCATION:Paris", "CATEGORIES:Work,Fun"),
    )
    put(
        alice,
        f"{calendar}b.ics",
        event(
            "b", "DTSTART:20260106T100000Z", "SUMMARY:budget", "ATTENDEE;PARTSTAT=DECLINED;CN=Bob:mailto:bob@x.org", "STATUS:TENTATIVE"
        ).replace("END:VEVENT", "BEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:x\r\nTRIGGER:-PT1H\r\nEND:VALARM\r\nEND:VEVENT"),
    )
    put(alice, f"{calendar}c.ics", event("c", "DTSTART;VALUE=DATE:20260110", "RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE;VALUE=DATE:20260117"))
    put(alice, f"{calendar}t.ics", event("t", "DUE:20260105T120000Z", "SUMMARY:Todo", "COMPLETED:20260104T000000Z", kind="VTODO"))
    put(alice, f"{calendar}u.ics", event("u", "SUMMARY:undated", kind="VTODO"))
    put(alice, f"{calendar}j.ics", event("j", "DTSTART;VALUE=DATE:20260105", "SUMMARY:Diary", kind="VJOURNAL"))

    def match(text: str, more: str = "") -> str:
        return f"<C:text-match {more}>{text}</C:text-match>"

    absent = "<C:is-not-defined/>"
    cases = [
        ("", ["a", "b", "c", "j", "t", "u"]),
        (comp(), ["a", "b", "c"]),
        (comp(name="VTODO"), ["t", "u"]),
        (comp(name="VJOURNAL"), ["j"]),
        (comp(absent), ["j", "t", "u"]),
        (comp(name="VFREEBUSY"), []),
        (prop("LOCATION"), ["a"]),
        (prop("LOCATION", absent), ["b", "c"]),
        (prop("X-NEVER", absent), ["a", "b", "c"]),
        (prop("SUMMARY", match("BUD")), ["b"]),
        (prop("SUMMARY", match("BUD", 'collation="i;octet"')), []),
        (prop("SUMMARY", match("budget", 'negate-condition="yes"')), ["a"]),
        (prop("SUMMARY", match("élan")), []),
        (prop("SUMMARY", match("élan", 'collation="i;unicode-casemap"')), ["a"]),
        (prop("SUMMARY", match("vital", 'match-type="ends-with"')), ["a"]),
        (prop("CATEGORIES", match("fun")), ["a"]),
        (prop("ATTENDEE", '<C:param-filter name="PARTSTAT">' + match("declined") + "</C:param-filter>"), ["b"]),
        (prop("ATTENDEE", '<C:param-filter name="RSVP"><C:is-not-defined/></C:param-filter>'), ["b"]),
        (prop("ATTENDEE", match("bob") + '<C:param-filter name="CN">' + match("Ann") + "</C:param-filter>"), []),
        (comp('<C:prop-filter name="COMPLETED"><C:is-not-defined/></C:prop-filter>', "VTODO"), ["u"]),
        (comp(f'<C:prop-filter name="COMPLETED">{time("20260103T000000Z", "20260105T000000Z")}</C:prop-filter>', "VTODO"), ["t"]),
        (comp(time("20260105T103000Z", "20260105T104500Z")), ["a"]),
        (comp(time("20260105T110000Z", "20260106T100000Z")), []),
        (comp(time("20260106T100000Z", "20260106T100001Z")), ["b"]),
        (comp(time("20260117T010000Z", "20260118T000000Z")), []),
        (comp(time("20260124T120000Z", "20260124T130000Z")), ["c"]),
        (comp('<C:time-range start="20260120T000000Z"/>'), ["c"]),
        (comp(time("20260105T000000Z", "20260106T000000Z"), "VTODO"), ["t", "u"]),
        (comp(time("20260105T000000Z", "20260106T000000Z"), "VJOURNAL"), ["j"]),
        (comp(comp(time("20260106T085900Z", "20260106T090100Z"), "VALARM")), ["b"]),
        (comp(comp(time("20260106T095900Z", "20260106T100100Z"), "VALARM")), []),
        (comp(comp(absent, "VALARM")), ["a", "c"]),
        (comp(time("20260105T000000Z", "20260131T000000Z") + '<C:prop-filter name="SUMMARY"/>'), ["a", "b"]),
    ]
    for inner, expected in cases:
        assert query(alice, calendar, inner) == expected, inner


def test_all_day_events_are_where_the_asker_s_zone_has_them(alice: Client, calendar: str):
    put(alice, f"{calendar}d.ics", event("d", "DTSTART;VALUE=DATE:20260110", "DTEND;VALUE=DATE:20260111"))
    evening = comp(time("20260111T003000Z", "20260111T013000Z"))
    assert query(alice, calendar, evening) == []
    assert query(alice, calendar, evening, "<C:timezone-id>America/New_York</C:timezone-id>") == ["d"]
    morning = comp(time("20260109T233000Z", "20260109T234500Z"))
    assert (query(alice, calendar, morning), query(alice, calendar, morning, "<C:timezone-id>Europe/Paris</C:timezone-id>")) == ([], ["d"])


def test_malformed_filters_say_what_is_wrong_with_them(alice: Client, calendar: str, book: str):
    def refused(inner: str) -> Answer:
        return report(alice, calendar, "C:calendar-query", f"<prop><getetag/></prop><C:filter>{inner}</C:filter>")

    top = '<C:comp-filter name="VCALENDAR">{}</C:comp-filter>'
    assert precondition(refused(comp()), "valid-filter")
    assert precondition(refused(top.format(comp(time("20260105", "20260106T000000Z")))), "valid-filter")
    assert precondition(refused(top.format(comp(time("20260107T000000Z", "20260106T000000Z")))), "valid-filter")
    assert precondition(refused(top.format("<C:odd-filter/>")), "supported-filter")
    assert precondition(refused(top.format(prop("SUMMARY", '<C:text-match collation="i;klingon">x</C:text-match>'))), "supported-collation")
    unknown = alice.dav("REPORT", book, f"<C:odd-report {NS}/>", Depth="1")
    assert precondition(unknown, "supported-report")
    assert alice.dav("REPORT", book, "", Depth="1").status == 400
    assert alice.dav("REPORT", book, "<a", Depth="1").status == 400


def test_every_kind_of_address_book_filter(alice: Client, book: str):
    put(
        alice,
        f"{book}ada.vcf",
        card("ada", "FN:Ada Lovelace", "N:Lovelace;Ada;;;", "EMAIL;TYPE=HOME:ada@example.org", "item1.TEL;TYPE=CELL:+33 6 12"),
    )
    put(
        alice,
        f"{book}zoe.vcf",
        card("zoe", "FN:Zoë Müller", "N:Müller;Zoë;;;", "EMAIL;TYPE=WORK:zoe@work.example", "NICKNAME:Zo", "X-ODD:7"),
    )
    put(alice, f"{book}max.vcf", card("max", "FN:Max", "N:;Max;;;", "NOTE:met Ada in Paris"))

    def where(name: str, inner: str = "", test: str = "") -> str:
        return f'<CR:prop-filter name="{name}" {test}>{inner}</CR:prop-filter>'

    def match(text: str, more: str = "") -> str:
        return f"<CR:text-match {more}>{text}</CR:text-match>"

    both = where("FN", match("ada")) + where("EMAIL", match("work"))
    cases = [
        ("", "anyof", ["ada", "max", "zoe"]),
        (where("FN", match("ADA")), "anyof", ["ada"]),
        (where("FN", match("zoë")), "anyof", ["zoe"]),
        (where("FN", match("zoe")), "anyof", ["zoe"]),  # decomposed, as RFC 5051 compares
        (where("FN", match("zoe", 'collation="i;ascii-casemap"')), "anyof", []),
        (where("FN", match("ada lovelace", 'match-type="equals"')), "anyof", ["ada"]),
        (where("FN", match("Ma", 'match-type="starts-with"')), "anyof", ["max"]),
        (where("FN", match("ada", 'negate-condition="yes"')), "anyof", ["max", "zoe"]),
        (where("EMAIL"), "anyof", ["ada", "zoe"]),
        (where("EMAIL", "<CR:is-not-defined/>"), "anyof", ["max"]),
        (where("X-ODD"), "anyof", ["zoe"]),
        (where("NOTE", match("paris")), "anyof", ["max"]),
        (where("ITEM1.TEL"), "anyof", ["ada"]),
        (where("EMAIL", '<CR:param-filter name="TYPE">' + match("work") + "</CR:param-filter>"), "anyof", ["zoe"]),
        (
            where("EMAIL", '<CR:param-filter name="TYPE">' + match("home") + "</CR:param-filter>" + match("zoe"), 'test="anyof"'),
            "anyof",
            ["ada", "zoe"],
        ),
        (
            where("EMAIL", '<CR:param-filter name="TYPE">' + match("home") + "</CR:param-filter>" + match("zoe"), 'test="allof"'),
            "anyof",
            [],
        ),
        (both, "anyof", ["ada", "zoe"]),
        (both, "allof", []),
    ]
    for inner, test, expected in cases:
        assert search(alice, book, inner, test) == expected, inner
    limited = report(
        alice, book, "CR:addressbook-query", "<prop><getetag/></prop><CR:filter/><CR:limit><CR:nresults>2</CR:nresults></CR:limit>"
    )
    assert (limited.body.count(b"200 OK"), limited.body.count(b"507 Insufficient")) == (2, 1)


# -- data ---------------------------------------------------------------------------------------------------------------

SERIES = event(
    "s",
    "DTSTART;TZID=Europe/Paris:20260325T090000",
    "DTEND;TZID=Europe/Paris:20260325T100000",
    "RRULE:FREQ=WEEKLY;COUNT=4",
    "EXDATE;TZID=Europe/Paris:20260408T090000",
    "SUMMARY:Series",
).replace(
    "END:VCALENDAR",
    "BEGIN:VEVENT\r\nUID:s\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID;TZID=Europe/Paris:20260401T090000\r\n"
    "DTSTART;TZID=Europe/Paris:20260401T150000\r\nDTEND;TZID=Europe/Paris:20260401T160000\r\nSUMMARY:Moved\r\nEND:VEVENT\r\nEND:VCALENDAR",
)


def asked(alice: Client, path: str, inner: str, name: str = "s") -> str:
    answer = report(
        alice, path, "C:calendar-multiget", f"<prop><C:calendar-data>{inner}</C:calendar-data></prop><href>{path}{name}.ics</href>"
    )
    assert answer.status == 207, answer.body
    return data(answer)


def test_recurring_events_are_expanded_over_a_change_of_clocks(alice: Client, calendar: str):
    put(alice, f"{calendar}s.ics", SERIES)
    text = asked(alice, calendar, '<C:expand start="20260301T000000Z" end="20260501T000000Z"/>')
    assert re.findall(r"DTSTART:(\S+)", text) == ["20260325T080000Z", "20260401T130000Z", "20260415T070000Z"]
    assert re.findall(r"RECURRENCE-ID:(\S+)", text) == ["20260325T080000Z", "20260401T070000Z", "20260415T070000Z"]
    assert ("RRULE" in text, "EXDATE" in text, "VTIMEZONE" in text, text.count("Moved")) == (False, False, False, 1)
    none = asked(alice, calendar, '<C:expand start="20260408T000000Z" end="20260409T000000Z"/>')
    assert "BEGIN:VEVENT" not in none


def test_overridden_instances_outside_of_a_range_are_left_out(alice: Client, calendar: str):
    put(alice, f"{calendar}s.ics", SERIES)
    out = asked(alice, calendar, '<C:limit-recurrence-set start="20260413T000000Z" end="20260420T000000Z"/>')
    inside = asked(alice, calendar, '<C:limit-recurrence-set start="20260401T000000Z" end="20260402T000000Z"/>')
    assert ("Moved" in out, "RRULE:FREQ=WEEKLY;COUNT=4" in out, "Moved" in inside) == (False, True, True)


def test_this_and_future_holds_for_later_instances(alice: Client, calendar: str):
    text = SERIES.replace("RECURRENCE-ID;TZID", "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID").replace(
        "EXDATE;TZID=Europe/Paris:20260408T090000\r\n", ""
    )
    put(alice, f"{calendar}s.ics", text)
    found = asked(alice, calendar, '<C:expand start="20260301T000000Z" end="20260501T000000Z"/>')
    assert re.findall(r"DTSTART:(\S+)", found) == ["20260325T080000Z", "20260401T130000Z", "20260408T130000Z", "20260415T130000Z"]
    assert query(alice, calendar, comp(time("20260415T125000Z", "20260415T131000Z"))) == ["s"]
    assert query(alice, calendar, comp(time("20260415T065000Z", "20260415T071000Z"))) == []


def test_parts_of_objects_and_cards(alice: Client, calendar: str, book: str):
    put(alice, f"{calendar}s.ics", SERIES)
    inner = '<C:comp name="VCALENDAR"><C:prop name="VERSION"/>{}</C:comp>'
    inner = inner.format('<C:comp name="VEVENT"><C:prop name="SUMMARY"/><C:prop name="UID" novalue="yes"/></C:comp>')
    assert asked(alice, calendar, inner) == (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:\r\nSUMMARY:Series\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nUID:\r\nSUMMARY:Moved\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    put(alice, f"{book}p.vcf", card("p", "FN:P", "N:P;;;;", "EMAIL:p@x.org", "item1.URL:http://x"))
    answer = report(
        alice,
        book,
        "CR:addressbook-multiget",
        f'<prop><getetag/><CR:address-data><CR:prop name="UID"/><CR:prop name="EMAIL"/></CR:address-data></prop>'
        f"<href>{book}p.vcf</href><href>{book}no.vcf</href>",
    )
    assert data(answer) == "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:p\r\nEMAIL:p@x.org\r\nEND:VCARD\r\n"
    assert b"no.vcf</D:href><D:status>HTTP/1.1 404" in answer.body


def test_the_version_of_a_card_is_negotiated(alice: Client, book: str):
    text = card("v", "FN:V", "N:V;;;;", "EMAIL;TYPE=HOME,PREF:v@x.org", "X-GENDER:F", "PHOTO;ENCODING=b;TYPE=PNG:AAAA")
    put(alice, f"{book}v.vcf", text)
    assert alice.dav("GET", f"{book}v.vcf").body == text.encode()
    newer = alice.dav("GET", f"{book}v.vcf", Accept="text/vcard; version=4.0").body.decode()
    assert {"VERSION:4.0", "EMAIL;TYPE=HOME;PREF=1:v@x.org", "GENDER:F", "PHOTO:data:image/png;base64,AAAA"} <= set(newer.split("\r\n"))
    put(alice, f"{book}w.vcf", newer.replace("UID:v", "UID:w"))
    older = data(report(alice, book, "CR:addressbook-multiget", f'<prop><CR:address-data version="3.0"/></prop><href>{book}w.vcf</href>'))
    assert {"VERSION:3.0", "X-GENDER:F", "PHOTO;ENCODING=b;TYPE=PNG:AAAA"} <= set(older.split("\r\n"))
    odd = report(alice, book, "CR:addressbook-multiget", f'<prop><CR:address-data version="2.1"/></prop><href>{book}w.vcf</href>')
    assert precondition(odd, "supported-address-data")


def test_who_is_busy_when(alice: Client, calendar: str):
    put(alice, f"{calendar}s.ics", SERIES)
    put(alice, f"{calendar}f.ics", event("f", "DTSTART:20260325T083000Z", "DTEND:20260325T093000Z"))
    put(alice, f"{calendar}g.ics", event("g", "DTSTART:20260326T083000Z", "DTEND:20260326T093000Z", "TRANSP:TRANSPARENT"))
    put(alice, f"{calendar}h.ics", event("h", "DTSTART:20260327T083000Z", "DTEND:20260327T093000Z", "STATUS:TENTATIVE"))
    answer = report(alice, calendar, "C:free-busy-query", time("20260325T000000Z", "20260328T000000Z"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert re.findall(rb"FREEBUSY;FBTYPE=(\S+)", answer.body) == [
        b"BUSY:20260325T080000Z/20260325T093000Z",
        b"BUSY-TENTATIVE:20260327T083000Z/20260327T093000Z",
    ]


# -- sync ---------------------------------------------------------------------------------------------------------------


def sync(alice: Client, path: str, token: str = "", limit: int = 0) -> tuple[str, list[str], list[str]]:
    """Token, what is there, what is gone."""
    cut = f"<limit><nresults>{limit}</nresults></limit>" if limit else ""
    inner = f"<sync-token>{token}</sync-token><sync-level>1</sync-level>{cut}<prop><getetag/></prop>"
    answer = alice.dav("REPORT", path, f"<sync-collection {NS}>{inner}</sync-collection>")
    assert answer.status == 207, answer.body
    text = answer.body.decode()
    parts = re.findall(r"<D:response><D:href>([^<]*)</D:href>(.*?)</D:response>", text)
    names = {href.rpartition("/")[2].rpartition(".")[0]: rest for href, rest in parts if not href.endswith("/")}
    assert (len(names) < len(parts)) == ("507 Insufficient Storage" in text)
    new = re.search(r"<D:sync-token>([^<]*)</D:sync-token></D:multistatus>", text)
    assert new is not None
    return new.group(1), sorted(n for n, rest in names.items() if "200 OK" in rest), sorted(n for n, rest in names.items() if "404" in rest)


def test_sync_tells_what_changed_in_slices_too(alice: Client, calendar: str):
    start = sync(alice, calendar)[0]
    for name in "abcde":
        put(alice, f"{calendar}{name}.ics", event(name, "DTSTART:20260101T000000Z"))
    whole, there, gone = sync(alice, calendar, start)
    assert (there, gone) == (list("abcde"), [])
    for first in ("", start):
        token, seen = first, []
        for _ in range(3):
            token, there, _ = sync(alice, calendar, token, limit=2)
            assert len(there) <= 2
            seen += there
        assert (sorted(seen), token) == (list("abcde"), whole)
    alice.dav("DELETE", f"{calendar}b.ics")
    put(alice, f"{calendar}c.ics", event("c", "DTSTART:20260102T000000Z"))
    assert sync(alice, calendar, whole)[1:] == (["c"], ["b"])
    last = sync(alice, calendar)[0]
    assert sync(alice, calendar, last) == (last, [], [])


@pytest.mark.parametrize(
    "token", ["nonsense", "http://cozyd.org/ns/sync/{}/999999-x", "http://cozyd.org/ns/sync/{}/x", "http://cozyd.org/ns/sync/other/1-1"]
)
def test_a_token_nobody_gave_is_refused_by_name(alice: Client, calendar: str, token: str):
    given = token.format(calendar.split("/")[-2])
    inner = f"<sync-token>{given}</sync-token><sync-level>1</sync-level><prop><getetag/></prop>"
    answer = alice.dav("REPORT", calendar, f"<sync-collection {NS}>{inner}</sync-collection>")
    assert precondition(answer, "valid-sync-token"), answer.body


def test_a_minimal_answer_leaves_out_what_is_not_there(alice: Client, calendar: str):
    put(alice, f"{calendar}a.ics", event("a", "DTSTART:20260101T000000Z"))
    whole = propfind(alice, calendar, "<getetag/><C:nothing/>", "1").body
    minimal = propfind(alice, calendar, "<getetag/><C:nothing/>", "1", Prefer="return=minimal").body
    brief = propfind(alice, calendar, "<getetag/><C:nothing/>", "1", Brief="t").body
    assert (whole.count(b"404 Not Found"), minimal.count(b"404 Not Found")) == (2, 0)
    assert brief == minimal


def test_properties_behind_a_property_and_principals_by_name(alice: Client):
    inner = '<property name="current-user-principal"><property name="displayname"/></property>'
    answer = alice.dav("REPORT", HOME, f"<expand-property {NS}>{inner}</expand-property>")
    assert b"<D:current-user-principal><D:response><D:href>/sync/dav/me/</D:href>" in answer.body

    def found(name: str) -> bytes:
        search = f"<property-search><prop><displayname/></prop><match>{name}</match></property-search><prop><displayname/></prop>"
        return alice.dav("REPORT", "/sync/dav/", f"<principal-property-search {NS}>{search}</principal-property-search>", Depth="0").body

    assert b"<D:displayname>wire</D:displayname>" in found("WIR")
    assert b"<D:response>" not in found("nobody")


def test_what_is_only_to_be_read_is_not_changed_and_says_so(served: Served, alice: Client):
    scope = ("io.cozy.calendar.calendars", "io.cozy.calendar.events", "io.cozy.contacts")
    app = Client(served, host=f"localhost:{served.port}", scope=scope)
    id = app.api("POST", "/data/io.cozy.calendar.calendars/", {"name": "School", "readOnly": True}).json["id"]
    doc = {
        "label": "Exam",
        "start": "2026-01-05",
        "relationships": {"calendar": {"data": {"_id": id, "_type": "io.cozy.calendar.calendars"}}},
    }
    exam = app.api("POST", "/data/io.cozy.calendar.events/", doc).json["id"]
    path = f"{HOME}{id}/"
    assert b"SUMMARY:Exam" in alice.dav("GET", f"{path}{exam}.ics").body
    refused = [
        alice.dav("PUT", f"{path}x.ics", event("x", "DTSTART:20260101T100000Z")),
        alice.dav("DELETE", f"{path}{exam}.ics"),
        alice.dav("MOVE", f"{path}{exam}.ics", Destination=f"{HOME}calendar/{exam}.ics"),
        alice.dav("POST", path, event("y", "DTSTART:20260101T100000Z"), Content_Type="text/calendar"),
    ]
    assert [one.status for one in refused] == [403] * 4
    assert all(b"<D:need-privileges/>" in one.body for one in refused)
    privileges = propfind(alice, path, "<current-user-privilege-set/>").body
    assert b"<D:write-content/>" not in privileges
    assert b"<D:write-properties/>" in privileges
    renamed = "<set><prop><displayname>My school</displayname></prop></set>"
    assert b"200 OK" in alice.dav("PROPPATCH", path, f"<propertyupdate {NS}>{renamed}</propertyupdate>").body
    kept = app.api("POST", "/data/io.cozy.contacts/", {"fullname": "Kept", "readOnly": True}).json["id"]
    assert alice.dav("DELETE", f"{HOME}contacts/{kept}.vcf").status == 403
