"""Triggers make jobs: at their time, once for each slot; for each change that is meant; for each call; and windows make one of many."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from cozyd.errors import BadRequest, Invalid, NotFound
from cozyd.files.tree import Reference
from cozyd.instance import Instance
from cozyd.jobs.job import JOBS, Job
from cozyd.jobs.trigger import PENDING, Trigger
from cozyd.jobs.triggers import NewTrigger
from cozyd.stack import Stack
from tests.support.stack import Clock, open_stack
from tests.support.workshop import claimed, noted


class Desk:
    """A tenant whose triggers fire when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder
        self.stack = self.open()
        self.alice: Instance = self.stack.create("alice.example")

    def open(self) -> Stack:
        return open_stack(self.folder, self.clock, {"note": noted(), "client": noted(None), "few": noted(limit=2)})

    def reopen(self) -> None:
        """The process ends, another one starts."""
        self.stack.close()
        self.stack = self.open()
        self.alice = self.stack.instance("alice.example")
        self.stack.scheduler.plan("alice.example")

    def make(self, type: str, arguments: str = "", **more: Any) -> Trigger:
        return self.alice.jobs.triggers.create(NewTrigger(type, arguments, **{"worker": "note", "message": {"a": 1}} | more))

    def passes(self, **much: float) -> None:
        """Time passes, and the scheduler looks."""
        self.clock.passes(**much)
        self.stack.scheduler.step()

    def jobs(self, trigger: Trigger | None = None) -> list[Job]:
        found = [Job.of(stored) for stored in self.alice.docs.all(JOBS).rows if "worker" in stored.doc]
        return [job for job in found if trigger is None or job.trigger_id == trigger.id]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "data")
    yield made
    made.stack.close()


def test_a_cron_trigger_fires_at_each_slot_once(desk: Desk):
    trigger = desk.make("@cron", "0 0 3 * * *")
    for _ in range(48):
        desk.passes(hours=1)
        desk.passes(seconds=0)
    assert len(desk.jobs(trigger)) == 2
    assert {job.message["a"] for job in desk.jobs(trigger)} == {1}


def test_after_a_pause_one_slot_is_made_up_for(desk: Desk):
    trigger = desk.make("@every", "1h")
    desk.stack.scheduler.step()
    desk.clock.passes(hours=7, minutes=30)
    desk.reopen()
    desk.passes(seconds=1)
    assert len(desk.jobs(trigger)) == 1
    desk.reopen()
    desk.passes(seconds=1)
    assert len(desk.jobs(trigger)) == 1
    desk.passes(hours=1)
    assert len(desk.jobs(trigger)) == 2


def test_a_clock_that_is_put_back_makes_nothing_twice(desk: Desk):
    trigger = desk.make("@cron", "0 0 * * * *")
    desk.stack.scheduler.step()
    desk.passes(hours=3)
    before = len(desk.jobs(trigger))
    desk.passes(hours=-2)
    desk.reopen()
    desk.passes(minutes=90)
    assert len(desk.jobs(trigger)) == before + 1  # the hour that was skipped when it was put forward
    desk.passes(hours=1)
    assert len(desk.jobs(trigger)) == before + 1


def test_a_purged_job_is_not_made_again(desk: Desk):
    trigger = desk.make("@cron", "0 0 3 1 * *")
    desk.stack.scheduler.step()
    desk.passes(days=10)
    job = desk.jobs(trigger)[0]
    desk.alice.docs.delete(Ref(JOBS, job.id), job.rev)
    desk.reopen()
    desk.passes(days=1)
    assert desk.jobs(trigger) == []


@pytest.mark.parametrize(("type", "arguments"), [("@in", "10m"), ("@at", "2026-11-24T12:10:00Z")])
def test_a_moment_comes_once_even_when_the_process_died_meanwhile(desk: Desk, type: str, arguments: str):
    trigger = desk.make(type, arguments)
    desk.passes(minutes=9)
    assert desk.jobs() == []
    desk.reopen()
    desk.passes(minutes=2)
    assert len(desk.jobs(trigger)) == 1
    with pytest.raises(NotFound):
        desk.alice.jobs.triggers.get(trigger.id)


def test_a_moment_of_today_that_is_past_comes_at_once_and_an_older_one_never(desk: Desk):
    today, older = desk.make("@at", "2026-11-23T13:00:00Z"), desk.make("@at", "2026-11-23T11:00:00Z")
    desk.passes(seconds=1)
    assert len(desk.jobs(today)) == 1
    assert desk.jobs(older) == []


def test_a_moment_that_nobody_was_there_for_comes_when_somebody_is(desk: Desk):
    trigger = desk.make("@at", "2026-11-25T12:00:00Z")
    desk.clock.passes(days=9)
    desk.reopen()
    desk.passes(seconds=1)
    assert len(desk.jobs(trigger)) == 1


def test_new_arguments_count_from_now_on(desk: Desk):
    trigger = desk.make("@cron", "0 0 3 * * *")
    desk.passes(hours=1)
    changed = desk.alice.jobs.triggers.patch(trigger.id, arguments="0 30 12 * * *", message={"a": 2})
    assert (changed.arguments, changed.message) == ("0 30 12 * * *", {"a": 2})
    desk.passes(hours=1)
    assert desk.jobs() == []
    desk.passes(hours=23)
    assert [job.message for job in desk.jobs(trigger)] == [{"a": 2}]
    with pytest.raises(BadRequest):
        desk.alice.jobs.triggers.patch(trigger.id, arguments="nope")
    with pytest.raises(Invalid):
        desk.alice.jobs.triggers.patch(desk.make("@daily").id, arguments="0 0 3 * * *")


def test_a_deleted_trigger_fires_no_more(desk: Desk):
    trigger = desk.make("@every", "1h")
    desk.passes(minutes=30)
    desk.alice.jobs.triggers.delete(trigger.id)
    desk.passes(hours=2)
    assert desk.jobs() == []


def test_two_processes_make_a_slot_s_job_once(desk: Desk):
    trigger = desk.make("@every", "1h")
    desk.clock.passes(hours=1)
    for _ in range(2):
        desk.alice.jobs.triggers.tick(trigger.id)
    assert len(desk.jobs(trigger)) == 1


# -- events -------------------------------------------------------------------------------------------------------------


def test_each_change_that_is_meant_makes_a_job_with_it(desk: Desk):
    trigger = desk.make("@event", "io.cozy.todos:CREATED,DELETED")
    todo = desk.alice.docs.put("io.cozy.todos", {"summary": "milk"})
    changed = desk.alice.docs.put("io.cozy.todos", {"_id": todo.ref.id, "_rev": todo.rev, "summary": "bread"})
    desk.alice.docs.delete(todo.ref, changed.rev)
    desk.alice.docs.put("io.cozy.others", {})
    events = [job.event for job in desk.jobs(trigger)]
    assert sorted(event["verb"] for event in events if event) == ["CREATED", "DELETED"]
    created = next(event for event in events if event and event["verb"] == "CREATED")
    assert created["domain"] == "alice.example"
    assert created["doc"]["summary"] == "milk"
    assert created["doc"]["_id"] == todo.ref.id
    assert "old" not in created


def test_a_replica_s_changes_and_batches_count_too(desk: Desk):
    trigger = desk.make("@event", "io.cozy.todos")
    desk.alice.docs.graft("io.cozy.todos", [{"_id": "a", "_rev": "1-abc", "summary": "x"}, {"_id": "b", "_rev": "1-abd"}])
    desk.alice.docs.graft("io.cozy.todos", [{"_id": "a", "_rev": "1-abc", "summary": "x"}])
    desk.alice.docs.commit_each([Write(Ref("io.cozy.todos", "c"), body={}), Write(Ref("io.cozy.todos", "a"), body={})])
    assert len(desk.jobs(trigger)) == 3


def test_an_index_is_no_change_that_a_trigger_fires_for(desk: Desk):
    trigger = desk.make("@event", "io.cozy.todos")
    desk.alice.docs.index("io.cozy.todos", ["name"], name="by-name")
    assert desk.jobs(trigger) == []


def test_a_new_trigger_counts_from_the_next_commit_on_and_a_deleted_one_no_more(desk: Desk):
    desk.alice.docs.put("io.cozy.todos", {})
    trigger = desk.make("@event", "io.cozy.todos")
    assert desk.jobs() == []
    desk.alice.docs.put("io.cozy.todos", {})
    assert len(desk.jobs()) == 1
    desk.alice.jobs.triggers.delete(trigger.id)
    desk.alice.docs.put("io.cozy.todos", {})
    assert len(desk.jobs()) == 1


def test_a_folder_means_all_below_it_where_it_is_and_where_it_was(desk: Desk):
    files = desk.alice.files
    home, other = files.mkdir_all("/watched/deep/deeper"), files.mkdir_all("/other")
    trigger = desk.make("@event", f"io.cozy.files:CREATED,UPDATED:{files.at('/watched').id}")
    inside = files.mkdir(home, "new")
    assert len(desk.jobs(trigger)) == 1
    files.mkdir(other, "elsewhere")
    assert len(desk.jobs(trigger)) == 1
    files.patch(inside, dir_id=other.id)
    assert len(desk.jobs(trigger)) == 2
    files.patch(files.get(inside.id), name="renamed")
    assert len(desk.jobs(trigger)) == 2


def events_of(desk: Desk, trigger: Trigger) -> list[tuple[str, str]]:
    """What happened to what, by the jobs of a trigger."""
    return sorted((job.event["verb"], job.event["doc"]["name"]) for job in desk.jobs(trigger) if job.event)


def test_what_moves_with_its_folder_counts_for_the_folders_it_leaves_and_comes_to(desk: Desk):
    files = desk.alice.files
    files.mkdir_all("/watched/deep/deeper")
    files.mkdir_all("/other")
    gone = desk.make("@event", f"io.cozy.files:UPDATED:{files.at('/watched').id}")
    come = desk.make("@event", f"io.cozy.files:UPDATED:{files.at('/other').id}")
    files.patch(files.at("/watched/deep"), dir_id=files.at("/other").id)
    for trigger in (gone, come):
        assert events_of(desk, trigger) == [("UPDATED", "deep"), ("UPDATED", "deeper")]


def test_in_the_trash_a_file_counts_for_where_it_was(desk: Desk):
    files = desk.alice.files
    files.mkdir_all("/watched/deep/deeper")
    trigger = desk.make("@event", f"io.cozy.files:UPDATED,DELETED:{files.at('/watched').id}")
    deep = files.trash(files.at("/watched/deep"))
    assert events_of(desk, trigger) == [("UPDATED", "deep"), ("UPDATED", "deeper")]
    files.references.change([deep.id], "referenced_by", add=[Reference("io.cozy.photos.albums", "a")], author=files.author())
    assert len(desk.jobs(trigger)) == 3
    files.clear_trash()
    assert events_of(desk, trigger)[:2] == [("DELETED", "deep"), ("DELETED", "deeper")]


def test_under_the_writer_s_lock_nothing_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    files = desk.alice.files
    home = files.mkdir_all("/watched/deep")
    trigger = desk.make("@event", f"io.cozy.files:CREATED:{files.at('/watched').id}")
    files.mkdir(home, "first")  # the triggers are known from here on
    database: Any = desk.alice.docs._store._database  # type: ignore[attr-defined]
    read, reading = [], database.reading

    def noted_reading(**how: Any) -> Any:
        if database.lock._is_owned():
            read.append(how)
        return reading(**how)

    monkeypatch.setattr(database, "reading", noted_reading)
    files.mkdir(home, "second")
    desk.alice.docs.put("io.cozy.todos", {})
    assert len(desk.jobs(trigger)) == 2
    assert read == []


def test_a_trigger_on_jobs_does_not_fire_for_its_own(desk: Desk):
    trigger = desk.make("@event", "io.cozy.jobs")
    other = desk.alice.jobs.push("note", 1)
    assert len(desk.jobs(trigger)) == 1
    with claimed(desk.alice.jobs, desk.jobs(trigger)[0].id) as job:
        assert job is not None
        desk.alice.jobs.finish(job)
    assert len(desk.jobs()) == 2
    with claimed(desk.alice.jobs, other.id) as job:
        assert job is not None
    assert len(desk.jobs(trigger)) == 2


def test_jobs_of_changes_beyond_the_limit_end_with_an_error(desk: Desk):
    desk.make("@event", "io.cozy.todos", worker="few")
    for _ in range(3):
        desk.alice.docs.put("io.cozy.todos", {})
    for job in desk.jobs():
        with claimed(desk.alice.jobs, job.id) as mine:
            if mine is not None:
                desk.alice.jobs.finish(mine)
    assert sorted(str(job.doc.get("error")) for job in desk.jobs()) == ["None", "None", "Rate limit reached"]


# -- windows ------------------------------------------------------------------------------------------------------------


def test_many_changes_within_a_window_make_one_job_without_event(desk: Desk):
    trigger = desk.make("@event", "io.cozy.todos", debounce="10m")
    for _ in range(5):
        desk.alice.docs.put("io.cozy.todos", {})
        desk.passes(minutes=1)
    assert desk.jobs() == []
    desk.reopen()
    desk.passes(minutes=6)
    (job,) = desk.jobs(trigger)
    assert job.event is None
    assert job.doc["debounced"] is True
    assert desk.alice.docs.all(PENDING).rows == []
    desk.alice.docs.put("io.cozy.todos", {})
    desk.passes(minutes=11)
    assert len(desk.jobs(trigger)) == 2


def test_calls_within_a_window_come_together(desk: Desk):
    trigger = desk.make("@webhook", debounce="1m")
    for payload in (b'{"n":1}', b"no json \xff", b'{"n":2}'):
        desk.alice.jobs.triggers.call(trigger.id, payload)
    desk.passes(minutes=2)
    (job,) = desk.jobs(trigger)
    assert job.payload == '{"payloads":[{"n":1},"no json \ufffd",{"n":2}]}'.encode()


def test_a_call_without_window_makes_a_job_with_its_very_bytes(desk: Desk):
    trigger = desk.make("@webhook")
    desk.alice.jobs.triggers.call(trigger.id, b"\x00anything", manual=True)
    (job,) = desk.jobs(trigger)
    assert (job.payload, job.manual) == (b"\x00anything", True)
    with pytest.raises(Invalid):
        desk.alice.jobs.triggers.call(desk.make("@daily").id, b"")


def test_the_window_of_a_deleted_trigger_makes_nothing(desk: Desk):
    trigger = desk.make("@webhook", debounce="1m")
    desk.alice.jobs.triggers.call(trigger.id, b"1")
    desk.alice.jobs.triggers.delete(trigger.id)
    desk.passes(minutes=2)
    assert desk.jobs() == []
    assert desk.alice.docs.all(PENDING).rows == []


def test_a_window_takes_so_many_calls(desk: Desk):
    trigger = desk.make("@webhook", debounce="1m")
    desk.alice.jobs.triggers.call(trigger.id, b"x" * (3 << 20))
    with pytest.raises(BadRequest, match="Too many calls"):
        desk.alice.jobs.triggers.call(trigger.id, b"x" * (3 << 20))


# -- by hand, and what became of it -------------------------------------------------------------------------------------


def test_a_launched_job_is_manual_and_a_client_s_runs_at_once(desk: Desk):
    job = desk.alice.jobs.triggers.launch(desk.make("@daily").id)
    assert (job.manual, job.state) == (True, "queued")
    job = desk.alice.jobs.triggers.launch(desk.make("@client", worker="konnector").id)
    assert (job.worker, job.state, job.manual) == ("client", "running", True)


def test_the_state_tells_the_last_runs(desk: Desk):
    trigger = desk.make("@daily")
    triggers = desk.alice.jobs.triggers
    assert triggers.state(trigger.id) == {"trigger_id": trigger.id, "status": "done"}
    bad, good = triggers.launch(trigger.id), None
    with claimed(desk.alice.jobs, bad.id) as job:
        assert job is not None
        desk.alice.jobs.finish(job, BadRequest("no such account"))
    desk.clock.passes(minutes=1)
    good = triggers.launch(trigger.id)
    with claimed(desk.alice.jobs, good.id) as job:
        assert job is not None
        assert triggers.state(trigger.id)["status"] == "running"
        desk.alice.jobs.finish(job)
    desk.clock.passes(minutes=1)
    assert triggers.state(trigger.id) == {
        "trigger_id": trigger.id,
        "status": "done",
        "last_execution": "2026-11-24T12:01:00Z",
        "last_executed_job_id": good.id,
        "last_success": "2026-11-24T12:01:00Z",
        "last_successful_job_id": good.id,
        "last_failure": "2026-11-24T12:00:00Z",
        "last_failed_job_id": bad.id,
        "last_error": "no such account",
        "last_manual_execution": "2026-11-24T12:01:00Z",
        "last_manual_job_id": good.id,
    }


def test_triggers_go_with_what_they_are_for(desk: Desk):
    kept = desk.make("@daily", message={"konnector": "bank", "account": "b"})
    desk.make("@daily", message={"konnector": "bank", "account": "a"})
    desk.make("@weekly", message={"konnector": "bank", "account": "a"})
    assert desk.alice.jobs.triggers.delete_where(account="a") == 2
    assert [one.id for one in desk.alice.jobs.triggers.all()] == [kept.id]


def test_a_trigger_that_nobody_can_read_never_fires_and_harms_nothing(desk: Desk):
    desk.alice.docs.commit([Write(Ref("io.cozy.triggers", "foreign"), body={"type": "@cron", "arguments": "every day", "worker": "note"})])
    desk.alice.docs.commit([Write(Ref("io.cozy.triggers", "odd"), body={"type": 5, "cozyMetadata": None, "debounce": "x"})])
    trigger = desk.make("@every", "1h")
    desk.passes(hours=1)
    assert [job.trigger_id for job in desk.jobs()] == [trigger.id]


def test_a_process_at_rest_waits_for_the_next_slot(desk: Desk):
    assert desk.stack.scheduler.step() is None
    desk.make("@every", "1h")
    following = desk.stack.scheduler.step()
    assert following == desk.clock() + timedelta(hours=1)
