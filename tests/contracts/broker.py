"""What every `Broker` does (cozyd/jobs/broker.py); a driver's file gives the fixture `broker`."""

import threading
import time
from collections.abc import Iterator

import pytest

from cozyd.jobs.broker import Broker, Following
from tests.support.serving import eventually


class Floor:
    """Runs hints: notes each, and holds those that have a gate."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.threads: dict[str, threading.Thread] = {}
        self.gates: dict[str, threading.Event] = {}
        self.lost: set[str] = set()
        self.failures: dict[str, int] = {}

    def run(self, domain: str, job_id: str, _following: Following) -> bool:
        self.threads[job_id] = threading.current_thread()
        self.begun.append((domain, job_id))
        if self.failures.get(job_id):
            self.failures[job_id] -= 1
            raise ConnectionError
        if job_id in self.gates:
            self.gates[job_id].wait(30)
        return job_id not in self.lost

    def gate(self, *ids: str) -> None:
        """These jobs last until they are let go."""
        self.gates |= {id: threading.Event() for id in ids}

    def ids(self) -> list[str]:
        return [id for _, id in self.begun]


class BrokerContract:
    """The suite."""

    QUEUES = {"one": 1, "two": 2}

    @pytest.fixture
    def floor(self, broker: Broker) -> Iterator[Floor]:
        made = Floor()
        yield made
        for gate in made.gates.values():
            gate.set()
        broker.stop(5)

    def test_a_hint_comes_to_a_thread_with_its_domain(self, broker: Broker, floor: Floor):
        broker.start(floor.run, self.QUEUES)
        broker.wake("one", "alice.example", "a")
        broker.wake("two", "bob.example", "b")
        eventually(lambda: sorted(floor.begun) == [("alice.example", "a"), ("bob.example", "b")])

    def test_a_queue_runs_as_many_at_once_as_it_has_threads(self, broker: Broker, floor: Floor):
        floor.gate("a", "b", "c", "x", "y")
        broker.start(floor.run, self.QUEUES)
        for id in ("a", "b", "c"):
            broker.wake("two", "alice.example", id)
        for id in ("x", "y"):
            broker.wake("one", "alice.example", id)
        eventually(lambda: len(floor.begun) == 3)
        assert sorted(floor.ids()) == ["a", "b", "x"]
        for id in ("a", "x"):
            floor.gates[id].set()
        eventually(lambda: sorted(floor.ids()) == ["a", "b", "c", "x", "y"])

    def test_what_somebody_waits_for_comes_first_in_two_of_three(self, broker: Broker, floor: Floor):
        floor.gate("gate")
        broker.start(floor.run, self.QUEUES)
        broker.wake("one", "alice.example", "gate")
        eventually(lambda: floor.ids() == ["gate"])
        for id in ("slow1", "slow2", "slow3"):
            broker.wake("one", "alice.example", id)
        for id in ("fast1", "fast2", "fast3", "fast4"):
            broker.wake("one", "alice.example", id, first=True)
        self.settled(broker)
        floor.gates["gate"].set()
        eventually(lambda: len(floor.begun) == 8)
        kinds = [id[:4] for id in floor.ids()[1:]]
        assert kinds == ["fast", "fast", "slow", "fast", "fast", "slow", "slow"]

    def test_a_hint_of_later_comes_later(self, broker: Broker, floor: Floor):
        broker.start(floor.run, self.QUEUES)
        began = time.monotonic()
        broker.wake("one", "alice.example", "later", wait=1)
        broker.wake("one", "alice.example", "now")
        eventually(lambda: len(floor.begun) == 2)
        assert floor.ids() == ["now", "later"]
        assert time.monotonic() - began >= 1

    def test_a_thread_that_does_not_come_back_is_replaced(self, broker: Broker, floor: Floor):
        floor.gate("stuck")
        floor.lost.add("stuck")
        broker.start(floor.run, self.QUEUES)
        broker.wake("one", "alice.example", "stuck")
        eventually(lambda: floor.ids() == ["stuck"])
        broker.wake("one", "alice.example", "next")
        broker.replace(floor.threads["stuck"])
        eventually(lambda: floor.ids() == ["stuck", "next"])
        floor.gates["stuck"].set()
        eventually(lambda: not floor.threads["stuck"].is_alive())
        broker.wake("one", "alice.example", "last")
        eventually(lambda: floor.ids() == ["stuck", "next", "last"])

    def test_a_job_that_could_not_be_begun_comes_again(self, broker: Broker, floor: Floor, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("cozyd.jobs.broker.AGAIN_AFTER", 0.2)
        floor.failures["a"] = 2
        broker.start(floor.run, self.QUEUES)
        broker.wake("one", "alice.example", "a")
        eventually(lambda: floor.ids() == ["a", "a", "a"])

    def test_at_rest_nothing_is_begun_and_what_runs_is_waited_for(self, broker: Broker, floor: Floor):
        floor.gate("a")
        broker.start(floor.run, self.QUEUES)
        broker.wake("one", "alice.example", "a")
        eventually(lambda: floor.ids() == ["a"])
        broker.wake("one", "alice.example", "b")
        broker.rest()
        broker.wake("two", "alice.example", "c")
        threading.Timer(0.3, floor.gates["a"].set).start()
        broker.stop(10)
        assert floor.ids() == ["a"]
        assert not floor.threads["a"].is_alive()

    def test_a_stop_waits_no_longer_than_it_may(self, broker: Broker, floor: Floor):
        floor.gate("a")
        broker.start(floor.run, self.QUEUES)
        broker.wake("one", "alice.example", "a")
        eventually(lambda: floor.ids() == ["a"])
        began = time.monotonic()
        broker.stop(0.2)
        assert time.monotonic() - began < 5

    def test_hints_are_fine_at_any_time(self, broker: Broker, floor: Floor):
        broker.wake("one", "alice.example", "before")
        broker.start(floor.run, self.QUEUES)
        broker.wake("unknown", "alice.example", "nobody")
        broker.wake("one", "alice.example", "a")
        eventually(lambda: "a" in floor.ids())
        broker.stop(5)
        broker.wake("one", "alice.example", "after", wait=1)

    def test_threads_that_have_nothing_to_do_cost_nothing(self, broker: Broker, floor: Floor):
        floor.gate("a", "b")
        broker.start(floor.run, self.QUEUES)
        for id in ("a", "b"):
            broker.wake("two", "alice.example", id)
        eventually(lambda: len(floor.begun) == 2)
        for gate in floor.gates.values():
            gate.set()
        broker.wake("one", "alice.example", "c")
        eventually(lambda: "c" in floor.ids())
        used = time.process_time()
        assert not threading.Event().wait(1)
        assert time.process_time() - used < 0.3

    def settled(self, broker: Broker) -> None:
        """Wait until the hints that were given lie in the queue."""
