"""The thread that tells subscriptions of WebDAV-Push what has changed, a moment after it did (docs/push.md)."""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

from cozyd.documents.store import Change
from cozyd.pim.subscriptions import Subscriptions, Touch, touches

log = logging.getLogger("cozyd.pim")

MERGED = 2.0
"""Seconds in which changes become one message."""
TRIES = 4
AGAIN = 10.0
LONGEST_WAIT = 3600.0
SENDERS = 4


Concerned = Callable[[str, Sequence[Touch]], Iterable[tuple[Subscriptions, Sequence[Touch]]]]


@dataclass(order=True)
class _Round:
    """Something to tell, when its time has come."""

    due: float
    number: int
    subscriptions: Subscriptions = field(compare=False)
    touched: list[Touch] = field(compare=False)
    first: bool = field(compare=False, default=True)
    only: str | None = field(compare=False, default=None)
    tried: int = field(compare=False, default=0)


class Pusher:
    """One for a process: what it commits, it tells. Threads begin with the first change of an address book or calendar.

    :ivar concerned: from a tenant's domain and what changed there to whom else it concerns, and what of theirs it is.
    """

    def __init__(self) -> None:
        self.concerned: Concerned = lambda _domain, _touched: ()
        self._changed = threading.Condition()
        self._rounds: list[_Round] = []
        self._gathering: dict[int, _Round] = {}
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._senders: ThreadPoolExecutor | None = None
        self._closed = False

    def note(self, subscriptions: Subscriptions, changes: Sequence[Change]) -> None:
        """Take note of a commit; never blocks, never raises."""
        touched = touches(changes)
        if not touched:
            return
        with self._changed:
            known = self._gathering.get(id(subscriptions))
            if known is not None:
                known.touched += [one for one in touched if one not in known.touched]
                return
            found = _Round(time.monotonic() + MERGED, next(self._numbers), subscriptions, touched)
            self._gathering[id(subscriptions)] = found
            self._add(found)

    def close(self) -> None:
        """Tell nothing more; what is on its way is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._senders is not None:
            self._senders.shutdown(wait=False, cancel_futures=True)

    def _add(self, one: _Round) -> None:
        if self._closed:
            return
        heapq.heappush(self._rounds, one)
        if self._thread is None:
            self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="push")
            self._thread = threading.Thread(target=self._run, name="push", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._rounds or self._rounds[0].due > time.monotonic()):
                    self._changed.wait(self._rounds[0].due - time.monotonic() if self._rounds else None)
                if self._closed or self._senders is None:
                    return
                one = heapq.heappop(self._rounds)
                if self._gathering.get(id(one.subscriptions)) is one:
                    del self._gathering[id(one.subscriptions)]
                self._senders.submit(self._tell, one)

    def _tell(self, one: _Round) -> None:
        try:
            later = one.subscriptions.tell(one.touched, only=one.only)
            if one.first:
                self._pass_on(one)
        except Exception:  # the next change is told all the same
            log.exception("subscriptions could not be told")
            return
        for name, seconds in later if one.tried + 1 < TRIES else ():
            wait = min(float(seconds) if seconds is not None else AGAIN * 3**one.tried, LONGEST_WAIT)
            again = _Round(time.monotonic() + wait, next(self._numbers), one.subscriptions, one.touched, False, name, one.tried + 1)
            with self._changed:
                self._add(again)

    def _pass_on(self, one: _Round) -> None:
        """Tell those with whom the changed collections are shared."""
        for subscriptions, touched in self.concerned(one.subscriptions.domain(), one.touched):
            with self._changed:
                self._add(_Round(time.monotonic(), next(self._numbers), subscriptions, list(touched), first=False))
