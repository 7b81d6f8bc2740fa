"""Jobs: how many a second are pushed and done, how soon one begins, and what triggers add to a commit."""

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.load import table, verdict
from cozyd.config import Config, Storage
from cozyd.documents.store import Change, Ref, Stored
from cozyd.instance import Instance
from cozyd.jobs.job import Job
from cozyd.jobs.triggers import NewTrigger
from cozyd.jobs.worker import Worker
from cozyd.stack import Stack

PUSHED, DRAINED, HINTS, REACTIONS, TRIGGERS = 2_000, 4_000, 200, 2_000, 200
PUSH_RATE, DRAIN_RATE, START_MS, REACT_MS = 500, 2_000, 20, 0.2


class _Floor:
    """A worker that does nothing, and says when."""

    def __init__(self) -> None:
        self.done = threading.Semaphore(0)
        self.began = 0.0

    def run(self, _instance: Instance, _job: Job) -> None:
        self.began = time.perf_counter()
        self.done.release()

    def wait(self, count: int) -> None:
        for _ in range(count):
            self.done.acquire()


def measure(folder: Path) -> None:
    """Print the table."""
    floor = _Floor()
    stack = Stack(Config(storage=Storage(path=folder / "jobs")), {"no-op": Worker(floor.run, concurrency=4)})
    try:
        instance = stack.create("bench.localhost")
        rows = [_pushes(instance)]
        gate = threading.Event()
        gate.set()
        stack.start(lambda *hint: gate.wait() and stack.runner.run(*hint))
        floor.wait(PUSHED)
        rows += [_hints(instance, floor), _drain(instance, floor, gate), _reactions(instance)]
        table("jobs", rows)
    finally:
        stack.close()


def _pushes(instance: Instance) -> tuple[str, str, str, str]:
    """Eight threads push; each push is on disk when it returns."""

    def some() -> None:
        for number in range(PUSHED // 8):
            instance.jobs.push("no-op", number)

    rate = PUSHED / _together(some)
    return ("pushed by 8 threads, each on disk", f"{rate:.0f} / s", f">= {PUSH_RATE} / s", verdict(rate >= PUSH_RATE))


def _hints(instance: Instance, floor: _Floor) -> tuple[str, str, str, str]:
    """From the return of a push to the first line of the worker."""
    waits = []
    for number in range(HINTS):
        instance.jobs.push("no-op", number)
        pushed = time.perf_counter()
        floor.wait(1)
        waits.append(max(0.0, floor.began - pushed) * 1000)
        time.sleep(0.005)  # the figure is of a process at rest
    median = statistics.median(waits)
    return ("from the push to the worker's first line", f"{median:.1f} ms", f"<= {START_MS} ms", verdict(median <= START_MS))


def _drain(instance: Instance, floor: _Floor, gate: threading.Event) -> tuple[str, str, str, str]:
    """Jobs that lie there, done by the threads of this process."""
    gate.clear()
    for number in range(DRAINED):
        instance.jobs.push("no-op", number)
    began = time.perf_counter()
    gate.set()
    floor.wait(DRAINED)
    rate = DRAINED / (time.perf_counter() - began)
    return ("done by one process, 4 threads", f"{rate:.0f} / s", f">= {DRAIN_RATE} / s", verdict(rate >= DRAIN_RATE))


def _reactions(instance: Instance) -> tuple[str, str, str, str]:
    """What 200 triggers on a doctype cost a commit, under the writer's lock."""
    triggers = instance.jobs.triggers
    for number in range(TRIGGERS):
        pattern = f"folder{number}" if number % 2 else f"image/x{number}:mime"
        triggers.create(NewTrigger("@event", f"io.cozy.files:UPDATED:{pattern}", worker="no-op", message={}))
    instance.docs.put("io.cozy.things", {})  # so that they are known
    seq = instance.jobs.react.seq or ""
    new = Stored(Ref("io.cozy.files", "a"), "2-b", b'{"type":"file","name":"a","dir_id":"x","mime":"image/jpeg"}')
    change = Change("UPDATED", new, new, {"above": ["x", "y", "z", "root"]}, "1-a")
    began = time.perf_counter()
    for _ in range(REACTIONS):
        instance.jobs.react([change], seq)
    cost = (time.perf_counter() - began) / REACTIONS * 1000
    return (f"{TRIGGERS} triggers on files, at each commit", f"{cost:.3f} ms", f"< {REACT_MS} ms", verdict(cost < REACT_MS))


def _together(work: Callable[[], None]) -> float:
    """Seconds that eight threads need."""
    threads = [threading.Thread(target=work) for _ in range(8)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began
