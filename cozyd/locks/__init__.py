"""`Locks` port and the local driver: leases by name. Not re-entrant."""

import threading
import time
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

    def close(self) -> None:
        """Renew nothing any more."""


class Held:
    """A lock of this process cannot be lost while the block runs."""

    @staticmethod
    def alive() -> bool:
        """Always: the owner and the lock live in one process."""
        return True


class LocalLocks:
    """Locks of one process. A thread that dies leaves its block, so no lease outlives its owner."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: set[str] = set()

    @contextmanager
    def hold(self, name: str, *, wait: float = 10, ttl: float = 30, strict: bool = False) -> Iterator[Lock]:  # noqa: ARG002
        """See `Locks.hold`."""
        deadline = time.monotonic() + wait
        with self._changed:
            while name in self._names:
                if not self._changed.wait(deadline - time.monotonic()) and name in self._names:
                    raise Locked(f"{name} is in use", retry_after=1)
            self._names.add(name)
        try:
            yield Held()
        finally:
            with self._changed:
                self._names.discard(name)
                self._changed.notify_all()

    def close(self) -> None:
        """See `Locks.close`: there is nothing to renew."""
