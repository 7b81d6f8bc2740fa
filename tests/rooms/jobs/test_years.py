"""Years of simulated time, with nights of daylight saving, clocks that jump and processes that are away, against an oracle."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from cozyd.documents.store import Ref
from cozyd.instance import Instance
from cozyd.jobs.job import JOBS
from cozyd.jobs.trigger import Trigger
from cozyd.jobs.triggers import NewTrigger
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack
from tests.support.workshop import noted

PARIS = ZoneInfo("Europe/Paris")
SPRING, AUTUMN = datetime(2027, 3, 28, 1, 0, tzinfo=UTC), datetime(2027, 10, 31, 1, 0, tzinfo=UTC)
"""When clocks in Paris are changed."""


class Oracle:
    """Which slots a trigger has to have made, by another library and plain counting: each that passed while somebody looked at
    least once before the next one came; of those that came between two looks, the last."""

    def __init__(self, trigger: Trigger, since: datetime) -> None:
        self.trigger = trigger
        self.made: set[datetime] = set()
        self._since = since

    def look(self, now: datetime) -> None:
        """Somebody looks at this time."""
        slot = self._last(now)
        if slot is not None and slot > self._since:
            self.made.add(slot)

    def _last(self, now: datetime) -> datetime | None:
        if self.trigger.type == "@every":
            count = int((now - self._since).total_seconds() // (36 * 3600))
            return self._since + timedelta(hours=count * 36) if count > 0 else None
        slot: datetime = croniter(self.trigger.arguments, now + timedelta(seconds=1), second_at_beginning=True).get_prev(datetime)
        return slot


class World:
    """alice's triggers, the scheduler that looks at them, and the oracle that knows better."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.clock.time = datetime(2026, 12, 30, 23, 59, tzinfo=UTC)
        self.folder = folder
        self._open()
        self.alice: Instance = self.stack.create("alice.example")
        kinds = [("@cron", "0 0 3 * * *"), ("@cron", "30 30 2 * * *"), ("@cron", "0 0 0 29 2 *"), ("@cron", "0 15 */6 * * MON,FRI")]
        self.oracles = []
        for type, arguments in [*kinds, ("@every", "36h")]:
            made = self.alice.jobs.triggers.create(NewTrigger(type, arguments, worker="note", message={"n": arguments}))
            self.oracles.append(Oracle(made, self.clock()))
        self.stack.scheduler.step()

    def _open(self) -> None:
        self.stack: Stack = open_stack(self.folder, self.clock, {"note": noted()})

    def look(self) -> None:
        """The scheduler does what is due; so does the oracle."""
        self.stack.scheduler.step()
        for oracle in self.oracles:
            oracle.look(self.clock())

    def restart(self) -> None:
        """The process is another one."""
        self.stack.close()
        self._open()
        self.alice = self.stack.instance("alice.example")
        self.stack.scheduler.plan("alice.example")

    def jobs(self, trigger: Trigger) -> int:
        rows = self.alice.docs.rows("jobs-by-trigger", (trigger.id,))
        return len(rows)

    def judge(self) -> None:
        """Each slot that the oracle knows has its job, and there is no other."""
        for oracle in self.oracles:
            wanted = {oracle.trigger.slot_id(slot) for slot in oracle.made}
            known = self.alice.docs.get_many(JOBS, sorted(wanted))
            assert [stored for stored in known if stored is None] == [], oracle.trigger.arguments
            assert self.jobs(oracle.trigger) == len(wanted), oracle.trigger.arguments


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "data")
    yield made
    made.stack.close()


@pytest.mark.parametrize(("years", "seed"), [(1, 7), *(pytest.param(5, seed, marks=pytest.mark.soak) for seed in range(5))])
def test_years_of_jumps_make_each_slot_once(world: World, years: int, seed: int):
    chance = Random(seed)
    end = world.clock() + timedelta(days=years * 366)
    while world.clock() < end:
        roll = chance.random()
        if roll < 0.75:
            world.clock.passes(hours=chance.randint(1, 20))
        elif roll < 0.85:
            world.clock.passes(days=chance.randint(2, 20))  # nobody was there
            world.restart()
        elif roll < 0.93:
            world.clock.passes(days=1)  # put forward
        else:
            world.clock.passes(hours=-chance.randint(1, 30))  # put back
            world.stack.scheduler.plan("alice.example")
        world.look()
    world.judge()
    assert sum(len(oracle.made) for oracle in world.oracles) > 300 * years


@pytest.mark.parametrize("night", [SPRING, AUTUMN], ids=["the night an hour is missing", "the night an hour comes twice"])
def test_a_night_of_daylight_saving_is_a_night_like_others(world: World, night: datetime):
    world.clock.time = night - timedelta(hours=12)
    world.stack.scheduler.plan("alice.example")
    world.look()
    before = world.jobs(world.oracles[1].trigger)
    assert (night - timedelta(hours=1)).astimezone(PARIS).utcoffset() != (night + timedelta(hours=1)).astimezone(PARIS).utcoffset()
    for _ in range(24 * 4):
        world.clock.passes(minutes=15)
        world.look()
    assert world.jobs(world.oracles[1].trigger) == before + 1
    world.judge()


def test_two_schedulers_that_take_turns_make_each_slot_once(world: World):
    for _ in range(60):
        world.clock.passes(hours=5)
        for oracle in world.oracles:
            world.alice.jobs.triggers.tick(oracle.trigger.id)
        world.look()
    world.judge()


def test_a_slot_that_was_purged_is_not_made_again_years_later(world: World):
    world.clock.time = datetime(2028, 3, 1, tzinfo=UTC)
    world.stack.scheduler.plan("alice.example")
    world.look()
    leap = world.oracles[2].trigger
    (row,) = world.alice.docs.rows("jobs-by-trigger", (leap.id,))
    world.alice.docs.delete(Ref(JOBS, row.ref.id), row.rev)
    for _ in range(3):
        world.clock.passes(days=365)
        world.restart()
        world.look()
    assert world.jobs(leap) == 0
