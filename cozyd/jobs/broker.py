"""`Broker` port and the local driver: hints that a job may be run, on their way to a thread that runs it.

A hint may be lost, or come twice: the job's document decides (docs/jobs.md).
"""

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

log = logging.getLogger("cozyd.jobs")

Following = Callable[[str], str | None]
"""Gives the job of a domain that is next for the calling thread, if one waits and none of another domain comes first."""
Run = Callable[[str, str, Following], bool]
"""Runs the job of a domain, and those that follow; False: the calling thread was given up meanwhile, and has to end."""
FIRST_IN_ROW = 2
"""Of three jobs that a queue gives out two are those to be done first, when there are some."""
AT_REST = 60.0
AGAIN_AFTER = 5.0
"""Seconds after which a job is tried again that could not even be begun."""

T = TypeVar("T")


class Broker(Protocol):
    """Hints to the threads of whoever runs jobs."""

    def wake(self, queue: str, domain: str, job_id: str, *, wait: float = 0, first: bool = False) -> None:
        """Tell that a job may be run; never raises, never blocks.

        :param wait: seconds from now on.
        :param first: somebody waits for it.
        """

    def start(self, run: Run, queues: Mapping[str, int]) -> None:
        """Run jobs from now on.

        :param queues: name -> how many threads.
        """

    def may_reclaim(self) -> bool:
        """Whether a job that is running, and whose lease is free, is one whose process died."""

    def replace(self, thread: threading.Thread) -> None:
        """Go on without a thread that does not come back."""

    def rest(self) -> None:
        """Begin no job any more."""

    def stop(self, grace: float) -> None:
        """Rest, and wait so many seconds for the jobs that run."""


class Crew:
    """The threads of one queue, made when there is work for them: each takes a hint, runs its job, takes the next.

    :param size: how many at most.
    :param failed: is told of a hint that could not be followed, as a store is away.
    """

    def __init__(self, name: str, size: int, run: Run, failed: Callable[[str, str, str], None]) -> None:
        self._name = name
        self._size = size
        self._run = run
        self._failed = failed
        lock = threading.Lock()
        self._hinted = threading.Condition(lock)
        self._free = threading.Condition(lock)
        self._urgent: deque[tuple[str, str]] = deque()
        self._others: deque[tuple[str, str]] = deque()
        self._in_row = 0
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._resting = False

    def add(self, domain: str, job_id: str, *, first: bool) -> None:
        """A hint for one of the threads."""
        with self._hinted:
            (self._urgent if first else self._others).append((domain, job_id))
            if self._idle:
                self._hinted.notify()
            elif not self._resting and len(self._threads) < self._size:
                self._hire()

    def wait_for_room(self, within: float) -> bool:
        """Whether a thread is free, or becomes so in time."""
        with self._hinted:
            return self._free.wait_for(self._has_room, within) and not self._resting

    def _has_room(self) -> bool:
        waiting = len(self._urgent) + len(self._others)
        return self._resting or waiting + len(self._threads) - self._idle < self._size

    def left(self) -> Sequence[tuple[str, str]]:
        """The hints that were not followed, when the crew rests."""
        with self._hinted:
            return [*self._urgent, *self._others]

    def replace(self, thread: threading.Thread) -> None:
        """Go on without a thread."""
        with self._hinted:
            if thread in self._threads:
                self._threads.discard(thread)
                self._hire()

    def rest(self) -> None:
        """Give out nothing any more; each thread ends behind its job."""
        with self._hinted:
            self._resting = True
            self._hinted.notify_all()
            self._free.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the threads until a time (monotonic)."""
        for thread in tuple(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"jobs {self._name}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        while (hint := self._next()) is not None:
            taken = [hint]
            try:
                if not self._run(*hint, partial(self._following, taken)):
                    return
            except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
                log.warning("the job %s could not be begun, or its end not be written: %s", taken[-1][1], error)
                for one in taken:
                    self._failed(self._name, *one)

    def _next(self) -> tuple[str, str] | None:
        """Wait for a hint; None: there is none any more."""
        with self._hinted:
            while not self._resting:
                line = self._line()
                if line is not None:
                    return self._pop(line)
                self._idle += 1
                self._free.notify_all()
                self._hinted.wait()
                self._idle -= 1
            self._threads.discard(threading.current_thread())
            return None

    def _following(self, taken: list[tuple[str, str]], domain: str) -> str | None:
        """See `Following`.

        :param taken: what the thread has taken is noted here; the end of one may be written with the beginning of the next.
        """
        with self._hinted:
            line = self._line() if not self._resting else None
            if line is None or line[0][0] != domain:
                return None
            hint = self._pop(line)
        taken[:] = [taken[-1], hint]
        return hint[1]

    def _line(self) -> deque[tuple[str, str]] | None:
        """The line that is next to give a hint."""
        if self._urgent and (self._in_row < FIRST_IN_ROW or not self._others):
            return self._urgent
        return self._others or None

    def _pop(self, line: deque[tuple[str, str]]) -> tuple[str, str]:
        self._in_row = self._in_row + 1 if line is self._urgent else 0
        return line.popleft()


class LocalBroker:
    """Threads of this process for each queue, and one more for hints of later."""

    def __init__(self) -> None:
        self._crews: Mapping[str, Crew] = {}
        self._later = Later(self._now)

    def wake(self, queue: str, domain: str, job_id: str, *, wait: float = 0, first: bool = False) -> None:
        """See `Broker.wake`: before the start there is nobody to tell; the patrol of the start finds the job."""
        if wait > 0:
            self._later.add(wait, (queue, domain, job_id, first))
        else:
            self._now((queue, domain, job_id, first))

    def _now(self, hint: tuple[str, str, str, bool]) -> None:
        queue, domain, job_id, first = hint
        crew = self._crews.get(queue)
        if crew is not None:
            crew.add(domain, job_id, first=first)

    @staticmethod
    def may_reclaim() -> bool:
        """See `Broker.may_reclaim`: leases end with the process."""
        return True

    def start(self, run: Run, queues: Mapping[str, int]) -> None:
        """See `Broker.start`."""
        self._crews = {name: Crew(name, size, run, self._again) for name, size in queues.items()}

    def _again(self, queue: str, domain: str, job_id: str) -> None:
        self.wake(queue, domain, job_id, wait=AGAIN_AFTER)

    def replace(self, thread: threading.Thread) -> None:
        """See `Broker.replace`."""
        for crew in self._crews.values():
            crew.replace(thread)

    def rest(self) -> None:
        """See `Broker.rest`."""
        self._later.close()
        for crew in self._crews.values():
            crew.rest()

    def stop(self, grace: float) -> None:
        """See `Broker.stop`."""
        self.rest()
        deadline = time.monotonic() + grace
        for crew in self._crews.values():
            crew.join(deadline)


class Later(Generic[T]):
    """Calls a function with a value after a while, on a thread that is made at the first need."""

    def __init__(self, call: Callable[[T], None]) -> None:
        self._call = call
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, wait: float, value: T) -> None:
        """Call with this value in so many seconds."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._heap, (time.monotonic() + wait, self._count, value))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs later", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Call no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (value := self._next()) is not None:
            self._call(value[0])

    def _next(self) -> tuple[T] | None:
        with self._changed:
            while not self._closed:
                left = self._heap[0][0] - time.monotonic() if self._heap else AT_REST
                if left <= 0:
                    return (heapq.heappop(self._heap)[2],)
                self._changed.wait(min(left, AT_REST))
        return None
