"""The threads of the server: a lane lets only some of its tasks run, and all of them in the end."""

import threading
from collections.abc import Callable

from cozyd.server.pool import Lane, Pool
from tests.support.serving import eventually


class Task:
    """What runs when a thread takes it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.service = work
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def test_of_a_lane_two_run_at_a_time_and_the_others_threads_are_free():
    pool = Pool(4)
    lane, gate, inside, done = Lane(pool, 2), threading.Event(), [], []

    def hash_something() -> None:
        inside.append(1)
        gate.wait(10)
        done.append(1)

    for _ in range(9):
        lane.add_task(Task(hash_something))
    eventually(lambda: len(inside) == 2)
    passed = threading.Event()
    pool.add_task(Task(passed.set))
    assert passed.wait(10), "a task beside the lane waits for none of it"
    assert len(inside) == 2
    gate.set()
    eventually(lambda: len(done) == 9)
    pool.shutdown(timeout=5)


def test_one_that_fails_leaves_its_place_to_the_next():
    pool, done = Pool(1), threading.Event()
    lane = Lane(pool, 1)
    lane.add_task(Task(_fail))
    lane.add_task(Task(done.set))
    assert done.wait(10)
    pool.shutdown(timeout=5)


def test_what_waits_when_the_server_stops_is_cancelled():
    pool, gate, began = Pool(1), threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        gate.wait(10)

    late = Task(lambda: None)
    pool.add_task(Task(hold))
    pool.add_task(late)
    assert began.wait(10)
    pool.shutdown(timeout=0)
    assert late.cancelled
    gate.set()


def _fail() -> None:
    raise ValueError("it cannot be done")
