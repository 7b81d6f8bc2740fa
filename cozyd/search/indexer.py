"""`Indexer`: one thread that reads into the indexes what was committed, soon after it was (docs/search.md)."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from cozyd.descriptions import searched
from cozyd.documents.store import Change
from cozyd.errors import CozyError

log = logging.getLogger("cozyd.search")

PAUSE = 0.2
"""Seconds in which commits are gathered."""
SLICE = 0.1
"""Seconds of one tenant's turn, when many have changes."""


class Indexer:
    """This process's.

    :param instance: gives the instance of a domain.
    """

    def __init__(self, instance: Callable[[str], Any]) -> None:
        self._instance = instance
        self._waiting: dict[str, set[str]] = {}
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="indexer", daemon=True)

    def wrote(self, domain: str, changes: Sequence[Change]) -> None:
        """Something was committed; never raises, never blocks."""
        self.ask(domain, {change.new.ref.doctype for change in changes} & searched().keys())

    def ask(self, domain: str, doctypes: set[str]) -> None:
        """Have doctypes of a tenant read."""
        if not doctypes:
            return
        with self._changed:
            self._waiting.setdefault(domain, set()).update(doctypes)
            self._changed.notify()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Begin nothing more, and end."""
        self._closed.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(5)

    def _work(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed.is_set())
            self._closed.wait(PAUSE)
            with self._changed:
                waiting, self._waiting = self._waiting, {}
            for domain, doctypes in waiting.items():
                if not self._closed.is_set():
                    self._read(domain, doctypes)

    def _read(self, domain: str, doctypes: set[str]) -> None:
        try:
            if not self._instance(domain).search.update(doctypes, seconds=SLICE):
                self.ask(domain, doctypes)
        except CozyError as error:
            log.info("the index of %s waits: %s", domain, error)
        except Exception:
            log.exception("the index of %s could not be read on", domain)
