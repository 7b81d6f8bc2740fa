"""Cards and events as single resources: conditions, destinations, places that are not there (RFC 4918, RFC 4791; docs/dav.md)."""

import json
from xml.etree import ElementTree

import pytest

from tests.dav.asking import HOME, NS, card, event, precondition, propfind, put
from tests.support.client import Client
from tests.support.serving import Served

START = "DTSTART:20260101T100000Z"


def test_every_condition_of_a_request_is_looked_at(alice: Client, calendar: str):
    path, text = f"{calendar}a.ics", event("a", START)
    tag = put(alice, path, text).etag
    refused: list[dict[str, str]] = [
        {"If_Match": '"other"'},
        {"If_None_Match": tag},
        {"If": '(["other"])'},
        {"If": "(<urn:uuid:of-no-lock>)"},
        {"If": f"(Not [{tag}])"},
        {"If_Unmodified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"},
    ]
    for headers in refused:
        for method, more in (("PUT", {}), ("DELETE", {}), ("MOVE", {"Destination": f"{calendar}b.ics"})):
            answer = alice.dav(method, path, text if method == "PUT" else None, **headers, **more)
            assert answer.status == 412, (method, headers)
    assert alice.dav("GET", path, If_Match='"other"').status == 412
    assert alice.dav("PUT", path, text, If="nonsense").status == 400
    held: list[dict[str, str]] = [
        {"If_Match": f'"other", {tag}'},
        {"If_None_Match": '"other"'},
        {"If": f"([{tag}])"},
        {"If": f'(["other"]) <{calendar}a.ics> ([{tag}] Not <DAV:no-lock>)'},
        {"If": f'<http://localhost:{alice.served.port}{calendar}none.ics> (Not ["x"])'},
    ]
    for headers in held:
        assert alice.dav("PUT", path, text, **headers).status == 204, headers


def test_nothing_is_moved_or_copied_onto_itself(alice: Client, calendar: str):
    tag = put(alice, f"{calendar}a.ics", event("a", START)).etag
    for method in ("COPY", "MOVE"):
        assert alice.dav(method, f"{calendar}a.ics", Destination=f"{calendar}a.ics").status == 403
    assert alice.dav("GET", f"{calendar}a.ics").etag == tag


def test_a_destination_is_understood_by_every_name_of_the_server(alice: Client, calendar: str):
    put(alice, f"{calendar}a.ics", event("a", START))
    port = alice.served.port
    forms = [f"http://alice.localhost:{port}{calendar}b.ics", f"http://me@localhost:{port}{calendar}c.ics", f"{calendar}%C3%A9.ics"]
    here = f"{calendar}a.ics"
    for form in forms:
        answer = alice.dav("MOVE", here, Destination=form)
        assert (answer.status, answer.headers["Location"]) == (201, form[form.index("/sync") :])
        here = answer.headers["Location"]
    raw = f"{calendar}è.ics".encode().decode("latin-1")
    assert alice.dav("MOVE", here, Destination=raw).headers["Location"].endswith("/%C3%A8.ics")
    for form in ("http://[no", "http://elsewhere.example/x.ics"):
        assert alice.dav("MOVE", f"{calendar}%C3%A8.ics", Destination=form).status == 502


def test_what_has_no_place_is_a_conflict_and_what_is_not_there_is_not_found(alice: Client, calendar: str):
    text = event("a", START)
    assert alice.dav("PUT", f"{HOME}absent/a.ics", text).status == 409
    put(alice, f"{calendar}a.ics", text)
    assert alice.dav("PUT", f"{calendar}a.ics/b.ics", text).status == 409
    assert alice.dav("DELETE", f"{HOME}absent/").status == 404
    wrong = alice.dav("PUT", calendar, text)
    assert (wrong.status, {"DELETE", "OPTIONS", "REPORT"} <= set(wrong.headers["Allow"].split(", "))) == (405, True)


def test_who_has_a_uid_is_told(alice: Client, calendar: str, book: str):
    put(alice, f"{calendar}first%20one.ics", event("twin", START))
    refused = alice.dav("PUT", f"{calendar}second.ics", event("twin", START))
    assert precondition(refused, "no-uid-conflict")
    assert f"<D:href>{calendar}first%20one.ics</D:href>" in refused.body.decode()
    put(alice, f"{book}c.vcf", card("c", "FN:C"))
    refused = alice.dav("PUT", f"{book}c.vcf", card("d", "FN:D"))
    assert f"<CR:no-uid-conflict><D:href>{book}c.vcf</D:href></CR:no-uid-conflict>" in refused.body.decode()


@pytest.mark.parametrize("text", ["-----BEGIN", "BEGIN:X---Y\r\nEND:X---Y\r\n", "BEGIN:<&>\r\nEND:<&>\r\n"])
def test_what_is_wrong_is_told_in_well_formed_xml(alice: Client, calendar: str, text: str):
    refused = alice.dav("PUT", f"{calendar}x.ics", text)
    assert precondition(refused, "valid-calendar-data")
    ElementTree.fromstring(refused.body)


def test_all_properties_and_more(alice: Client, calendar: str):
    put(alice, f"{calendar}a.ics", event("a", START))

    def ask(path: str, inner: str) -> str:
        return alice.dav("PROPFIND", path, f"<propfind {NS}>{inner}</propfind>").body.decode()

    for path in (calendar, f"{calendar}a.ics"):
        plain = alice.dav("PROPFIND", path, f"<propfind {NS}><allprop/></propfind>", Depth="0").body.decode().partition("</D:prop>")[0]
        more = alice.dav(
            "PROPFIND", path, f"<propfind {NS}><allprop/><include><owner/><C:nothing/></include></propfind>", Depth="0"
        ).body.decode()
        assert plain in more
        assert more.index("<D:owner>") < more.index("404 Not Found")
        assert "<C:nothing/></D:prop><D:status>HTTP/1.1 404" in more
    assert "<D:getetag>" in ask(f"{calendar}a.ics", "<prop><getetag/><getetag/></prop>"), "a resource is no tree: any depth will do"
    assert propfind(alice, f"{calendar}a.ics", "<getetag/><getetag/>").body.count(b"<D:getetag>") == 1


def test_a_property_of_the_other_kind_of_collection_is_kept_as_it_comes(alice: Client, calendar: str, book: str):
    for path, name in ((calendar, "CR:addressbook-description"), (book, "C:calendar-description"), (book, "I:calendar-color")):
        body = f"<propertyupdate {NS}><ignored/><set><prop><{name}>#00FF00</{name}></prop></set></propertyupdate>"
        assert alice.dav("PROPPATCH", path, body).status == 207
        assert b"#00FF00" in propfind(alice, path, f"<{name}/>").body


def test_an_event_of_an_app_is_there_while_it_has_a_time(alice: Client, calendar: str):
    place = {"relationships": {"calendar": {"data": {"_id": calendar.split("/")[-2]}}}}
    made = alice.api("POST", "/data/io.cozy.calendar.events/", {"label": "A", "start": "2026-03-01"} | place).json
    path, doc = f"{calendar}{made['id']}.ics", f"/data/io.cozy.calendar.events/{made['id']}"
    for start, status in (("", 404), ("soon", 404), (5, 404), ("2026-03-02T10:00:00Z", 200)):
        rev = alice.api("GET", doc).json["_rev"]
        alice.api("PUT", doc, {"_id": made["id"], "_rev": rev, "label": "A", "start": start} | place)
        assert alice.dav("GET", path).status == status, start


def test_an_event_of_a_phone_stays_when_an_app_says_no_time(alice: Client, calendar: str):
    put(alice, f"{calendar}a.ics", event("a", START, "SUMMARY:A"))
    rows = alice.api("GET", "/data/io.cozy.calendar.events/_all_docs?include_docs=true").json["rows"]
    (found,) = [row["doc"] for row in rows if f'"{calendar.split("/")[-2]}"' in json.dumps(row["doc"])]
    answer = alice.api("PUT", f"/data/io.cozy.calendar.events/{found['_id']}", found | {"start": "soon", "rrule": "FREQ=DAILY"})
    assert answer.status == 200
    assert alice.dav("GET", f"{calendar}a.ics").body == event("a", START, "SUMMARY:A").encode()


def test_an_event_moved_among_cards_is_no_address_data(alice: Client, calendar: str, book: str):
    put(alice, f"{calendar}e.ics", event("e", START))
    assert precondition(alice.dav("MOVE", f"{calendar}e.ics", Destination=f"{book}e.vcf"), "supported-address-data")
    put(alice, f"{book}c.vcf", card("c", "FN:C", "N:C;;;;"))
    assert precondition(alice.dav("MOVE", f"{book}c.vcf", Destination=f"{calendar}c.ics"), "supported-calendar-data")


def test_what_is_announced_is_served(alice: Client, calendar: str, book: str):
    assert alice.dav("OPTIONS", calendar).headers["DAV"] == "1, 3, calendar-access, addressbook, extended-mkcol, webdav-push"
    put(alice, f"{calendar}e.ics", event("e", START))
    put(alice, f"{book}c.vcf", card("c", "FN:C", "N:C;;;;"))
    for path, own, other in (
        (f"{calendar}e.ics", b"<C:calendar-multiget/>", b"sync-collection"),
        (f"{book}c.vcf", b"<CR:addressbook-query/>", b"C:cal"),
    ):
        answer = propfind(alice, path, "<supported-report-set/>")
        assert (own in answer.body, other in answer.body, b"404" in answer.body) == (True, False, False)


def test_members_are_listed_without_their_collection(alice: Client, book: str):
    put(alice, f"{book}c.vcf", card("c", "FN:C", "N:C;;;;"))
    found = ElementTree.fromstring(propfind(alice, book, "<getetag/>", depth="1,noroot").body)
    assert [one.text for one in found.iter("{DAV:}href")] == [f"{book}c.vcf"]
    assert propfind(alice, book, "<getetag/>", depth="1,root").status == 400


def test_of_twins_that_an_app_has_made_each_can_be_edited(served: Served, book: str):
    alice = Client(served, host=f"localhost:{served.port}", scope=("io.cozy.contacts",))
    text = card("twin", "FN:A", "N:A;;;;", "NOTE:who is twin")
    put(alice, f"{book}one.vcf", text)
    rows = alice.api("GET", "/data/io.cozy.contacts/_all_docs?include_docs=true").json["rows"]
    found = next(row["doc"] for row in rows if row["doc"].get("note") == "who is twin")
    assert alice.api("PUT", f"/data/io.cozy.contacts/{found['_id']}", found | {"trashed": True}).status == 200
    put(alice, f"{book}two.vcf", text)
    found = alice.api("GET", f"/data/io.cozy.contacts/{found['_id']}").json
    assert alice.api("PUT", f"/data/io.cozy.contacts/{found['_id']}", found | {"trashed": False}).status == 200
    for name in ("one", "two"):
        assert alice.dav("PUT", f"{book}{name}.vcf", text.replace("FN:A", f"FN:{name}")).status == 204
        assert f"FN:{name}\r\n".encode() in alice.dav("GET", f"{book}{name}.vcf").body
    assert precondition(alice.dav("PUT", f"{book}three.vcf", text), "no-uid-conflict")
