"""Requests that wait for a change without a thread: the same request runs again when something changed, or at its time.

A request is registered before it looks a second time, so that no change between its look and its wait is lost.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cozyd.documents.store import Change
from cozyd.realtime import Hub, Park

Run = Callable[[], None]


@dataclass(eq=False, slots=True)
class Parked:
    """One waiting request.

    :param run: puts it back on the task queue.
    """

    run: Run
    domain: str
    doctypes: frozenset[str]
    until: datetime
    waiting: bool = False
    woken: bool = False
    left: bool = field(default=False)


class Parking:
    """Every waiting request of the process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._changed = threading.Condition()
        self._parked: dict[str, set[Parked]] = {}
        self._stops: dict[str, Callable[[], None]] = {}
        self._due: list[tuple[datetime, int, Parked]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def park(self, known: Parked | None, park: Park, run: Run) -> Parked:
        """Let a request wait, that has just run in vain.

        :param known: what the last call for the same request answered; None: its first.
        """
        with self._changed:
            if known is None:
                parked = Parked(run, park.domain, park.doctypes, park.until)
                self._register(parked)
                run()
                return parked
            known.until = park.until
            if known.woken or self._closed:
                known.woken = False
                run()
                return known
            known.waiting = True
            heapq.heappush(self._due, (known.until, next(self._order), known))
            self._wake_keeper()
            return known

    def leave(self, parked: Parked) -> None:
        """The request was answered, or its client is gone."""
        with self._changed:
            parked.left, parked.waiting = True, False
            others = self._parked.get(parked.domain, set())
            others.discard(parked)
            if not others:
                self._parked.pop(parked.domain, None)
                stop = self._stops.pop(parked.domain, None)
                if stop is not None:
                    stop()

    def count(self) -> int:
        """How many requests wait."""
        return sum(len(parked) for parked in self._parked.values())

    def close(self) -> None:
        """Run every waiting request a last time."""
        with self._changed:
            self._closed = True
            for parked in [one for others in self._parked.values() for one in others]:
                self._wake(parked)
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nothing may wait any more."""
        return self._closed

    # -- inside -----------------------------------------------------------------------------------------------------

    def _register(self, parked: Parked) -> None:
        if parked.domain not in self._parked:
            self._parked[parked.domain] = set()
            domain = parked.domain
            self._stops[domain] = self._hub.subscribe(domain, lambda changes: self._deliver(domain, changes))
        self._parked[parked.domain].add(parked)

    def _deliver(self, domain: str, changes: Sequence[Change]) -> None:
        doctypes = {change.new.ref.doctype for change in changes}
        with self._changed:
            for parked in self._parked.get(domain, ()):
                if not doctypes.isdisjoint(parked.doctypes):
                    self._wake(parked)

    @staticmethod
    def _wake(parked: Parked) -> None:
        if parked.waiting:
            parked.waiting = False
            parked.run()
        else:
            parked.woken = True

    def _wake_keeper(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_time, name="parking", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _keep_time(self) -> None:
        """Wake each request at its time."""
        with self._changed:
            while not self._closed:
                while self._due and (not self._due[0][2].waiting or self._due[0][0] != self._due[0][2].until):
                    heapq.heappop(self._due)
                if not self._due:
                    self._changed.wait()
                    continue
                left = (self._due[0][0] - datetime.now(UTC)).total_seconds()
                if left > 0:
                    self._changed.wait(left)
                    continue
                self._wake(heapq.heappop(self._due)[2])
