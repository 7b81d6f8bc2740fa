"""Ids the server makes: 32 hex digits that rise within a process, as CouchDB's sequential ones.

Official lists rely on creation order, and rising keys keep the database's pages together.
"""

import secrets
import threading
import time


class RisingIds:
    """A source of ids: milliseconds, a counter within them, random bits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moment = 0
        self._count = 0

    def __call__(self) -> str:
        """The next id; later ones sort behind it, also when the clock is put back."""
        moment = time.time_ns() // 1_000_000
        with self._lock:
            if moment > self._moment:
                self._moment, self._count = moment, 0
            else:
                self._count += 1
            moment, count = self._moment, self._count
        return f"{moment:012x}{count:06x}{secrets.randbits(56):014x}"
