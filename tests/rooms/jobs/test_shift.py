"""A thread that has more to do for a tenant: the end of a job is written with the beginning of the next, and counts before it runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref, Write
from cozyd.errors import Unavailable
from cozyd.instance import Instance
from cozyd.jobs.job import JOBS, Job
from cozyd.jobs.worker import Worker
from tests.support.serving import eventually
from tests.support.workshop import Workshop


class Line:
    """A worker with one thread that notes in which order it ran, and what had become of the jobs before."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, Any]] = []
        self.before: list[str] = []
        self.cancels = False

    def run(self, instance: Instance, job: Job) -> None:
        self.before += [Job.of(one).state for one in instance.docs.get_many(JOBS, [id for _, id in self.ran[-1:]]) if one is not None]
        self.ran.append((instance.domain, job.id))
        if self.cancels:
            instance.jobs.cancel(job.id)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def shop(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setattr(Workshop, "table", lambda _: {"line": Worker(line.run, concurrency=1, tries=3)})
    monkeypatch.setattr("cozyd.jobs.broker.AGAIN_AFTER", 0.1)
    with Workshop(tmp_path / "data") as made:
        yield made


def are_ended(alice: Instance, ids: list[str]) -> bool:
    return all(alice.jobs.get(id).state in ("done", "errored") for id in ids)


def test_jobs_run_in_their_order_and_each_is_done_before_the_next_runs(shop: Workshop, line: Line):
    alice = shop.stack.create("alice.example")
    ids = [alice.jobs.push("line", number).id for number in range(20)]
    writes: list[int] = []
    together: Any = alice.jobs.write.__self__  # type: ignore[attr-defined]
    commit = together._commit_each

    def counted(batch: Any) -> Any:
        writes.append(len(batch))
        return commit(batch)

    together._commit_each = counted
    shop.start()
    eventually(lambda: are_ended(alice, ids))
    assert [id for _, id in line.ran] == ids
    assert line.before == ["done"] * 19
    assert sum(writes) == 40
    assert len(writes) <= 22  # a thread that comes before all hints are given begins a second shift
    assert {len(alice.docs.tree(Ref(JOBS, id)).path(alice.jobs.get(id).rev)) for id in ids} == {3}


def test_two_tenants_take_turns(shop: Workshop, line: Line):
    alice, bob = (shop.stack.create(f"{name}.example") for name in ("alice", "bob"))
    ids: dict[str, list[str]] = {one.domain: [] for one in (alice, bob)}
    for number in range(5):
        for one in (alice, bob):
            ids[one.domain].append(one.jobs.push("line", number).id)
    shop.start()
    eventually(lambda: are_ended(alice, ids[alice.domain]) and are_ended(bob, ids[bob.domain]))
    assert sorted(id for _, id in line.ran) == sorted([*ids[alice.domain], *ids[bob.domain]])


def test_an_end_that_comes_too_late_holds_up_nothing(shop: Workshop, line: Line):
    alice = shop.stack.create("alice.example")
    line.cancels = True
    ids = [alice.jobs.push("line", number).id for number in range(5)]
    shop.start()
    eventually(lambda: len(line.ran) == 5 and are_ended(alice, ids))
    assert {alice.jobs.get(id).doc["error"] for id in ids} == {"The job was cancelled"}


def test_when_the_store_was_away_both_jobs_come_again(shop: Workshop, line: Line):
    alice = shop.stack.create("alice.example")
    ids = [alice.jobs.push("line", number).id for number in range(3)]
    together: Any = alice.jobs.write.__self__  # type: ignore[attr-defined]
    commit, left = together._commit_each, [2]

    def failing(batch: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Unavailable("The database does not answer")
        return commit(batch)

    together._commit_each = failing
    shop.start()
    eventually(lambda: are_ended(alice, ids))
    assert [alice.jobs.get(id).state for id in ids] == ["done"] * 3
    assert left[0] < 0


def test_a_job_that_changes_while_it_is_about_to_begin_begins_a_little_later(shop: Workshop, line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cozyd.jobs.HELD_AGAIN_AFTER", 0.01)
    alice = shop.stack.create("alice.example")
    shop.start()
    start_of = alice.jobs.start_of
    patched: list[Any] = []

    def overtaken(id: str) -> Any:
        start = start_of(id)
        if not patched:
            job = alice.jobs.get(id)
            patched.append(alice.docs.commit([Write(job_ref(id), patch={"message": "other"}, rev=job.rev)]))
        return start

    monkeypatch.setattr(alice.jobs, "start_of", overtaken)
    id = alice.jobs.push("line", "first").id
    eventually(lambda: are_ended(alice, [id]))
    assert (alice.jobs.get(id).state, alice.jobs.get(id).message) == ("done", "other")
    assert line.ran == [(alice.domain, id)]


def test_a_job_that_changed_in_the_queue_runs_as_it_is_now(shop: Workshop, line: Line, monkeypatch: pytest.MonkeyPatch):
    alice = shop.stack.create("alice.example")
    kept, other = alice.jobs.push("line", "kept").id, alice.jobs.push("line", "cancelled").id
    alice.docs.commit([Write(job_ref(kept), patch={"message": "changed"}, rev=alice.jobs.get(kept).rev)])
    alice.jobs.cancel(other)
    seen: list[Any] = []
    monkeypatch.setattr(line, "run", lambda _, job: seen.append(job.message))
    monkeypatch.setattr(shop.stack.runner, "_table", {"line": Worker(line.run)})
    shop.start()
    eventually(lambda: are_ended(alice, [kept]))
    assert seen == ["changed"]
    assert alice.jobs.get(other).doc["error"] == "The job was cancelled"


def job_ref(id: str) -> Ref:
    return Ref(JOBS, id)
