"""Jobs in one process: what is pushed is run, once, and its document says how it went."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cozyd.documents.store import Ref
from cozyd.errors import BadRequest, Conflict, Invalid, NotFound
from cozyd.instance import Instance
from cozyd.jobs import Jobs
from cozyd.jobs.job import JOBS, NEVER
from cozyd.jobs.triggers import NewTrigger
from cozyd.jobs.worker import Worker, queues_of
from tests.support.serving import eventually
from tests.support.workshop import Workshop, claimed


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with Workshop(tmp_path / "data") as made:
        yield made


@pytest.fixture
def alice(shop: Workshop) -> Instance:
    return shop.stack.create("alice.example")


@pytest.fixture
def jobs(alice: Instance) -> Jobs:
    return alice.jobs


def ended(jobs: Jobs, id: str) -> bool:
    return jobs.get(id).state in ("done", "errored")


def test_a_job_is_done(shop: Workshop, jobs: Jobs):
    shop.start()
    job = jobs.push("note", {"hello": "world"})
    assert job.state == "queued"
    eventually(lambda: ended(jobs, job.id))
    doc = jobs.get(job.id).doc
    assert doc["state"] == "done"
    assert doc["queued_at"] <= doc["started_at"] <= doc["finished_at"]
    assert shop.done == {"{'hello': 'world'}": 1}


def test_a_new_job_has_the_reference_s_shape(jobs: Jobs, alice: Instance):
    doc = jobs.push("note", None, options={"timeout": 5_000_000_000}, manual=True).doc
    assert {name: value for name, value in doc.items() if name not in ("_id", "_rev", "queued_at")} == {
        "domain": "alice.example",
        "prefix": alice.prefix,
        "worker": "note",
        "message": None,
        "event": None,
        "manual_execution": True,
        "options": {"timeout": 5_000_000_000},
        "state": "queued",
        "started_at": NEVER,
        "finished_at": NEVER,
    }


def test_a_job_changes_at_its_states_only(shop: Workshop, jobs: Jobs, alice: Instance):
    shop.start()
    good, bad = jobs.push("note", 1), jobs.push("fail", "never again")
    eventually(lambda: ended(jobs, good.id) and ended(jobs, bad.id))
    for id in (good.id, bad.id):
        assert len(alice.docs.tree(Ref(JOBS, id)).path(jobs.get(id).rev)) == 3  # queued, running, done or errored


def test_what_was_pushed_before_the_start_is_done_after_it(shop: Workshop, jobs: Jobs):
    ids = [jobs.push("note", number).id for number in range(20)]
    shop.start()
    eventually(lambda: all(ended(jobs, id) for id in ids))
    assert shop.done == {str(number): 1 for number in range(20)}


def test_an_error_that_may_pass_is_tried_again(shop: Workshop, jobs: Jobs):
    shop.start()
    job = jobs.push("fail", "at the third")
    eventually(lambda: ended(jobs, job.id))
    assert jobs.get(job.id).state == "done"
    assert shop.done["at the third"] == 3


def test_after_the_last_try_the_error_stays_with_the_job(shop: Workshop, jobs: Jobs):
    shop.start()
    always, never, bug = (jobs.push("fail", text) for text in ("always", "never again", "bug"))
    eventually(lambda: all(ended(jobs, job.id) for job in (always, never, bug)))
    assert [(jobs.get(job.id).state, jobs.get(job.id).doc["error"]) for job in (always, never, bug)] == [
        ("errored", "it never works"),
        ("errored", "LOGIN_FAILED"),
        ("errored", "Unexpected error (ZeroDivisionError)"),
    ]
    assert shop.done == {"always": 3, "never again": 1, "bug": 3}


def test_options_lower_the_number_of_tries_and_never_raise_it(shop: Workshop, jobs: Jobs):
    shop.start()
    one, many = jobs.push("fail", "always", options={"max_exec_count": 1}), jobs.push("fail", "bug", options={"max_exec_count": 50})
    eventually(lambda: ended(jobs, one.id) and ended(jobs, many.id))
    assert shop.done == {"always": 1, "bug": 3}


def test_unknown_workers_and_too_many_pushes_are_refused(jobs: Jobs):
    with pytest.raises(NotFound):
        jobs.push("nonsense", {})
    jobs.push("few", 1)
    jobs.push("few", 2)
    with pytest.raises(BadRequest, match="Rate limit"):
        jobs.push("few", 3)


def test_what_a_worker_skips_is_not_stored(jobs: Jobs, alice: Instance):
    job = jobs.push("skipped", {})
    assert (job.id, job.state) == ("", "queued")
    assert jobs.open() == []


def test_a_job_is_claimed_by_one(shop: Workshop, jobs: Jobs):
    job = jobs.push("note", 1)
    with claimed(jobs, job.id) as mine, claimed(jobs, job.id) as yours:
        assert mine is not None
        assert mine.state == "running"
        assert yours is None
        jobs.finish(mine)
    with claimed(jobs, job.id) as late:
        assert late is None


def test_a_job_whose_process_died_is_run_again_once(jobs: Jobs):
    job = jobs.push("hang", 1)  # one try
    with claimed(jobs, job.id) as first:
        assert first is not None  # ... and its process is killed: the lease is free, the document says running
    with claimed(jobs, job.id) as second:
        assert second is not None
        assert second.tries == 2
        with pytest.raises(Conflict):
            jobs.finish(first)
    with claimed(jobs, job.id) as third:
        assert third is None
    assert jobs.get(job.id).doc["error"] == "The job was interrupted while it ran"


def test_what_must_not_happen_twice_is_not_run_again(jobs: Jobs):
    job = jobs.push("once", 1)
    with claimed(jobs, job.id) as first:
        assert first is not None
    with claimed(jobs, job.id) as second:
        assert second is None
    assert jobs.get(job.id).state == "errored"


def test_a_cancelled_job_is_not_run_and_the_end_of_its_run_does_not_count(shop: Workshop, jobs: Jobs):
    shop.start()
    running = jobs.push("wait", "gate")
    assert shop.began.acquire(timeout=10)
    assert jobs.cancel(running.id).state == "errored"
    shop.gates["gate"].set()
    eventually(lambda: shop.done["gate"] == 1)
    after = jobs.push("note", "after")
    eventually(lambda: ended(jobs, after.id))
    assert jobs.get(running.id).doc["error"] == "The job was cancelled"


def test_a_trigger_goes_with_what_it_is_for(shop: Workshop, jobs: Jobs):
    shop.start()
    kept, gone = (jobs.triggers.create(NewTrigger("@webhook", worker="fail", message=text)) for text in ("never again", "gone"))
    for trigger in (kept, gone):
        jobs.triggers.call(trigger.id, b"")
    eventually(lambda: all(jobs.triggers.state(one.id)["status"] == "errored" for one in (kept, gone)))
    eventually(lambda: [one.id for one in jobs.triggers.all()] == [kept.id])
    assert shop.done == {"never again": 1, "gone": 1}


def test_for_a_blocked_instance_nothing_is_done_but_mails(shop: Workshop, jobs: Jobs):
    shop.stack.modify("alice.example", blocked=True)
    shop.start()
    job = jobs.push("note", 1)
    eventually(lambda: ended(jobs, job.id))
    assert jobs.get(job.id).doc["error"] == "The instance is blocked"
    assert shop.done == {}


def test_a_queue_has_as_many_threads_as_it_says_and_the_others_go_on(shop: Workshop, jobs: Jobs):
    shop.start()
    waiting = [jobs.push("wait", "gate").id for _ in range(5)]
    assert shop.began.acquire(timeout=10)
    assert shop.began.acquire(timeout=10)
    other = jobs.push("note", 1)
    eventually(lambda: ended(jobs, other.id))
    assert [jobs.get(id).state for id in waiting].count("running") == 2
    assert len(jobs.queue("wait")) == 5
    shop.gates["gate"].set()
    eventually(lambda: all(ended(jobs, id) for id in waiting))


def test_jobs_that_were_pushed_by_hand_come_before_the_others(shop: Workshop, jobs: Jobs):
    shop.start()
    gates = [jobs.push("wait", "gate").id for _ in range(2)]
    assert shop.began.acquire(timeout=10)
    assert shop.began.acquire(timeout=10)
    others = [jobs.push("wait", "other").id for _ in range(2)]
    urgent = [jobs.push("wait", "urgent", manual=True).id for _ in range(2)]
    shop.gates["gate"].set()
    eventually(lambda: [jobs.get(id).state for id in urgent] == ["running", "running"])
    assert [jobs.get(id).state for id in others] == ["queued", "queued"]
    for name in ("urgent", "other"):
        shop.gates.setdefault(name, threading.Event()).set()
    eventually(lambda: all(ended(jobs, id) for id in (*gates, *others, *urgent)))


def test_a_job_that_does_not_end_is_given_up_and_its_thread_replaced(shop: Workshop, jobs: Jobs):
    shop.start()
    stuck = jobs.push("hang", "stuck")
    assert shop.began.acquire(timeout=10)
    eventually(lambda: ended(jobs, stuck.id), within=20)
    assert jobs.get(stuck.id).doc["error"] == "context deadline exceeded"
    assert shop.stack.runner.lost == 1
    following = jobs.push("hang", "following")
    shop.gates["following"] = threading.Event()
    shop.gates["following"].set()
    eventually(lambda: ended(jobs, following.id))
    shop.gates["stuck"].set()
    eventually(lambda: shop.stack.runner.lost == 0)
    assert jobs.get(stuck.id).state == "errored"


def test_a_process_that_stops_ends_its_jobs_or_gives_them_back(tmp_path: Path):
    with Workshop(tmp_path / "data").start() as shop:
        alice = shop.stack.create("alice.example")
        short, long, once = alice.jobs.push("wait", "short"), alice.jobs.push("wait", "long"), alice.jobs.push("once", "once")
        for _ in range(3):
            assert shop.began.acquire(timeout=10)
        shop.stack.rest()
        late = alice.jobs.push("note", "late")
        shop.gates["short"].set()
        shop.stack.close()
    with Workshop(tmp_path / "data") as shop:
        jobs = shop.stack.instance("alice.example").jobs
        assert [jobs.get(job.id).state for job in (short, long, once, late)] == ["done", "queued", "errored", "queued"]
        shop.gates["long"] = threading.Event()
        shop.gates["long"].set()
        shop.start()
        eventually(lambda: ended(jobs, long.id) and ended(jobs, late.id))


def test_a_process_may_have_other_numbers_of_threads_or_leave_a_queue_to_others():
    table = {"a": Worker(lambda *_: None, concurrency=2), "b": Worker(lambda *_: None, queue="programs"), "client": Worker()}
    assert queues_of(table) == {"default": 2, "programs": 4}
    assert queues_of(table, "programs=9 default=0") == {"programs": 9}
    with pytest.raises(Invalid, match="there is no queue nothing; there are default, programs"):
        queues_of(table, "nothing=1")


def test_what_somebody_waits_for_comes_before_the_rest_of_its_queue(shop: Workshop, jobs: Jobs):
    hints: list[tuple[str, bool]] = []
    jobs._broker.wake = lambda _queue, _domain, job, **how: hints.append((job, how["first"]))  # type: ignore[method-assign]
    slow, soon, by_hand = jobs.push("note", 1), jobs.push("urgent", 2), jobs.push("note", 3, manual=True)
    assert hints == [(slow.id, False), (soon.id, True), (by_hand.id, True)]
