"""Workers for tests: each does as its message says, and notes what it did where a test can see it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cozyd.config import Config, Redis, Storage
from cozyd.errors import JobFailed, Unavailable
from cozyd.instance import Instance
from cozyd.jobs import Jobs
from cozyd.jobs.job import Job
from cozyd.jobs.worker import Limit, Worker
from cozyd.stack import Stack


class Workshop:
    """A stack in this process whose jobs run.

    :param folder: the data folder.
    """

    def __init__(self, folder: Path, redis: str = "") -> None:
        self.done: Counter[Any] = Counter()
        self.gates: dict[str, threading.Event] = {}
        self.began = threading.Semaphore(0)
        self.ahead = timedelta()
        """How much the clock is ahead."""
        self.stack = Stack(
            Config(storage=Storage(path=folder), redis=Redis(url=redis)), self.table(), now=lambda: datetime.now(UTC) + self.ahead
        )

    def table(self) -> dict[str, Worker]:
        """The workers of the workshop."""
        return {
            "note": Worker(self._note),
            "urgent": Worker(self._note, first=True),
            "wait": Worker(self._wait, queue="wait", concurrency=2, timeout=60),
            "fail": Worker(self._fail, tries=3, delay=0.01),
            "hang": Worker(self._wait, queue="hang", concurrency=1, timeout=0.01, tries=1),
            "once": Worker(self._wait, queue="once", once=True, tries=1),
            "server": Worker(self._note, reserved=True),
            "few": Worker(self._note, limit=Limit(2)),
            "skipped": Worker(self._note, skips=lambda _instance, _job: True),
            "client": Worker(),
        }

    def _note(self, _instance: Instance, job: Job) -> None:
        self.done[str(job.message)] += 1

    def _wait(self, _instance: Instance, job: Job) -> None:
        self.began.release()
        self.gates.setdefault(str(job.message), threading.Event()).wait(60)
        self.done[str(job.message)] += 1

    def _fail(self, _instance: Instance, job: Job) -> None:
        self.done[str(job.message)] += 1
        if job.message == "bug":
            raise ZeroDivisionError
        if job.message == "never again":
            raise JobFailed("LOGIN_FAILED", again=False)
        if job.message == "gone":
            raise JobFailed("the account is gone", ends_trigger=True)
        if job.message == "at the third" and self.done["at the third"] < 3:
            raise Unavailable("not yet")
        if job.message == "always":
            raise JobFailed("it never works")

    def start(self) -> Self:
        """Run jobs."""
        self.stack.start(self.stack.runner.run)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for gate in self.gates.values():
            gate.set()
        self.stack.close()


def noted(run: Any = lambda _instance, _job: None, *, limit: int = 0) -> Worker:
    """A worker that does nothing; None: a client's."""
    return Worker(run, limit=Limit(limit) if limit else None)


@contextmanager
def claimed(jobs: Jobs, id: str) -> Iterator[Job | None]:
    """A job that another thread or process runs; None: it is not to be run."""
    with jobs.shift() as shift:
        yield shift.take(id)
