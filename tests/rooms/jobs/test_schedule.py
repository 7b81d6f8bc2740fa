"""When timed triggers are due: arguments as the reference reads them, slots compared with another library and with a plain search."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from cozyd.errors import BadRequest
from cozyd.jobs.schedule import TIMED, Cron, duration, schedule_of

NOW = datetime(2026, 11, 26, 0, 30, 5, tzinfo=UTC)


def cron_of(type: str, arguments: str, seed: str = "alice/konnector/{}") -> str:
    found = schedule_of(type, arguments, since=NOW, seed=seed)
    assert isinstance(found, Cron)
    return found.text


@pytest.mark.parametrize(
    ("type", "arguments", "after", "last"),
    [
        ("@cron", "0 0 3 * * *", "2026-11-26T03:00:00", "2026-11-25T03:00:00"),
        ("@cron", "*/5 * * * *", "2026-11-26T00:35:00", "2026-11-26T00:30:00"),
        ("@cron", "5 30 0 26 11 ?", "2027-11-26T00:30:05", "2026-11-26T00:30:05"),
        ("@cron", "0 0 12 ? JAN MON-FRI", "2027-01-01T12:00:00", "2026-01-30T12:00:00"),
        ("@cron", "0 0 0 1 * 0", "2026-11-29T00:00:00", "2026-11-22T00:00:00"),
        ("@cron", "@daily", "2026-11-27T00:00:00", "2026-11-26T00:00:00"),
        ("@at", "2026-11-26T02:30:05+01:00", "2026-11-26T01:30:05", None),
        ("@at", "2026-11-26T00:30:05Z", None, "2026-11-26T00:30:05"),
        ("@in", "1h30m", "2026-11-26T02:00:05", None),
        ("@every", "1h", "2026-11-26T01:30:05", None),
        ("@every", "1ms", "2026-11-26T00:30:06", None),
    ],
)
def test_the_slots_around_a_moment(type: str, arguments: str, after: str | None, last: str | None):
    found = schedule_of(type, arguments, since=NOW, seed="")
    slots = [None if slot is None else slot.strftime("%Y-%m-%dT%H:%M:%S") for slot in (found.after(NOW), found.last(NOW))]
    assert slots == [after, last]


@pytest.mark.parametrize(
    ("type", "arguments"),
    [
        *(
            ("@cron", text)
            for text in ("", "nope", "* * * *", "* * * * * * *", "0 0 0 * * 7", "0 0 0 L * *", "99 0 0 * * *", "*/0 0 0 * * *")
        ),
        *(
            ("@cron", text)
            for text in ("0 0 0 30 2 *", "0 0 0 * * 1#2", "TZ=UTC 0 0 0 * * *", "-1 0 0 * * *", "5-1 0 0 * * *", "0 0 0 * * *;ls")
        ),
        *(
            ("@daily", text)
            for text in ("after 6pm before 6am", "on monday", "at noon", "before", "before 13am", "before 0am", "between 6pm and 6pm")
        ),
        *(("@weekly", text) for text in ("on", "on mon-mon", "on noday", "on the 1", "on mon, tue")),
        *(("@monthly", text) for text in ("on mon", "on the", "on the 0", "on the 32", "on the 5-5", "on the 7-3", "on the -1")),
        *(("@in", text) for text in ("", "x", "10", "1d", "1h-5m", "9999999999999h")),
        *(
            ("@at", text)
            for text in ("", "yesterday", "2026-11-26", "2026-13-01T00:00:00Z", "2026-11-26T00:00:00", "0001-01-01T00:00:00+14:00")
        ),
        ("@hourly", "on monday"),
        ("@every", "soon"),
    ],
)
def test_what_cannot_be_read_is_refused(type: str, arguments: str):
    with pytest.raises(BadRequest, match="Trigger unparsable"):
        schedule_of(type, arguments, since=NOW, seed="")


@pytest.mark.parametrize("type", sorted(TIMED))
@given(text=st.text(alphabet="0123456789*/,-?@ abcdefghijklmnopqrstuvwxyzLW#:TZ\0é", max_size=60) | st.text(max_size=3000))
@settings(max_examples=150, deadline=500)
def test_hostile_arguments_are_refused_or_read(type: str, text: str):
    try:
        found = schedule_of(type, text, since=NOW, seed=text)
    except BadRequest:
        return
    after, last = found.after(NOW), found.last(NOW)
    assert after is None or after > NOW
    assert last is None or last <= NOW


@pytest.mark.parametrize(
    ("type", "arguments", "hours", "days"),
    [
        ("@daily", "", range(24), None),
        ("@daily", "before 5am", range(5), None),
        ("@daily", "after 10pm", range(22, 24), None),
        ("@daily", "between 12pm and 2pm", range(12, 14), None),
        ("@daily", "between 12am and 12am", range(24), None),
        ("@weekly", "on sat-mon after 9am", range(9, 24), {6, 0, 1}),
        ("@weekly", "on weekday before 12pm", range(12), {1, 2, 3, 4, 5}),
        ("@weekly", "on weekend,wednesday", range(24), {0, 6, 3}),
        ("@monthly", "", range(24), set(range(1, 29))),
        ("@monthly", "on the 1-5,20 before 3am", range(3), {1, 2, 3, 4, 5, 20}),
    ],
)
def test_a_random_pick_stays_within_its_range_and_reaches_all_of_it(type: str, arguments: str, hours: range, days: set[int] | None):
    picks = [cron_of(type, arguments, seed=str(number)).split() for number in range(600)]
    assert {int(pick[2]) for pick in picks} == set(hours)
    if days is not None:
        assert {int(pick[5 if type == "@weekly" else 3]) for pick in picks} == days


def test_a_random_pick_is_the_same_each_time_and_another_for_others():
    picks = {cron_of("@weekly", "", seed=seed) for seed in ("alice/konnector/1", "alice/konnector/2", "bob/konnector/1")}
    assert len(picks) == 3
    assert cron_of("@weekly", "", seed="alice/konnector/1") in picks


def test_durations_are_those_of_go():
    assert duration("1h30m") == timedelta(minutes=90)
    assert duration("1.5s") == timedelta(seconds=1.5)
    assert duration("100ms") == timedelta(milliseconds=100)
    assert duration("0") == timedelta()
    assert duration("-10m") == -timedelta(minutes=10)
    for text in ("", "10", "m", "1h ", "1 h", "1e3s", "٣s"):
        with pytest.raises(ValueError, match="duration"):
            duration(text)


def random_cron(chance: Random) -> str:
    """A cron string of the reference's grammar, without what the other library reads differently."""

    def field(low: int, high: int, spread: float) -> str:
        roll = chance.random()
        if roll < spread:
            return "*"
        if roll < 0.8:
            return ",".join(str(one) for one in sorted({chance.randint(low, high) for _ in range(chance.randint(1, 3))}))
        start = chance.randint(low, high - 1)
        step = f"/{chance.randint(2, 5)}" if roll > 0.9 else ""
        return f"{start}-{chance.randint(start + 1, high)}{step}"

    fields = [field(0, 59, 0.2), field(0, 59, 0.3), field(0, 23, 0.3), field(1, 28, 0.6), field(1, 12, 0.7), field(0, 6, 0.6)]
    return " ".join(fields)


@pytest.mark.parametrize("seed", range(40))
def test_slots_are_those_of_another_library(seed: int):
    chance = Random(seed)
    text = random_cron(chance)
    found = schedule_of("@cron", text, since=NOW, seed="")
    moment = NOW + timedelta(seconds=chance.randint(0, 3 * 366 * 86_400))
    other = croniter(text, moment, second_at_beginning=True)
    for _ in range(50):
        slot, wanted = found.after(moment), other.get_next(datetime)
        assert slot == wanted, text
        assert found.last(slot) == slot
        assert found.last(slot - timedelta(seconds=1)) != slot
        moment = slot
