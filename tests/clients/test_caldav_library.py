"""python-caldav against a served process: calendars, events, todos, sync tokens."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import caldav
import pytest

from tests.support.serving import Served

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:{uid}
DTSTAMP:20260101T000000Z
DTSTART:{start}
DTEND:{end}
SUMMARY:{name}
{more}END:VEVENT
END:VCALENDAR
"""
TODO = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VTODO
UID:{uid}
DTSTAMP:20260101T000000Z
SUMMARY:{name}
STATUS:NEEDS-ACTION
END:VTODO
END:VCALENDAR
"""


def _client(**options: Any) -> Any:
    return caldav.DAVClient(**options)  # type: ignore[operator]


def event(uid: str, name: str, day: str = "20260310", more: str = "") -> str:
    return EVENT.format(uid=uid, name=name, start=f"{day}T090000Z", end=f"{day}T100000Z", more=more)


@pytest.fixture
def calendar(served: Served) -> Iterator[Any]:
    password = served.password(name="caldav")
    with _client(url=f"{served.base}/sync/dav/", username="me", password=password) as client:
        made = client.principal().make_calendar(name="Library")
        yield made
        made.delete()


def test_the_principal_has_the_default_calendar(served: Served):
    password = served.password(name="principal")
    with _client(url=f"{served.base}/.well-known/caldav", username="me", password=password) as client:
        names = [str(one.url) for one in client.principal().calendars()]
    assert any(name.endswith("/sync/dav/me/calendar/") for name in names)


def test_events_are_saved_found_and_removed(calendar: Any):
    calendar.save_event(event("e1", "Stand-up"))
    calendar.save_event(event("e2", "Later", "20270101"))
    found: list[Any] = calendar.search(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC), event=True)
    assert ["Stand-up" in one.data for one in found] == [True]
    loaded = calendar.event_by_uid("e2")
    loaded.data = loaded.data.replace("Later", "Much later")
    loaded.save()
    assert "Much later" in calendar.event_by_uid("e2").data
    loaded.delete()
    assert [one.icalendar_component["UID"] for one in calendar.events()] == ["e1"]


def test_recurring_events_are_found_where_they_happen(calendar: Any):
    calendar.save_event(event("r1", "Weekly", more="RRULE:FREQ=WEEKLY;COUNT=3\n"))

    def found(start: tuple[int, int], end: tuple[int, int], *, expand: bool = False) -> int:
        first, last = datetime(2026, *start, tzinfo=UTC), datetime(2026, *end, tzinfo=UTC)
        return len(calendar.search(start=first, end=last, event=True, expand=expand))

    assert (found((3, 24), (3, 25)), found((3, 19), (3, 20)), found((4, 1), (5, 1))) == (1, 0, 0)
    assert found((3, 1), (4, 1), expand=True) == 3


def test_todos_are_ticked(calendar: Any):
    todo = calendar.save_todo(TODO.format(uid="t1", name="Buy milk"))
    assert len(calendar.todos()) == 1
    todo.complete()
    assert calendar.todos() == []
    assert "COMPLETED" in calendar.todos(include_completed=True)[0].data


def test_a_sync_token_tells_what_changed(calendar: Any):
    calendar.save_event(event("s1", "One"))
    known = calendar.objects_by_sync_token(load_objects=True)
    assert len(list(known)) == 1
    second = calendar.save_event(event("s2", "Two"))
    calendar.event_by_uid("s1").delete()
    changed = calendar.objects_by_sync_token(sync_token=known.sync_token)
    assert {str(one.url).rpartition("/")[2] for one in changed} >= {str(second.url).rpartition("/")[2]}
    assert len(list(changed)) == 2
    assert list(calendar.objects_by_sync_token(sync_token=changed.sync_token)) == []
