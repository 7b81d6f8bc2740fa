"""The threads that run requests and chores, in the order in which they were queued."""

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import Protocol

log = logging.getLogger("cozyd.server")


class Job(Protocol):
    """What a thread does."""

    def service(self) -> None:
        """Do it."""

    def cancel(self) -> None:
        """The server stops before its turn."""


class Pool:
    """A fixed number of threads; in place of waitress' own dispatcher, whose lock every request takes three times.

    :param threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"task-{number}", daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def add_task(self, task: Job) -> None:
        """Queue something; from any thread."""
        self._queue.put(task)

    def shutdown(self, timeout: float) -> None:
        """End the threads, within so many seconds; what still waits is cancelled."""
        waiting = self._empty()
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        for task in waiting + self._empty():
            task.cancel()

    def _empty(self) -> list[Job]:
        found: list[Job] = []
        try:
            while True:
                task = self._queue.get_nowait()
                if task is not None:
                    found.append(task)
        except Empty:
            return found

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task.service()
            except BaseException:  # whatever it is, the thread goes on
                log.exception("a task failed")
