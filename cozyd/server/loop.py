"""The main loop: an event costs the same however many connections are open.

wasyncore asks every open connection what it waits for before each event. Here one is asked when that may have changed: it
had an event, somebody touched it, or its own task asks it, from its thread.
"""

import contextlib
import select
import threading
import time
from collections import deque
from typing import Any

from waitress import wasyncore

OTHERS_EVERY = 1.0
_READ, _WRITE = select.POLLIN | select.POLLPRI, select.POLLOUT


class Loop(dict[int, Any]):
    """Descriptor -> the dispatcher of waitress that reads and writes it; dispatchers enter and leave by themselves.

    Those that say `touches` are watched for one event and asked when they are touched; the others (listeners, triggers) are
    asked when a connection came or went, and each second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._poll = select.epoll()
        self._watched: dict[int, int] = {}
        self._touched: deque[int] = deque()
        self._others: set[int] = set()
        self._gone: set[int] = set()
        self._ask_others_at = 0.0
        self._asking = threading.Lock()
        """Held while a dispatcher is asked: whoever changes what it waits for asks afterwards, and has the last word."""

    def __setitem__(self, descriptor: int, dispatcher: Any) -> None:
        super().__setitem__(descriptor, dispatcher)
        self._ask_others_at = 0.0
        if getattr(dispatcher, "touches", False):
            self.touch(descriptor)
        else:
            self._others.add(descriptor)

    def __delitem__(self, descriptor: int) -> None:
        super().__delitem__(descriptor)
        self._ask_others_at = 0.0
        self._others.discard(descriptor)
        self._gone.add(descriptor)
        with self._asking:
            if self._watched.pop(descriptor, None) is not None:
                with contextlib.suppress(OSError):
                    self._poll.unregister(descriptor)

    def touch(self, descriptor: int) -> None:
        """Ask a dispatcher before the next event; on the main loop."""
        self._touched.append(descriptor)

    def ask(self, descriptor: int) -> None:
        """Ask a dispatcher that is watched for one event, at once; from any thread."""
        self._ask(descriptor, select.EPOLLONESHOT)

    def turn(self, timeout: float) -> None:
        """Wait for events, at most so many seconds, and handle them."""
        now = time.monotonic()
        if now >= self._ask_others_at:
            self._ask_others_at = now + OTHERS_EVERY
            for descriptor in tuple(self._others):
                self._ask(descriptor, 0)
        for _ in range(len(self._touched)):
            self._ask(self._touched.popleft(), select.EPOLLONESHOT)
        self._gone.clear()
        for descriptor, flags in self._poll.poll(timeout):
            dispatcher = self.get(descriptor)
            if dispatcher is None or descriptor in self._gone:  # its number may have been given away meanwhile
                continue
            if descriptor not in self._others:
                self._watched[descriptor] = 0
                self.touch(descriptor)
            wasyncore.readwrite(dispatcher, flags)

    def _ask(self, descriptor: int, once: int) -> None:
        """Watch a descriptor for what its dispatcher waits for.

        Each call of the kernel lets a task thread run in between, so none is made that changes nothing: an event that came
        once is not watched for any more.
        """
        with self._asking:
            dispatcher = self.get(descriptor)
            if dispatcher is None:
                return
            writes = dispatcher.writable() and not dispatcher.accepting
            flags = (_READ if dispatcher.readable() else 0) | (_WRITE if writes else 0)
            before = self._watched.get(descriptor)
            if flags == before:
                return
            self._watched[descriptor] = flags
            if before is None:
                self._poll.register(descriptor, flags | once)
            else:
                self._poll.modify(descriptor, flags | once if flags else select.EPOLLONESHOT)
