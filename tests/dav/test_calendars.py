"""CalDAV and CardDAV as clients ask: discovery, collections, conditions, sync (RFC 4791, 6352, 6578, 5689, 3744, 7953)."""

import re
from xml.etree import ElementTree

import pytest

from tests.dav.asking import HOME, NS, card, event, numbers, precondition, propfind, put
from tests.support.client import Answer, Client
from tests.support.serving import Served

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
    assert (answer.headers["Content-Length"], answer.headers["Connection"]) == ("0", None), "the connection stays open for what comes next"
    wrong = alice.dav("LOCK", f"{HOME}calendar/x.ics")
    assert (wrong.status, "PUT" in wrong.headers["Allow"]) == (405, True)


# -- collections --------------------------------------------------------------------------------------------------------


def test_a_calendar_has_the_properties_it_was_made_with(alice: Client):
    path = f"{HOME}made{next(numbers)}/"
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
    assert alice.dav("PUT", f"{calendar}x.ics", good, Content_Encoding="gzip").status == 415
    assert alice.dav("GET", f"{calendar}good.ics").body == good.encode()


def test_resources_are_moved_and_copied_between_collections(alice: Client, calendar: str):
    other = f"{HOME}other{next(numbers)}/"
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
    asked = propfind(alice, calendar, "<getetag/><C:nothing/>", "1", Prefer="return=minimal")
    assert asked.headers["Preference-Applied"] == "return=minimal"
    minimal = asked.body
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
