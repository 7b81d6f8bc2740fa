"""Queries of CalDAV and CardDAV: every filter, parts of data, expanded series, who is busy when (RFC 4791, 6352, 7953)."""

import re

from tests.dav.asking import HOME, NS, card, data, event, precondition, put, query, report, search
from tests.support.client import Answer, Client

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


def test_who_is_busy_in_two_calendars_at_once_is_so_once(alice: Client, calendar: str):
    other = f"{calendar[:-1]}-other/"
    assert alice.dav("MKCALENDAR", other).status == 201
    put(alice, f"{calendar}a.ics", event("a", "DTSTART:20310325T080000Z", "DTEND:20310325T100000Z"))
    put(alice, f"{other}b.ics", event("b", "DTSTART:20310325T090000Z", "DTEND:20310325T110000Z"))
    answer = report(alice, HOME, "C:free-busy-query", time("20310325T000000Z", "20310326T000000Z"))
    assert re.findall(rb"FREEBUSY;FBTYPE=(\S+)", answer.body) == [b"BUSY:20310325T080000Z/20310325T110000Z"]
    assert alice.dav("DELETE", other).status == 200
