"""Events and todos: the mapping, edits, moved starts, bounds, rules that never match."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dateutil import rrule as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from cozyd import jsons
from cozyd.documents.store import Ref, Stored
from cozyd.errors import Invalid
from cozyd.pim import ical, instances, occurrence, record, recurrence, resource, times

PARIS = (
    "BEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n"
    "END:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def calendar(*lines: str, kind: str = "VEVENT", extra: str = "") -> bytes:
    inner = "\r\n".join(("UID:u", "DTSTAMP:20260101T000000Z", *lines))
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{extra}BEGIN:{kind}\r\n{inner}\r\nEND:{kind}\r\nEND:VCALENDAR\r\n".encode()


def doc_of(raw: bytes) -> dict[str, Any]:
    return ical.apply(ical.parse(raw), {})


def edited(raw: bytes, **changes) -> list[str]:
    parsed = ical.parse(raw)
    kind = ical.kind_of(parsed)
    old = doc_of(raw)
    private = record.new_record(kind, "x.ics", "u", raw, ical.read(parsed), "")
    normalise = ical.normalise_event if kind == "VEVENT" else ical.normalise_todo
    doc = normalise(old | changes, old)
    stored = Stored(Ref(ical.COMPONENTS[kind], "id"), "2-a", jsons.dump(doc), private=jsons.dump({"dav": private}))
    return resource.text(stored).decode().split("\r\n")


@pytest.mark.parametrize(
    ("line", "start", "zone"),
    [
        ("DTSTART;VALUE=DATE:20260301", "2026-03-01", None),
        ("DTSTART:20260301T090000Z", "2026-03-01T09:00:00Z", None),
        ("DTSTART:20260301T090000", "2026-03-01T09:00:00", None),
        ("DTSTART;TZID=Europe/Paris:20260701T090000", "2026-07-01T09:00:00+02:00", "Europe/Paris"),
        ("DTSTART;TZID=/vendor.example/Europe/Paris:20260101T090000", "2026-01-01T09:00:00+01:00", "Europe/Paris"),
        ("DTSTART;TZID=Romance Standard Time:20260101T090000", "2026-01-01T09:00:00+01:00", "Europe/Paris"),
        ("DTSTART;TZID=No/Where:20260101T090000", "2026-01-01T09:00:00", None),
    ],
)
def test_times_keep_their_kind(line: str, start: str, zone: str | None):
    doc = doc_of(calendar(line))
    assert (doc["start"], doc.get("timezone")) == (start, zone)


def test_a_lying_zone_of_one_object_changes_no_other():
    lie = PARIS.replace("+0100", "+0900").replace("Europe/Paris", "Office")
    truth = lie.replace("+0900", "+0300")
    assert doc_of(calendar("DTSTART;TZID=Office:20260601T090000", extra=lie))["start"].endswith("+09:00")
    assert doc_of(calendar("DTSTART;TZID=Office:20260601T090000", extra=truth))["start"].endswith("+03:00")
    faked = PARIS.replace("+0100", "+0900")
    assert doc_of(calendar("DTSTART;TZID=Europe/Paris:20260101T090000", extra=faked))["start"].endswith("+01:00")


def test_a_duration_stays_a_duration():
    raw = calendar("DTSTART:20260301T090000Z", "DURATION:PT1H", "SUMMARY:x")
    assert doc_of(raw)["end"] == "2026-03-01T10:00:00Z"
    assert "DURATION:PT1H30M" in edited(raw, end="2026-03-01T10:30:00Z")


def test_a_day_is_not_24_hours_when_the_clock_changes():
    raw = calendar("DTSTART;TZID=Europe/Paris:20260328T120000", "DURATION:P1D")
    assert doc_of(raw)["end"] == "2026-03-29T12:00:00+02:00"


def test_a_moved_recurring_start_moves_its_exceptions():
    child = (
        "BEGIN:VEVENT\r\nUID:u\r\nRECURRENCE-ID:20260315T090000Z\r\nDTSTART:20260315T100000Z\r\nX-CHILD:1\r\nSUMMARY:late\r\nEND:VEVENT\r\n"
    )
    raw = calendar("DTSTART:20260301T090000Z", "RRULE:FREQ=WEEKLY;COUNT=4", "EXDATE:20260308T090000Z", "SUMMARY:x")
    raw = raw.replace(b"END:VCALENDAR", child.encode() + b"END:VCALENDAR")
    moved = edited(raw, start="2026-03-01T11:00:00Z")
    assert "EXDATE:20260308T110000Z" in moved
    assert "RECURRENCE-ID:20260315T110000Z" in moved
    assert "X-CHILD:1" in moved


def test_an_excluded_day_is_added_and_an_alarm_keeps_its_lines():
    alarm = ["BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER;X-A=1:-PT15M", "X-ODD:1", "END:VALARM"]
    raw = calendar("DTSTART;TZID=Europe/Paris:20260301T090000", "RRULE:FREQ=WEEKLY", *alarm, extra=PARIS)
    found = edited(raw, overrides={"2026-03-08T09:00:00": {"excluded": True}})
    assert "EXDATE;TZID=Europe/Paris:20260308T090000" in found
    start = found.index("BEGIN:VALARM")
    assert found[start : start + 5] == alarm


def test_an_answer_touches_one_attendee_and_no_sequence():
    raw = calendar(
        "DTSTART:20260301T090000Z",
        "SEQUENCE:3",
        "ORGANIZER:mailto:o@x",
        "ATTENDEE;CN=A;PARTSTAT=NEEDS-ACTION;X-P=1:mailto:a@x",
        "ATTENDEE:mailto:b@x",
    )
    people = doc_of(raw)["attendee"]
    found = edited(raw, attendee=[{**people[0], "status": "ACCEPTED"}, people[1]])
    assert "ATTENDEE;CN=A;PARTSTAT=ACCEPTED;X-P=1:mailto:a@x" in found
    assert "SEQUENCE:3" in found


def test_a_todo_is_ticked_and_unticked():
    raw = calendar("SUMMARY:Milk", "STATUS:NEEDS-ACTION", kind="VTODO")
    ticked = edited(raw, completed=True, completedAt="2026-03-01T09:00:00Z")
    assert {"STATUS:COMPLETED", "COMPLETED:20260301T090000Z", "PERCENT-COMPLETE:100"} <= set(ticked)
    back = edited("\r\n".join(ticked).encode(), completed=False)
    assert "STATUS:NEEDS-ACTION" in back
    assert not [line for line in back if line.startswith("COMPLETED")]


def test_an_instant_in_another_offset_is_converted():
    raw = calendar("DTSTART;TZID=Europe/Paris:20260701T090000", extra=PARIS)
    assert "DTSTART;TZID=Europe/Paris:20260701T130000" in edited(raw, start="2026-07-01T11:00:00Z")


def test_an_app_s_event_is_whole():
    doc = {
        "label": "Été",
        "start": "2026-07-01T09:00:00+02:00",
        "end": "2026-07-01T10:00:00+02:00",
        "timezone": "Europe/Paris",
        "rrule": {"frequency": "weekly", "byDay": [{"day": "we"}], "until": "2026-08-01T09:00:00"},
    }
    raw = ical.create(doc, "VEVENT", "id1", "2026-01-01T00:00:00Z")
    read = ical.read(ical.parse(raw))
    assert {key: read[key] for key in doc} == doc
    assert b"BEGIN:VTIMEZONE\r\nTZID:Europe/Paris" in raw
    assert b"UNTIL=20260801T070000Z" in raw


@pytest.mark.parametrize(
    ("rule", "end"),
    [
        ("FREQ=WEEKLY", times.ENDLESS),
        ("FREQ=DAILY;COUNT=3", "2026-03-03T10:00:00Z"),
        ("FREQ=DAILY;UNTIL=20260305T090000Z", "2026-03-05T10:00:00Z"),
        ("FREQ=DAILY;COUNT=1000000000", times.ENDLESS),
        ("FREQ=SECONDLY", times.ENDLESS),
    ],
)
def test_bounds_end_with_the_last_occurrence(rule: str, end: str):
    doc = doc_of(calendar("DTSTART:20260301T090000Z", "DTEND:20260301T100000Z", f"RRULE:{rule}"))
    assert doc["bounds"] == {"start": "2026-03-01T09:00:00Z", "end": end}


@pytest.mark.parametrize(
    "rule", ["FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;BYDAY=MO;BYSETPOS=2", "FREQ=SECONDLY", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"]
)
def test_a_rule_that_never_matches_costs_nothing(rule: str):
    began = time.process_time()
    doc = doc_of(calendar("DTSTART:20260301T090000Z", f"RRULE:{rule}"))
    low = datetime(2030, 1, 1, tzinfo=UTC)
    occurrence.happens_between(doc, low, datetime(2031, 1, 1, tzinfo=UTC))
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "raw",
    [
        calendar("SUMMARY:no start"),
        calendar("DTSTART:yesterday"),
        calendar("DTSTART:20260301T090000Z", extra="METHOD:PUBLISH\r\n"),
        calendar("DTSTART:20260301T090000Z").replace(b"VERSION:2.0", b"VERSION:1.0"),
        calendar("DTSTART:20260301T090000Z").replace(
            b"END:VCALENDAR", b"BEGIN:VEVENT\r\nUID:other\r\nDTSTART:20260301\r\nEND:VEVENT\r\nEND:VCALENDAR"
        ),
        b"BEGIN:VCALENDAR\r\n" + b"BEGIN:X\r\n" * 50 + b"END:X\r\n" * 50 + b"END:VCALENDAR\r\n",
    ],
)
def test_what_is_no_object_is_invalid(raw: bytes):
    with pytest.raises(Invalid):
        ical.parse(raw)


@pytest.mark.parametrize("before", [b"\r\n\r\n", b"\n", b"\xef\xbb\xbf\r\n", b"\xef\xbb\xbf"])
def test_what_stands_before_an_object_stays(before: bytes):
    raw = before + calendar("DTSTART:20260301T090000Z", "SUMMARY:S")
    assert doc_of(raw)["label"] == "S"
    assert ical.parse(raw).render() == raw


RULES = st.builds(
    lambda frequency, interval, days, months, count: ";".join(
        [f"FREQ={frequency}", f"INTERVAL={interval}", f"COUNT={count}"]
        + ([f"BYDAY={','.join(days)}"] if days else [])
        + ([f"BYMONTH={','.join(months)}"] if months else [])
    ),
    st.sampled_from(recurrence.FREQUENCIES),
    st.integers(1, 3),
    st.lists(st.sampled_from(recurrence.DAYS), max_size=3, unique=True),
    st.lists(st.sampled_from([str(month) for month in range(1, 13)]), max_size=3, unique=True),
    st.integers(1, 20),
)


@settings(max_examples=150, deadline=None)
@given(RULES, st.dates(datetime(2020, 1, 1).date(), datetime(2030, 12, 28).date()))
def test_occurrences_are_those_of_dateutil(rule: str, day):
    start = datetime(day.year, day.month, min(day.day, 28), 10)
    want = list(oracle.rrulestr(rule, dtstart=start))
    got = list(recurrence.occurrences(recurrence.parse(rule, None), start))
    if start not in want:  # ours counts the start, as RFC 5545 asks
        got, want = got[1:], want[: len(got) - 1]
    assert got == want


NUMBERED = st.builds(
    lambda weeks, days, hours, minutes, position, week_start: ";".join(
        [f"FREQ=YEARLY;COUNT=12;WKST={week_start}"]
        + ([f"BYWEEKNO={','.join(map(str, weeks))}", f"BYDAY={','.join(days)}"] if weeks and days else ["BYYEARDAY=1,60,-1,100,366"])
        + ([f"BYHOUR={','.join(map(str, hours))}"] if hours else [])
        + ([f"BYMINUTE={','.join(map(str, minutes))}"] if minutes else [])
        + ([f"BYSETPOS={position}"] if position else [])
    ),
    st.lists(st.sampled_from([2, 20, 40, -20, -40]), max_size=3, unique=True),
    st.lists(st.sampled_from(recurrence.DAYS), max_size=3, unique=True),
    st.lists(st.integers(0, 23), max_size=2, unique=True),
    st.lists(st.integers(0, 59), max_size=2, unique=True),
    st.sampled_from([0, 1, -1, 2]),
    st.sampled_from(["MO", "SU", "TH"]),
)


@settings(max_examples=60, deadline=None)
@given(NUMBERED, st.dates(datetime(2020, 1, 1).date(), datetime(2030, 12, 28).date()))
def test_days_weeks_and_hours_by_number_are_those_of_dateutil(rule: str, day):
    start = datetime(day.year, day.month, day.day, 10, 30)
    want = list(oracle.rrulestr(rule, dtstart=start))
    got = list(recurrence.occurrences(recurrence.parse(rule, None), start))
    if start not in want:
        got, want = got[1:], want[: len(got) - 1]
    assert got == want


@pytest.mark.parametrize(("week", "numbers"), [(1, {1}), (53, {53}), (52, {52}), (-1, {52, 53})])
def test_the_weeks_at_the_ends_of_a_year_are_those_of_iso_8601(week: int, numbers: set[int]):
    first, beyond = datetime(2000, 6, 1), datetime(2040, 1, 1)
    rule = recurrence.parse(f"FREQ=YEARLY;BYWEEKNO={week};BYDAY=MO,TU,WE,TH,FR,SA,SU;UNTIL=x", beyond - timedelta(days=1))
    days = [first + timedelta(days=number) for number in range(1, (beyond - first).days)]
    wanted = [day for day in days if day.isocalendar().week in numbers]
    if week == -1:
        wanted = [day for day in wanted if (day + timedelta(days=7)).isocalendar().week == 1]
    assert list(recurrence.occurrences(rule, first))[1:] == wanted


def test_a_rule_by_number_is_expanded():
    span = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
    cases = {
        ("DTSTART:20260511T100000Z", "RRULE:FREQ=YEARLY;BYWEEKNO=20"): ["20260511T100000Z", "20270517T100000Z"],
        ("DTSTART:20260410T100000Z", "RRULE:FREQ=YEARLY;BYYEARDAY=100"): ["20260410T100000Z", "20270410T100000Z"],
        ("DTSTART:20260301T090000Z", "RRULE:FREQ=DAILY;BYHOUR=9,17;COUNT=3"): ["20260301T090000Z", "20260301T170000Z", "20260302T090000Z"],
        ("DTSTART;VALUE=DATE:20260301", "RRULE:FREQ=DAILY;BYHOUR=9,17;COUNT=2"): ["20260301", "20260302"],
    }
    for lines, starts in cases.items():
        found = instances.expanded(ical.parse(calendar(*lines)), *span)
        assert [one.value("DTSTART") for one in found.components()] == starts, lines


def test_the_stamps_of_an_edit_are_times():
    parsed = ical.parse(
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260301T090000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    for moment, written in (("2026-11-24T12:00:44Z", "20261124T120044Z"), ("2026-11-24T13:00:44.5+01:00", "20261124T120044Z")):
        ical.stamp(parsed, moment)
        assert ical.main_of(parsed).value("DTSTAMP") == written


def test_what_an_app_writes_and_no_object_says_leaves_the_lines_as_they_are():
    raw = calendar(
        "DTSTART;TZID=Europe/Paris:20260301T100000",
        "RRULE:FREQ=DAILY;COUNT=5",
        "EXDATE;TZID=Europe/Paris:20260302T100000",
        "SUMMARY:S",
        "CATEGORIES:a",
        "GEO:1;2",
        "PRIORITY:3",
        "ORGANIZER:mailto:a@x.fr",
        "ATTENDEE:mailto:b@x.fr",
        "BEGIN:VALARM",
        "TRIGGER:-PT5M",
        "END:VALARM",
    )
    rules = [5, "FREQ=DAILY", {"frequency": 5}, {"frequency": "daily", "until": "zz"}, {"frequency": "daily", "byDay": ["mo"]}]
    rules += [{"frequency": "daily", "count": "x"}, {"frequency": "monthly", "byMonthDay": "1;COUNT=2"}]
    odd: list[dict[str, Any]] = [{"rrule": rule} for rule in rules]
    odd += [{"start": "soon"}, {"label": {"a": 1}}, {"overrides": [1]}, {"geo": ["a", "b"]}, {"tags": "b"}, {"priority": "high"}]
    odd += [{"alarms": [5]}, {"attendee": "Bob"}, {"organizer": [1]}]
    for changes in odd:
        assert edited(raw, **changes) == raw.decode().split("\r\n"), changes
    nothing: list[dict[str, Any]] = [{"rrule": None}, {"overrides": {}}, {"alarms": []}, {"attendee": None}, {"label": ""}]
    for empty in nothing:
        assert len(edited(raw, **empty)) < len(raw.decode().split("\r\n")), empty


def test_a_todo_that_was_not_ticked_is_not_unticked():
    raw = calendar("DUE:20260301T100000Z", "STATUS:IN-PROCESS", "PERCENT-COMPLETE:20", kind="VTODO")
    assert edited(raw, completed=False) == raw.decode().split("\r\n")
    going_on = edited(raw, completed=False, percent=50)
    assert {"STATUS:IN-PROCESS", "PERCENT-COMPLETE:50"} <= set(going_on)


def test_a_sequence_does_not_fall_when_an_organizer_comes():
    raw = calendar("DTSTART:20260301T100000Z", "SEQUENCE:3")
    assert "SEQUENCE:4" in edited(raw, start="2026-03-02T10:00:00Z")
    assert "SEQUENCE:4" in edited(raw, start="2026-03-02T10:00:00Z", organizer={"email": "a@x.fr"})


@pytest.mark.parametrize(
    "lines",
    [
        ("DTSTART:20261231T235960Z",),
        ("DTSTART:20260301T100000Z", "SEQUENCE:\u00b2"),
        ("DTSTART;TZID=Own:99991231T100000",),
        ("DTSTART:20260301T100000Z", "DURATION:P99999999D"),
        ("DTSTART;TZID=Own:20260301T100000", "RRULE:FREQ=YEARLY", "RDATE:99991231T235959Z"),
    ],
)
def test_odd_numbers_are_no_error(lines: tuple[str, ...]):
    part = "BEGIN:STANDARD\r\nDTSTART:19700101T030000\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=12;BYDAY={}\r\nEND:STANDARD\r\n"
    for day in ("-1SU", "5SU", "9MO"):
        raw = calendar(*lines, extra=f"BEGIN:VTIMEZONE\r\nTZID:Own\r\n{part.format(day)}END:VTIMEZONE\r\n")
        assert doc_of(raw)["start"]
        assert edited(raw, start="2026-05-01T10:00:00Z", end=None)
        for low, high in ((datetime.min, datetime(2027, 1, 1)), (datetime(9998, 1, 1), datetime.max)):
            span = (low.replace(tzinfo=UTC), high.replace(tzinfo=UTC))
            assert instances.expanded(ical.parse(raw), *span)
            assert instances.limited(ical.parse(raw), *span)
            assert instances.busy([raw], *span)
