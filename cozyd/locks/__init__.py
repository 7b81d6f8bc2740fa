"""`Locks` port and the local driver: leases by name. Not re-entrant."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from cozyd.errors import Locked


class Lock(Protocol):
    """A lease that is held."""

    def alive(self) -> bool:
        """False once it could not be renewed: whoever holds it has to stop."""


class Locks(Protocol):
    """Leases by name, shared by all that write."""

    def hold(self, name: str, *, wait: float = 10, ttl: float = 30, strict: bool = False) -> AbstractContextManager[Lock]:
        """Hold a lock for the block; it is freed at its end, or `ttl` seconds after its owner died.

        What is written under it has to be fenced by revisions all the same: an owner that was stopped for longer than `ttl`
        goes on when another already holds it.

        :param wait: seconds to wait for whoever has it.
        :param strict: never without the other processes; else, while their service is away, it is a lock of this process.
        :raises Locked: it was not free in time.
        :raises Unavailable: strict, and the service that the processes share locks by is away.
        """

    def is_held(self, name: str) -> bool:
        """Whether somebody holds a lock just now: who need not exclude others may wait for those who do."""

    def close(self) -> None:
        """Renew nothing any more."""


class Held:
    """A lock of this process cannot be lost while the block runs."""

    @staticmethod
    def alive() -> bool:
        """Always: the owner and the lock live in one process."""
        return True


class LocalLocks:
    """Locks of one process, each given to who waits longest. A thread that dies leaves its block, so no lease outlives its owner."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: dict[str, deque[threading.Lock]] = {}
        """Of each name that is held: who waits for it, in their order. A turn that is released is the lock, handed over."""

    @contextmanager
    def hold(self, name: str, *, wait: float = 10, ttl: float = 30, strict: bool = False) -> Iterator[Lock]:  # noqa: ARG002
        """See `Locks.hold`."""
        self._take(name, wait)
        try:
            yield Held()
        finally:
            self._give(name)

    def is_held(self, name: str) -> bool:
        """See `Locks.is_held`."""
        return name in self._waiting

    def _take(self, name: str, wait: float) -> None:
        """:raises Locked: it was not free in time."""
        turn = threading.Lock()
        turn.acquire()
        with self._guard:
            if name not in self._waiting:
                self._waiting[name] = deque()
                return
            self._waiting[name].append(turn)
        try:
            came = turn.acquire(timeout=max(0.0, wait))
        except BaseException:
            if not self._leave(name, turn):
                self._give(name)
            raise
        if not came and self._leave(name, turn):
            raise Locked(f"{name} is in use", retry_after=1)

    def _leave(self, name: str, turn: threading.Lock) -> bool:
        """Wait no longer; False: it was handed over just now."""
        with self._guard:
            if turn not in self._waiting.get(name, ()):
                return False
            self._waiting[name].remove(turn)
            return True

    def _give(self, name: str) -> None:
        with self._guard:
            waiting = self._waiting[name]
            if waiting:
                waiting.popleft().release()
            else:
                del self._waiting[name]

    def close(self) -> None:
        """See `Locks.close`: there is nothing to renew."""
