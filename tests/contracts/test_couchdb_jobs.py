"""Jobs and triggers on a real CouchDB, which has no transaction: what changes a document makes its jobs all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.config import Config, Storage
from cozyd.documents.store import Ref
from cozyd.instance import Instance
from cozyd.jobs.job import JOBS
from cozyd.jobs.triggers import NewTrigger
from cozyd.stack import Stack
from tests.support.couchdb import empty_server, needs_couchdb
from tests.support.stack import Clock
from tests.support.workshop import noted

pytestmark = needs_couchdb
TODOS = "io.cozy.todos"


class Desk:
    """alice on CouchDB."""

    def __init__(self, folder: Path, url: str) -> None:
        self.clock = Clock()
        self.stack = Stack(Config(storage=Storage(path=folder, documents=url)), {"note": noted()}, now=self.clock)
        self.alice: Instance = self.stack.create("alice.example")

    def passes(self, **much: float) -> None:
        self.clock.passes(**much)
        self.stack.scheduler.plan("alice.example")
        self.stack.scheduler.step()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with empty_server() as url:
        made = Desk(tmp_path / "data", url)
        yield made
        made.stack.close()


def test_each_change_makes_its_job(desk: Desk):
    docs, triggers = desk.alice.docs, desk.alice.jobs.triggers
    each = triggers.create(NewTrigger("@event", TODOS, worker="note"))
    window = triggers.create(NewTrigger("@event", TODOS, worker="note", debounce="1m"))
    made = docs.put(TODOS, {"a": 1})
    docs.put(TODOS, {"_id": made.ref.id, "_rev": made.rev, "a": 2})
    docs.graft(TODOS, [{"_id": "x", "_rev": "1-abc"}])
    docs.graft(TODOS, [{"_id": "x", "_rev": "1-abc"}])
    assert sorted(job.event["verb"] for job in triggers.history(each.id) if job.event) == ["CREATED", "CREATED", "UPDATED"]
    desk.passes(minutes=2)
    assert len(triggers.history(window.id)) == 1
    assert triggers.windows() == {}
    triggers.delete(each.id)
    docs.put(TODOS, {})
    assert len(triggers.history(each.id)) == 3


def test_slots_are_made_once_and_moments_go(desk: Desk):
    triggers = desk.alice.jobs.triggers
    hourly, moment = (triggers.create(NewTrigger(type, "1h", worker="note")) for type in ("@every", "@in"))
    for _ in range(3):
        desk.passes(minutes=30)
        desk.passes(seconds=0)
    assert len(triggers.history(hourly.id)) == 1
    assert len(triggers.history(moment.id)) == 1
    assert [one.id for one in triggers.all()] == [hourly.id]


def test_a_job_is_done_in_three_revisions(desk: Desk):
    jobs = desk.alice.jobs
    job = jobs.push("note", {"a": 1})
    assert [one.id for one in jobs.queue("note")] == [job.id]
    desk.stack.runner.run("alice.example", job.id)
    assert jobs.get(job.id).state == "done"
    assert len(desk.alice.docs.tree(Ref(JOBS, job.id)).path(jobs.get(job.id).rev)) == 3
    assert jobs.open() == []
