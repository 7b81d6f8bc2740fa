"""Requests that wait: no change between the look and the wait is lost, none runs twice for nothing, none is kept."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from cozyd.documents.store import Change, Ref, Stored
from cozyd.realtime import LocalHub, Park
from cozyd.server.parking import KEPT_STALE, Parked, Parking
from tests.support.serving import eventually

ALICE, THINGS = "alice.example", "io.cozy.things"


def change(doctype: str = THINGS, id: str = "x") -> list[Change]:
    return [Change("UPDATED", Stored(Ref(doctype, id), "1-a", b"{}"))]


def later(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Runs:
    """How often a request was put back on the task queue."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def hub() -> LocalHub:
    return LocalHub()


@pytest.fixture
def parking(hub: LocalHub) -> Iterator[Parking]:
    made = Parking(hub)
    yield made
    made.close()


def parked(parking: Parking, runs: Runs, *, until: datetime | None = None, ids: Sequence[str] = ()) -> Parked:
    """A request that has looked twice and waits."""
    until = until or later()
    request = parking.register(Park(ALICE, [THINGS], until, ids=ids), runs)
    parking.park(request, until)
    assert runs.count == 1, "it looks once more after it is known"
    parking.park(request, until)
    assert runs.count == 1
    return request


def test_a_change_runs_it_once(parking: Parking, hub: LocalHub):
    runs = Runs()
    parked(parking, runs)
    hub.publish(ALICE, change())
    hub.publish(ALICE, change())
    assert runs.count == 2


def test_a_change_while_it_looks_is_not_lost(parking: Parking, hub: LocalHub):
    runs = Runs()
    request = parked(parking, runs)
    hub.publish(ALICE, change())
    hub.publish(ALICE, change())
    parking.park(request, later())
    assert runs.count == 3


def test_who_waits_for_one_document_is_run_by_no_other(parking: Parking, hub: LocalHub):
    runs = Runs()
    parked(parking, runs, ids=["x"])
    hub.publish(ALICE, change(id="y"))
    assert runs.count == 1
    hub.publish(ALICE, change(id="y") + change(id="x"))
    assert runs.count == 2


@pytest.mark.parametrize(("domain", "doctype"), [(ALICE, "io.cozy.others"), ("bob.example", THINGS)])
def test_what_it_does_not_wait_for_leaves_it_alone(parking: Parking, hub: LocalHub, domain: str, doctype: str):
    runs = Runs()
    parked(parking, runs)
    hub.publish(domain, change(doctype))
    assert runs.count == 1


def test_it_runs_at_its_time_in_the_order_of_times(parking: Parking):
    order: list[str] = []
    for name, seconds in (("third", 0.3), ("first", 0.1), ("second", 0.2)):
        until = later(seconds)
        request = parking.register(Park(ALICE, [THINGS], until), lambda name=name: order.append(name))  # type: ignore[misc]
        parking.park(request, until)
        parking.park(request, until)
    order.clear()
    eventually(lambda: order == ["first", "second", "third"])


def test_who_left_is_forgotten(parking: Parking, hub: LocalHub):
    runs = Runs()
    request = parked(parking, runs, until=later(0.2))
    other = Runs()
    parked(parking, other, until=later(0.3))
    parking.leave(request)
    hub.publish(ALICE, change())
    eventually(lambda: other.count == 2)
    assert (runs.count, parking.count()) == (1, 1)


def test_many_that_come_and_go_leave_nothing_behind(parking: Parking):
    until = later()
    for _ in range(5 * KEPT_STALE):
        request = parking.register(Park(ALICE, [THINGS], until), Runs())
        parking.park(request, until)
        parking.park(request, until)
        parking.leave(request)
    assert parking.count() == 0
    assert len(parking._due) <= KEPT_STALE + 1


def test_at_the_end_each_runs_a_last_time(hub: LocalHub):
    parking, runs = Parking(hub), Runs()
    request = parked(parking, runs)
    parking.close()
    assert parking.closed
    assert runs.count == 2
    parking.park(request, later())
    assert runs.count == 3, "nothing waits any more"


def test_no_change_of_many_writers_is_lost(parking: Parking, hub: LocalHub):
    wanted, seen = 500, threading.Event()
    written = 0
    looked = -1
    lock = threading.Lock()
    request: Parked

    def look() -> None:
        threading.Thread(target=run).start()

    def run() -> None:
        nonlocal looked
        with lock:
            looked = written
        if looked == wanted:
            seen.set()
        else:
            parking.park(request, later())

    request = parking.register(Park(ALICE, [THINGS], later()), look)
    look()
    for _ in range(wanted):
        with lock:
            written += 1
        hub.publish(ALICE, change())
    assert seen.wait(10)
