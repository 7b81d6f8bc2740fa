"""Requests that wait for a change without a thread: the same request runs again when something changed, or at its time.

A request is registered before it looks a second time, so that no change between its look and its wait is lost.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cozyd.documents.store import Change
from cozyd.realtime import Hub, Park

Run = Callable[[], None]
KEPT_STALE = 1000


@dataclass(eq=False, slots=True)
class Parked:
    """One waiting request.

    :param run: puts it back on the task queue.
    :param ids: of the documents whose changes wake it; empty: any of the doctypes.
    :param woken: something changed while it ran; true at first, as it has looked once before it was known.
    :param queued: the time it is in the queue of times with, if it is; every other entry of it is stale.
    """

    run: Run
    tenant: str
    doctypes: frozenset[str]
    ids: frozenset[str]
    until: datetime
    waiting: bool = False
    woken: bool = True
    queued: datetime | None = None


class Parking:
    """Every waiting request of the process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._changed = threading.Condition()
        self._parked: dict[str, set[Parked]] = {}
        self._stops: dict[str, Callable[[], None]] = {}
        self._due: list[tuple[datetime, int, Parked]] = []
        self._stale = 0
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def register(self, park: Park, run: Run) -> Parked:
        """Have a request woken by changes from now on; its first `park` runs it once more."""
        with self._changed:
            parked = Parked(run, park.tenant, park.doctypes, park.ids, park.until)
            if parked.tenant not in self._parked:
                tenant = parked.tenant
                self._parked[tenant] = set()
                self._stops[tenant] = self._hub.subscribe(tenant, lambda changes: self._deliver(tenant, changes))
            self._parked[parked.tenant].add(parked)
            return parked

    def park(self, parked: Parked, until: datetime) -> None:
        """Let a request wait that has just run in vain, unless something changed meanwhile.

        :param until: when it runs again at the latest.
        """
        with self._changed:
            parked.until = until
            if parked.woken or self._closed:
                parked.woken = False
                parked.run()
                return
            parked.waiting = True
            if parked.queued != until:
                parked.queued = until
                heapq.heappush(self._due, (until, next(self._order), parked))
                self._wake_keeper()

    def leave(self, parked: Parked) -> None:
        """The request was answered, or its client is gone."""
        with self._changed:
            parked.waiting, parked.queued = False, None
            self._stale += 1
            if self._stale > max(KEPT_STALE, len(self._due) // 2):
                self._due = [entry for entry in self._due if entry[2].queued == entry[0]]
                heapq.heapify(self._due)
                self._stale = 0
            others = self._parked.get(parked.tenant, set())
            others.discard(parked)
            if not others:
                self._parked.pop(parked.tenant, None)
                stop = self._stops.pop(parked.tenant, None)
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

    def _deliver(self, tenant: str, changes: Sequence[Change]) -> None:
        doctypes, ids = {change.new.ref.doctype for change in changes}, {change.new.ref.id for change in changes}
        with self._changed:
            for parked in self._parked.get(tenant, ()):
                if not doctypes.isdisjoint(parked.doctypes) and not (parked.ids and ids.isdisjoint(parked.ids)):
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
                if not self._due:
                    self._changed.wait()
                    continue
                left = (self._due[0][0] - datetime.now(UTC)).total_seconds()
                if left > 0:
                    self._changed.wait(left)
                else:
                    self._come_due(*heapq.heappop(self._due))

    def _come_due(self, time: datetime, _order: int, parked: Parked) -> None:
        if parked.queued == time:
            parked.queued = None
            self._wake(parked)
