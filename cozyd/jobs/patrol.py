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


class Patrol:
    """One thread that goes round: at start among all tenants, then among those written to since, once a day among all.

    :param instance: gives the instance of a domain.
    :param instances: gives all.
    :param plan: is told the domain of each tenant that was visited.
    :param shared: other processes work too, and may die: then each round is among all.
    """

    def __init__(
        self, instance: Callable[[str], Any], instances: Callable[[], Iterable[Any]], plan: Callable[[str], None], *, shared: bool
    ) -> None:
        self._instance = instance
        self._plan = plan
        self._all_every = 0.0 if shared else ALL_EVERY
        self._instances = instances
        self._written: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="jobs patrol", daemon=True)

    def wrote(self, domain: str) -> None:
        """A tenant was written to."""
        self._written.add(domain)

    def start(self) -> None:
        """Begin the first round."""
        self._thread.start()

    def close(self) -> None:
        """Go round no more."""
        self._closed.set()

    def _walk(self) -> None:
        all_due = 0.0
        while not self._closed.is_set():
            if time.monotonic() >= all_due:
                all_due = time.monotonic() + self._all_every
                self._written.clear()
                self._visit(self._instances())
            else:
                written, self._written = self._written, set()
                self._visit(self._instance(domain) for domain in written)
            self._closed.wait(ROUND_EVERY)

    def _visit(self, instances: Iterable[Any]) -> None:
        try:
            for instance in instances:
                if self._closed.is_set():
                    return
                self._ask(instance)
        except Exception:  # a tenant that was removed meanwhile, a store that is away: the next round comes
            log.warning("a round of the patrol was cut short", exc_info=True)

    def _ask(self, instance: Any) -> None:
        self._plan(instance.domain)
        try:
            left = instance.jobs.recall()
        except CozyError as error:
            log.warning("the open jobs of %s cannot be read: %s", instance.domain, error)
            return
        if left:
            log.info("%d jobs of %s are open", left, instance.domain)
