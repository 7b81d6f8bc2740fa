"""The main loop: an event costs the same however many connections are open.

wasyncore asks every open connection what it waits for before each event. Here one is asked when that may have changed: it
had an event, its task pulled the trigger, or somebody else touched it.
"""

import contextlib
import select
from collections import deque
from typing import Any

from waitress import wasyncore

_READ, _WRITE = select.POLLIN | select.POLLPRI, select.POLLOUT


class Loop(dict[int, Any]):
    """Descriptor -> the dispatcher of waitress that reads and writes it; dispatchers enter and leave by themselves.

    Those that say `touches` are asked when they are touched, the others (listeners, triggers) before each event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._second = 1 if hasattr(select, "epoll") else 1000
        self._flags: dict[int, int] = {}
        self._touched: deque[int] = deque()
        self._others: set[int] = set()
        self._gone: set[int] = set()

    def __setitem__(self, descriptor: int, dispatcher: Any) -> None:
        super().__setitem__(descriptor, dispatcher)
        if getattr(dispatcher, "touches", False):
            self.touch(descriptor)
        else:
            self._others.add(descriptor)

    def __delitem__(self, descriptor: int) -> None:
        super().__delitem__(descriptor)
        self._others.discard(descriptor)
        self._gone.add(descriptor)
        self._watch(descriptor, 0)

    def touch(self, descriptor: int) -> None:
        """Ask a dispatcher before the next event; whoever is not on the main loop pulls the trigger afterwards."""
        self._touched.append(descriptor)

    def turn(self, timeout: float) -> None:
        """Wait for events, at most so many seconds, and handle them."""
        for descriptor in tuple(self._others):
            self._ask(descriptor)
        for _ in range(len(self._touched)):
            self._ask(self._touched.popleft())
        self._gone.clear()
        for descriptor, flags in self._poll.poll(timeout * self._second):
            dispatcher = self.get(descriptor)
            if dispatcher is not None and descriptor not in self._gone:  # its number may have been given away meanwhile
                self.touch(descriptor)
                wasyncore.readwrite(dispatcher, flags)

    def _ask(self, descriptor: int) -> None:
        dispatcher = self.get(descriptor)
        if dispatcher is not None:
            writes = dispatcher.writable() and not dispatcher.accepting
            self._watch(descriptor, (_READ if dispatcher.readable() else 0) | (_WRITE if writes else 0))

    def _watch(self, descriptor: int, flags: int) -> None:
        """What waits for nothing is not watched at all: its hanging up would wake the loop again and again."""
        before = self._flags.pop(descriptor, 0)
        if flags:
            self._flags[descriptor] = flags
        if flags and not before:
            self._poll.register(descriptor, flags)
        elif flags and flags != before:
            self._poll.modify(descriptor, flags)
        elif before and not flags:
            with contextlib.suppress(OSError, KeyError):
                self._poll.unregister(descriptor)
