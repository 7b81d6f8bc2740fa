"""REPORT where it is sent to the wrong place, or says odd things (RFC 3253, 4791, 6352, 6578)."""

import re
from collections.abc import Callable

import pytest

from tests.dav.asking import HOME, card, data, event, hrefs, precondition, propfind, put, query, report
from tests.support.client import Client

ALL = '<prop><getetag/></prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter>'
SYNC = "<sync-token>{}</sync-token><sync-level>1</sync-level><prop><getetag/></prop>"


def test_a_report_is_of_one_kind_of_collection(alice: Client, calendar: str, book: str):
    put(alice, f"{calendar}a.ics", event("a", "DTSTART:20260101T100000Z"))
    assert precondition(report(alice, book, "C:calendar-query", ALL), "supported-report")
    assert precondition(report(alice, calendar, "CR:addressbook-query", "<prop><getetag/></prop><CR:filter/>"), "supported-report")
    assert precondition(report(alice, f"{calendar}a.ics", "sync-collection", SYNC.format("")), "supported-report")
    assert precondition(report(alice, HOME, "sync-collection", SYNC.format("")), "supported-report")
    assert "a" in hrefs(report(alice, HOME, "C:calendar-query", ALL))


def test_a_token_without_its_number_is_no_token(alice: Client, calendar: str):
    token = re.findall(r"<D:sync-token>(.*?)</D:sync-token>", propfind(alice, calendar, "<sync-token/>").body.decode())[0]
    assert report(alice, calendar, "sync-collection", SYNC.format(token)).status == 207
    for bad in (token.rpartition("/")[0] + "/", token.rpartition("-")[0], token + "0"):
        assert precondition(report(alice, calendar, "sync-collection", SYNC.format(bad)), "valid-sync-token"), bad


def test_addresses_in_a_multiget_are_looked_up_or_not_found(alice: Client, calendar: str):
    put(alice, f"{calendar}a.ics", event("a", "DTSTART:20260101T100000Z"))
    put(alice, f"{calendar}b.ics", event("b", "DTSTART:20260101T100000Z"))
    names = [f"http://localhost:{alice.served.port}{calendar}a.ics", "b.ics", "http://[no", f"{HOME}absent/c.ics", ""]
    answer = report(alice, calendar, "C:calendar-multiget", "<prop><getetag/></prop>" + "".join(f"<href>{one}</href>" for one in names))
    text = answer.body.decode()
    assert (answer.status, text.count("200 OK"), text.count("404 Not Found")) == (207, 2, 3)


def test_names_alone_are_told_without_values(alice: Client, calendar: str):
    put(alice, f"{calendar}a.ics", event("a", "DTSTART:20260101T100000Z"))
    filter_ = '<C:filter><C:comp-filter name="VCALENDAR"/></C:filter>'
    assert b"<D:getetag/>" in report(alice, calendar, "C:calendar-query", f"<propname/>{filter_}").body


@pytest.mark.parametrize("name", ["a&gt;&lt;b", "x y", "", "2", "\u00b2"])
def test_what_is_no_name_of_a_property_is_a_bad_request(alice: Client, calendar: str, name: str):
    inner = f'<property name="{name}"><property name="displayname"/></property>'
    assert report(alice, calendar, "expand-property", inner).status == 400


def test_a_range_from_the_first_moment_of_all_is_one(alice: Client, calendar: str, book: str):
    put(alice, f"{calendar}a.ics", event("a", "DTSTART:20260101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2"))
    span = 'start="00010101T000000Z" end="99991231T235959Z"'
    inner = f'<prop><C:calendar-data><C:expand {span}/></C:calendar-data></prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter>'
    assert data(report(alice, calendar, "C:calendar-query", inner)).count("BEGIN:VEVENT") == 2
    busy = report(alice, calendar, "C:free-busy-query", f"<C:time-range {span}/>").body
    assert busy.count(b"FREEBUSY;") == 2
    assert b"DTSTART:00010101T000000Z" in busy
    put(alice, f"{book}c.vcf", card("c", "FN:C"))
    limit = "<prop><getetag/></prop><CR:filter/><CR:limit><CR:nresults>\u00b2</CR:nresults></CR:limit>"
    assert hrefs(report(alice, book, "CR:addressbook-query", limit)) == ["c"]


def test_this_and_future_is_counted_on_the_clock_of_the_master(alice: Client, calendar: str):
    text = event("a", "DTSTART;TZID=Europe/Paris:20260301T100000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=5")
    later = "RECURRENCE-ID;RANGE=THISANDFUTURE:20260303T090000Z\r\nDTSTART;TZID=Europe/Paris:20260303T110000\r\nDURATION:PT2H"
    child = f"BEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20260101T000000Z\r\n{later}\r\nEND:VEVENT\r\nEND:VCALENDAR"
    put(alice, f"{calendar}a.ics", text.replace("END:VCALENDAR", child))
    span = 'start="20260301T000000Z" end="20260401T000000Z"'
    inner = f'<prop><C:calendar-data><C:expand {span}/></C:calendar-data></prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter>'
    starts = re.findall(r"DTSTART:2026(\d+T\d\d)", data(report(alice, calendar, "C:calendar-query", inner)))
    assert starts == ["0301T09", "0302T09", "0303T10", "0304T10", "0305T10"]


def test_an_alarm_that_repeats_is_found_each_time_it_rings(alarm: Callable[..., bool]):
    assert alarm("TRIGGER:-PT30M", "REPEAT:2", "DURATION:PT10M", at="0939")
    assert alarm("TRIGGER:-PT30M", "REPEAT:2", "DURATION:PT10M", at="0949")
    assert not alarm("TRIGGER:-PT30M", "REPEAT:2", "DURATION:PT10M", at="1004")
    assert not alarm("TRIGGER:-PT30M", "DURATION:PT10M", at="0939")
    assert alarm("TRIGGER;VALUE=DATE-TIME:20260301T080000Z", "REPEAT:1", "DURATION:P1D", at="0800", day="02")
    assert alarm("TRIGGER:-PT30M", "REPEAT:\u00b2", "DURATION:P99999999D", at="0929")


@pytest.fixture
def alarm(alice: Client, calendar: str) -> Callable[..., bool]:
    """Whether an alarm of an event at ten rings within two minutes of a time."""

    def rings(*lines: str, at: str, day: str = "01") -> bool:
        inner = ("BEGIN:VALARM", "ACTION:DISPLAY", "DESCRIPTION:x", *lines, "END:VALARM")
        put(alice, f"{calendar}a.ics", event("a", "DTSTART:20260301T100000Z", "DURATION:PT1H", *inner))
        span = f'start="202603{day}T{at}00Z" end="202603{day}T{int(at) + 2:04}00Z"'
        inside = f'<C:comp-filter name="VEVENT"><C:comp-filter name="VALARM"><C:time-range {span}/></C:comp-filter></C:comp-filter>'
        return query(alice, calendar, inside) == ["a"]

    return rings
