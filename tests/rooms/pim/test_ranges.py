"""What a time range holds is the same by the index of months as by a look at everything."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cozyd.instance import Instance
from cozyd.pim import ranges
from tests.support.stack import Clock, open_stack

ZONES = (None, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago"), ZoneInfo("Europe/Paris"))


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    stack = open_stack(tmp_path_factory.mktemp("ranges") / "data", Clock())
    yield fill(stack.create("alice.example.org", passphrase=None), random.Random(1))
    stack.close()


def fill(alice: Instance, chance: random.Random) -> Instance:
    """Events and todos of every kind: moments, days, floating, long, endless, recurring, without a time."""
    calendar = alice.pim.collection("calendar")
    for number in range(100):
        start = datetime(2026, 1, 1) + timedelta(hours=chance.randrange(24 * 800))
        length = timedelta(hours=chance.choice((0, 1, 5, 24, 24 * 40, 24 * 500)))
        day, zoned = chance.choice(("%Y%m%d", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ")), chance.random() < 0.3
        prefix = ";VALUE=DATE" if day == "%Y%m%d" else ";TZID=Asia/Tokyo" if zoned and not day.endswith("Z") else ""
        rule = chance.choice(
            ("", "", "RRULE:FREQ=WEEKLY;COUNT=9\r\n", "RRULE:FREQ=MONTHLY;UNTIL=20271231T000000Z\r\n", "RRULE:FREQ=YEARLY\r\n")
        )
        kind, end = chance.choice((("VEVENT", "DTEND"), ("VTODO", "DUE")))
        times = (
            f"DTSTART{prefix}:{start:{day}}\r\n{end}{prefix}:{max(start + length, start + timedelta(days=day == '%Y%m%d')):{day}}\r\n{rule}"
        )
        undated = kind == "VTODO" and chance.random() < 0.3
        inner = f"UID:{number}\r\nDTSTAMP:20260101T000000Z\r\n{'' if undated else times}SUMMARY:x\r\n"
        raw = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:{kind}\r\n{inner}END:{kind}\r\nEND:VCALENDAR\r\n"
        alice.pim.put(calendar, f"{number}.ics", raw.encode(), match=None)
    return alice


def test_a_month_holds_what_a_look_at_everything_finds(alice: Instance):
    calendar, chance = alice.pim.collection("calendar"), random.Random(2)
    rows, sizes = alice.pim.rows(calendar), set()
    documents = {row.ref: alice.docs.get(row.ref) for row in rows}
    for _ in range(100):
        low = datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(24 * 1000))
        high, zone = low + timedelta(hours=chance.choice((1, 24, 24 * 7, 24 * 31, 24 * 400))), chance.choice(ZONES)
        assert ranges.months(low, high)
        expected = ranges.touching(rows, low, high, zone, lambda some: {row.ref: documents[row.ref] for row in some})
        found = alice.pim.rows(calendar, start=low, end=high, zone=zone)
        assert [(row.key, row.rev, row.value) for row in found] == [(row.key, row.rev, row.value) for row in expected]
        sizes.add(len(found))
    assert len(sizes) > 15


def test_an_event_that_moves_leaves_its_month(alice: Instance):
    calendar = alice.pim.make("calendar", {}, id="moving")
    inner = "UID:m\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:{}T100000Z\r\n"
    event = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n{inner}END:VEVENT\r\nEND:VCALENDAR\r\n"
    for day in ("20260315", "20260415"):
        alice.pim.put(calendar, "m.ics", event.format(day).encode(), match=None)

    def count(month: int) -> int:
        return len(alice.pim.rows(calendar, start=datetime(2026, month, 1, tzinfo=UTC), end=datetime(2026, month + 1, 1, tzinfo=UTC)))

    assert [count(3), count(4)] == [0, 1]
    alice.pim.delete(calendar, "m.ics", match=None)
    assert [count(3), count(4)] == [0, 0]


def test_an_end_in_another_zone_is_kept_as_sent_and_is_the_event_s_own_time_for_apps(alice: Instance):
    calendar = alice.pim.make("calendar", {}, id="zones")
    times = "DTSTART;TZID=Europe/Paris:20260301T100000\r\nDTEND:20260301T100000Z\r\n"
    inner = f"UID:z\r\nDTSTAMP:20260101T000000Z\r\n{times}SUMMARY:x\r\n"
    raw = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n{inner}END:VEVENT\r\nEND:VCALENDAR\r\n".encode()
    row = alice.pim.put(calendar, "z.ics", raw, match=None)
    assert alice.pim.texts([row])["z.ics"] == raw
    event = alice.docs.get(row.ref).doc
    assert event["end"] == "2026-03-01T11:00:00+01:00"
    alice.docs.put(row.ref.doctype, event | {"label": "y"})
    served = alice.pim.texts(alice.pim.rows(calendar))["z.ics"]
    assert [line for line in served.split(b"\r\n") if line not in raw.split(b"\r\n")][-1:] == [b"SUMMARY:y"]
    assert times.encode() in served
