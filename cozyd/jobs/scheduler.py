"""`Scheduler`: one thread that makes the jobs of timed triggers, and of windows of debounce, when their time has come.

It remembers nothing: the id of a slot's job says whether somebody has made it. So several processes may do the same, a slot that
was missed while nobody ran is made up for once, and a clock that is put back makes nothing twice.
"""

import heapq
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from cozyd.errors import CozyError, NotFound, Unavailable

log = logging.getLogger("cozyd.jobs")

LOOKS_EVERY = 30.0
"""Seconds after which the clock is looked at again, as it may have been put forward."""
AGAIN_AFTER = timedelta(seconds=1)
LATER = timedelta(seconds=30)
"""When what could not be done is tried again: somebody else did it just now; a store is away."""

_Entry = tuple[datetime, str, str, str]


class Scheduler:
    """What is due, of all tenants.

    :param instance: gives the instance of a domain; raises NotFound.
    :param now: the clock.
    """

    def __init__(self, instance: Callable[[str], Any], now: Callable[[], datetime]) -> None:
        self._instance = instance
        self._now = now
        self._wake = threading.Condition()
        self._changed: set[str] = set()
        self._closed = False
        self._heap: list[_Entry] = []
        self._due: dict[tuple[str, str, str], datetime] = {}
        self._thread = threading.Thread(target=self._run, name="jobs scheduler", daemon=True)

    def plan(self, domain: str) -> None:
        """A tenant's triggers are to be read again; never raises, never blocks."""
        with self._wake:
            self._changed.add(domain)
            self._wake.notify()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Make no job any more."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def _run(self) -> None:
        while not self._closed:
            try:
                following = self.step()
            except Exception:  # nothing may end this thread
                log.exception("the scheduler failed")
                following = self._now() + LATER
            left = LOOKS_EVERY if following is None else (following - self._now()).total_seconds()
            with self._wake:
                if not self._closed and not self._changed and left > 0:
                    self._wake.wait(min(left, LOOKS_EVERY))

    def step(self) -> datetime | None:
        """Do all that is due now; the time of what comes next."""
        with self._wake:
            changed, self._changed = self._changed, set()
        for domain in changed:
            self._read(domain)
        while self._heap and self._heap[0][0] <= self._now() and not self._closed:
            time, *rest = heapq.heappop(self._heap)
            domain, kind, id = rest
            if self._due.get((domain, kind, id)) == time:
                del self._due[(domain, kind, id)]
                self._do(domain, kind, id)
        return self._heap[0][0] if self._heap else None

    def _read(self, domain: str) -> None:
        """Note what is due of a tenant, in place of what was noted."""
        for key in [key for key in self._due if key[0] == domain]:
            del self._due[key]
        try:
            for time, kind, id in self._entries(self._instance(domain).jobs.triggers):
                self._note(time, domain, kind, id)
        except NotFound:
            return
        except CozyError as error:
            log.warning("the triggers of %s cannot be read: %s", domain, error)
            self._note(self._now() + LATER, domain, "tenant", "")

    def _entries(self, triggers: Any) -> Iterator[tuple[datetime, str, str]]:
        now = self._now()
        for trigger in triggers.all():
            time = now if trigger.due(now) is not None else trigger.next(now)
            if time is not None:
                yield time, "trigger", trigger.id
        for id, until in triggers.windows().items():
            yield until, "window", id

    def _note(self, time: datetime, domain: str, kind: str, id: str) -> None:
        self._due[(domain, kind, id)] = time
        heapq.heappush(self._heap, (time, domain, kind, id))

    def _do(self, domain: str, kind: str, id: str) -> None:
        try:
            following = self._fire(domain, kind, id)
        except NotFound:
            return
        except Unavailable:
            following = self._now() + LATER
        except CozyError as error:
            if error.status != 409:
                log.warning("the trigger %s of %s cannot fire: %s", id, domain, error)
            following = self._now() + (AGAIN_AFTER if error.status == 409 else LATER)
        if following is not None:
            self._note(following, domain, kind, id)

    def _fire(self, domain: str, kind: str, id: str) -> datetime | None:
        triggers = self._instance(domain).jobs.triggers
        if kind == "trigger":
            following: datetime | None = triggers.tick(id)
            return following
        if kind == "window":
            triggers.close_window(id)
        else:
            self._read(domain)
        return None
