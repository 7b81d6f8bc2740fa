"""The threads that run requests and chores, in the order in which they were queued; log-ins have a narrow lane."""

import logging
import threading
import time
from collections import deque
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


class Lane:
    """Tasks of which only some run at a time, so that however many come they leave threads and the interpreter to the others.

    :param at_once: how many.
    """

    def __init__(self, pool: Pool, at_once: int) -> None:
        self._pool = pool
        self._free = at_once
        self._waiting: deque[Job] = deque()
        self._lock = threading.Lock()

    def add_task(self, task: Job) -> None:
        """Queue something; from any thread."""
        with self._lock:
            if not self._free:
                self._waiting.append(task)
                return
            self._free -= 1
        self._pool.add_task(_Turn(self, task))

    def leave(self) -> None:
        """A turn is over: the next one's begins."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            task = self._waiting.popleft()
        self._pool.add_task(_Turn(self, task))


class _Turn:
    """One task of a lane."""

    def __init__(self, lane: Lane, task: Job) -> None:
        self._lane, self._task = lane, task

    def service(self) -> None:
        """Do it."""
        try:
            self._task.service()
        finally:
            self._lane.leave()

    def cancel(self) -> None:
        """The server stops."""
        self._task.cancel()
