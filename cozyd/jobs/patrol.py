"""`Patrol`: comes by each tenant and asks for what was left undone: hints that were lost, work of processes that died."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from cozyd.errors import CozyError

log = logging.getLogger("cozyd.jobs")

ROUND_EVERY = 600.0
ALL_EVERY = 86_400.0
"""Seconds between two rounds among the tenants that were written to, and among all."""
LOOKS_AGAIN = (12.0, 20.0)
"""Seconds after a round among all in which others follow: leases of a process that died are free by the first, and say so by the second
when Redis has lost its data.
"""


class Patrol:
    """One thread that goes round: at start among all tenants, then among those written to since, once a day among all.

    :param instance: gives the instance of a domain.
    :param instances: gives all.
    :param plan: is told the domain of each tenant that was visited.
    :param shared: other processes work too, and may die: then rounds of a reason come again.
    """

    def __init__(
        self, instance: Callable[[str], Any], instances: Callable[[], Iterable[Any]], plan: Callable[[str], None], *, shared: bool
    ) -> None:
        self._instance = instance
        self._instances = instances
        self._plan = plan
        self._shared = shared
        self._written: set[str] = set()
        self._changed = threading.Condition()
        self._all_due: list[float] = []
        self._closed = False
        self.settled = threading.Event()
        """Set when the first round is over."""
        self._thread = threading.Thread(target=self._walk, name="jobs patrol", daemon=True)

    def wrote(self, domain: str) -> None:
        """A tenant was written to."""
        self._written.add(domain)

    def start(self) -> None:
        """Begin the first round."""
        self.go_round()
        self._thread.start()

    def go_round(self) -> None:
        """Something may be left undone anywhere."""
        now = time.monotonic()
        with self._changed:
            self._all_due = [now, *(now + later for later in LOOKS_AGAIN)] if self._shared else [now]
            self._changed.notify()

    def close(self) -> None:
        """Go round no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _walk(self) -> None:
        while (everywhere := self._next()) is not None:
            written, self._written = self._written, set()
            self._visit(self._instances() if everywhere else (self._instance(domain) for domain in written))
            self.settled.set()

    def _next(self) -> bool | None:
        """Wait for the next round; whether it is among all. None: there is none any more."""
        due = time.monotonic() + ROUND_EVERY
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._all_due and self._all_due[0] <= now:
                    self._all_due.pop(0)
                    if not self._all_due:
                        self._all_due = [now + ALL_EVERY]
                    return True
                if due <= now:
                    return False
                self._changed.wait(min(due, *self._all_due) - now)
        return None

    def _visit(self, instances: Iterable[Any]) -> None:
        try:
            for instance in instances:
                if self._closed:
                    return
                self._ask(instance)
        except Exception:  # a tenant that was removed meanwhile, a store that is away: the next round comes
            log.warning("a round of the patrol was cut short", exc_info=True)

    def _ask(self, instance: Any) -> None:
        self._plan(instance.domain)
        try:
            left = instance.look_after()
        except CozyError as error:
            log.warning("what is left undone of %s cannot be read: %s", instance.domain, error)
            return
        if left:
            log.info("%d jobs of %s are open", left, instance.domain)
