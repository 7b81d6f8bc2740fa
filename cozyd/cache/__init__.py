"""`Cache` port and the local driver: values with a time to live, counters for rate limits.

Losing any value at any time is correct behaviour.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol


class Cache(Protocol):
    """Short-lived values by key."""

    def get(self, key: str) -> bytes | None:
        """The value, None when it is absent or too old."""

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep a value for `ttl` seconds."""

    def delete(self, key: str) -> None:
        """Forget a value or counter; an absent one is fine."""

    def hit(self, key: str, window: float) -> int:
        """Count an event; how many there were in the window of seconds that the first one began."""


class LocalCache:
    """A bounded memory of one process.

    :param size: how many keys are kept; the ones set longest ago go first.
    :param clock: seconds that only rise.
    """

    def __init__(self, *, size: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._counters: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """See `Cache.get`."""
        with self._lock:
            found = self._values.get(key)
            if found is None or found[0] <= self._clock():
                self._values.pop(key, None)
                return None
            return found[1]

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """See `Cache.set`."""
        with self._lock:
            self._values[key] = (self._clock() + ttl, value)
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def delete(self, key: str) -> None:
        """See `Cache.delete`."""
        with self._lock:
            self._values.pop(key, None)
            self._counters.pop(key, None)

    def hit(self, key: str, window: float) -> int:
        """See `Cache.hit`."""
        with self._lock:
            now = self._clock()
            until, count = self._counters.get(key, (0.0, 0))
            if until <= now:
                until, count = now + window, 0
            self._counters[key] = (until, count + 1)
            self._counters.move_to_end(key)
            if len(self._counters) > self._size:
                self._counters.popitem(last=False)
            return count + 1
