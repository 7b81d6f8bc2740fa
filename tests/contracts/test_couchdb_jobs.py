"""Jobs and triggers on a real CouchDB, which has no transaction: what changes a document makes its jobs all the same."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cozyd.config import Config, Storage
from cozyd.documents.store import Ref
from cozyd.errors import Unavailable
from cozyd.instance import Instance
from cozyd.jobs.job import BY_TRIGGER, JOBS
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
        self.config = Config(storage=Storage(path=folder, documents=url))
        self.stack = self.open()
        self.alice: Instance = self.stack.create("alice.example")

    def open(self) -> Stack:
        return Stack(self.config, {"note": noted()}, now=self.clock)

    def dies_in(self, step: Callable[[], object], requests: int) -> bool:
        """Do something in a process that dies after so many requests to CouchDB, and start another one; whether it was done before."""
        left = requests
        client: Any = self.stack.documents._client  # type: ignore[attr-defined]
        send = client._send

        def counted(*given: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Unavailable("the process is dead")
            return send(*given)

        client._send = counted
        try:
            step()
        except Unavailable:
            done = False
        else:
            done = True
        self.stack.close()
        self.stack = self.open()
        self.alice = self.stack.instance("alice.example")
        self.alice.docs.put("io.cozy.others", {})
        return done

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


@pytest.mark.timeout(240)
def test_a_change_has_its_job_though_its_process_died_at_any_request(desk: Desk):
    home = desk.alice.files.mkdir_all("/watched/deep").id
    triggers = desk.alice.jobs.triggers
    below = triggers.create(NewTrigger("@event", f"io.cozy.files:CREATED:{desk.alice.files.at('/watched').id}", worker="note")).id
    differs = triggers.create(NewTrigger("@event", f"{TODOS}:UPDATED:!=:done", worker="note")).id
    todo = desk.alice.docs.put(TODOS, {"done": 0}).ref
    done = False
    for requests in range(60):

        def step() -> None:
            files, docs = desk.alice.files, desk.alice.docs
            files.mkdir(files.dir(home), f"new{requests}")  # noqa: B023 - done at once
            docs.put(TODOS, {"_id": todo.id, "_rev": docs.get(todo).rev, "done": requests})  # noqa: B023

        done = desk.dies_in(step, requests)
        files, docs = desk.alice.files, desk.alice.docs
        made, changed = len(files.children(files.dir(home))), int(docs.get(todo).rev.partition("-")[0]) - 1
        jobs = [len(docs.rows(BY_TRIGGER, (id,))) for id in (below, differs)]
        assert jobs == [made, changed], f"dead after request {requests}"
        if done:
            break
    assert done
