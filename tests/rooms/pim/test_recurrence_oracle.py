"""Series of many kinds happen when a look at every day, by RFC 5545, 3.3.10, says so; todos when the table of RFC 4791, 9.9, does."""

import calendar as months
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from cozyd.instance import Instance
from cozyd.pim import ical, instances
from cozyd.pim.content import Component
from cozyd.pim.times import When, value
from tests.support.stack import Clock, open_stack

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
HORIZON = datetime(2026, 6, 1)
OWN = (
    "BEGIN:VTIMEZONE\r\nTZID:Own\r\nBEGIN:DAYLIGHT\r\nDTSTART:19810329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"
    "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nBEGIN:STANDARD\r\nDTSTART:19961027T030000\r\nTZOFFSETFROM:+0200\r\n"
    "TZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)
ZONES = {"Own": "Europe/Paris"} | {name: name for name in ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca")}
CHANGES = (datetime(2025, 3, 30), datetime(2025, 10, 26), datetime(2025, 3, 9), datetime(2025, 11, 2))


@dataclass
class Series:
    """A series, and what its text says."""

    start: datetime
    kind: str
    zone: ZoneInfo | None
    rule: Mapping[str, str]
    count: int | None
    until: datetime | None
    length: tuple[str, timedelta]
    excluded: Sequence[datetime]
    added: Sequence[datetime]
    text: str = ""


# -- the oracle ---------------------------------------------------------------------------------------------------------


def numbers(rule: Mapping[str, str], name: str) -> Sequence[int]:
    return [int(one) for one in rule[name].split(",")] if name in rule else ()


def falls_on(rule: Mapping[str, str], start: date, day: date) -> bool:
    """Whether the rule has a day, its interval and positions aside."""
    often, length, year = rule["FREQ"], months.monthrange(day.year, day.month)[1], 365 + months.isleap(day.year)
    number, by_month, by_day = day.timetuple().tm_yday, numbers(rule, "BYMONTH"), rule.get("BYDAY", "")
    of_month, of_year = numbers(rule, "BYMONTHDAY"), numbers(rule, "BYYEARDAY")
    if by_month and day.month not in by_month:
        return False
    if (of_month and not {day.day, day.day - length - 1} & {*of_month}) or (of_year and not {number, number - year - 1} & {*of_year}):
        return False
    if by_day:
        at, size = (day.day, length) if often == "MONTHLY" or by_month else (number, year)
        places = {"", f"{(at - 1) // 7 + 1}", f"-{(size - at) // 7 + 1}"} if often in ("MONTHLY", "YEARLY") else {""}
        return bool({place + DAYS[day.weekday()] for place in places} & {*by_day.split(",")})
    if often == "WEEKLY":
        return day.weekday() == start.weekday()
    if of_month or of_year or often == "DAILY":
        return True
    return day.day == start.day and (often == "MONTHLY" or bool(by_month) or day.month == start.month)


def walls(one: Series) -> list[datetime]:
    """When it happens, by the clock of its zone."""
    start, rule, first = one.start.date(), one.rule, DAYS.index(one.rule.get("WKST", "MO"))
    week = start - timedelta(days=(start.weekday() - first) % 7)
    periods: dict[int, list[datetime]] = {}
    for number in range(-380, (HORIZON.date() - start).days + 380):
        day = start + timedelta(days=number)
        period = {"DAILY": number, "WEEKLY": (day - week).days // 7, "YEARLY": day.year - start.year}.get(
            rule["FREQ"], (day.year - start.year) * 12 + day.month - start.month
        )
        if period >= 0 and period % int(rule.get("INTERVAL", "1")) == 0 and falls_on(rule, start, day):
            periods.setdefault(period, []).append(datetime.combine(day, one.start.time()))
    found = []
    for days in periods.values():
        places = {place - 1 if place > 0 else len(days) + place for place in numbers(rule, "BYSETPOS")}
        found += [day for place, day in enumerate(days) if not places or place in places]
    found = [one.start, *(day for day in found if one.start < day < HORIZON and (one.until is None or day <= one.until))][: one.count]
    return sorted({*found, *one.added} - {*one.excluded})


def stretches(one: Series, happens: Sequence[datetime], zone: tzinfo | None) -> list[tuple[datetime, datetime]]:
    """Starts and ends, UTC."""
    own = one.zone or (zone if one.kind != "utc" else None) or UTC

    def at(wall: datetime) -> datetime:
        return wall.replace(tzinfo=own).astimezone(UTC)

    form, length = one.length
    exact = at(one.start + length) - at(one.start) if one.zone and form == "DTEND" else None
    days = timedelta(days=length.days)
    return [(at(wall), at(wall) + exact if exact is not None else at(wall + days) + (length - days)) for wall in happens]


# -- series -------------------------------------------------------------------------------------------------------------


def any_rule(chance: random.Random) -> dict[str, str]:
    often = chance.choice(("DAILY", "WEEKLY", "MONTHLY", "YEARLY"))
    found = {"FREQ": often}

    def some(name: str, likely: float, among: Sequence[object], most: int = 3) -> None:
        if chance.random() < likely:
            found[name] = ",".join(map(str, chance.sample(among, chance.randint(1, most))))

    some("INTERVAL", 0.4, (2, 3, 5), 1)
    some("WKST", 0.3, DAYS, 1)
    nth = ("", "", "1", "2", "-1", "5", "-2") if often in ("MONTHLY", "YEARLY") else ("",)
    some("BYDAY", 0.5, [chance.choice(nth) + day for day in DAYS])
    some("BYMONTH", 0.25, range(1, 13))
    if often != "WEEKLY":
        some("BYMONTHDAY", 0.3, (1, 13, 15, 28, 29, 30, 31, -1, -2, -31))
    if often == "YEARLY" and len(found) < 3:
        some("BYYEARDAY", 0.5, (1, 60, 100, 366, -1, -100, -366))
    if any(name.startswith("BY") for name in found):
        some("BYSETPOS", 0.3, (1, 2, -1, -2, 3), 2)
    return found


def any_series(chance: random.Random, uid: int) -> Series:
    kind, name = chance.choice((("date", ""), ("utc", ""), ("float", ""), *((("zoned", zone)) for zone in ZONES)))
    start = datetime(2024, 1, 1) + timedelta(days=chance.randrange(700))
    if chance.random() < 0.4:
        start = chance.choice(CHANGES) - timedelta(days=chance.choice((0, 1, 7, 14)))
    start += timedelta(minutes=0 if kind == "date" else chance.choice((0, 30, 135, 150, 540, 1410)))
    zone = ZoneInfo(ZONES[name]) if name else None
    length = timedelta(days=chance.choice((1, 2, 40))) if kind == "date" else timedelta(minutes=chance.choice((30, 180, 1440, 2910, 86400)))
    form = chance.choice(("DTEND", "DURATION"))
    count, until = chance.choice(((chance.randint(1, 12), None), (None, start + timedelta(days=chance.randrange(700))), (None, None)))
    found = Series(start, kind, zone, any_rule(chance), count, until, (form, length), (), ())
    given = walls(found)
    found.excluded = chance.sample(given, min(len(given), chance.choice((0, 0, 1, 2))))
    found.added = [start + timedelta(days=chance.randrange(1, 300)) for _ in range(chance.choice((0, 0, 1)))]
    found.added = [one for one in found.added if one not in found.excluded]

    def line(what: str, wall: datetime) -> str:
        prefix = {"date": ";VALUE=DATE", "zoned": f";TZID={name}"}.get(kind, "")
        return f"{what}{prefix}:{value(When(wall, all_day=kind == 'date', utc=kind == 'utc'))}"

    rule = ";".join(f"{key}={of}" for key, of in found.rule.items()) + (f";COUNT={count}" if count else "")
    if until is not None:
        last = until.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None) if zone else until
        rule += f";UNTIL={value(When(last, all_day=kind == 'date', utc=kind in ('utc', 'zoned')))}"
    seconds = f"T{length.seconds}S" if length.seconds else ""
    end = line("DTEND", start + length) if form == "DTEND" else f"DURATION:P{f'{length.days}D' if length.days else ''}{seconds}"
    lines = [line("DTSTART", start), end, f"RRULE:{rule}", *(line("EXDATE", one) for one in found.excluded)]
    found.text = an_object(uid, *lines, *(line("RDATE", one) for one in found.added))
    return found


def an_object(uid: object, *lines: str, kind: str = "VEVENT") -> str:
    inner = "".join(f"{line}\r\n" for line in (f"BEGIN:{kind}", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, f"END:{kind}"))
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{OWN}{inner}END:VCALENDAR\r\n"


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    stack = open_stack(tmp_path_factory.mktemp("series") / "data", Clock())
    yield stack.create("alice.example.org", passphrase=None)
    stack.close()


def test_series_happen_when_a_look_at_every_day_says_so(alice: Instance):
    chance, calendar = random.Random(7), alice.pim.make("calendar", {}, id="series")
    series = [any_series(chance, number) for number in range(50)]
    happen = [walls(one) for one in series]
    for number, one in enumerate(series):
        alice.pim.put(calendar, f"{number}.ics", one.text.encode(), match=None)
    hits = 0
    for zone in (None, ZoneInfo("America/New_York"), ZoneInfo("Pacific/Kiritimati")):
        known = [stretches(one, happens, zone) for one, happens in zip(series, happen, strict=True)]
        for _ in range(5):
            low = chance.choice((*CHANGES, datetime(2024, 6, 1), datetime(2026, 2, 1))).replace(tzinfo=UTC)
            low += timedelta(minutes=30 * chance.randrange(-10, 50))
            high = low + timedelta(minutes=chance.choice((30, 300, 1440, 10080, 44640)))
            found = {row.key[1] for row in alice.pim.rows(calendar, start=low, end=high, zone=zone)}
            for number, one in enumerate(series):
                expected = sorted((start, end) for start, end in known[number] if start < high and end > low)
                told = f"{low} {high} {zone}\n{one.text}"
                assert (f"{number}.ics" in found) == bool(expected), told
                given = instances.of(ical.parse(one.text.encode()), low, high, zone)
                assert sorted(instance.moments(zone) for instance in given) == expected, told
                hits += bool(expected)
    assert hits > 50


# -- todos --------------------------------------------------------------------------------------------------------------

NINE, TEN, ELEVEN, NOON = (f"20260105T{hour}0000Z" for hour in ("09", "10", "11", "12"))
AT_TEN, UNTIL_ELEVEN, DUE = f"DTSTART:{TEN}", "DURATION:PT1H", f"DUE:{ELEVEN}"


@pytest.mark.parametrize(
    ("lines", "start", "end", "expected"),
    [
        ((AT_TEN, UNTIL_ELEVEN), ELEVEN, NOON, True),
        ((AT_TEN, UNTIL_ELEVEN), NINE, TEN, False),
        ((AT_TEN, "DURATION:PT0S"), NINE, TEN, True),
        ((AT_TEN, DUE), ELEVEN, NOON, False),
        ((AT_TEN, DUE), NINE, TEN, False),
        ((AT_TEN, DUE), TEN, ELEVEN, True),
        ((AT_TEN, f"DUE:{TEN}"), TEN, ELEVEN, True),
        ((AT_TEN, f"DUE:{TEN}"), NINE, TEN, True),
        ((AT_TEN,), TEN, ELEVEN, True),
        ((AT_TEN,), NINE, TEN, False),
        ((DUE,), TEN, ELEVEN, True),
        ((DUE,), ELEVEN, NOON, False),
        ((f"COMPLETED:{TEN}", f"CREATED:{NINE}"), TEN, ELEVEN, True),
        ((f"COMPLETED:{TEN}", f"CREATED:{NINE}"), ELEVEN, NOON, False),
        ((f"COMPLETED:{ELEVEN}", f"CREATED:{TEN}"), NINE, TEN, True),
        ((f"COMPLETED:{TEN}",), NINE, TEN, True),
        ((f"COMPLETED:{TEN}",), ELEVEN, NOON, False),
        ((f"CREATED:{TEN}",), ELEVEN, NOON, True),
        ((f"CREATED:{TEN}",), NINE, TEN, False),
        ((), NINE, TEN, True),
        ((AT_TEN, UNTIL_ELEVEN, "RRULE:FREQ=DAILY"), "20260205T110000Z", "20260205T120000Z", True),
        ((DUE, "RRULE:FREQ=DAILY"), "20260205T110000Z", "20260205T120000Z", False),
        ((DUE, "RRULE:FREQ=DAILY"), "20260205T100000Z", "20260205T110000Z", True),
        (("DUE;VALUE=DATE:20260105",), "20260104T000000Z", "20260105T000000Z", True),
        (("DUE;VALUE=DATE:20260105",), "20260105T000000Z", "20260106T000000Z", False),
    ],
)
def test_todos_are_in_a_time_by_the_table_of_rfc_4791(alice: Instance, lines: Sequence[str], start: str, end: str, expected: bool):
    calendar = alice.pim.make("calendar", {}, id="todos")
    alice.pim.put(calendar, "t.ics", an_object("t", *lines, kind="VTODO").encode(), match=None)
    low, high = (datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for text in (start, end))
    assert bool(alice.pim.rows(calendar, start=low, end=high)) == expected
    alice.pim.remove(calendar)


# -- what a look at every day has found -----------------------------------------------------------------------------------


def parsed(*lines: str) -> Component:
    return ical.parse(an_object("x", *lines).encode())


def starts(calendar: Component, low: datetime, high: datetime) -> list[str]:
    return [f"{one.moments(None)[0]:%Y%m%dT%H%M}" for one in instances.of(calendar, low.replace(tzinfo=UTC), high.replace(tzinfo=UTC))]


def test_a_rule_that_never_matches_does_not_happen_in_later_years():
    never = parsed("DTSTART:20200731T100000Z", "RRULE:FREQ=MONTHLY;BYMONTH=7;BYSETPOS=-2")
    assert starts(never, datetime(2026, 1, 1), datetime(2027, 1, 1)) == []


def test_days_that_come_once_in_many_years_are_found():
    rare = parsed("DTSTART:20160229T100000Z", "RRULE:FREQ=YEARLY;INTERVAL=3;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO")
    years = [year for year in range(2019, 2200, 3) if months.isleap(year) and date(year, 2, 29).weekday() == 0]
    assert starts(rare, datetime(2020, 1, 1), datetime(2200, 1, 1)) == [f"{year}0229T1000" for year in years] != []


def test_an_ordinal_of_a_year_is_counted_in_the_year_beside_days_of_months():
    series = parsed("DTSTART:20240101T100000Z", "RRULE:FREQ=YEARLY;BYDAY=3SA;BYMONTHDAY=15,20")
    assert starts(series, datetime(2024, 2, 1), datetime(2025, 12, 31)) == []
    assert starts(series, datetime(2024, 1, 2), datetime(2024, 2, 1)) == ["20240120T1000"]


def test_hours_that_an_own_zone_skips_or_has_twice_are_those_of_rfc_5545():
    gap = parsed("DTSTART;TZID=Own:20250329T023000", "RRULE:FREQ=DAILY;COUNT=3")
    assert starts(gap, datetime(2025, 3, 1), datetime(2025, 5, 1)) == ["20250329T0130", "20250330T0130", "20250331T0030"]
    fold = parsed("DTSTART;TZID=Own:20251025T023000", "RRULE:FREQ=DAILY;COUNT=3")
    assert starts(fold, datetime(2025, 10, 1), datetime(2025, 11, 1)) == ["20251025T0030", "20251026T0030", "20251027T0130"]


def test_an_own_zone_with_listed_dates_changes_at_these():
    listed = OWN.replace("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", "RDATE:20240331T020000,20250330T020000").replace(
        "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", "RDATE:20241027T030000,20251026T030000"
    )
    calendar = ical.parse(an_object("x", "DTSTART;TZID=Own:20250101T120000", "RRULE:FREQ=MONTHLY").replace(OWN, listed).encode())
    assert starts(calendar, datetime(2025, 3, 1), datetime(2025, 5, 2)) == ["20250301T1100", "20250401T1000", "20250501T1000"]


def test_a_day_that_lasts_another_number_of_hours_is_expanded_so():
    calendar = parsed("DTSTART;TZID=Europe/Paris:20250329T120000", "DURATION:P1D", "RRULE:FREQ=DAILY;COUNT=2")
    found = instances.expanded(calendar, datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)).components("VEVENT")
    assert [(one.value("DTEND"), one.value("DURATION")) for one in found] == [("20250330T100000Z", ""), ("", "P1D")]


def test_a_listed_period_has_its_own_length():
    calendar = parsed("DTSTART:20250101T120000Z", "DURATION:PT1H", "RDATE;VALUE=PERIOD:20250102T120000Z/PT5H")
    found = instances.expanded(calendar, datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC)).components("VEVENT")
    assert [(one.value("DTSTART"), one.value("DTEND")) for one in found] == [("20250102T120000Z", "20250102T170000Z")]


def test_dates_more_are_apps_to_see_to_add_and_to_take_away(alice: Instance):
    calendar = alice.pim.make("calendar", {}, id="dates")
    row = alice.pim.put(calendar, "d.ics", an_object("d", "DTSTART:20250101T120000Z", "RDATE:20250301T120000Z").encode(), match=None)
    event = alice.docs.get(row.ref).doc
    assert event["overrides"] == {"2025-03-01T12:00:00": {}}
    assert event["bounds"]["end"] == "2025-03-01T12:00:00Z"
    for key in ("2025-03-01T12:00:00", "2025-04-01T12:00:00"):
        given = dict(alice.docs.get(row.ref).doc)
        alice.docs.put(row.ref.doctype, given | {"overrides": {**given["overrides"], key: {}}})
    text = alice.pim.texts(alice.pim.rows(calendar))["d.ics"].decode()
    assert [line for line in text.split("\r\n") if line.startswith("RDATE")] == ["RDATE:20250301T120000Z", "RDATE:20250401T120000Z"]
    alice.docs.put(row.ref.doctype, {name: found for name, found in alice.docs.get(row.ref).doc.items() if name != "overrides"})
    assert b"RDATE" not in alice.pim.texts(alice.pim.rows(calendar))["d.ics"]
